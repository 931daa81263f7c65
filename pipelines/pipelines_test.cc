#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "base/file.h"
#include "base/testing.h"
#include "hugot/hugot.h"
#include "hugot/hugot.hpp"
#include "kernels/registry.h"
#include "models/convert.h"

namespace hugot {
namespace {

// The fixture model, converted once for all cases.
const std::filesystem::path& tiny_bert() {
  static const TemporaryDirectory folder;
  static const std::filesystem::path path = [] {
    convert_model("tests/data/tiny-bert", folder.path() / "tiny", builtin_ops());
    return folder.path() / "tiny";
  }();
  return path;
}

struct Golden {
  std::vector<std::string> texts;
  nlohmann::json rows;
};

const Golden& golden() {
  static const Golden result = [] {
    Golden g;
    g.rows = nlohmann::json::parse(read_file("tests/data/tiny-bert/golden.json"));
    for (const auto& row : g.rows) g.texts.push_back(row.at("text"));
    return g;
  }();
  return result;
}

double worst(std::span<const float> got, const nlohmann::json& want) {
  if (got.size() != want.size()) return HUGE_VAL;
  double result = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    result = std::max(result, std::abs(double{got[i]} - want[i].get<double>()));
  }
  return result;
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("feature extraction: every pooling agrees with float64") {
  Session session({.threads = 2});
  const std::vector<std::pair<const char*, Pooling>> modes = {
      {"mean", Pooling::kMean},
      {"cls", Pooling::kCls},
      {"max", Pooling::kMax},
      {"last", Pooling::kLast},
      {"mean-sqrt-len", Pooling::kMeanSqrtLen},
      {"weighted-mean", Pooling::kWeightedMean}};
  for (const auto& entry : modes) {
    const char* name = entry.first;
    CAPTURE(name);
    FeatureExtractionOptions options;
    options.pooling = entry.second;
    const auto result = session.feature_extraction(tiny_bert(), options).run(golden().texts);
    REQUIRE(result.rows == golden().texts.size());
    CHECK(result.errors.empty());
    for (size_t i = 0; i < result.rows; ++i) {
      CAPTURE(i);
      CHECK(worst(result[i], golden().rows[i]["vectors"][name]) < 5e-6);
    }
  }
}

TEST_CASE("feature extraction: normalised, with a prompt, truncated") {
  Session session;
  const auto normalized = session.feature_extraction(tiny_bert(), {.normalize = true});
  FeatureExtractionOptions options;
  options.prompt_name = "query";
  const auto prompted = session.feature_extraction(tiny_bert(), options);
  options = {};
  options.truncate_dim = 5;
  const auto truncated = session.feature_extraction(tiny_bert(), options);
  CHECK(normalized.dim() == 32);
  CHECK(truncated.dim() == 5);
  CHECK(normalized.max_length() == 32);
  const auto a = normalized.run(golden().texts);
  const auto b = prompted.run(golden().texts);
  const auto c = truncated.run(golden().texts);
  for (size_t i = 0; i < a.rows; ++i) {
    CAPTURE(i);
    const auto& row = golden().rows[i];
    CHECK(worst(a[i], row["normalized"]) < 2e-6);
    CHECK(worst(b[i], row["query"]) < 5e-6);
    auto head = row["vectors"]["mean"];
    head.erase(head.begin() + 5, head.end());
    CHECK(worst(c[i], head) < 5e-6);
  }
}

// Vectors of random batches against those of each text alone.
void check_batches(const FeatureExtractionOptions& options) {
  Session one({.threads = 1});
  const auto base = one.feature_extraction(tiny_bert(), options).run(golden().texts);
  std::mt19937 random(3);
  for (const int threads : {1, 2, 3}) {
    Session session({.threads = threads});
    const auto embed = session.feature_extraction(tiny_bert(), options);
    for (int round = 0; round < 5; ++round) {
      std::vector<size_t> order(golden().texts.size() * 3);
      for (size_t i = 0; i < order.size(); ++i) order[i] = i % golden().texts.size();
      std::shuffle(order.begin(), order.end(), random);
      std::vector<std::string> texts;
      for (const size_t i : order) texts.push_back(golden().texts[i]);
      const auto result = embed.run(texts);
      for (size_t k = 0; k < order.size(); ++k) {
        CHECK(std::equal(result[k].begin(), result[k].end(), base[order[k]].begin()));
      }
    }
  }
}

TEST_CASE("feature extraction: neighbours and threads change no bit") {
  for (const Precision precision : {Precision::kFloat32, Precision::kBFloat16, Precision::kInt8}) {
    CAPTURE(static_cast<int>(precision));
    check_batches({.precision = precision});
  }
}

double cosine(std::span<const float> a, std::span<const float> b) {
  double dot = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    dot += double{a[i]} * b[i];
    aa += double{a[i]} * a[i];
    bb += double{b[i]} * b[i];
  }
  return dot / std::sqrt(aa * bb);
}

TEST_CASE("feature extraction: lower precision is close to float32") {
  Session session;
  const auto exact = session.feature_extraction(tiny_bert()).run(golden().texts);
  const std::pair<Precision, double> limits[] = {{Precision::kBFloat16, 0.9999},
                                                 {Precision::kInt8, 0.995}};
  for (const auto& [precision, limit] : limits) {
    const auto embed = session.feature_extraction(tiny_bert(), {.precision = precision});
    const auto result = embed.run(golden().texts);
    CHECK(result.embeddings != exact.embeddings);
    for (size_t i = 0; i < result.rows; ++i) CHECK(cosine(result[i], exact[i]) > limit);
  }
}

TEST_CASE("feature extraction: one pipeline in several threads") {
  Session session({.threads = 2});
  const auto embed = session.feature_extraction(tiny_bert());
  const auto base = embed.run(golden().texts);
  std::vector<EmbeddingResult> results(4);
  std::vector<std::thread> threads;
  for (auto& result : results) {
    threads.emplace_back([&] {
      for (int round = 0; round < 10; ++round) result = embed.run(golden().texts);
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& result : results) CHECK(result.embeddings == base.embeddings);
  CHECK(embed.statistics().texts == 41 * golden().texts.size());
}

TEST_CASE("feature extraction: a bad row does not spoil the others") {
  Session session;
  const auto embed = session.feature_extraction(tiny_bert());
  const auto result = embed.run({"hello", "bad \xFF byte", "world"});
  REQUIRE(result.errors.size() == 3);
  CHECK(result.errors[0].empty());
  CHECK(contains(result.errors[1], "byte 4"));
  CHECK(result.errors[2].empty());
  const auto alone = embed.run({"world"});
  CHECK(std::equal(alone[0].begin(), alone[0].end(), result[2].begin()));
  CHECK(std::all_of(result[1].begin(), result[1].end(), [](float x) { return x == 0; }));
}

TEST_CASE("feature extraction: ids instead of texts") {
  Session session;
  const auto embed = session.feature_extraction(tiny_bert());
  const std::vector<std::vector<int32_t>> ids = {
      golden().rows[0]["ids"].get<std::vector<int32_t>>(), {2, 100000, 3}, {2, -1, 3}, {}};
  const auto result = embed.run_ids(ids);
  CHECK(worst(result[0], golden().rows[0]["vectors"]["mean"]) < 5e-6);
  CHECK(contains(result.errors[1], "100000"));
  CHECK(contains(result.errors[2], "-1"));
  CHECK(result.errors[3].empty());  // no token: the zero vector
  CHECK(std::all_of(result[3].begin(), result[3].end(), [](float x) { return x == 0; }));
}

TEST_CASE("feature extraction: no texts, and requests that cannot be met") {
  Session session;
  CHECK(session.feature_extraction(tiny_bert()).run(std::vector<std::string>{}).rows == 0);
  const auto fails = [&](auto change) {
    FeatureExtractionOptions options;
    change(options);
    return message_of([&] { session.feature_extraction(tiny_bert(), options); });
  };
  CHECK(contains(fails([](auto& o) { o.truncate_dim = 33; }), "32 elements"));
  CHECK(contains(fails([](auto& o) { o.truncate_dim = -1; }), "truncate_dim -1"));
  CHECK(contains(fails([](auto& o) { o.max_length = 41; }), "40 positions"));
  CHECK(contains(fails([](auto& o) { o.max_length = 1; }), "2 special tokens"));
  CHECK(contains(fails([](auto& o) { o.prompt_name = "x"; }), "query"));
  CHECK(contains(fails([](auto& o) { o.output_name = "x"; }), "last_hidden_state"));
  CHECK(contains(fails([](auto& o) { o.onnx_filename = "x.onnx"; }), "x.onnx"));
  CHECK(contains(message_of([&] { session.feature_extraction("no-such-model"); }), "not found"));
  CHECK(contains(message_of([] { Session bad({.threads = -1}); }), "threads -1"));
}

TEST_CASE("feature extraction: cancellation") {
  Session session;
  const auto embed = session.feature_extraction(tiny_bert());
  std::stop_source stop;
  stop.request_stop();
  try {
    embed.run(golden().texts, stop.get_token());
    FAIL("not cancelled");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kCancelled);
  }
}

TEST_CASE("feature extraction: cancellation while other threads use the pipeline") {
  Session session({.threads = 2});
  const auto embed = session.feature_extraction(tiny_bert());
  const auto base = embed.run(golden().texts);
  std::vector<std::string> many;
  for (int i = 0; i < 200; ++i) {
    many.insert(many.end(), golden().texts.begin(), golden().texts.end());
  }
  std::stop_source stop;
  std::atomic<int> cancelled = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      try {
        while (true) embed.run(many, stop.get_token());
      } catch (const Error& error) {
        cancelled += error.code() == ErrorCode::kCancelled ? 1 : 0;
      }
    });
  }
  const auto meanwhile = embed.run(golden().texts);
  stop.request_stop();
  for (auto& thread : threads) thread.join();
  CHECK(cancelled == 2);
  CHECK(meanwhile.embeddings == base.embeddings);
  CHECK(embed.run(golden().texts).embeddings == base.embeddings);
}

TEST_CASE("feature extraction: a pipeline outlives its session") {
  const auto embed = Session().feature_extraction(tiny_bert());
  CHECK(embed.run({"hello world"}).rows == 1);
}

TEST_CASE("the folder of the cache, and sessions with one") {
  const auto with = [](const char* name, const char* value) {
    if (value == nullptr) {
      unsetenv(name);
    } else {
      setenv(name, value, 1);
    }
  };
  with("HUGOT_CACHE", nullptr);
  with("XDG_CACHE_HOME", "/x");
  CHECK(default_cache_directory() == "/x/hugot");
  with("XDG_CACHE_HOME", nullptr);
  with("HOME", "/h");
  CHECK(default_cache_directory() == "/h/.cache/hugot");
  with("HUGOT_CACHE", "");
  CHECK(default_cache_directory().empty());
  const TemporaryDirectory folder;
  with("HUGOT_CACHE", folder.path().c_str());
  CHECK(default_cache_directory() == folder.path());

  hugot_session* session = nullptr;
  REQUIRE(hugot_session_create_with_cache(1, nullptr, &session) == HUGOT_OK);
  hugot_feature_extraction* pipeline = nullptr;
  REQUIRE(hugot_feature_extraction_create(session, tiny_bert().c_str(), nullptr, &pipeline) ==
          HUGOT_OK);
  hugot_feature_extraction_free(pipeline);
  hugot_session_free(session);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);

  Session cached({.cache_directory = folder.path()});
  CHECK(cached.feature_extraction(tiny_bert()).run({"a b"}).embeddings ==
        Session().feature_extraction(tiny_bert()).run({"a b"}).embeddings);
}

TEST_CASE("C interface: embeddings and errors") {
  CHECK(std::strcmp(hugot_version(), version().data()) == 0);
  hugot_session* session = nullptr;
  REQUIRE(hugot_session_create(1, &session) == HUGOT_OK);
  hugot_feature_extraction* pipeline = nullptr;
  CHECK(hugot_feature_extraction_create(session, "no-such-model", nullptr, &pipeline) ==
        HUGOT_NOT_FOUND);
  CHECK(contains(hugot_last_error(), "no-such-model"));
  CHECK(hugot_feature_extraction_create(session, nullptr, nullptr, &pipeline) ==
        HUGOT_INVALID_ARGUMENT);
  hugot_feature_extraction_options options = {};
  CHECK(hugot_feature_extraction_create(session, tiny_bert().c_str(), &options, &pipeline) ==
        HUGOT_INVALID_ARGUMENT);
  CHECK(contains(hugot_last_error(), "struct_size"));
  hugot_feature_extraction_options_init(&options);
  const int none = 4;  // as a C program may have it
  static_assert(sizeof(none) == sizeof(options.precision));
  std::memcpy(&options.precision, &none, sizeof(none));
  CHECK(hugot_feature_extraction_create(session, tiny_bert().c_str(), &options, &pipeline) ==
        HUGOT_INVALID_ARGUMENT);
  CHECK(contains(hugot_last_error(), "precision 4"));
  options.precision = HUGOT_PRECISION_INT8;
  REQUIRE(hugot_feature_extraction_create(session, tiny_bert().c_str(), &options, &pipeline) ==
          HUGOT_OK);
  hugot_feature_extraction_free(pipeline);
  hugot_feature_extraction_options_init(&options);
  options.pooling = HUGOT_POOLING_CLS;
  REQUIRE(hugot_feature_extraction_create(session, tiny_bert().c_str(), &options, &pipeline) ==
          HUGOT_OK);
  CHECK(std::strcmp(hugot_last_error(), "") == 0);
  CHECK(hugot_feature_extraction_dim(pipeline) == 32);
  hugot_session_free(session);

  const char* texts[] = {golden().texts[0].c_str(), "\xC0", "hello world!"};
  const size_t lengths[] = {golden().texts[0].size(), 1, 11};
  hugot_embeddings* result = nullptr;
  REQUIRE(hugot_feature_extraction_run(pipeline, texts, lengths, 3, nullptr, &result) == HUGOT_OK);
  CHECK(hugot_embeddings_rows(result) == 3);
  const float* data = hugot_embeddings_data(result);
  CHECK(worst({data, 32}, golden().rows[0]["vectors"]["cls"]) < 5e-6);
  CHECK(worst({data + 64, 32}, golden().rows[0]["vectors"]["cls"]) < 5e-6);
  CHECK(hugot_embeddings_error(result, 0) == nullptr);
  CHECK(contains(hugot_embeddings_error(result, 1), "UTF-8"));
  CHECK(hugot_embeddings_error(result, 3) == nullptr);
  hugot_embeddings_free(result);

  hugot_cancellation* cancellation = nullptr;
  REQUIRE(hugot_cancellation_create(&cancellation) == HUGOT_OK);
  hugot_cancellation_request(cancellation);
  CHECK(hugot_feature_extraction_run(pipeline, texts, nullptr, 1, cancellation, &result) ==
        HUGOT_CANCELLED);
  hugot_cancellation_free(cancellation);
  hugot_feature_extraction_free(pipeline);
  hugot_session_free(nullptr);
  hugot_embeddings_free(nullptr);
}

}  // namespace
}  // namespace hugot
