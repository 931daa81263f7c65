// Clocks, the calibrated peak, and results on their way out.
#include <chrono>
#include <ctime>
#include <fstream>
#include <iostream>

#include "base/error.h"
#include "kernels/cpu/isa.h"
#include "tools/bench.h"

namespace hugot::tools {
namespace {

constexpr double kSampleSeconds = 2e-3;

}  // namespace

double work_clock(int threads) {
  if (threads > 1) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

PeakMeter::PeakMeter(ThreadPool& pool) : pool_(pool) {
  const cpu::VectorKernels& kernels = cpu::active_kernels();
  float sink = 0;
  double seconds = 0;
  for (rounds_ = 1 << 10; seconds < kSampleSeconds / 2; rounds_ *= 2) {
    const double start = work_clock(1);
    kernels.multiply_add_loop(rounds_, &sink);
    seconds = work_clock(1) - start;
  }
}

void PeakMeter::sample() {
  const cpu::VectorKernels& kernels = cpu::active_kernels();
  const int threads = pool_.size();
  std::vector<int64_t> operations(static_cast<size_t>(threads));
  const double start = work_clock(threads);
  pool_.parallel_for(threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float sink = 0;
      operations[static_cast<size_t>(i)] = kernels.multiply_add_loop(rounds_, &sink);
    }
  });
  const double seconds = work_clock(threads) - start;
  double sum = 0;
  for (const int64_t count : operations) sum += static_cast<double>(count);
  samples_.push_back(1e-9 * sum / seconds);
}

double PeakMeter::gflops() const { return spread_of(samples_).median; }

void report(const std::string& target, const nlohmann::ordered_json& results,
            std::string_view table) {
  if (target == "-") {
    std::cout << results.dump() << std::endl;
    return;
  }
  std::cout << table << std::flush;
  if (target.empty()) return;
  std::ofstream file(target);
  file << results.dump() << '\n';
  file.close();
  require(!file.fail(), ErrorCode::kIo, "cannot write ", target);
}

double peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) / 1024;
  }
  return 0;
}

}  // namespace hugot::tools
