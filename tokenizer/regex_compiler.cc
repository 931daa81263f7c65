#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "tokenizer/regex_program.h"
#include "tokenizer/regex_syntax.h"

namespace hugot {
namespace {

using Kind = RegexNode::Kind;
using Op = RegexInstruction::Op;

constexpr size_t kMaxCode = 200000;
constexpr uint32_t kUnlimited = RegexNode::kUnlimited;

struct Length {
  uint32_t min = 0;
  uint32_t max = 0;  // kUnlimited: no limit
};

uint32_t add(uint32_t a, uint32_t b) {
  return a > kUnlimited - b || a == kUnlimited ? kUnlimited : a + b;
}

uint32_t multiply(uint32_t a, uint32_t b) {
  const uint64_t product = uint64_t{a} * b;
  return a == 0 || b == 0 ? 0 : static_cast<uint32_t>(std::min<uint64_t>(product, kUnlimited));
}

// In characters.
Length length_of(const RegexNode& node) {
  Length out;
  switch (node.kind) {
    case Kind::kSet:
      return {1, 1};
    case Kind::kGrapheme:
      return {1, kUnlimited};
    case Kind::kBackReference:
      return {0, kUnlimited};
    case Kind::kSequence:
      for (const RegexNodePtr& child : node.children) {
        const Length part = length_of(*child);
        out = {add(out.min, part.min), add(out.max, part.max)};
      }
      return out;
    case Kind::kAlternation:
      out.min = kUnlimited;
      for (const RegexNodePtr& child : node.children) {
        const Length part = length_of(*child);
        out = {std::min(out.min, part.min), std::max(out.max, part.max)};
      }
      return out;
    case Kind::kRepeat: {
      const Length part = length_of(*node.children[0]);
      return {multiply(part.min, node.min), multiply(part.max, node.max)};
    }
    case Kind::kCapture:
    case Kind::kAtomic:
      return length_of(*node.children[0]);
    default:
      return out;
  }
}

// Adds the characters that a match of `node` can begin with; returns whether it may be empty.
bool add_first(const RegexNode& node, CodePointSet& out) {
  switch (node.kind) {
    case Kind::kSet:
      out.add(node.set);
      return false;
    case Kind::kGrapheme:
      out.add(CodePointSet::any());
      return false;
    case Kind::kBackReference:
      out.add(CodePointSet::any());
      return true;
    case Kind::kSequence:
      return std::all_of(node.children.begin(), node.children.end(),
                         [&](const RegexNodePtr& child) { return add_first(*child, out); });
    case Kind::kAlternation: {
      bool empty = false;
      for (const RegexNodePtr& child : node.children) empty |= add_first(*child, out);
      return empty;
    }
    case Kind::kRepeat:
      return add_first(*node.children[0], out) || node.min == 0;
    case Kind::kCapture:
    case Kind::kAtomic:
      return add_first(*node.children[0], out);
    default:
      return true;
  }
}

// First bytes of the characters of a set.
std::bitset<256> lead_bytes(const CodePointSet& set) {
  std::bitset<256> out;
  for (const auto& range : set.ranges()) {
    for (char32_t c = range.first; c <= range.last;) {
      char bytes[4];
      encode_utf8(c, bytes);
      out.set(static_cast<unsigned char>(bytes[0]));
      // The next character with another lead byte.
      const char32_t step = c < 0x80 ? 1 : c < 0x800 ? 0x40 : c < 0x10000 ? 0x1000 : 0x40000;
      c = (c / step + 1) * step;
    }
  }
  return out;
}

}  // namespace

class Regex::Compiler {
 public:
  std::unique_ptr<const Program> compile(std::string_view pattern) {
    RegexTree tree = parse_regex(pattern);
    program_ = std::make_unique<Program>();
    program_->slots = 2 + 2 * tree.groups;
    emit(*tree.root);
    add({Op::kMatch});
    CodePointSet first;
    if (add_first(*tree.root, first)) first = CodePointSet::any();
    program_->first = lead_bytes(first);
    // A loop over characters need not give any back to an instruction that takes none of them.
    for (size_t i = 0; i + 1 < program_->code.size(); ++i) {
      RegexInstruction& loop = program_->code[i];
      if (loop.op != Op::kSetLoop || !loop.greedy) continue;
      size_t next = i + 1;
      while (program_->code[next].op == Op::kJump) next = program_->code[next].a;
      const RegexInstruction& after = program_->code[next];
      if (after.op == Op::kMatch) loop.possessive = true;
      const bool takes_set = after.op == Op::kSet || (after.op == Op::kSetLoop && after.min > 0);
      if (takes_set && !sets_[loop.a].intersects(sets_[after.a])) loop.possessive = true;
    }
    return std::move(program_);
  }

 private:
  uint32_t add(const RegexInstruction& instruction) {
    require(program_->code.size() < kMaxCode, ErrorCode::kUnsupported,
            "regular expression: too large");
    program_->code.push_back(instruction);
    return static_cast<uint32_t>(program_->code.size() - 1);
  }
  uint32_t here() const { return static_cast<uint32_t>(program_->code.size()); }
  RegexInstruction& at(uint32_t index) { return program_->code[index]; }

  uint32_t set_index(const CodePointSet& set) {
    const auto equal = [&](const CodePointSet& other) {
      return std::equal(
          set.ranges().begin(), set.ranges().end(), other.ranges().begin(), other.ranges().end(),
          [](const auto& a, const auto& b) { return a.first == b.first && a.last == b.last; });
    };
    const auto found = std::find_if(sets_.begin(), sets_.end(), equal);
    if (found != sets_.end()) return static_cast<uint32_t>(found - sets_.begin());
    require(sets_.size() < 4096, ErrorCode::kUnsupported,
            "regular expression: too many character classes");
    sets_.push_back(set);
    program_->sets.emplace_back(set);
    return static_cast<uint32_t>(sets_.size() - 1);
  }

  void emit(const RegexNode& node) {
    switch (node.kind) {
      case Kind::kEmpty:
        break;
      case Kind::kSet:
        emit_set(node.set);
        break;
      case Kind::kSequence:
        for (const RegexNodePtr& child : node.children) emit(*child);
        break;
      case Kind::kAlternation:
        emit_alternation(node);
        break;
      case Kind::kRepeat:
        emit_repeat(node);
        break;
      case Kind::kCapture:
        add({.op = Op::kSave, .a = 2 * node.index});
        emit(*node.children[0]);
        add({.op = Op::kSave, .a = 2 * node.index + 1});
        break;
      case Kind::kAtomic:
        emit_atomic([&] { emit(*node.children[0]); });
        break;
      case Kind::kLook:
        emit_look(node);
        break;
      case Kind::kBackReference: {
        const auto begin = static_cast<uint32_t>(program_->groups.size());
        program_->groups.insert(program_->groups.end(), node.groups.begin(), node.groups.end());
        const auto end = static_cast<uint32_t>(program_->groups.size());
        add({.op = Op::kBackReference, .ignore_case = node.ignore_case, .a = begin, .b = end});
        break;
      }
      case Kind::kKeep:
        add({Op::kKeep});
        break;
      case Kind::kGrapheme:
        add({Op::kGrapheme});
        break;
      default:
        if (node.kind == Kind::kWordBorder || node.kind == Kind::kNoWordBorder) {
          program_->word = set_index(CodePointSet::word());
        }
        add({.op = Op::kAssert, .a = static_cast<uint32_t>(node.kind)});
        break;
    }
  }

  void emit_set(const CodePointSet& set) {
    const auto& ranges = set.ranges();
    if (ranges.size() != 1 || ranges[0].first != ranges[0].last) {
      add({.op = Op::kSet, .a = set_index(set)});
      return;
    }
    const auto begin = static_cast<uint32_t>(program_->text.size());
    append_utf8(program_->text, ranges[0].first);
    add({.op = Op::kText, .a = begin, .b = static_cast<uint32_t>(program_->text.size())});
  }

  void emit_alternation(const RegexNode& node) {
    std::vector<uint32_t> jumps;
    for (size_t i = 0; i < node.children.size(); ++i) {
      if (i + 1 == node.children.size()) {
        emit(*node.children[i]);
        break;
      }
      const uint32_t split = add({Op::kSplit});
      at(split).a = here();
      emit(*node.children[i]);
      jumps.push_back(add({Op::kJump}));
      at(split).b = here();
    }
    for (const uint32_t jump : jumps) at(jump).a = here();
  }

  template <class Body>
  void emit_atomic(const Body& body) {
    const uint32_t begin = add({Op::kAtomic});
    body();
    add({Op::kMatch});
    at(begin).a = here();
  }

  void emit_repeat(const RegexNode& node) {
    const RegexNode& child = *node.children[0];
    if (child.kind == Kind::kSet) {
      add({.op = Op::kSetLoop,
           .greedy = node.greedy,
           .possessive = node.possessive,
           .a = set_index(child.set),
           .min = node.min,
           .max = node.max});
      return;
    }
    if (node.possessive) return emit_atomic([&] { emit_loop(node); });
    emit_loop(node);
  }

  // A choice between going on at the next instruction and at `b`, to be filled in.
  uint32_t add_choice(bool greedy) {
    const uint32_t split = add({.op = Op::kSplit, .greedy = greedy});
    at(split).a = here();
    return split;
  }
  void leave_to(uint32_t split, uint32_t target) {
    at(split).b = target;
    if (!at(split).greedy) std::swap(at(split).a, at(split).b);
  }

  void emit_loop(const RegexNode& node) {
    const RegexNode& child = *node.children[0];
    const Length length = length_of(child);
    if (length.max == 0 && node.min > 0) return emit(child);  // more of the same change nothing
    for (uint32_t i = 0; i < node.min; ++i) emit(child);
    if (node.max != kUnlimited) {
      std::vector<uint32_t> exits;
      for (uint32_t i = node.min; i < node.max; ++i) {
        exits.push_back(add_choice(node.greedy));
        emit(child);
      }
      for (const uint32_t exit : exits) leave_to(exit, here());
      return;
    }
    const uint32_t begin = here();
    const uint32_t exit = add_choice(node.greedy);
    const bool may_be_empty = length.min == 0;
    uint32_t check = 0;
    uint32_t slot = 0;
    if (may_be_empty) {
      slot = program_->slots++;
      add({.op = Op::kSave, .a = slot});
    }
    emit(child);
    if (may_be_empty) check = add({.op = Op::kEmptyCheck, .a = slot});
    add({.op = Op::kJump, .a = begin});
    leave_to(exit, here());
    if (may_be_empty) at(check).b = here();
  }

  void emit_look(const RegexNode& node) {
    const uint32_t begin = add({.op = Op::kLook, .behind = node.behind, .negative = node.negative});
    if (node.behind) {
      const Length length = length_of(*node.children[0]);
      at(begin).min = length.min;
      at(begin).max = length.max;
    }
    emit(*node.children[0]);
    if (node.behind) add({Op::kAt});
    add({Op::kMatch});
    at(begin).a = here();
  }

  std::unique_ptr<Program> program_;
  std::vector<CodePointSet> sets_;  // those of the program
};

Regex::Regex(std::string_view pattern) : program_(Compiler().compile(pattern)) {}
bool Regex::may_match_nothing() const { return program_->first.all(); }
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

}  // namespace hugot
