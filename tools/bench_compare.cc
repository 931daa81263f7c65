// Comparing two results of `hugot bench kernels`.
#include <algorithm>

#include "base/error.h"
#include "tools/bench.h"

namespace hugot::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kVerdicts[] = {"same", "faster", "slower"};

std::string padded(std::string text, size_t width) {
  if (text.size() < width) text.insert(0, width - text.size(), ' ');
  return text;
}

// "avx512, 1 threads, peak 98.2 GFLOP/s"
std::string machine_of(const Json& results) {
  return results.value("isa", "?") + ", " + std::to_string(results.value("threads", 0)) +
         " threads, peak " + format_number("%.1f", results.value("peak_gflops", 0.0)) + " GFLOP/s";
}

}  // namespace

Verdict compare_spreads(const Spread& a, const Spread& b) {
  if (b.low > a.high) return Verdict::kFaster;
  if (b.high < a.low) return Verdict::kSlower;
  return Verdict::kSame;
}

std::vector<BenchEntry> bench_entries(const Json& results) {
  try {
    std::vector<BenchEntry> entries;
    for (const Json& entry : results.at("entries")) {
      entries.push_back({entry.at("name"),
                         entry.at("unit"),
                         {entry.at("median"), entry.at("low"), entry.at("high")}});
      const Spread& rate = entries.back().rate;
      require(rate.low > 0 && rate.low <= rate.median && rate.median <= rate.high,
              ErrorCode::kInvalidData, "the rates of '", entries.back().name, "' are in no order");
    }
    return entries;
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorCode::kInvalidData, "no result of `hugot bench kernels --json`: ", error.what());
  }
}

std::string compare_results(const Json& a, const Json& b) {
  const std::vector<BenchEntry> before = bench_entries(a), after = bench_entries(b);
  size_t width = 0;
  for (const BenchEntry& entry : before) width = std::max(width, entry.name.size());
  std::string out = "A: " + machine_of(a) + "\nB: " + machine_of(b) + "\n";
  int counts[3] = {};
  size_t common = 0;
  for (const BenchEntry& old : before) {
    const auto it = std::find_if(after.begin(), after.end(), [&](const BenchEntry& entry) {
      return entry.name == old.name && entry.unit == old.unit;
    });
    if (it == after.end()) continue;
    const auto verdict = static_cast<size_t>(compare_spreads(old.rate, it->rate));
    ++counts[verdict];
    ++common;
    out += old.name + std::string(width - old.name.size(), ' ') + ' ';
    out += padded(format_number("%.1f", old.rate.median), 8) + " -> ";
    out += padded(format_number("%.1f", it->rate.median), 8) + ' ' + old.unit + "  B/A ";
    out += format_number("%.3f", it->rate.median / old.rate.median) + "  " + kVerdicts[verdict];
    out += '\n';
  }
  out += std::to_string(counts[1]) + " faster, " + std::to_string(counts[2]) + " slower, " +
         std::to_string(counts[0]) + " same";
  if (before.size() > common) out += ", " + std::to_string(before.size() - common) + " in A only";
  if (after.size() > common) out += ", " + std::to_string(after.size() - common) + " in B only";
  return out + '\n';
}

}  // namespace hugot::tools
