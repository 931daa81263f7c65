// hugot bench tokenize: how fast texts become ids.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "hugot/tokenizer.hpp"
#include "models/model_directory.h"
#include "tools/bench.h"
#include "tools/json_row.h"
#include "tools/row_stream.h"
#include "tools/sha256.h"

namespace hugot::tools {
namespace {

constexpr int64_t kGrain = 64;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::vector<std::string> read_texts(const std::string& input) {
  RowReader reader(input, -1);
  std::vector<std::string> texts;
  while (const auto line = reader.next()) texts.push_back(JsonRow(*line).text("input"));
  require(!texts.empty(), ErrorCode::kInvalidData, "there are no rows to time");
  return texts;
}

std::string digest_of(const std::vector<std::vector<int32_t>>& ids) {
  std::string bytes;
  for (const auto& text : ids) {
    for (const int32_t id : text) {
      for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(id >> shift & 0xFF);
    }
  }
  return sha256(bytes);
}

}  // namespace

int bench_tokenize(const TokenizeBenchOptions& options) {
  const std::vector<std::string> texts = read_texts(options.input);
  const double load_start = now();
  const Tokenizer tokenizer =
      Tokenizer::from_file(find_tokenizer(options.model, options.model_folder));
  const double load_seconds = now() - load_start;
  ThreadPool pool(options.threads);
  std::vector<std::vector<int32_t>> ids(texts.size());
  EncodeOptions everything;
  everything.unit = OffsetUnit::kCodePoints;
  const auto run = [&] {
    pool.parallel_for(static_cast<int64_t>(texts.size()), kGrain, [&](int64_t begin, int64_t end) {
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
        if (options.all) {
          ids[i] = tokenizer.encode(texts[i], everything).ids;
        } else {
          ids[i].clear();
          tokenizer.encode_ids(texts[i], {}, ids[i]);
        }
      }
    });
  };
  run();  // warms caches up
  std::vector<double> seconds;
  const double stop = now() + options.seconds;
  do {
    const double start = now();
    run();
    seconds.push_back(now() - start);
  } while (now() < stop);

  size_t bytes = 0;
  for (const std::string& text : texts) bytes += text.size();
  size_t tokens = 0;
  for (const auto& text : ids) tokens += text.size();
  const double best = *std::min_element(seconds.begin(), seconds.end());
  const double median = quantile(seconds, 0.5);
  const auto rate = [](double amount, double time) { return amount / time; };
  const nlohmann::ordered_json results{
      {"texts", texts.size()},
      {"bytes", bytes},
      {"tokens", tokens},
      {"threads", pool.size()},
      {"rounds", seconds.size()},
      {"load_seconds", load_seconds},
      {"mb_per_s", rate(static_cast<double>(bytes), best) / 1e6},
      {"tokens_per_s", rate(static_cast<double>(tokens), best)},
      {"median_mb_per_s", rate(static_cast<double>(bytes), median) / 1e6},
      {"ids_sha256", digest_of(ids)}};
  const std::string table =
      std::to_string(texts.size()) + " texts, " + std::to_string(tokens) + " tokens, " +
      std::to_string(pool.size()) +
      " threads: " + format_number("%.1f", results["mb_per_s"].get<double>()) + " MB/s, " +
      format_number("%.0f", results["tokens_per_s"].get<double>()) + " tokens/s (median " +
      format_number("%.1f", results["median_mb_per_s"].get<double>()) + " MB/s); loaded in " +
      format_number("%.1f", load_seconds * 1e3) + " ms\n";
  report(options.json, results, table);
  return 0;
}

}  // namespace hugot::tools
