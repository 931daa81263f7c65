// What the parts of `hugot bench` share.
#ifndef HUGOT_TOOLS_BENCH_H_
#define HUGOT_TOOLS_BENCH_H_

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "hugot/hugot.hpp"

namespace hugot::tools {

// -- statistics

// The value below which the part `q` of the samples lies, interpolated. REQUIRES: not empty,
// 0 <= q <= 1.
double quantile(std::vector<double> samples, double q);

// Median and quartiles.
struct Spread {
  double median = 0, low = 0, high = 0;
};
Spread spread_of(const std::vector<double>& samples);  // REQUIRES: not empty

// What is measured of one kernel: a rate, so more is faster.
struct BenchEntry {
  std::string name;
  std::string unit;
  Spread rate;
};

enum class Verdict { kSame, kFaster, kSlower };
// Of `b` against `a`: faster or slower only when their intervals do not meet.
Verdict compare_spreads(const Spread& a, const Spread& b);

// The entries of a file of `bench kernels --json`. Throws kInvalidData.
std::vector<BenchEntry> bench_entries(const nlohmann::ordered_json& results);
// A table of what is in both files, and counts below it.
std::string compare_results(const nlohmann::ordered_json& a, const nlohmann::ordered_json& b);

// "%.1f" and the like.
std::string format_number(const char* format, double value);

// -- measuring

// A clock for work on `threads` threads, in seconds. One thread: CPU time of the caller, so that
// other processes disturb less. More: wall time.
double work_clock(int threads);

// The floating-point peak of the active instruction set: short runs of multiply-adds in registers
// on all threads, spread over a benchmark, whose median counts.
class PeakMeter {
 public:
  explicit PeakMeter(ThreadPool& pool);
  // A few milliseconds.
  void sample();
  // REQUIRES: there was a sample.
  double gflops() const;

 private:
  ThreadPool& pool_;
  int64_t rounds_ = 0;  // per sample and thread
  std::vector<double> samples_;
};

// The most memory that this process has held, in MiB; 0 where that cannot be told.
double peak_memory();

// -- the commands

struct ModelBenchOptions {
  std::string model;
  std::string model_folder;
  std::string onnx_filename;
  std::string input;
  int threads = 0;
  int64_t limit = 0;  // 0: all rows
  bool one_by_one = false;
  int callers = 1;     // threads that call the pipeline, each with a text at a time
  double seconds = 0;  // 0: `rounds` tell, or the default
  int rounds = 0;
  int max_length = 0;
  std::string precision = "model";
  std::string cache = default_cache_directory().string();
  bool profile = false;
  std::string json;  // file, "-" for standard output, or empty
};
int bench_model(const ModelBenchOptions& options);

struct KernelBenchOptions {
  std::string filter;  // part of a name
  int threads = 1;
  std::string json;
  std::vector<std::string> compare;  // two files, or none
};
int bench_kernels(const KernelBenchOptions& options);

struct TrainBenchOptions {
  std::string model;
  std::string input;
  std::string onnx_filename;
  std::string loss;
  int batch_size = 32;
  int threads = 0;
  int max_length = 0;
  double seconds = 5;
  bool profile = false;
  std::string json;
};
int bench_train(const TrainBenchOptions& options);

// The tokenizer of a model directory, of one with this name below `model_folder`, or the file
// itself. Throws kNotFound.
std::filesystem::path find_tokenizer(const std::string& model, const std::string& model_folder);

struct TokenizeBenchOptions {
  std::string model;
  std::string model_folder;
  std::string input;
  int threads = 0;
  double seconds = 3;
  bool all = false;  // tokens, offsets and masks, too
  std::string json;
};
int bench_tokenize(const TokenizeBenchOptions& options);

// Writes results as one line to `target` ("-": standard output) and the table to standard output,
// unless that has the results. Throws kIo.
void report(const std::string& target, const nlohmann::ordered_json& results,
            std::string_view table);

}  // namespace hugot::tools

#endif  // HUGOT_TOOLS_BENCH_H_
