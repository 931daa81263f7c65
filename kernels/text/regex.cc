#include "kernels/text/regex.h"

#include <utility>

#include "base/error.h"
#include "base/utf8.h"

namespace hugot::text {
namespace {

constexpr size_t kMaxStates = 1 << 17;
constexpr size_t kMaxSets = 1 << 12;

bool is_word(char32_t c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || c == '_' || (c >= 'a' && c <= 'z');
}

}  // namespace

Regex::Regex(std::string_view pattern) {
  const std::unique_ptr<RegexNode> tree = parse_regex(pattern);
  const uint32_t match = add({});
  first_ = compile(*tree, match);
  known_sets_.clear();
}

uint32_t Regex::add(const State& state) {
  require(states_.size() < kMaxStates, ErrorCode::kUnsupported,
          "the regular expression is too large");
  states_.push_back(state);
  return static_cast<uint32_t>(states_.size() - 1);
}

uint32_t Regex::index_of(const CodePointSet& set) {
  std::vector<char32_t> key;
  for (const CodePointSet::Range& range : set.ranges()) {
    key.push_back(range.first);
    key.push_back(range.last);
  }
  const auto [entry, added] =
      known_sets_.try_emplace(std::move(key), static_cast<uint32_t>(sets_.size()));
  if (added) {
    require(sets_.size() < kMaxSets, ErrorCode::kUnsupported,
            "the regular expression is too large");
    sets_.emplace_back(set);
  }
  return entry->second;
}

uint32_t Regex::compile(const RegexNode& node, uint32_t next) {
  switch (node.kind) {
    case RegexNode::Kind::kEmpty:
      return next;
    case RegexNode::Kind::kSet:
      return add({.kind = State::Kind::kSet, .set = index_of(node.set), .next = next});
    case RegexNode::Kind::kAssert:
      return add({.kind = State::Kind::kAssert, .assertion = node.assertion, .next = next});
    case RegexNode::Kind::kSequence:
      for (size_t i = node.children.size(); i-- > 0;) next = compile(*node.children[i], next);
      return next;
    case RegexNode::Kind::kAlternation: {
      uint32_t rest = compile(*node.children.back(), next);
      for (size_t i = node.children.size() - 1; i-- > 0;) {
        const uint32_t here = compile(*node.children[i], next);
        rest = add({.kind = State::Kind::kSplit, .next = here, .other = rest});
      }
      return rest;
    }
    case RegexNode::Kind::kRepeat:
      break;
  }
  return repeat(node, next);
}

uint32_t Regex::repeat(const RegexNode& node, uint32_t next) {
  const RegexNode& child = *node.children.front();
  if (node.max == RegexNode::kUnlimited) {
    const uint32_t loop = add({.kind = State::Kind::kSplit, .other = next});
    const uint32_t body = compile(child, loop);
    states_[loop].next = body;
    next = loop;
  } else {
    // One more time or not, from the last to the first.
    const uint32_t end = next;
    for (int i = node.min; i < node.max; ++i) {
      next = compile(child, next);
      next = add({.kind = State::Kind::kSplit, .next = next, .other = end});
    }
  }
  for (int i = 0; i < node.min; ++i) {
    const uint32_t before = next;
    next = compile(child, next);
    if (next == before) break;  // nothing, however often
  }
  return next;
}

// The states that a text has led to, each with the first place from which a match can be there.
class Regex::Run {
 public:
  Run(const Regex& regex, std::string_view text)
      : regex_(regex), text_(text), seen_(regex.states_.size(), 0) {}

  // The longest match that begins at `from` or, if `anywhere`, at the first possible place behind.
  std::optional<Span> run(size_t from, bool anywhere) {
    std::optional<Span> found;
    std::vector<Thread> here, then;
    enter(regex_.first_, from, from, here);
    for (size_t pos = from;;) {
      for (const Thread& thread : here) {
        if (regex_.states_[thread.state].kind == State::Kind::kMatch) found = {thread.begin, pos};
      }
      if (found) std::erase_if(here, [&](const Thread& t) { return t.begin > found->begin; });
      const bool over = here.empty() && (found || !anywhere);
      if (over || pos == text_.size()) return found;
      const char32_t c = decode_utf8(text_, pos);
      then.clear();
      ++step_;
      for (const Thread& thread : here) {
        const State& state = regex_.states_[thread.state];
        if (state.kind == State::Kind::kSet && regex_.sets_[state.set].contains(c)) {
          enter(state.next, pos, thread.begin, then);
        }
      }
      if (anywhere && !found) enter(regex_.first_, pos, pos, then);
      std::swap(here, then);
    }
  }

 private:
  // In the order of `begin`.
  struct Thread {
    uint32_t state;
    size_t begin;
  };

  // Adds to `to` the states that a text can wait in when it has come to `id` at `pos`.
  void enter(uint32_t id, size_t pos, size_t begin, std::vector<Thread>& to) {
    pending_.push_back(id);
    while (!pending_.empty()) {
      const uint32_t top = pending_.back();
      pending_.pop_back();
      if (seen_[top] == step_) continue;
      seen_[top] = step_;
      const State& state = regex_.states_[top];
      switch (state.kind) {
        case State::Kind::kSplit:
          pending_.push_back(state.other);
          pending_.push_back(state.next);
          break;
        case State::Kind::kAssert:
          if (holds(state.assertion, pos)) pending_.push_back(state.next);
          break;
        case State::Kind::kSet:
        case State::Kind::kMatch:
          to.push_back({top, begin});
          break;
      }
    }
  }

  bool holds(RegexNode::Assertion assertion, size_t pos) const {
    using Assertion = RegexNode::Assertion;
    const bool begin = pos == 0, end = pos == text_.size();
    switch (assertion) {
      case Assertion::kTextBegin:
        return begin;
      case Assertion::kTextEnd:
        return end;
      case Assertion::kLineBegin:
        return begin || text_[pos - 1] == '\n';
      case Assertion::kLineEnd:
        return end || text_[pos] == '\n';
      case Assertion::kWordBorder:
      case Assertion::kNoWordBorder:
        break;
    }
    const bool before = !begin && is_word(static_cast<unsigned char>(text_[pos - 1]));
    const bool behind = !end && is_word(static_cast<unsigned char>(text_[pos]));
    return (before != behind) == (assertion == Assertion::kWordBorder);
  }

  const Regex& regex_;
  std::string_view text_;
  size_t step_ = 1;
  std::vector<size_t> seen_;  // the step in which each state was entered last
  std::vector<uint32_t> pending_;
};

bool Regex::matches(std::string_view text) const {
  if (validate_utf8(text) != kValidUtf8) return false;
  const std::optional<Span> longest = Run(*this, text).run(0, false);
  return longest && longest->end == text.size();
}

std::optional<Regex::Span> Regex::find(std::string_view text, size_t from) const {
  return Run(*this, text).run(from, true);
}

size_t Regex::bytes() const {
  constexpr size_t kPages = 8;  // of 32 bytes, about
  return states_.size() * sizeof(State) + sets_.size() * (sizeof(CodePointMatcher) + kPages * 32);
}

}  // namespace hugot::text
