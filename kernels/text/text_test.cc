#include "kernels/text/text.h"

#include <doctest/doctest.h>

#include "kernels/text/regex.h"
#include "tests/harness.h"

namespace hugot::test {
namespace {

using Strings = std::vector<std::string>;

Tensor strings(const Shape& shape, std::initializer_list<std::string> values) {
  return Tensor::from<std::string>(shape, values);
}
Tensor int64s(const Shape& shape, std::initializer_list<int64_t> values) {
  return Tensor::from<int64_t>(shape, values);
}
Attributes pattern(const char* text) { return {{"pattern", std::string(text)}}; }

bool matches(const char* regex, std::string_view text) { return text::Regex(regex).matches(text); }

}  // namespace

TEST_CASE("whole texts match regular expressions as in RE2") {
  struct Expectation {
    const char* regex;
    Strings yes, no;
  };
  const Expectation all[] = {
      {"", {""}, {"a"}},
      {"abc|d?", {"abc", "d", ""}, {"ab", "abcd", "dd"}},
      {"(a|ab)(c|bcd)", {"ac", "abcd", "abc", "abbcd"}, {"ab", "a"}},
      {"a*?b+", {"b", "aab", "abb"}, {"a", "ba"}},
      {"a{2,3}b{0}c{1,}d{2}", {"aacdd", "aaaccdd"}, {"acdd", "aabcdd", "aacd", "aaaacdd"}},
      {"a{,2}{", {"a{,2}{"}, {"aa"}},
      {"(){1000}((a{0}){1000}){1000}", {""}, {"a"}},
      {"(a*)*(b|)*", {"", "aab", "aaabbb"}, {"ba"}},
      {".", {"x", "\u00e9", "\U0001F600"}, {"\n", "", "xy", "\xff", "\xc3"}},
      {"(?s).+", {"a\nb"}, {""}},
      {"(?s:.)(?-s:.)", {"\nb"}, {"b\n"}},
      {"^a$", {"a"}, {"a\n", "\na"}},
      {"(?m)a$\\n^b", {"a\nb"}, {"ab", "a\n\nb"}},
      {"\\Aa\\z", {"a"}, {"aa"}},
      {"\\ba\\b.*", {"a b", "a"}, {"ab"}},
      {"a\\B.*", {"ab"}, {"a b", "a"}},
      {"[a-cx-]+[^a-c\\n]", {"a-xz", "-x"}, {"az\n", "b"}},
      {"[]a]+[^]a]", {"]ab"}, {"]a]"}},
      {"[[:alpha:]_][[:^digit:]]\\d\\D\\s\\S\\w\\W", {"_x1a b_-"}, {"1x1a b_-", "_11a b_-"}},
      {"[[:x]+", {"[:x"}, {"y"}},
      {"[\\d\\-z]+", {"1-z"}, {"a"}},
      {"\\d", {"7"}, {"\u0667"}},
      {"\\pL\\p{Greek}\\P{Lu}\\p{^Lu}\\p{Any}", {"a\u03b1b1\n"}, {"a\u03b1Bb1", "1\u03b1b11"}},
      {"(?i)stra\u00dfe[k]", {"STRA\u1e9eEK", "stra\u00dfe\u212a"}, {"strasse"}},
      {"a(?i)b(?-i:c)(?i:d)e", {"aBcDE", "abcde"}, {"Abcde", "abCde"}},
      {"(?P<year>\\d{4})-(?<m>\\d\\d)", {"2024-05"}, {"2024-5"}},
      {"\\Qa.b*\\E+", {"a.b*", "a.b***"}, {"axb"}},
      {"\\x41\\x{1F600}\\101\\0\\n\\.\\/", {std::string("A\U0001F600A\0\n./", 10)}, {"A"}},
      {"(\\W|^)[\\w.\\-]{0,25}@(yahoo|gmail)\\.com(\\W|$)",
       {"account@gmail.com", "account@yahoo.com"},
       {"account@hotmail.com", "not email"}},
  };
  for (const Expectation& one : all) {
    CAPTURE(one.regex);
    for (const std::string& text : one.yes) CHECK_MESSAGE(matches(one.regex, text), text);
    for (const std::string& text : one.no) CHECK_MESSAGE(!matches(one.regex, text), text);
  }
}

TEST_CASE("the first of the longest matches in a text") {
  const auto found = [](const char* regex, std::string_view text, size_t from) -> std::string {
    const auto span = text::Regex(regex).find(text, from);
    if (!span) return "none";
    return std::to_string(span->begin) + ".." + std::to_string(span->end);
  };
  CHECK(found("a|ab|abc", "xxabcd", 0) == "2..5");
  CHECK(found("b+|abb?", "xabbb", 0) == "1..4");
  CHECK(found("(a|b)*c|b", "abababx", 0) == "1..2");
  CHECK(found("a*?", "baa", 0) == "0..0");
  CHECK(found("a*?", "baa", 1) == "1..3");
  CHECK(found("^b", "ab", 1) == "none");
  CHECK(found("\\bb", "ab b", 1) == "3..4");
  CHECK(found("$", "ab", 0) == "2..2");
  CHECK(found("[^a]", "a\u00e9", 1) == "1..3");
  CHECK(found("x", "", 0) == "none");
}

TEST_CASE("malformed regular expressions are errors") {
  for (const char* regex : {"(",       ")",       "a)",       "(?P<n>a)(?P<n>b)",
                            "(?P<>a)", "(?P<n",   "(?x)a",    "(?=a)",
                            "(?i-)a",  "[a",      "[b-a]",    "[[:foo:]]",
                            "[[:d:]]", "*",       "a**",      "a*+",
                            "a{2}{3}", "a{1001}", "a{3,2}",   "\\",
                            "\\8",     "\\1",     "\\y",      "\\x{110000}",
                            "\\xg1",   "\\pX",    "\\p{Foo}", "\\p{Greek",
                            "\xff"}) {
    CAPTURE(regex);
    CHECK_THROWS_AS(text::parse_regex(regex), Error);
  }
  CHECK_THROWS_AS(text::parse_regex(std::string(100000, '(')), Error);
  CHECK_THROWS_AS(text::Regex("((a{1000}){1000}){1000}"), Error);
}

TEST_CASE("time for a match is proportional to the text") {
  const std::string text(20000, 'a');
  CHECK_FALSE(matches("(a*)*(a|aa)*b", text));
  CHECK_FALSE(text::Regex("(a*)*(a|aa)*b").find(text, 0));
}

TEST_CASE("RegexFullMatch and StringConcat") {
  run_cases({
      {.name = "every element",
       .op_type = "RegexFullMatch",
       .inputs = {strings({2, 1}, {"abc", "ab"})},
       .attributes = pattern("ab."),
       .expected = {Tensor::from<bool>({2, 1}, {true, false})}},
      {.name = "no pattern",
       .op_type = "RegexFullMatch",
       .inputs = {strings({1}, {"abc"})},
       .error = ErrorCode::kInvalidData},
      {.name = "broadcast",
       .op_type = "StringConcat",
       .inputs = {strings({2, 1}, {"a", ""}), strings({2}, {"x", "\u00e9"})},
       .expected = {strings({2, 2}, {"ax", "a\u00e9", "x", "\u00e9"})}},
      {.name = "scalars",
       .op_type = "StringConcat",
       .inputs = {strings({}, {"a"}), strings({}, {"b"})},
       .expected = {strings({}, {"ab"})}},
      {.name = "do not fit",
       .op_type = "StringConcat",
       .inputs = {strings({2}, {"a", "b"}), strings({3}, {"x", "y", "z"})},
       .error = ErrorCode::kInvalidArgument},
  });
}

TEST_CASE("upper and lower case") {
  CHECK(text::to_upper("a\u00dfz\u00e9\u0149\u01c6\u03c2\ufb03\U00010428") ==
        "ASSZ\u00c9\u02bcN\u01c4\u03a3FFI\U00010400");
  CHECK(text::to_lower("A\u1e9eZ\u00c9\u0130") == "a\u00dfz\u00e9i\u0307");
  CHECK_THROWS_AS(text::to_upper("\xff"), Error);
}

TEST_CASE("StringNormalizer") {
  const Tensor days = strings({4}, {"monday", "Tuesday", "MONDAY", "\u00e9t\u00e9"});
  const auto form = [](const char* action, bool exact, Strings stopwords) {
    return Attributes{{"case_change_action", std::string(action)},
                      {"is_case_sensitive", int64_t{exact}},
                      {"stopwords", std::move(stopwords)}};
  };
  run_cases({
      {.name = "nothing to do",
       .op_type = "StringNormalizer",
       .inputs = {days},
       .expected = {days}},
      {.name = "case matters",
       .op_type = "StringNormalizer",
       .inputs = {days},
       .attributes = form("UPPER", true, {"monday"}),
       .expected = {strings({3}, {"TUESDAY", "MONDAY", "\u00c9T\u00c9"})}},
      {.name = "case does not matter",
       .op_type = "StringNormalizer",
       .inputs = {days.reshaped({1, 4})},
       .attributes = form("LOWER", false, {"Monday"}),
       .expected = {strings({1, 2}, {"tuesday", "\u00e9t\u00e9"})}},
      {.name = "nothing left",
       .op_type = "StringNormalizer",
       .inputs = {strings({1, 1}, {"monday"})},
       .attributes = form("NONE", true, {"monday"}),
       .expected = {strings({1, 1}, {""})}},
      {.name = "two rows",
       .op_type = "StringNormalizer",
       .inputs = {days.reshaped({2, 2})},
       .error = ErrorCode::kInvalidArgument},
      {.name = "no such action",
       .op_type = "StringNormalizer",
       .inputs = {days},
       .attributes = form("TITLE", true, {}),
       .error = ErrorCode::kInvalidArgument},
  });
}

TEST_CASE("StringSplit") {
  const auto form = [](const char* delimiter, int64_t most) {
    return Attributes{{"delimiter", std::string(delimiter)}, {"maxsplit", most}};
  };
  run_cases({
      {.name = "words",
       .op_type = "StringSplit",
       .inputs = {strings({3}, {" a  b\u3000c ", "", "x\n"})},
       .expected = {strings({3, 3}, {"a", "b", "c", "", "", "", "x", "", ""}),
                    int64s({3}, {3, 0, 1})}},
      {.name = "words, one cut",
       .op_type = "StringSplit",
       .inputs = {strings({2}, {" a  b c ", " a "})},
       .attributes = form("", 1),
       .expected = {strings({2, 2}, {"a", "b c ", "a", ""}), int64s({2}, {2, 1})}},
      {.name = "a delimiter",
       .op_type = "StringSplit",
       .inputs = {strings({2, 1}, {"a--b----c", ""})},
       .attributes = {{"delimiter", std::string("--")}},
       .expected = {strings({2, 1, 4}, {"a", "b", "", "c", "", "", "", ""}),
                    int64s({2, 1}, {4, 1})}},
      {.name = "no cut",
       .op_type = "StringSplit",
       .inputs = {strings({1}, {"a-b"})},
       .attributes = form("-", 0),
       .expected = {strings({1, 1}, {"a-b"}), int64s({1}, {1})}},
      {.name = "nothing",
       .op_type = "StringSplit",
       .inputs = {strings({0}, {})},
       .expected = {strings({0, 0}, {}), int64s({0}, {})}},
  });
}

TEST_CASE("Tokenizer") {
  const auto form = [](const char* attribute, Attribute value, bool mark, int64_t shortest) {
    return Attributes{{"mark", int64_t{mark}},
                      {"pad_value", std::string("#")},
                      {"mincharnum", shortest},
                      {attribute, std::move(value)}};
  };
  const auto test = [](const char* name, Tensor in, Attributes attributes, Tensor out) {
    return Case{.name = name,
                .op_type = "Tokenizer",
                .inputs = {std::move(in)},
                .attributes = std::move(attributes),
                .expected = {std::move(out)},
                .domain = "com.microsoft"};
  };
  const auto refused = [&](const char* name, Attributes attributes, ErrorCode code) {
    Case result = test(name, strings({1}, {"a"}), std::move(attributes), {});
    result.expected.clear();
    result.error = code;
    return result;
  };
  const std::string a = "\x02", z = "\x03";
  const Tensor words = strings({2, 1}, {"a bc, d\u00e9f", "x"});
  run_cases({
      test("characters", strings({2}, {"a\u00e9", ""}), form("separators", Strings{""}, true, 1),
           strings({2, 4}, {a, "a", "\u00e9", z, a, z, "#", "#"})),
      test("characters by an expression", strings({1}, {"\U0001F600b"}),
           form("tokenexp", std::string("."), false, 1), strings({1, 2}, {"\U0001F600", "b"})),
      test("no characters", strings({2}, {"", ""}), form("separators", Strings{""}, true, 1),
           strings({2, 0}, {})),
      test("words", words, form("tokenexp", std::string("[a-z\u00e9]+"), false, 1),
           strings({2, 1, 3}, {"a", "bc", "d\u00e9f", "x", "#", "#"})),
      test("words that are long enough", words,
           form("tokenexp", std::string("[a-z\u00e9]+"), true, 2),
           strings({2, 1, 4}, {a, "bc", "d\u00e9f", z, a, z, "#", "#"})),
      test("separators", words, form("separators", Strings{",", " ", "e|\u00e9"}, false, 1),
           strings({2, 1, 4}, {"a", "bc", "d", "f", "x", "#", "#", "#"})),
      test("the longest separator", strings({1}, {"a--b---c"}),
           form("separators", Strings{"-|--"}, false, 1), strings({1, 3}, {"a", "b", "c"})),
      test("short parts go", strings({1}, {"aa b cc"}), form("separators", Strings{" "}, false, 2),
           strings({1, 2}, {"aa", "cc"})),
      test("separators that match nothing", strings({1}, {"ab-cd"}),
           form("separators", Strings{"-*"}, false, 1), strings({1, 0}, {})),
      test("tokens that match nothing", strings({1}, {"ab-cd"}),
           form("tokenexp", std::string("[a-z]*"), false, 1), strings({1, 2}, {"ab", "cd"})),
      test("no strings", strings({0, 1}, {}), form("tokenexp", std::string("a"), true, 1),
           strings({0, 1, 0}, {})),
      refused("no expression", form("other", std::string("a"), false, 1), ErrorCode::kInvalidData),
      refused("no length", form("tokenexp", std::string("a"), false, 0), ErrorCode::kInvalidData),
      refused("long characters", form("tokenexp", std::string("."), false, 2),
              ErrorCode::kInvalidData),
      {.name = "no UTF-8",
       .op_type = "Tokenizer",
       .inputs = {strings({1}, {"\xff"})},
       .attributes = form("tokenexp", std::string("a"), false, 1),
       .domain = "com.microsoft",
       .error = ErrorCode::kInvalidArgument},
  });
}

TEST_CASE("TfIdfVectorizer") {
  const auto form = [](const char* mode, int64_t min, int64_t max, int64_t skip) {
    return Attributes{{"mode", std::string(mode)},
                      {"min_gram_length", min},
                      {"max_gram_length", max},
                      {"max_skip_count", skip},
                      {"ngram_counts", std::vector<int64_t>{0, 2}},
                      {"ngram_indexes", std::vector<int64_t>{3, 0, 1, 2}},
                      {"pool_int64s", std::vector<int64_t>{2, 3, 1, 2, 2, 3}}};
  };
  const auto with = [](Attributes attributes, const char* name, Attribute value) {
    attributes[name] = std::move(value);
    return attributes;
  };
  const auto counts = [](std::initializer_list<double> values) {
    return numbers(DType::kFloat32, {static_cast<int64_t>(values.size())}, values);
  };
  const Tensor row = int64s({5}, {1, 2, 2, 3, 9});
  Attributes words = form("TF", 1, 1, 0);
  words.erase("pool_int64s");
  words["pool_strings"] = Strings{"a", "b", "a", "b", "c", "d"};
  run_cases({
      {.name = "one and two items",
       .op_type = "TfIdfVectorizer",
       .inputs = {row},
       .attributes = form("TF", 1, 2, 0),
       .expected = {counts({1, 1, 1, 2})}},
      {.name = "two items that skip",
       .op_type = "TfIdfVectorizer",
       .inputs = {as_type(row, DType::kInt32)},
       .attributes = form("TF", 2, 2, 1),
       .expected = {counts({0, 2, 2, 0})}},
      {.name = "whether",
       .op_type = "TfIdfVectorizer",
       .inputs = {row.reshaped({1, 5})},
       .attributes = with(form("IDF", 1, 2, 0), "weights", std::vector<float>{2, 3, 4, 5}),
       .expected = {counts({3, 4, 5, 2}).reshaped({1, 4})}},
      {.name = "with weights",
       .op_type = "TfIdfVectorizer",
       .inputs = {row},
       .attributes = with(form("TFIDF", 1, 2, 0), "weights", std::vector<float>{2, 3, 4, 5}),
       .expected = {counts({3, 4, 5, 4})}},
      {.name = "words",
       .op_type = "TfIdfVectorizer",
       .inputs = {strings({2, 2}, {"a", "b", "b", "x"})},
       .attributes = words,
       .expected = {numbers(DType::kFloat32, {2, 4}, {1, 0, 0, 1, 1, 0, 0, 0})}},
      {.name = "other items",
       .op_type = "TfIdfVectorizer",
       .inputs = {strings({1}, {"a"})},
       .attributes = form("TF", 1, 2, 0),
       .error = ErrorCode::kInvalidArgument},
      {.name = "a part of an n-gram",
       .op_type = "TfIdfVectorizer",
       .inputs = {row},
       .attributes = with(form("TF", 1, 2, 0), "ngram_counts", std::vector<int64_t>{0, 1}),
       .error = ErrorCode::kInvalidData},
      {.name = "n-grams behind the pool",
       .op_type = "TfIdfVectorizer",
       .inputs = {row},
       .attributes = with(form("TF", 1, 2, 0), "ngram_counts", std::vector<int64_t>{0, 100}),
       .error = ErrorCode::kInvalidData},
      {.name = "a negative place",
       .op_type = "TfIdfVectorizer",
       .inputs = {row},
       .attributes = with(form("TF", 1, 2, 0), "ngram_indexes", std::vector<int64_t>{0, 1, 2, -1}),
       .error = ErrorCode::kInvalidData},
      {.name = "too few weights",
       .op_type = "TfIdfVectorizer",
       .inputs = {row},
       .attributes = with(form("IDF", 1, 2, 0), "weights", std::vector<float>{2}),
       .error = ErrorCode::kInvalidData},
  });
}

}  // namespace hugot::test
