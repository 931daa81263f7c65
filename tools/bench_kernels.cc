// hugot bench kernels: speed of the CPU kernels on the shapes of encoders.
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <random>

#include "base/error.h"
#include "graph/exec/executor.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/isa.h"
#include "kernels/registry.h"
#include "tools/bench.h"
#include "tools/command.h"

namespace hugot::tools {
namespace {

constexpr int kSamples = 15;
constexpr double kSampleSeconds = 1e-3;

constexpr int64_t kWidths[] = {312, 384, 768, 1152, 1536, 3072};  // K and N of matrix products
constexpr int64_t kRows[] = {1, 16, 64, 128, 256};                // M
constexpr int64_t kLengths[] = {16, 64, 128, 512};                // of texts in attention
constexpr int64_t kHeadDims[] = {32, 64};
constexpr int64_t kHeads = 12;
// Rows and columns of what the other kernels work on: a micro-batch of activations.
constexpr int64_t kTokens = 256, kHidden = 768;
constexpr int64_t kElements = kTokens * kHidden;

std::vector<float> random_floats(int64_t count) {
  std::minstd_rand random(1);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& x : values) x = static_cast<float>(random() % 2001) * 1e-3f - 1.0f;
  return values;
}

int64_t second_level_cache() {
  const long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
  return bytes > 0 ? bytes : 1 << 20;
}

// Measures what the filter leaves.
class Suite {
 public:
  Suite(std::string filter, int threads) : filter_(std::move(filter)), pool_(threads) {}

  ThreadPool& pool() { return pool_; }
  int threads() const { return pool_.size(); }
  bool wants(const std::string& name) const { return name.find(filter_) != std::string::npos; }

  // `work` floating-point operations or bytes per call, on all threads together.
  void measure(const std::string& name, const char* unit, double work,
               const std::function<void()>& call) {
    call();
    int64_t calls = 1;
    double seconds = time_calls(call, calls);
    while (seconds < kSampleSeconds && calls < 1 << 24) {
      const double guess = 1.2 * kSampleSeconds / std::max(seconds, 1e-7);
      calls = std::max(calls + 1, static_cast<int64_t>(guess * static_cast<double>(calls)));
      seconds = time_calls(call, calls);
    }
    std::vector<double> rates;
    for (int i = 0; i < kSamples; ++i) {
      const double taken = std::max(time_calls(call, calls), 1e-9);
      rates.push_back(1e-9 * work * static_cast<double>(calls) / taken);
    }
    peak_.sample();
    entries_.push_back({name, unit, spread_of(rates)});
  }

  void calibrate_copying() {
    const std::vector<float> from = random_floats(kElements);
    std::vector<std::vector<float>> to(static_cast<size_t>(threads()), from);
    measure("copy", "GB/s", 2.0 * sizeof(float) * kElements * threads(), [&] {
      pool_.parallel_for(threads(), 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          std::memcpy(to[static_cast<size_t>(i)].data(), from.data(), sizeof(float) * kElements);
        }
      });
    });
    copy_ = entries_.back().rate.median;
    entries_.clear();
  }

  nlohmann::ordered_json results() const {
    nlohmann::ordered_json out;
    out["isa"] = cpu::active_isa().name;
    out["threads"] = threads();
    out["peak_gflops"] = peak_.gflops();
    out["copy_gb_s"] = copy_;
    out["entries"] = nlohmann::ordered_json::array();
    for (const BenchEntry& entry : entries_) {
      out["entries"].push_back({{"name", entry.name},
                                {"unit", entry.unit},
                                {"median", entry.rate.median},
                                {"low", entry.rate.low},
                                {"high", entry.rate.high},
                                {"fraction_of_peak", entry.rate.median / peak_of(entry)}});
    }
    return out;
  }

  std::string table() const {
    std::string out = std::string(cpu::active_isa().name) + ", " + std::to_string(threads()) +
                      " threads; peak " + format_number("%.1f GFLOP/s", peak_.gflops()) +
                      format_number(", copying %.1f GB/s; median (quartiles)\n", copy_);
    for (const BenchEntry& entry : entries_) {
      out += entry.name + std::string(entry.name.size() < 30 ? 30 - entry.name.size() : 1, ' ');
      out += format_number("%8.1f ", entry.rate.median) + entry.unit;
      out += format_number(" (%.1f", entry.rate.low) + format_number(" .. %.1f)", entry.rate.high);
      out += format_number("  %.1f%%\n", 100 * entry.rate.median / peak_of(entry));
    }
    return out;
  }

  bool empty() const { return entries_.empty(); }

 private:
  double time_calls(const std::function<void()>& call, int64_t calls) const {
    const double start = work_clock(threads());
    for (int64_t i = 0; i < calls; ++i) call();
    return work_clock(threads()) - start;
  }

  // Matrix products are compared with the multiply-adds in registers, the rest with copying.
  double peak_of(const BenchEntry& entry) const {
    return entry.unit == "GB/s" ? copy_ : peak_.gflops();
  }

  std::string filter_;
  ThreadPool pool_;
  PeakMeter peak_{pool_};
  double copy_ = 0;
  std::vector<BenchEntry> entries_;
};

// Weights come from where they come from in a model: behind the second cache level, because the
// products take turns in a set that is larger.
void bench_gemm(Suite& suite) {
  for (const int64_t k : kWidths) {
    for (const int64_t n : kWidths) {
      const auto name = [&](int64_t m) {
        return "gemm m=" + std::to_string(m) + " k=" + std::to_string(k) +
               " n=" + std::to_string(n);
      };
      std::vector<int64_t> wanted;
      for (const int64_t m : kRows) {
        if (suite.wants(name(m))) wanted.push_back(m);
      }
      if (wanted.empty()) continue;
      const cpu::GemmProvider& provider = cpu::simd_gemm();
      const std::vector<float> weights = random_floats(k * n), bias = random_floats(n);
      const auto bytes = static_cast<int64_t>(sizeof(float)) * k * n;
      std::vector<std::shared_ptr<const cpu::PackedMatrix>> packed;
      for (int64_t size = 0; size < 3 * second_level_cache() || packed.size() < 2; size += bytes) {
        packed.push_back(provider.pack(weights.data(), k, n, n, false));
      }
      const std::vector<float> a = random_floats(kRows[std::size(kRows) - 1] * k);
      std::vector<float> c(static_cast<size_t>(kRows[std::size(kRows) - 1] * n));
      size_t turn = 0;
      for (const int64_t m : wanted) {
        suite.measure(name(m), "GFLOP/s", 2.0 * static_cast<double>(m * n * k), [&] {
          provider.run(m, a.data(), k, *packed[turn++ % packed.size()], c.data(), n,
                       {.bias = bias.data()}, suite.threads() > 1 ? &suite.pool() : nullptr);
        });
      }
    }
  }
}

// As many texts as fill a micro-batch, at least one per thread.
void bench_attention(Suite& suite) {
  for (const int64_t dim : kHeadDims) {
    for (const int64_t length : kLengths) {
      const std::string name =
          "attention s=" + std::to_string(length) + " d=" + std::to_string(dim);
      if (!suite.wants(name)) continue;
      const int64_t texts = std::max<int64_t>(kTokens / length, suite.threads());
      const int64_t width = kHeads * dim, stride = 3 * width;
      const std::vector<float> qkv = random_floats(texts * length * stride);
      std::vector<float> out(static_cast<size_t>(texts * length * width));
      cpu::AttentionArgs args;
      args.query_length = args.key_length = length;
      args.heads = args.kv_heads = kHeads;
      args.head_dim = args.value_dim = dim;
      args.q_stride = args.k_stride = args.v_stride = stride;
      args.out_stride = width;
      args.q_head_stride = args.k_head_stride = args.v_head_stride = args.out_head_stride = dim;
      args.scale = 0.125f;
      const int64_t scratch_size = cpu::attention_scratch(args);
      std::vector<float> scratch(static_cast<size_t>(scratch_size * suite.threads()));
      const double flops = 4.0 * static_cast<double>(length * length * width * texts);
      suite.measure(name, "GFLOP/s", flops, [&] {
        suite.pool().parallel_for_workers(texts, 1, [&](int64_t begin, int64_t end, int worker) {
          for (int64_t i = begin; i < end; ++i) {
            cpu::AttentionArgs text = args;
            text.q = qkv.data() + i * length * stride;
            text.k = text.q + width;
            text.v = text.k + width;
            text.out = out.data() + i * length * width;
            cpu::attention(text, 0, kHeads, scratch.data() + worker * scratch_size);
          }
        });
      });
    }
  }
}

// Convolutions of ResNet-50, of MobileNetV2 and of a vision transformer, for one image.
struct ConvShape {
  int64_t channels, size, filters, kernel, stride, groups;
};
constexpr ConvShape kConvs[] = {
    {3, 224, 64, 7, 2, 1},     {64, 56, 64, 1, 1, 1},     {64, 56, 64, 3, 1, 1},
    {64, 56, 256, 1, 1, 1},    {128, 56, 128, 3, 2, 1},   {128, 28, 128, 3, 1, 1},
    {256, 14, 256, 3, 1, 1},   {256, 14, 1024, 1, 1, 1},  {1024, 14, 2048, 1, 2, 1},
    {512, 7, 512, 3, 1, 1},    {32, 112, 32, 3, 1, 32},   {96, 112, 96, 3, 2, 96},
    {144, 56, 144, 3, 1, 144}, {192, 28, 192, 5, 2, 192}, {384, 14, 384, 3, 1, 384},
    {576, 14, 576, 5, 1, 576}, {960, 7, 960, 3, 1, 960},  {144, 56, 24, 1, 1, 1},
    {96, 14, 576, 1, 1, 1},    {3, 224, 768, 16, 16, 1},  {96, 56, 96, 7, 1, 96}};

void bench_conv(Suite& suite) {
  const OpRegistry ops = builtin_ops();
  for (const ConvShape& c : kConvs) {
    const std::string name = str(c.groups > 1 ? "depthwise" : "conv", " c=", c.channels,
                                 " s=", c.size, " f=", c.filters, " k=", c.kernel, "/", c.stride);
    if (!suite.wants(name)) continue;
    const int64_t channels = c.channels / c.groups;
    const int64_t pad = c.kernel == c.stride ? 0 : c.kernel / 2;
    const Shape filters = {c.filters, channels, c.kernel, c.kernel};
    const std::vector<float> w = random_floats(filters.size()), b = random_floats(c.filters);
    constexpr int kOpset = 13;
    Graph graph;
    const ValueId x =
        graph.add_value("x", Fact::of(DType::kFloat32, {1, c.channels, c.size, c.size}));
    graph.inputs = {x};
    Node node;
    node.op_type = "Conv";
    node.opset = kOpset;
    node.op = &ops.get("", "Conv", kOpset);
    node.attributes = {{"strides", std::vector<int64_t>{c.stride, c.stride}},
                       {"pads", std::vector<int64_t>{pad, pad, pad, pad}},
                       {"group", c.groups}};
    node.inputs = {x, graph.add_initializer("w", Tensor::from<float>(filters, std::span(w))),
                   graph.add_initializer("b", Tensor::from<float>({c.filters}, std::span(b)))};
    node.outputs = {graph.add_value("y")};
    graph.outputs = node.outputs;
    graph.add_node(std::move(node));
    infer(graph);
    Executor executor(Plan::compile(std::move(graph)));
    const Tensor image =
        Tensor::from<float>({1, c.channels, c.size, c.size},
                            std::span<const float>(random_floats(c.channels * c.size * c.size)));
    const int64_t out = (c.size + 2 * pad - c.kernel) / c.stride + 1;
    const double flops = 2.0 * static_cast<double>(filters.size() * out * out);
    suite.measure(name, "GFLOP/s", flops, [&] {
      executor.run(std::span(&image, 1), {.pool = suite.threads() > 1 ? &suite.pool() : nullptr});
    });
  }
}

// Kernels that read and write each element once; every thread has memory of its own.
void bench_rows(Suite& suite) {
  const cpu::VectorKernels& kernels = cpu::active_kernels();
  const std::vector<float> gamma = random_floats(kHidden), beta = random_floats(kHidden);
  using Run = std::function<void(const float* x, float* y)>;
  const auto unary = [](cpu::UnaryKernel kernel) -> Run {
    return [kernel](const float* x, float* y) { kernel(x, y, kElements); };
  };
  const auto softmax = [&](int64_t columns) -> Run {
    return [&kernels, columns](const float* x, float* y) {
      kernels.softmax(x, y, kElements / columns, columns);
    };
  };
  const Run layer_norm = [&](const float* x, float* y) {
    kernels.layer_norm(x, gamma.data(), beta.data(), 1e-12f, kTokens, kHidden, y, nullptr, nullptr);
  };
  const std::pair<std::string, Run> runs[] = {
      {"gelu", unary(kernels.gelu)},         {"gelu_tanh", unary(kernels.gelu_tanh)},
      {"exp", unary(kernels.exp)},           {"softmax columns=16", softmax(16)},
      {"softmax columns=64", softmax(64)},   {"softmax columns=128", softmax(128)},
      {"softmax columns=512", softmax(512)}, {"layer_norm columns=768", layer_norm}};
  for (const auto& entry : runs) {
    if (!suite.wants(entry.first)) continue;
    const std::vector<std::vector<float>> x(static_cast<size_t>(suite.threads()),
                                            random_floats(kElements));
    auto y = x;
    const Run& run = entry.second;
    const double bytes = 2.0 * sizeof(float) * kElements * suite.threads();
    suite.measure(entry.first, "GB/s", bytes, [&] {
      suite.pool().parallel_for(suite.threads(), 1, [&](int64_t begin, int64_t end) {
        for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
          run(x[i].data(), y[i].data());
        }
      });
    });
  }
}

nlohmann::ordered_json read_results(const std::string& name) {
  require_file(name);
  std::ifstream file(name);
  try {
    return nlohmann::ordered_json::parse(file);
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorCode::kInvalidData, name, ": ", error.what());
  }
}

}  // namespace

int bench_kernels(const KernelBenchOptions& options) {
  if (!options.compare.empty()) {
    const auto a = read_results(options.compare[0]), b = read_results(options.compare[1]);
    report({}, {}, compare_results(a, b));
    return kDone;
  }
  Suite suite(options.filter, options.threads);
  suite.calibrate_copying();
  bench_gemm(suite);
  bench_attention(suite);
  bench_conv(suite);
  bench_rows(suite);
  require(!suite.empty(), ErrorCode::kInvalidArgument, "--filter ", options.filter,
          ": no kernel has this in its name");
  report(options.json, suite.results(), suite.table());
  return kDone;
}

}  // namespace hugot::tools
