// Parser of RE2's syntax.
#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "kernels/text/regex.h"

namespace hugot::text {
namespace {

using Node = RegexNode;
using NodePtr = std::unique_ptr<RegexNode>;
using Assertion = RegexNode::Assertion;

constexpr int kMaxRepeat = 1000;  // RE2's limit
constexpr int kMaxDepth = 500;    // of groups in groups

bool is_digit(char32_t c) { return c >= '0' && c <= '9'; }
bool is_letter(char32_t c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }
bool is_punctuation(char32_t c) { return c > ' ' && c < 0x7F && !is_digit(c) && !is_letter(c); }

NodePtr make(Node::Kind kind) {
  auto node = std::make_unique<Node>();
  node->kind = kind;
  return node;
}

NodePtr make_set(CodePointSet set) {
  NodePtr node = make(Node::Kind::kSet);
  node->set = std::move(set);
  return node;
}

NodePtr make_assert(Assertion assertion) {
  NodePtr node = make(Node::Kind::kAssert);
  node->assertion = assertion;
  return node;
}

// \d, \s, \w and the classes in [: :].
std::optional<CodePointSet> ascii_class(std::string_view name) {
  static const std::pair<std::string_view, CodePointSet> classes[] = {
      {"d", {{'0', '9'}}},
      {"s", {{'\t', '\n'}, {'\f', '\r'}, {' ', ' '}}},
      {"w", {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}},
      {"alnum", {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}},
      {"alpha", {{'A', 'Z'}, {'a', 'z'}}},
      {"ascii", {{0, 0x7F}}},
      {"blank", {{'\t', '\t'}, {' ', ' '}}},
      {"cntrl", {{0, 0x1F}, {0x7F, 0x7F}}},
      {"digit", {{'0', '9'}}},
      {"graph", {{'!', '~'}}},
      {"lower", {{'a', 'z'}}},
      {"print", {{' ', '~'}}},
      {"punct", {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}},
      {"space", {{'\t', '\r'}, {' ', ' '}}},
      {"upper", {{'A', 'Z'}}},
      {"word", {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}},
      {"xdigit", {{'0', '9'}, {'A', 'F'}, {'a', 'f'}}},
  };
  for (const auto& [known, set] : classes) {
    if (known == name) return set;
  }
  return std::nullopt;
}

struct Flags {
  bool ignore_case = false;  // i
  bool lines = false;        // m
  bool dot_all = false;      // s
};

class Parser {
 public:
  explicit Parser(std::string_view pattern) : pattern_(pattern) {
    require(validate_utf8(pattern) == kValidUtf8, ErrorCode::kInvalidData,
            "a regular expression that is not UTF-8");
  }

  NodePtr parse() {
    NodePtr node = alternation(0);
    if (!at_end()) bad("a ')' without '('");
    return node;
  }

 private:
  [[noreturn]] void bad(std::string_view what) const {
    fail(ErrorCode::kInvalidData, "regular expression: ", what, " at byte ", pos_);
  }
  bool at_end() const { return pos_ == pattern_.size(); }
  bool looking_at(std::string_view text) const { return pattern_.substr(pos_).starts_with(text); }
  bool take(std::string_view text) {
    if (!looking_at(text)) return false;
    pos_ += text.size();
    return true;
  }
  char32_t next() {
    if (at_end()) bad("an unexpected end");
    return decode_utf8(pattern_, pos_);
  }

  CodePointSet cased(CodePointSet set) const {
    if (flags_.ignore_case) set.close_under_case();
    return set;
  }

  NodePtr alternation(int depth) {
    if (depth > kMaxDepth) bad("too many groups in groups");
    NodePtr all = make(Node::Kind::kAlternation);
    do {
      all->children.push_back(sequence(depth));
    } while (take("|"));
    return all->children.size() == 1 ? std::move(all->children.front()) : std::move(all);
  }

  NodePtr sequence(int depth) {
    NodePtr all = make(Node::Kind::kSequence);
    while (!at_end() && !looking_at("|") && !looking_at(")")) {
      if (take("\\Q")) {  // an operator behind \E is for the last character
        while (!at_end() && !take("\\E")) {
          NodePtr node = make_set(cased({single(next())}));
          const bool last = take("\\E");
          all->children.push_back(last ? repeats(std::move(node)) : std::move(node));
          if (last) break;
        }
        continue;
      }
      if (take("\\E")) continue;
      if (NodePtr node = atom(depth)) all->children.push_back(repeats(std::move(node)));
    }
    return all;
  }

  static CodePointSet::Range single(char32_t c) { return {c, c}; }

  // An operator behind `node`, if there is one.
  NodePtr repeats(NodePtr node) {
    const auto range = repeat_operator();
    if (!range) return node;
    take("?");  // as few as possible: the same whole matches
    if (repeat_operator()) bad("two repetitions in a row");
    NodePtr repeat = make(Node::Kind::kRepeat);
    repeat->min = range->first;
    repeat->max = range->second;
    repeat->children.push_back(std::move(node));
    return repeat;
  }

  std::optional<std::pair<int, int>> repeat_operator() {
    if (take("*")) return {{0, Node::kUnlimited}};
    if (take("+")) return {{1, Node::kUnlimited}};
    if (take("?")) return {{0, 1}};
    if (!looking_at("{")) return std::nullopt;
    const size_t begin = pos_++;
    const auto min = count();
    auto max = min;
    if (min && take(",")) max = looking_at("}") ? Node::kUnlimited : count();
    if (!min || !max || !take("}")) {  // not a repetition but a brace
      pos_ = begin;
      return std::nullopt;
    }
    if (*min > kMaxRepeat || *max > kMaxRepeat || (*max != Node::kUnlimited && *max < *min)) {
      bad("a bad number of repetitions");
    }
    return {{*min, *max}};
  }

  std::optional<int> count() {
    if (at_end() || !is_digit(static_cast<unsigned char>(pattern_[pos_]))) return std::nullopt;
    int value = 0;
    while (!at_end() && is_digit(static_cast<unsigned char>(pattern_[pos_]))) {
      value = std::min(value * 10 + (pattern_[pos_++] - '0'), kMaxRepeat + 1);
    }
    return value;
  }

  // One character, class, assertion or group; null for a group that only sets flags.
  NodePtr atom(int depth) {
    if (looking_at("*") || looking_at("+") || looking_at("?")) bad("nothing to repeat");
    if (take("(")) return group(depth);
    if (take("[")) return make_set(bracketed());
    if (take(".")) {
      CodePointSet all = CodePointSet::any();
      if (flags_.dot_all) return make_set(std::move(all));
      CodePointSet line = {single('\n')};
      line.invert();
      all.intersect(line);
      return make_set(std::move(all));
    }
    if (take("^")) return make_assert(flags_.lines ? Assertion::kLineBegin : Assertion::kTextBegin);
    if (take("$")) return make_assert(flags_.lines ? Assertion::kLineEnd : Assertion::kTextEnd);
    if (take("\\A")) return make_assert(Assertion::kTextBegin);
    if (take("\\z")) return make_assert(Assertion::kTextEnd);
    if (take("\\b")) return make_assert(Assertion::kWordBorder);
    if (take("\\B")) return make_assert(Assertion::kNoWordBorder);
    require(!looking_at("\\C"), ErrorCode::kUnsupported, "regular expression: \\C at byte ", pos_,
            " is not supported");
    if (looking_at("\\")) {
      if (auto set = class_escape()) return make_set(*std::move(set));
      return make_set(cased({single(escaped_character())}));
    }
    return make_set(cased({single(next())}));
  }

  NodePtr group(int depth) {
    const Flags before = flags_;
    if (take("?")) {
      if (take("P<") || take("<")) {
        const size_t end = pattern_.find('>', pos_);
        if (end == std::string_view::npos) bad("a group name without '>'");
        const std::string name(pattern_.substr(pos_, end - pos_));
        const bool word = std::all_of(name.begin(), name.end(), [](char c) {
          const auto code = static_cast<unsigned char>(c);
          return is_digit(code) || is_letter(code) || c == '_';
        });
        if (name.empty() || !word || !names_.insert(name).second) bad("a bad group name");
        pos_ = end + 1;
      } else if (flags_end()) {  // (?i) holds until the end of the group around it
        return nullptr;
      }
    }
    NodePtr node = alternation(depth + 1);
    if (!take(")")) bad("a '(' without ')'");
    flags_ = before;
    return node;
  }

  // Flags of a group; true when they are all there is to it.
  bool flags_end() {
    bool value = true, any = false;
    while (true) {
      switch (next()) {
        case 'i':
          flags_.ignore_case = value;
          break;
        case 'm':
          flags_.lines = value;
          break;
        case 's':
          flags_.dot_all = value;
          break;
        case 'U':  // swaps lazy and greedy
          break;
        case '-':
          if (!value) bad("two signs of flags");
          value = false;
          any = false;
          continue;
        case ':':
          if (!value && !any) bad("missing flags");
          return false;
        case ')':
          if (!any) bad("missing flags");
          return true;
        default:
          bad("an unknown group");
      }
      any = true;
    }
  }

  // \d, \pN, \p{Greek} and their complements; nothing for another escape.
  std::optional<CodePointSet> class_escape() {
    if (pos_ + 1 >= pattern_.size()) bad("a backslash at the end");
    const char letter = pattern_[pos_ + 1];
    const char lower = static_cast<char>(letter | 0x20);
    const bool negated = letter != lower;
    CodePointSet set;
    bool complement = negated;
    if (lower == 'd' || lower == 's' || lower == 'w') {
      pos_ += 2;
      set = *ascii_class(std::string_view(&lower, 1));
    } else if (lower == 'p') {
      pos_ += 2;
      std::string name;
      if (take("{")) {
        const size_t end = pattern_.find('}', pos_);
        if (end == std::string_view::npos) bad("a property without '}'");
        if (take("^")) complement = !complement;
        name = pattern_.substr(pos_, end - pos_);
        pos_ = end + 1;
      } else {
        append_utf8(name, next());
      }
      set = name == "Any" ? CodePointSet::any() : CodePointSet::property(name);
    } else {
      return std::nullopt;
    }
    set = cased(std::move(set));
    if (complement) set.invert();
    return set;
  }

  // \n, \x41, \x{1F600}, \101 and \ before punctuation.
  char32_t escaped_character() {
    if (!take("\\")) bad("an escape was expected");
    const char32_t c = next();
    if (is_punctuation(c)) return c;
    switch (c) {
      case 'a':
        return '\a';
      case 'f':
        return '\f';
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'v':
        return '\v';
      case 'x':
        return hexadecimal();
      default:
        break;
    }
    const auto octal = [&] { return !at_end() && pattern_[pos_] >= '0' && pattern_[pos_] <= '7'; };
    // A single digit but 0 would be a reference to a group.
    if (c != '0' && !(c >= '1' && c <= '7' && octal())) bad("an unknown escape");
    char32_t value = c - '0';
    for (int digits = 1; digits < 3 && octal(); ++digits) {
      value = value * 8 + static_cast<char32_t>(pattern_[pos_++] - '0');
    }
    return value;
  }

  char32_t hexadecimal() {
    const auto digit = [&]() -> char32_t {
      const char32_t c = next();
      if (is_digit(c)) return c - '0';
      const char32_t lower = c | 0x20;
      if (lower < 'a' || lower > 'f') bad("a bad hexadecimal digit");
      return lower - 'a' + 10;
    };
    if (!take("{")) {
      const char32_t high = digit();
      return high * 16 + digit();
    }
    char32_t value = digit();
    while (!take("}")) {
      value = value * 16 + digit();
      if (value > 0x10FFFF) bad("no such character");
    }
    return value;
  }

  // What is behind an opening bracket.
  CodePointSet bracketed() {
    const bool complement = take("^");
    CodePointSet set;
    for (bool first = true; first || !take("]"); first = false) {
      if (at_end()) bad("a '[' without ']'");
      const size_t end = pattern_.find(":]", pos_ + 2);
      if (looking_at("[:") && end != std::string_view::npos) {
        take("[:");
        const bool negated = take("^");
        auto known = ascii_class(pattern_.substr(pos_, end - pos_));
        if (!known || end - pos_ == 1) bad("an unknown class");  // not d, s, w
        CodePointSet part = cased(*std::move(known));
        if (negated) part.invert();
        set.add(part);
        pos_ = end + 2;
        continue;
      }
      if (looking_at("\\")) {
        if (const auto escape = class_escape()) {
          set.add(*escape);
          continue;
        }
      }
      const char32_t low = class_character();
      char32_t high = low;
      if (looking_at("-") && !looking_at("-]")) {
        take("-");
        high = class_character();
        if (high < low) bad("a range in reverse order");
      }
      set.add(cased({{low, high}}));
    }
    if (complement) set.invert();
    return set;
  }

  char32_t class_character() { return looking_at("\\") ? escaped_character() : next(); }

  std::string_view pattern_;
  size_t pos_ = 0;
  Flags flags_;
  std::set<std::string> names_;
};

}  // namespace

NodePtr parse_regex(std::string_view pattern) { return Parser(pattern).parse(); }

}  // namespace hugot::text
