#include <doctest/doctest.h>

#include <cmath>
#include <complex>
#include <cstring>
#include <limits>
#include <random>
#include <string>

#include "base/error.h"
#include "tools/bench.h"
#include "tools/compare.h"
#include "tools/json_row.h"
#include "tools/json_text.h"
#include "tools/sha256.h"

namespace hugot::tools {
namespace {

std::string text_of(float x, JsonStyle style) {
  std::string out;
  append_float(out, x, style);
  return out;
}

std::string quoted(std::string_view text, JsonStyle style) {
  std::string out;
  append_string(out, text, style);
  return out;
}

std::string error_of(std::string_view line) {
  try {
    const JsonRow row(line);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST_CASE("floats in Go's notation") {
  const auto go = [](float x) { return text_of(x, JsonStyle::kGo); };
  CHECK(go(0.0f) == "0");
  CHECK(go(-0.0f) == "-0");
  CHECK(go(1.0f) == "1");
  CHECK(go(-1.5f) == "-1.5");
  CHECK(go(0.1f) == "0.1");
  CHECK(go(123456.789f) == "123456.79");
  CHECK(go(1e-6f) == "0.000001");
  CHECK(go(9.99e-7f) == "9.99e-7");
  CHECK(go(1.5e-10f) == "1.5e-10");
  CHECK(go(1e20f) == "100000000000000000000");
  CHECK(go(1e21f) == "1e+21");
  CHECK(go(std::numeric_limits<float>::max()) == "3.4028235e+38");
  CHECK(go(std::numeric_limits<float>::denorm_min()) == "1e-45");
  CHECK(text_of(1e-6f, JsonStyle::kPlain) == "1e-06");
}

TEST_CASE("floats read back as they were") {
  std::mt19937 random(1);
  for (int i = 0; i < 100000; ++i) {
    const auto bits = static_cast<uint32_t>(random());
    float x;
    std::memcpy(&x, &bits, sizeof(x));
    if (!std::isfinite(x)) continue;
    CHECK_EQ(static_cast<float>(std::stod(text_of(x, JsonStyle::kGo))), x);
    CHECK_EQ(static_cast<float>(std::stod(text_of(x, JsonStyle::kPlain))), x);
  }
}

TEST_CASE("strings: escapes of both styles, and bytes that are not UTF-8") {
  const std::string_view text = "a<b>&\"\\\n\t\x01\xFF\xE2\x80\xA8\xC3\xA9";
  CHECK(quoted(text, JsonStyle::kGo) ==
        "\"a\\u003cb\\u003e\\u0026\\\"\\\\\\n\\t\\u0001\uFFFD\\u2028\u00e9\"");
  CHECK(quoted(text, JsonStyle::kPlain) == "\"a<b>&\\\"\\\\\\n\\t\\u0001\uFFFD\u2028\u00e9\"");
}

TEST_CASE("rows: members are added and dropped, everything else stays") {
  const auto with = [](std::string_view line) {
    return JsonRow(line).with("\"output\":1", {"output", "error"});
  };
  CHECK(with("{}") == R"({"output":1})");
  CHECK(with(" { } ") == R"({"output":1})");
  CHECK(with(R"({"a":1})") == R"({"a":1,"output":1})");
  CHECK(with("{\"a\" : 1.50 }\r") == R"({"a" : 1.50 ,"output":1})");
  CHECK(with(R"({"output":0})") == R"({"output":1})");
  CHECK(with(R"({"output":0, "a":1})") == R"({"a":1,"output":1})");
  CHECK(with(R"({"a":1, "output":[{"b":"}"}], "c":"\"]"})") == R"({"a":1, "c":"\"]","output":1})");
  CHECK(with(R"({"output":0,"error":"x","a":[],"output":2})") == R"({"a":[],"output":1})");
  CHECK(with(R"({"\u006futput":0,"a":true})") == R"({"a":true,"output":1})");
  CHECK(with("\xEF\xBB\xBF{\"a\":-1e5}") == R"({"a":-1e5,"output":1})");
}

TEST_CASE("rows: values, and what is wrong with a line") {
  const JsonRow row(R"({"input":"a\u00e9","n":3,"input":"last"})");
  CHECK(row.text("input") == "last");
  CHECK(row.at("n") == 3);
  CHECK(!row.has("x"));
  CHECK(JsonRow(R"({"ids":[3,0]})").ids("ids") == std::vector<int32_t>{3, 0});
  for (const char* bad : {R"({"ids":[1.5]})", R"({"ids":[-1]})", R"({"ids":["a"]})", "{}"}) {
    CHECK_THROWS_AS(JsonRow(bad).ids("ids"), Error);
  }
  CHECK_THROWS_WITH_AS(row.text("n"), "\"n\" has to be a string, it is of type number", Error);
  CHECK_THROWS_WITH_AS(row.at("x"), "the row has no \"x\"", Error);
  CHECK(error_of("[1]") == "a row has to be a JSON object");
  CHECK(error_of("{\"a\":\"\xC0\"}") == "invalid UTF-8 at byte 7");
  CHECK(error_of("{\"a\": x}").starts_with("invalid JSON at byte 7: syntax error"));
  CHECK(error_of("").starts_with("invalid JSON at byte 1"));
  CHECK(error_of(std::string_view("{\"a\":1}\0{}", 10)) == "invalid JSON at byte 8: a zero byte");
  CHECK(error_of("{\"a\":1e999}") == "invalid JSON: number overflow parsing '1e999'");
}

TEST_CASE("compare: tolerance, NaN, infinities, types and shapes") {
  const auto diff = [](std::initializer_list<float> got, std::initializer_list<float> want) {
    return difference(Tensor::from<float>({static_cast<int64_t>(got.size())}, got),
                      Tensor::from<float>({static_cast<int64_t>(want.size())}, want), {});
  };
  constexpr float kInf = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  CHECK(diff({1.0009f, kNan, -kInf}, {1.0f, kNan, -kInf}).empty());
  CHECK(!diff({1.002f}, {1.0f}).empty());
  CHECK(!diff({2e-7f}, {0.0f}).empty());
  CHECK(!diff({kInf}, {-kInf}).empty());
  CHECK(!diff({0.0f}, {kNan}).empty());
  CHECK(!diff({kNan}, {0.0f}).empty());
  CHECK(!diff({1.0f}, {1.0f, 1.0f}).empty());
  CHECK(!difference(Tensor::scalar(1.0), Tensor::scalar(1.0f), {}).empty());
  CHECK(difference(Tensor::scalar(int64_t{5}), Tensor::scalar(int64_t{5}), {}).empty());
  CHECK(!difference(Tensor::scalar(int64_t{5}), Tensor::scalar(int64_t{6}), {}).empty());
  CHECK(
      !difference(Tensor::scalar<std::string>("a"), Tensor::scalar<std::string>("b"), {}).empty());
  CHECK(difference(Tensor::scalar(std::complex<float>(1, 2)),
                   Tensor::scalar(std::complex<float>(1, 2)), {})
            .empty());
}

TEST_CASE("sha256") {
  CHECK(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256(std::string(1000000, 'a')) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("bench: quantiles") {
  CHECK(quantile({3}, 0.5) == 3);
  CHECK(quantile({4, 1, 3, 2}, 0.5) == 2.5);
  CHECK(quantile({4, 1, 3, 2}, 0) == 1);
  CHECK(quantile({4, 1, 3, 2}, 1) == 4);
  const Spread spread = spread_of({5, 1, 2, 3, 4});
  CHECK(spread.median == 3);
  CHECK(spread.low == 2);
  CHECK(spread.high == 4);
}

TEST_CASE("bench: only intervals that do not meet are a difference") {
  const Spread a = {10, 9, 11};
  CHECK(compare_spreads(a, {12.5, 12, 13}) == Verdict::kFaster);
  CHECK(compare_spreads(a, {8, 7, 8.9}) == Verdict::kSlower);
  CHECK(compare_spreads(a, {12, 10.9, 13}) == Verdict::kSame);
  CHECK(compare_spreads(a, {12, 11, 13}) == Verdict::kSame);
  CHECK(compare_spreads(a, {8, 7, 9}) == Verdict::kSame);
  CHECK(compare_spreads(a, a) == Verdict::kSame);
}

TEST_CASE("bench: tables of two results") {
  using Json = nlohmann::ordered_json;
  const auto results = [](std::initializer_list<std::pair<const char*, double>> rates) {
    Json out = {{"isa", "avx2"}, {"threads", 1}, {"peak_gflops", 50.0}, {"entries", Json::array()}};
    for (const auto& [name, rate] : rates) {
      out["entries"].push_back({{"name", name},
                                {"unit", "GFLOP/s"},
                                {"median", rate},
                                {"low", rate * 0.95},
                                {"high", rate * 1.05}});
    }
    return out;
  };
  const std::string table = compare_results(results({{"a", 10}, {"b", 10}, {"c", 10}, {"d", 1}}),
                                            results({{"b", 20}, {"a", 10.2}, {"c", 5}, {"e", 1}}));
  CHECK(table.find("A: avx2, 1 threads, peak 50.0 GFLOP/s\n") == 0);
  CHECK(table.find("B/A 2.000  faster\n") != std::string::npos);
  CHECK(table.find("B/A 1.020  same\n") != std::string::npos);
  CHECK(table.find("B/A 0.500  slower\n") != std::string::npos);
  CHECK(table.ends_with("1 faster, 1 slower, 1 same, 1 in A only, 1 in B only\n"));
  CHECK_THROWS_AS(bench_entries(Json::object()), Error);
  CHECK_THROWS_AS(bench_entries(Json::parse(R"({"entries": [{"name": "a"}]})")), Error);
  CHECK_THROWS_AS(bench_entries(Json::parse(R"({"entries": [
    {"name": "a", "unit": "GB/s", "median": 1, "low": 2, "high": 3}]})")),
                  Error);
}

}  // namespace
}  // namespace hugot::tools
