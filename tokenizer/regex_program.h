// What a regular expression compiles to.
#ifndef HUGOT_TOKENIZER_REGEX_PROGRAM_H_
#define HUGOT_TOKENIZER_REGEX_PROGRAM_H_

#include <array>
#include <bitset>
#include <cstdint>
#include <string>
#include <vector>

#include "base/code_point_set.h"
#include "tokenizer/regex.h"

namespace hugot {

struct RegexInstruction {
  enum class Op : uint8_t {
    kMatch,
    kText,           // the bytes [a, b) of Program::text
    kSet,            // a character of sets[a]
    kSetLoop,        // min to max characters of sets[a]
    kSplit,          // a, and if that fails b
    kJump,           // a
    kSave,           // slots[a] = position
    kEmptyCheck,     // jump to b if the position is slots[a]: an iteration that matched nothing
    kLook,           // run the instructions from the next one; if they match as wanted, jump to a
    kAtomic,         // the same; go on where they matched to
    kAt,             // whether the position is the end of a look behind
    kBackReference,  // groups[a, b) of Program::groups
    kAssert,         // assertion a
    kKeep,
    kGrapheme,
  };
  Op op;
  bool greedy = true;
  bool possessive = false;  // gives nothing back
  bool behind = false;
  bool negative = false;
  bool ignore_case = false;
  uint32_t a = 0, b = 0;
  uint32_t min = 0, max = 0;  // of kSetLoop; of kLook behind: characters to step back
};

struct Regex::Program {
  std::vector<RegexInstruction> code;
  std::vector<CodePointMatcher> sets;
  std::string text;
  std::vector<uint32_t> groups;
  uint32_t slots = 2;  // 2 and on: captures and positions of loops
  uint32_t word = 0;   // the set of word characters, if there are word borders
  // Bytes that a match can begin with; all when it may be empty.
  std::bitset<256> first;
};

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_REGEX_PROGRAM_H_
