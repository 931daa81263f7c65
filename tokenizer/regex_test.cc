#include "tokenizer/regex.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/sanitizer.h"
#include "tokenizer/pattern.h"
#include "tokenizer/word_scanner.h"

namespace hugot {
namespace {

std::vector<std::string> matches(const std::string& pattern, const std::string& text) {
  std::vector<std::string> out;
  for (const Span& span : Regex(pattern).find_all(text)) {
    out.push_back(text.substr(span.begin, span.end - span.begin));
  }
  return out;
}

using Strings = std::vector<std::string>;

ErrorCode code_of(const std::string& pattern, const std::string& text = "") {
  try {
    Regex(pattern).find_all(text);
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::kInternal;
}

}  // namespace

TEST_CASE("regex: the first alternative that leads to a match") {
  CHECK(matches("a|ab", "ab") == Strings{"a"});
  CHECK(matches("(?:a|ab)c", "abc") == Strings{"abc"});
  CHECK(matches("a+?b*?", "aab") == Strings{"a", "a"});
  CHECK(matches("(a|b)*c|.", "abd") == Strings{"a", "b", "d"});
}

TEST_CASE("regex: repetition") {
  CHECK(matches("a{2,3}", "aaaaa") == Strings{"aaa", "aa"});
  CHECK(matches("a{,2}b", "aaab") == Strings{"aab"});
  CHECK(matches("x{y}", "x{y}") == Strings{"x{y}"});
  CHECK(matches("a{2}?", "aaa") == Strings{"aa", ""});  // the repetition may be missing
  CHECK(matches("a++a", "aaa").empty());
  CHECK(matches("a{3,2}a", "aaa aaaa") == Strings{"aaaa"});
  CHECK(matches("(?>a+)b", "aab") == Strings{"aab"});
  CHECK(matches("(?:a*)*b", "aab") == Strings{"aab"});
  CHECK(matches("x*", "axb") == Strings{"", "x", ""});
}

TEST_CASE("regex: looking around, captures and \\K") {
  CHECK(matches("(?<=a|bc)d", "ad bcd cd") == Strings{"d", "d"});
  CHECK(matches("(?<!a)b", "ab b") == Strings{"b"});
  CHECK(matches("\\w+(?!\\w|!)", "ab! cd") == Strings{"cd"});
  CHECK(matches("(\\w)\\1", "aabbc") == Strings{"aa", "bb"});
  CHECK(matches("(?<x>a)(b)\\k<x>", "aba") == Strings{"aba"});
  CHECK(matches("(?i)(a)\\1", "aA") == Strings{"aA"});
  CHECK(matches("a\\Kb", "ab") == Strings{"b"});
}

TEST_CASE("regex: classes") {
  CHECK(matches("[a-z&&[^aeiou]]+", "hello") == Strings{"h", "ll"});
  CHECK(matches("[]a]+", "a]b") == Strings{"a]"});
  CHECK(matches("[a-c[x-z]-]+", "ax-d") == Strings{"ax-"});
  CHECK(matches("[[:^alpha:]]+", "a12b") == Strings{"12"});
  CHECK(matches("\\p{^L}+|\\P{Lu}", "A1") == Strings{"1"});
  CHECK(matches("\\w", "\u00B2") == Strings{"\u00B2"});
  CHECK(matches("[\\w]", "\u00B2").empty());
  CHECK(matches("[\\x00-\\xFF]+", "a\u00E1b") == Strings{"a", "b"});
  CHECK(matches("[\\377-\\x{200}\\xFF]+|\\xFF", "a\u00E1\u00FF") == Strings{"\u00FF"});
  CHECK(matches("\\xE4\\xB8\\xAD", "\u4E2D") == Strings{"\u4E2D"});
  CHECK(matches("\\h+", "0xFg") == Strings{"0", "F"});
  CHECK(matches("(?m:.)+", "a\nb") == Strings{"a\nb"});
  CHECK(matches("(?i)stra\u00DFe", "STRASSE stra\u1E9Ee") == Strings{"STRASSE", "stra\u1E9Ee"});
  CHECK(matches("(?i:K)", "\u212A") == Strings{"\u212A"});
}

TEST_CASE("regex: borders") {
  CHECK(matches("^.", "a\nb\n") == Strings{"a", "b"});
  CHECK(matches(".$", "a\nb\n") == Strings{"a", "b"});
  CHECK(matches(".\\Z", "a\nb\n") == Strings{"b"});
  CHECK(matches("\\Aa|a\\z", "aaa") == Strings{"a", "a"});
  CHECK(matches("\\b\\w", "ab cd") == Strings{"a", "c"});
  CHECK(matches("\\X", "e\u0301\r\n") == Strings{"e\u0301", "\r\n"});
}

TEST_CASE("regex: malformed and unsupported patterns") {
  for (const char* pattern : {"(a", "a)", "[a", "[b-a]", "*a", "\\p{Nope}", "\\2", "(?z)",
                              "\\x{110000}", "a{1000000}", "\\", "(?<>a)"}) {
    CHECK_MESSAGE(code_of(pattern) == ErrorCode::kInvalidData, pattern);
  }
  for (const char* pattern : {"(a)\\g<1>", "(?(1)a)", "(?~a)", "\\y", "(?:a{9999}b){100000}"}) {
    CHECK_MESSAGE(code_of(pattern) == ErrorCode::kUnsupported, pattern);
  }
  CHECK(code_of(std::string(1000, '(')) == ErrorCode::kInvalidData);
}

TEST_CASE("regex: exponential work is an error") {
  CHECK(code_of("(a*)*b|(a|aa)+$", std::string(100, 'a') + "c") == ErrorCode::kUnsupported);
  // The steps that are allowed grow with the length.
  constexpr size_t kLong = kAddressSanitizer ? 10'000 : 200'000;
  CHECK(code_of("\\s+$", std::string(kLong, ' ') + "x") == ErrorCode::kUnsupported);
  CHECK(matches("(?:ab)*", std::string(100000, 'a')).size() == 100001);
}

TEST_CASE("word scanners find what their expressions find") {
  const std::string text =
      "I'm  there, you'll\tsee: caf\u00e9s 1234567 \u0661\u0662 \u4f60\u597d!!\r\n\r\n  x\n y'S "
      "'LL "
      "'\u017F \u00b2\u2167 a\u0301 (b) \u00a0\u00a0z  \n \u3000 \u2028q'ReX?\n  ";
  // Short texts of pieces that the expressions treat differently, in all kinds of neighbourhoods.
  const std::string pieces[] = {"a",  "B",   "\u0301", "\u4f60", "\u01c5", "\u02b0",
                                "7",  " ",   "\n",     "'",      "/",      "!",
                                "'S", "'ll", "\u00c9", "\u3000"};
  std::vector<std::string> mixed;
  uint32_t random = 1;
  for (int i = 0; i < 3000; ++i) {
    std::string& part = mixed.emplace_back();
    for (int j = 0; j < 8; ++j) part += pieces[(random = random * 1664525 + 1013904223) >> 28];
  }
  for (const std::string_view pattern :
       {kGpt2Pattern, kCl100kPattern, kQwen2Pattern, kO200kPattern}) {
    REQUIRE(find_word_scanner(pattern));
    const Regex regex(pattern);
    for (const std::string& part : mixed) {
      CHECK_MESSAGE(Pattern::regex(pattern).find_all(part) == regex.find_all(part), part);
    }
    for (size_t begin = 0; begin < text.size(); ++begin) {
      if ((text[begin] & 0xC0) == 0x80) continue;
      const std::string part = text.substr(begin);
      CHECK(Pattern::regex(pattern).find_all(part) == Regex(pattern).find_all(part));
    }
  }
}

}  // namespace hugot
