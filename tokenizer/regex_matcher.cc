#include <algorithm>
#include <limits>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "tokenizer/regex_program.h"
#include "tokenizer/regex_syntax.h"

namespace hugot {
namespace {

using Op = RegexInstruction::Op;
constexpr uint32_t kUnset = std::numeric_limits<uint32_t>::max();

}  // namespace

// Backtracks with a stack of its own, so that texts of any length fit.
class Regex::Matcher {
 public:
  Matcher(const Program& program, std::string_view text)
      : program_(program),
        text_(text),
        slots_(program.slots, kUnset),
        steps_(kMinSteps + kStepsPerByte * text.size()) {}

  // Finds the first match that begins at or behind `from`.
  bool search(size_t from, Span& match) {
    std::fill(slots_.begin(), slots_.end(), kUnset);
    for (size_t begin = from;; begin += utf8_length(text_[begin])) {
      if (begin == text_.size() || program_.first[static_cast<unsigned char>(text_[begin])]) {
        search_begin_ = from;
        keep_ = begin;
        size_t end = 0;
        if (run(0, begin, end)) {
          match = {static_cast<uint32_t>(keep_), static_cast<uint32_t>(end)};
          return true;
        }
      }
      if (begin == text_.size()) return false;
    }
  }

 private:
  static constexpr size_t kMinSteps = 10'000'000;
  static constexpr size_t kStepsPerByte = 2000;
  static constexpr size_t kMaxChoices = size_t{1} << 23;

  // Where to go on when what follows fails.
  struct Choice {
    enum class Kind : uint8_t { kBranch, kGiveBack, kTakeMore, kRestore, kRestoreKeep };
    Kind kind;
    uint32_t pc;       // or a slot
    size_t pos;        // or its value
    size_t limit = 0;  // of kGiveBack: the least position; of kTakeMore: characters left
  };

  void spend(size_t steps = 1) {
    require(steps <= steps_, ErrorCode::kUnsupported,
            "a regular expression takes too many steps on a text of ", text_.size(), " bytes");
    steps_ -= steps;
  }

  bool in_set(uint32_t set, size_t& pos) const {
    if (pos == text_.size()) return false;
    size_t next = pos;
    if (!program_.sets[set].contains(decode_utf8(text_, next))) return false;
    pos = next;
    return true;
  }

  // Runs instructions up to kMatch. Choices inside are dropped, captures stay.
  bool run(uint32_t pc, size_t pos, size_t& end) {
    const size_t base = choices_.size();
    const bool matched = run_from(pc, pos, end, base);
    if (!matched || base == 0) {
      choices_.resize(base);
    } else {
      // What captures were before is needed if something further out fails.
      const auto is_restore = [](const Choice& c) {
        return c.kind == Choice::Kind::kRestore || c.kind == Choice::Kind::kRestoreKeep;
      };
      choices_.erase(std::remove_if(choices_.begin() + static_cast<ptrdiff_t>(base), choices_.end(),
                                    [&](const Choice& c) { return !is_restore(c); }),
                     choices_.end());
    }
    return matched;
  }

  bool run_from(uint32_t pc, size_t pos, size_t& end, size_t base) {
    for (;;) {
      spend();
      const RegexInstruction& in = program_.code[pc];
      bool ok = true;
      switch (in.op) {
        case Op::kMatch:
          end = pos;
          return true;
        case Op::kText: {
          const std::string_view text = std::string_view(program_.text).substr(in.a, in.b - in.a);
          ok = text_.substr(pos).starts_with(text);
          if (ok) pos += text.size();
          ++pc;
          break;
        }
        case Op::kSet:
          ok = in_set(in.a, pos);
          ++pc;
          break;
        case Op::kSetLoop:
          ok = set_loop(in, pc, pos);
          ++pc;
          break;
        case Op::kSplit:
          if (fails_at_once(program_.code[in.a], pos)) {
            pc = in.b;
            break;
          }
          require(choices_.size() < kMaxChoices, ErrorCode::kUnsupported,
                  "a regular expression leaves too much open on a text of ", text_.size(),
                  " bytes");
          choices_.push_back({Choice::Kind::kBranch, in.b, pos});
          pc = in.a;
          break;
        case Op::kJump:
          pc = in.a;
          break;
        case Op::kSave:
          choices_.push_back({Choice::Kind::kRestore, in.a, slots_[in.a]});
          slots_[in.a] = static_cast<uint32_t>(pos);
          ++pc;
          break;
        case Op::kEmptyCheck:
          pc = slots_[in.a] == pos ? in.b : pc + 1;
          break;
        case Op::kLook:
          ok = look(in, pc, pos) != in.negative;
          pc = in.a;
          break;
        case Op::kAtomic: {
          size_t inner = 0;
          ok = run(pc + 1, pos, inner);
          if (ok) pos = inner;
          pc = in.a;
          break;
        }
        case Op::kAt:
          ok = pos == look_end_;
          ++pc;
          break;
        case Op::kBackReference:
          ok = back_reference(in, pos);
          ++pc;
          break;
        case Op::kAssert:
          ok = holds(static_cast<RegexNode::Kind>(in.a), pos);
          ++pc;
          break;
        case Op::kKeep:
          choices_.push_back({Choice::Kind::kRestoreKeep, 0, keep_});
          keep_ = pos;
          ++pc;
          break;
        case Op::kGrapheme:
          ok = pos < text_.size();
          if (ok) pos = grapheme_end(text_, pos, false);
          ++pc;
          break;
      }
      if (!ok && !back_track(pc, pos, base)) return false;
    }
  }

  // Whether the next character alone tells that an instruction fails.
  bool fails_at_once(const RegexInstruction& in, size_t pos) const {
    switch (in.op) {
      case Op::kText:
        return pos == text_.size() || text_[pos] != program_.text[in.a];
      case Op::kSet:
        return !in_set(in.a, pos);
      case Op::kSetLoop:
        return in.min > 0 && !in_set(in.a, pos);
      default:
        return false;
    }
  }

  bool set_loop(const RegexInstruction& in, uint32_t pc, size_t& pos) {
    uint32_t count = 0;
    for (; count < in.min; ++count) {
      if (!in_set(in.a, pos)) return false;
    }
    const size_t least = pos;
    if (!in.greedy && !in.possessive) {
      if (count < in.max) {
        choices_.push_back({Choice::Kind::kTakeMore, pc, pos, in.max - count});
      }
      return true;
    }
    const CodePointMatcher& set = program_.sets[in.a];
    for (; count < in.max && pos < text_.size(); ++count) {
      size_t next = pos;
      if (!set.contains(decode_utf8(text_, next))) break;
      pos = next;
    }
    spend((pos - least) / 8);
    if (!in.possessive && pos > least) {
      choices_.push_back({Choice::Kind::kGiveBack, pc + 1, pos, least});
    }
    return true;
  }

  // Goes on at the last choice; false when there is none.
  bool back_track(uint32_t& pc, size_t& pos, size_t base) {
    while (choices_.size() > base) {
      Choice& last = choices_.back();
      switch (last.kind) {
        case Choice::Kind::kBranch:
          pc = last.pc;
          pos = last.pos;
          choices_.pop_back();
          return true;
        case Choice::Kind::kGiveBack:
          do {
            --last.pos;
          } while (is_utf8_continuation(text_[last.pos]));
          pc = last.pc;
          pos = last.pos;
          if (pos == last.limit) choices_.pop_back();
          return true;
        case Choice::Kind::kTakeMore: {
          const RegexInstruction& in = program_.code[last.pc];
          pc = last.pc + 1;
          if (!in_set(in.a, last.pos)) {
            choices_.pop_back();
            break;
          }
          pos = last.pos;
          if (in.max != RegexNode::kUnlimited && --last.limit == 0) choices_.pop_back();
          return true;
        }
        case Choice::Kind::kRestore:
          slots_[last.pc] = static_cast<uint32_t>(last.pos);
          choices_.pop_back();
          break;
        case Choice::Kind::kRestoreKeep:
          keep_ = last.pos;
          choices_.pop_back();
          break;
      }
    }
    return false;
  }

  bool look(const RegexInstruction& in, uint32_t pc, size_t pos) {
    size_t end = 0;
    if (!in.behind) return run_look(pc + 1, pos, end, in.negative);
    const size_t outer = std::exchange(look_end_, pos);
    bool found = false;
    size_t begin = pos;
    for (uint32_t length = 0; !found; ++length) {
      if (length >= in.min) found = run_look(pc + 1, begin, end, in.negative);
      if (found || begin == 0 || length == in.max) break;
      do {
        --begin;
      } while (is_utf8_continuation(text_[begin]));
      spend();
    }
    look_end_ = outer;
    return found;
  }

  // Captures in a negative look do not count.
  bool run_look(uint32_t pc, size_t pos, size_t& end, bool negative) {
    const size_t base = choices_.size();
    const bool matched = run(pc, pos, end);
    if (matched && negative) {
      uint32_t ignored = 0;
      while (choices_.size() > base) back_track(ignored, pos, base);
    }
    return matched;
  }

  bool back_reference(const RegexInstruction& in, size_t& pos) const {
    for (uint32_t i = in.b; i > in.a; --i) {
      const uint32_t group = program_.groups[i - 1];
      const uint32_t begin = slots_[2 * group];
      const uint32_t end = slots_[2 * group + 1];
      if (begin == kUnset || end == kUnset || end < begin) continue;
      const std::string_view captured = text_.substr(begin, end - begin);
      if (!in.ignore_case) {
        if (!text_.substr(pos).starts_with(captured)) return false;
        pos += captured.size();
        return true;
      }
      for (size_t at = 0; at < captured.size();) {
        if (pos == text_.size()) return false;
        if (simple_fold(decode_utf8(captured, at)) != simple_fold(decode_utf8(text_, pos))) {
          return false;
        }
      }
      return true;
    }
    return false;
  }

  bool word_at(size_t pos) const { return in_set(program_.word, pos); }
  bool word_before(size_t pos) const {
    return pos > 0 && program_.sets[program_.word].contains(decode_utf8_before(text_, pos));
  }

  bool holds(RegexNode::Kind kind, size_t pos) const {
    using Kind = RegexNode::Kind;
    switch (kind) {
      case Kind::kLineBegin:
        // No line begins at the end of the text.
        return pos == 0 || (text_[pos - 1] == '\n' && pos < text_.size());
      case Kind::kLineEnd:
        return pos == text_.size() || text_[pos] == '\n';
      case Kind::kTextBegin:
        return pos == 0;
      case Kind::kTextEnd:
        return pos == text_.size();
      case Kind::kTextEndOrLastLine:
        return pos == text_.size() || (pos + 1 == text_.size() && text_[pos] == '\n');
      case Kind::kSearchBegin:
        return pos == search_begin_;
      case Kind::kWordBorder:
        return word_before(pos) != word_at(pos);
      case Kind::kNoWordBorder:
        return word_before(pos) == word_at(pos);
      default:
        return false;
    }
  }

  const Program& program_;
  std::string_view text_;
  std::vector<uint32_t> slots_;
  std::vector<Choice> choices_;
  size_t steps_;
  size_t keep_ = 0;
  size_t look_end_ = 0;
  size_t search_begin_ = 0;
};

std::vector<Span> Regex::find_all(std::string_view text) const {
  std::vector<Span> out;
  if (text.empty()) return out;
  Matcher matcher(*program_, text);
  size_t from = 0;
  size_t last_end = kUnset;
  Span match;
  while (from <= text.size() && matcher.search(from, match)) {
    if (match.begin == match.end && match.end == last_end) {
      from += from < text.size() ? utf8_length(text[from]) : 1;
      continue;
    }
    from = match.end;
    last_end = match.end;
    out.push_back(match);
  }
  return out;
}

}  // namespace hugot
