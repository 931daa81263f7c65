#include "tokenizer/regex_syntax.h"

#include <algorithm>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "tokenizer/regex_class.h"
#include "tokenizer/regex_scanner.h"

namespace hugot {
namespace {

using Kind = RegexNode::Kind;

RegexNodePtr make(Kind kind) {
  auto node = std::make_unique<RegexNode>();
  node->kind = kind;
  return node;
}

RegexNodePtr make(Kind kind, RegexNodePtr child) {
  RegexNodePtr node = make(kind);
  node->children.push_back(std::move(child));
  return node;
}

RegexNodePtr make_set(CodePointSet set) {
  RegexNodePtr node = make(Kind::kSet);
  node->set = std::move(set);
  return node;
}

RegexNodePtr make_repeat(RegexNodePtr child, uint32_t min, uint32_t max) {
  RegexNodePtr node = make(Kind::kRepeat, std::move(child));
  node->min = min;
  node->max = max;
  return node;
}

// One of these for every level of parentheses.
struct Options {
  bool ignore_case = false;
  bool dot_matches_newline = false;
  bool extended = false;
};

class Parser {
 public:
  explicit Parser(std::string_view pattern) : in_(pattern) {
    // A pattern with named groups does not count its plain ones.
    for (size_t i = 0; i + 3 < pattern.size(); ++i) {
      if (pattern[i] == '\\') {
        ++i;
      } else if (pattern.substr(i, 3) == "(?'" ||
                 (pattern.substr(i, 3) == "(?<" && pattern[i + 3] != '=' &&
                  pattern[i + 3] != '!')) {
        has_names_ = true;
      }
    }
  }

  RegexTree parse() {
    RegexTree tree;
    tree.root = parse_alternation({});
    if (!in_.done()) in_.fail("unmatched close parenthesis");
    for (RegexNode* node : references_) resolve(*node);
    tree.groups = groups_;
    return tree;
  }

 private:
  // Up to the closing parenthesis, which stays, or the end.
  RegexNodePtr parse_alternation(Options options) {
    const RegexScanner::Nesting nesting(in_);
    RegexNodePtr out = make(Kind::kAlternation);
    do {
      out->children.push_back(parse_sequence(options));
    } while (in_.skip('|'));
    return out->children.size() == 1 ? std::move(out->children[0]) : std::move(out);
  }

  RegexNodePtr parse_sequence(Options options) {
    RegexNodePtr out = make(Kind::kSequence);
    std::vector<char32_t> literals;  // that end the sequence, when case is ignored
    while (!in_.done() && in_.peek() != '|' && in_.peek() != ')') {
      if (options.extended && skip_blank()) continue;
      if (in_.skip("(?#")) {
        while (!in_.skip(')')) in_.next();
        continue;
      }
      if (const auto changed = parse_option_change(options)) {
        // Such options hold to the end of the group, alternatives included.
        out->children.push_back(parse_alternation(*changed));
        break;
      }
      literal_.reset();
      RegexNodePtr node = parse_quantified(options);
      if (literal_ && options.ignore_case) {
        literals.push_back(*literal_);
        out->children.push_back(std::move(node));
        join_long_folds(*out, literals);
      } else {
        literals.clear();
        out->children.push_back(std::move(node));
      }
    }
    return out->children.size() == 1 ? std::move(out->children[0]) : std::move(out);
  }

  // What two or three literals fold to may also be one character, like the sharp s.
  static void join_long_folds(RegexNode& sequence, std::vector<char32_t>& literals) {
    for (size_t length = 3; length >= 2; --length) {
      if (literals.size() < length) continue;
      CodePointSet same;
      for (const LongFold& fold : long_folds()) {
        bool equal = (fold.folded[2] != 0) == (length == 3);
        for (size_t i = 0; equal && i < length; ++i) {
          equal = simple_fold(literals[literals.size() - length + i]) == fold.folded[i];
        }
        if (equal) same.add(fold.code_point, fold.code_point);
      }
      if (same.empty()) continue;
      RegexNodePtr parts = make(Kind::kSequence);
      const auto begin = sequence.children.end() - static_cast<ptrdiff_t>(length);
      std::move(begin, sequence.children.end(), std::back_inserter(parts->children));
      sequence.children.erase(begin, sequence.children.end());
      RegexNodePtr either = make(Kind::kAlternation);
      either->children.push_back(std::move(parts));
      either->children.push_back(make_set(std::move(same)));
      sequence.children.push_back(std::move(either));
      literals.clear();
      return;
    }
  }

  bool skip_blank() {
    if (in_.skip('#')) {
      while (!in_.done() && in_.next() != '\n') {
      }
      return true;
    }
    const char32_t c = in_.peek();
    if (c != ' ' && (c < '\t' || c > '\r')) return false;
    in_.next();
    return true;
  }

  // (?imx-imx) without a colon.
  std::optional<Options> parse_option_change(Options options) {
    const size_t begin = in_.position();
    if (in_.skip("(?") && parse_options(options) && in_.skip(')')) return options;
    in_.seek(begin);
    return std::nullopt;
  }

  // The letters; false when there is another character.
  bool parse_options(Options& options) {
    bool value = true;
    for (bool any = false;; any = true) {
      if (in_.done()) return false;
      switch (in_.peek()) {
        case 'i':
          options.ignore_case = value;
          break;
        case 'm':
          options.dot_matches_newline = value;
          break;
        case 'x':
          options.extended = value;
          break;
        case '-':
          value = false;
          break;
        default:
          return any && (in_.peek() == ')' || in_.peek() == ':');
      }
      in_.next();
    }
  }

  RegexNodePtr parse_quantified(Options options) {
    RegexNodePtr node = parse_atom(options);
    for (;;) {
      if (options.extended && !in_.done() && skip_blank()) continue;
      uint32_t min = 0;
      uint32_t max = RegexNode::kUnlimited;
      bool interval = false;
      if (in_.skip('?')) {
        max = 1;
      } else if (in_.skip('+')) {
        min = 1;
      } else if (!in_.skip('*')) {
        if (!in_.interval(min, max)) return node;
        interval = true;
      }
      literal_.reset();
      const bool exact = interval && min == max;
      const bool swapped = min > max;  // which makes it possessive
      if (swapped) std::swap(min, max);
      node = make_repeat(std::move(node), min, max);
      node->possessive = swapped;
      // {n}? repeats the repetition, as {n,m}+ does.
      if (!exact && in_.skip('?')) {
        node->greedy = false;
      } else if (!interval && in_.skip('+')) {
        node->possessive = true;
      }
    }
  }

  RegexNodePtr parse_atom(Options options) {
    if (in_.skip('(')) return parse_group(options);
    if (in_.skip('[')) {
      CodePointSet set = parse_regex_class(in_, options.ignore_case);
      return make_set(std::move(set));
    }
    if (in_.skip('.')) {
      CodePointSet newline{{'\n', '\n'}};
      if (options.dot_matches_newline) return make_set(CodePointSet::any());
      newline.invert();
      return make_set(std::move(newline));
    }
    if (in_.skip('^')) return make(Kind::kLineBegin);
    if (in_.skip('$')) return make(Kind::kLineEnd);
    if (in_.peek() == '*' || in_.peek() == '+' || in_.peek() == '?') {
      in_.fail("there is nothing to repeat");
    }
    if (in_.peek() == '\\') {
      if (RegexNodePtr node = parse_escape(options)) return node;
    }
    return parse_literal(options);
  }

  RegexNodePtr parse_literal(Options options) {
    const char32_t c = in_.peek() == '\\' ? parse_escaped_character(in_, false) : in_.next();
    if (!options.ignore_case) return make_set({{c, c}});
    literal_ = c;
    CodePointSet set;
    for (const char32_t same : fold_class(c)) set.add(same, same);
    for (const LongFold& fold : long_folds()) {
      if (fold.code_point != c) continue;
      // The character itself, others with the same fold, or that fold.
      RegexNodePtr either = make(Kind::kAlternation);
      RegexNodePtr parts = make(Kind::kSequence);
      for (const char32_t part : fold.folded) {
        if (part == 0) continue;
        CodePointSet same;
        for (const char32_t other : fold_class(part)) same.add(other, other);
        parts->children.push_back(make_set(std::move(same)));
      }
      for (const LongFold& other : long_folds()) {
        if (other.folded == fold.folded) set.add(other.code_point, other.code_point);
      }
      either->children.push_back(make_set(std::move(set)));
      either->children.push_back(std::move(parts));
      literal_.reset();
      return either;
    }
    return make_set(std::move(set));
  }

  // Escapes that are more than a character; null, with nothing read, for one.
  RegexNodePtr parse_escape(Options options) {
    const size_t begin = in_.position();
    if (auto set = parse_class_escape(in_, false)) {
      if (options.ignore_case) set->close_under_case();
      return make_set(std::move(*set));
    }
    in_.next();
    const char32_t c = in_.done() ? 0 : in_.next();
    switch (c) {
      case 'A':
        return make(Kind::kTextBegin);
      case 'z':
        return make(Kind::kTextEnd);
      case 'Z':
        return make(Kind::kTextEndOrLastLine);
      case 'G':
        return make(Kind::kSearchBegin);
      case 'b':
        return make(Kind::kWordBorder);
      case 'B':
        return make(Kind::kNoWordBorder);
      case 'K':
        return make(Kind::kKeep);
      case 'X':
        return make(Kind::kGrapheme);
      case 'O':
        return make_set(CodePointSet::any());
      case 'N': {
        CodePointSet set{{'\n', '\n'}};
        set.invert();
        return make_set(std::move(set));
      }
      case 'R': {
        RegexNodePtr pair = make(Kind::kSequence);
        pair->children.push_back(make_set({{'\r', '\r'}}));
        pair->children.push_back(make_set({{'\n', '\n'}}));
        RegexNodePtr either = make(Kind::kAlternation);
        either->children.push_back(std::move(pair));
        either->children.push_back(make_set({{'\n', '\r'}, {0x85, 0x85}, {0x2028, 0x2029}}));
        return make(Kind::kAtomic, std::move(either));
      }
      case 'k':
        if (in_.skip('<')) return make_reference(in_.until('>'), options);
        if (in_.skip('\'')) return make_reference(in_.until('\''), options);
        in_.fail("malformed back reference");
      case 'g':
        in_.fail_unsupported("calls of groups");
      case 'y':
      case 'Y':
        in_.fail_unsupported("text segment borders");
      default:
        break;
    }
    if (c >= '1' && c <= '9') {
      std::string number(1, static_cast<char>(c));
      while (!in_.done() && in_.peek() >= '0' && in_.peek() <= '9' && number.size() < 4) {
        number += static_cast<char>(in_.next());
      }
      return make_reference(number, options);
    }
    in_.seek(begin);
    return nullptr;
  }

  RegexNodePtr make_reference(const std::string& name, Options options) {
    RegexNodePtr node = make(Kind::kBackReference);
    node->ignore_case = options.ignore_case;
    const bool number = !name.empty() && std::all_of(name.begin(), name.end(),
                                                     [](char c) { return c >= '0' && c <= '9'; });
    if (number && name.size() <= 4) {
      if (has_names_) in_.fail("numbered back reference beside named groups");
      node->groups = {static_cast<uint32_t>(std::stoul(name))};
    } else {
      const auto found = names_.find(name);
      if (found == names_.end()) in_.fail("back reference to a group that is not there");
      node->groups = found->second;
    }
    references_.push_back(node.get());
    return node;
  }

  void resolve(const RegexNode& node) const {
    for (const uint32_t group : node.groups) {
      if (group == 0 || group > groups_) in_.fail("back reference to a group that is not there");
    }
  }

  RegexNodePtr parse_group(Options options) {
    RegexNodePtr node;
    if (!in_.skip('?')) {
      if (has_names_) return close(parse_alternation(options));
      node = make(Kind::kCapture);
      node->index = ++groups_;
    } else if (in_.skip(':')) {
      return close(parse_alternation(options));
    } else if (in_.skip('>')) {
      node = make(Kind::kAtomic);
    } else if (in_.skip('=') || in_.skip("<=")) {
      node = make(Kind::kLook);
      node->behind = in_.before() == '=' && in_.before(2) == '<';
    } else if (in_.skip('!') || in_.skip("<!")) {
      node = make(Kind::kLook);
      node->negative = true;
      node->behind = in_.before(2) == '<';
    } else if (in_.skip('<') || in_.skip('\'')) {
      const std::string name = in_.until(in_.before() == '<' ? '>' : '\'');
      if (name.empty()) in_.fail("a group name is empty");
      node = make(Kind::kCapture);
      node->index = ++groups_;
      names_[name].push_back(node->index);
    } else if (in_.skip('(') || in_.skip('~') || in_.skip('{') || in_.skip('@')) {
      in_.fail_unsupported("conditions, callouts and absent operators");
    } else {
      if (!parse_options(options) || !in_.skip(':')) in_.fail("undefined group option");
      return close(parse_alternation(options));
    }
    node->children.push_back(close(parse_alternation(options)));
    literal_.reset();
    return node;
  }

  RegexNodePtr close(RegexNodePtr node) {
    if (!in_.skip(')')) in_.fail("end pattern with unmatched parenthesis");
    literal_.reset();
    return node;
  }

  RegexScanner in_;
  bool has_names_ = false;
  uint32_t groups_ = 0;
  std::unordered_map<std::string, std::vector<uint32_t>> names_;
  std::vector<RegexNode*> references_;
  std::optional<char32_t> literal_;  // what parse_quantified read, when that was one literal
};

}  // namespace

RegexTree parse_regex(std::string_view pattern) { return Parser(pattern).parse(); }

}  // namespace hugot
