// The syntax tree of a regular expression. Syntax: Oniguruma's own, the default of the reference.
#ifndef HUGOT_TOKENIZER_REGEX_SYNTAX_H_
#define HUGOT_TOKENIZER_REGEX_SYNTAX_H_

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/code_point_set.h"

namespace hugot {

struct RegexNode;
using RegexNodePtr = std::unique_ptr<RegexNode>;

struct RegexNode {
  enum class Kind {
    kEmpty,
    kSet,          // one character of `set`
    kSequence,     // all children
    kAlternation,  // the first child that leads to a match
    kRepeat,       // children[0], min to max times
    kCapture,      // children[0], as group `index`
    kAtomic,       // children[0], with its first match only
    kLook,         // whether children[0] matches here
    kBackReference,
    kLineBegin,  // ^
    kLineEnd,    // $
    kTextBegin,
    kTextEnd,
    kTextEndOrLastLine,  // \Z
    kSearchBegin,        // \G
    kWordBorder,
    kNoWordBorder,
    kKeep,      // \K: the match begins here
    kGrapheme,  // \X
  };
  static constexpr uint32_t kUnlimited = 0xFFFFFFFF;

  Kind kind = Kind::kEmpty;
  std::vector<RegexNodePtr> children;
  CodePointSet set;
  uint32_t min = 0, max = 0;
  bool greedy = true;
  bool possessive = false;
  bool behind = false;           // of kLook
  bool negative = false;         // of kLook
  bool ignore_case = false;      // of kBackReference
  uint32_t index = 0;            // of kCapture
  std::vector<uint32_t> groups;  // of kBackReference: the last one that matched counts
};

struct RegexTree {
  RegexNodePtr root;
  uint32_t groups = 0;  // captures, numbered from 1
};

// Throws kInvalidData, with the position, for a malformed pattern and kUnsupported for syntax that
// this version lacks: calls and conditionals of groups, absent operators, text segment borders.
RegexTree parse_regex(std::string_view pattern);

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_REGEX_SYNTAX_H_
