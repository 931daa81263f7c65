// hugot bench: end-to-end speed of featureExtraction.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <map>
#include <mutex>
#include <numeric>
#include <optional>
#include <thread>

#include "base/error.h"
#include "graph/exec/flops.h"
#include "kernels/cpu/isa.h"
#include "models/encoder_output.h"
#include "models/model_directory.h"
#include "pipelines/feature_extraction.h"
#include "pipelines/session.h"
#include "tools/bench.h"
#include "tools/bench_profile.h"
#include "tools/command.h"
#include "tools/json_row.h"
#include "tools/row_stream.h"

namespace hugot::tools {
namespace {

constexpr double kDefaultSeconds = 3;
constexpr double kCalibrationSeconds = 0.2;  // between two calibrations, where calls are short
constexpr size_t kWarmUpTexts = 64;
using Pipeline = FeatureExtraction::Impl;

double now() { return work_clock(2); }  // wall time

double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// The rows: either texts or ids.
struct Corpus {
  std::vector<std::string> texts;
  std::vector<std::vector<int32_t>> ids;
  bool tokenized() const { return texts.empty(); }
  size_t size() const { return std::max(texts.size(), ids.size()); }
};

Corpus read_corpus(const ModelBenchOptions& options) {
  Corpus corpus;
  RowReader reader(options.input, -1);
  while (options.limit == 0 || static_cast<int64_t>(corpus.size()) < options.limit) {
    const auto line = reader.next();
    if (!line) break;
    const RowPlace& place = reader.place();
    with_context([&] { return place.file + ":" + std::to_string(place.line); },
                 [&] {
                   const JsonRow row(*line);
                   if (row.has("ids") && !row.has("input")) {
                     corpus.ids.push_back(row.ids("ids"));
                   } else {
                     corpus.texts.push_back(row.text("input"));
                   }
                   require(corpus.texts.empty() || corpus.ids.empty(), ErrorCode::kInvalidData,
                           "rows with \"input\" and rows with \"ids\" cannot be timed together");
                 });
  }
  require(corpus.size() > 0, ErrorCode::kInvalidData, "there are no rows to time");
  return corpus;
}

// Tokens and arithmetic of each text.
struct Work {
  std::vector<size_t> tokens;
  std::vector<double> flops;  // empty when the plan does not tell
};

Work work_of(Corpus& corpus, const Pipeline& pipeline) {
  Work work;
  const RaggedPlan* plan = pipeline.encoder().ragged_plan();
  std::map<size_t, double> flops_of;
  for (size_t i = 0; i < corpus.size(); ++i) {
    const size_t length =
        corpus.tokenized() ? corpus.ids[i].size() : pipeline.token_ids(corpus.texts[i]).size();
    work.tokens.push_back(length);
    if (plan == nullptr) continue;
    const auto [it, is_new] = flops_of.try_emplace(length, 0);
    if (is_new && length > 0) it->second = matrix_flops(*plan, static_cast<int64_t>(length));
    work.flops.push_back(it->second);
  }
  return work;
}

// Runs texts [begin, end). Throws when one of them has an error.
void call(const Pipeline& pipeline, const Corpus& corpus, size_t begin, size_t end) {
  EmbeddingResult result;
  if (corpus.tokenized()) {
    result = pipeline.run_ids(std::span(corpus.ids).subspan(begin, end - begin), {});
  } else {
    const std::vector<std::string_view> views(corpus.texts.begin() + static_cast<ptrdiff_t>(begin),
                                              corpus.texts.begin() + static_cast<ptrdiff_t>(end));
    result = pipeline.run(std::span<const std::string_view>(views), {});
  }
  for (size_t i = 0; i < result.errors.size(); ++i) {
    require(result.errors[i].empty(), ErrorCode::kInvalidData, "row ", begin + i + 1, ": ",
            result.errors[i]);
  }
}

// Sums over one time through the rows.
struct Round {
  size_t texts = 0, tokens = 0;
  double flops = 0, seconds = 0, work_seconds = 0, cpu_seconds = 0;
};

struct Timings {
  std::vector<Round> rounds;
  std::vector<double> latencies;  // of calls, in seconds
};

// What a call brings into the sums.
void count(const Work& work, size_t begin, size_t end, Round& round) {
  for (size_t i = begin; i < end; ++i) {
    ++round.texts;
    round.tokens += work.tokens[i];
    if (!work.flops.empty()) round.flops += work.flops[i];
  }
}

// One time through the rows, a call per text, by several threads that take the next text each.
// Ends early when `is_over()`.
template <class IsOver>
Round round_of_callers(int callers, const Pipeline& pipeline, const Corpus& corpus,
                       const Work& work, const IsOver& is_over, std::vector<double>& latencies) {
  Round round;
  std::atomic<size_t> next = 0;
  std::mutex mutex;  // guards the three below
  std::exception_ptr error;
  const double cpu = cpu_seconds(), start = now();
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < callers; ++i) {
      threads.emplace_back([&] {
        std::vector<double> own;
        Round part;
        try {
          for (size_t text; (text = next.fetch_add(1)) < corpus.size() && !is_over();) {
            const double begin = now();
            call(pipeline, corpus, text, text + 1);
            own.push_back(now() - begin);
            count(work, text, text + 1, part);
          }
        } catch (...) {
          const std::lock_guard lock(mutex);
          error = std::current_exception();
        }
        const std::lock_guard lock(mutex);
        latencies.insert(latencies.end(), own.begin(), own.end());
        round.texts += part.texts;
        round.tokens += part.tokens;
        round.flops += part.flops;
      });
    }
  }
  if (error) std::rethrow_exception(error);
  round.seconds = round.work_seconds = now() - start;
  round.cpu_seconds = cpu_seconds() - cpu;
  return round;
}

Timings time_rounds(const ModelBenchOptions& options, const Pipeline& pipeline,
                    const Corpus& corpus, const Work& work, int threads, PeakMeter& peak) {
  Timings timings;
  const size_t step = options.one_by_one ? 1 : corpus.size();
  const double limit = options.seconds > 0 ? options.seconds : kDefaultSeconds;
  const double begin = now();
  double calibrated = begin;
  peak.sample();
  const auto is_over = [&] { return options.rounds == 0 && now() - begin >= limit; };
  bool over = false;
  while (!over) {
    Round round;
    if (options.callers > 1) {
      round = round_of_callers(
          options.callers, pipeline, corpus, work,
          [&] { return !timings.rounds.empty() && is_over(); }, timings.latencies);
      peak.sample();
      over = is_over();
    }
    for (size_t i = options.callers > 1 ? corpus.size() : 0; i < corpus.size() && !over;
         i += step) {
      const double cpu = cpu_seconds(), worked = work_clock(threads), start = now();
      call(pipeline, corpus, i, i + step);
      const double seconds = now() - start;
      round.work_seconds += work_clock(threads) - worked;
      round.cpu_seconds += cpu_seconds() - cpu;
      round.seconds += seconds;
      timings.latencies.push_back(seconds);
      count(work, i, i + step, round);
      if (now() - calibrated >= kCalibrationSeconds) {
        for (int k = 0; k < 3; ++k) peak.sample();
        calibrated = now();
      }
      over = is_over();
    }
    // The part of a round that the time ended has other texts than the whole ones.
    if (round.texts == corpus.size() || timings.rounds.empty()) timings.rounds.push_back(round);
    if (options.rounds > 0) over = timings.rounds.size() == static_cast<size_t>(options.rounds);
  }
  peak.sample();
  return timings;
}

// -- profile

// One pass over the rows with the model alone.
std::string profile(const ModelBenchOptions& options, const Pipeline& pipeline,
                    const Corpus& corpus, ThreadPool& pool) {
  std::vector<std::vector<int32_t>> ids = corpus.ids;
  for (const std::string& text : corpus.texts) ids.push_back(pipeline.token_ids(text));
  std::erase_if(ids, [](const std::vector<int32_t>& text) { return text.empty(); });
  std::vector<EncoderText> texts;
  for (const auto& text : ids) texts.push_back({text});
  Profile observer(pipeline.encoder().graph());
  const EncoderSink sink = [](size_t, const float*, int64_t, int64_t) {};
  const size_t step = options.one_by_one ? 1 : std::max<size_t>(texts.size(), 1);
  for (size_t i = 0; i < texts.size(); i += step) {
    pipeline.encoder().run(std::span(texts).subspan(i, step), pool, sink, {}, &observer);
  }
  return observer.table("one pass, summed over threads");
}

// -- results

// Of the rounds.
template <class Rate>
Spread spread_over(const std::vector<Round>& rounds, const Rate& rate) {
  std::vector<double> rates;
  for (const Round& round : rounds) rates.push_back(rate(round));
  return spread_of(rates);
}

double rounded(double value, double digits) { return std::round(value * digits) / digits; }

nlohmann::ordered_json results_of(const Timings& timings, const PeakMeter& peak, int threads,
                                  double load_seconds, bool has_flops,
                                  const std::string& precision) {
  const auto median = [&](const auto& rate) { return spread_over(timings.rounds, rate).median; };
  const Round& first = timings.rounds.front();
  nlohmann::ordered_json out;
  out["texts_per_s"] =
      rounded(median([](const Round& r) { return static_cast<double>(r.texts) / r.seconds; }), 100);
  out["tokens_per_s"] =
      rounded(median([](const Round& r) { return static_cast<double>(r.tokens) / r.seconds; }), 10);
  out["p50_ms"] = rounded(1e3 * quantile(timings.latencies, 0.50), 1e4);
  out["p99_ms"] = rounded(1e3 * quantile(timings.latencies, 0.99), 1e4);
  out["load_s"] = rounded(load_seconds, 1e4);
  out["rss_mb"] = rounded(peak_memory(), 10);
  out["isa"] = cpu::active_isa().name;
  out["peak_gflops"] = rounded(peak.gflops(), 100);
  out["fraction_of_peak"] = nullptr;
  if (has_flops) {
    const double gflops = median([](const Round& r) { return 1e-9 * r.flops / r.work_seconds; });
    out["fraction_of_peak"] = rounded(gflops / peak.gflops(), 1e4);
  }
  out["threads"] = threads;
  out["texts"] = first.texts;
  out["tokens"] = first.tokens;
  out["precision"] = precision;
  out["rounds"] = timings.rounds.size();
  out["tokens_per_cpu_s"] = rounded(
      median([](const Round& r) { return static_cast<double>(r.tokens) / r.cpu_seconds; }), 10);
  return out;
}

std::string table_of(const nlohmann::ordered_json& results, const Timings& timings,
                     const ModelBenchOptions& options, bool tokenized) {
  const auto number = [&](const char* key, const char* format) {
    return format_number(format, results.at(key).get<double>());
  };
  const Spread speed = spread_over(
      timings.rounds, [](const Round& r) { return static_cast<double>(r.texts) / r.seconds; });
  std::string out = "rows      " + std::to_string(results["texts"].get<size_t>()) + " texts, " +
                    std::to_string(results["tokens"].get<size_t>()) + " tokens, " +
                    (tokenized ? "as ids" : "tokenizing included") + "\n";
  out += "run       " + std::to_string(timings.rounds.size()) + " rounds, " +
         (options.one_by_one ? "a call per text" : "a call for all") + ", " +
         (options.callers > 1 ? std::to_string(options.callers) + " callers, " : "") +
         std::to_string(results["threads"].get<int>()) + " threads, " +
         results["isa"].get<std::string>() + ", " + results["precision"].get<std::string>() + "\n";
  out += "speed     " + number("texts_per_s", "%.1f texts/s") + format_number(" (%.1f", speed.low) +
         format_number(" .. %.1f)", speed.high) + number("tokens_per_s", ", %.0f tokens/s") +
         number("tokens_per_cpu_s", ", %.0f tokens per CPU second\n");
  out += "latency   " + number("p50_ms", "p50 %.3f ms") + number("p99_ms", ", p99 %.3f ms") +
         " of a call\n";
  out += "peak      " + number("peak_gflops", "%.1f GFLOP/s calibrated");
  if (!results["fraction_of_peak"].is_null()) {
    out += format_number("; the matrix products alone reach %.1f%% of it",
                         100 * results["fraction_of_peak"].get<double>());
  }
  return out + "\nload      " + number("load_s", "%.3f s") + ", most memory " +
         number("rss_mb", "%.1f MB\n");
}

}  // namespace

int bench_model(const ModelBenchOptions& options) {
  Corpus corpus = read_corpus(options);
  const double start = now();
  const auto session = std::make_shared<Session::Impl>(
      SessionOptions{.threads = options.threads, .cache_directory = options.cache});
  FeatureExtractionOptions pipeline_options;
  pipeline_options.max_length = options.max_length;
  pipeline_options.onnx_filename = options.onnx_filename;
  pipeline_options.precision = precision_from_name(options.precision);
  const Pipeline pipeline(session, find_model(options.model, options.model_folder),
                          pipeline_options);
  const double load_seconds = now() - start;
  const Work work = work_of(corpus, pipeline);

  const int threads = session->pool.size();
  PeakMeter peak(session->pool);
  const size_t warm_up = std::min(corpus.size(), kWarmUpTexts);
  call(pipeline, corpus, 0, warm_up);
  if (options.one_by_one) {
    for (size_t i = 0; i < warm_up; ++i) call(pipeline, corpus, i, i + 1);
  }
  const Timings timings = time_rounds(options, pipeline, corpus, work, threads, peak);
  const auto results = results_of(timings, peak, threads, load_seconds, !work.flops.empty(),
                                  precision_name(pipeline.encoder().precision()));
  std::string table = table_of(results, timings, options, corpus.tokenized());
  if (options.profile) table += profile(options, pipeline, corpus, session->pool);
  report(options.json, results, table);
  return kDone;
}

}  // namespace hugot::tools
