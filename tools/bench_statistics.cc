#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/error.h"
#include "tools/bench.h"

namespace hugot::tools {

double quantile(std::vector<double> samples, double q) {
  require(!samples.empty(), ErrorCode::kInternal, "a quantile of nothing");
  std::sort(samples.begin(), samples.end());
  const double place = q * static_cast<double>(samples.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, samples.size() - 1);
  const double part = place - static_cast<double>(below);
  return samples[below] + part * (samples[above] - samples[below]);
}

Spread spread_of(const std::vector<double>& samples) {
  return {quantile(samples, 0.5), quantile(samples, 0.25), quantile(samples, 0.75)};
}

std::string format_number(const char* format, double value) {
  char buffer[64];
  const int length = std::snprintf(buffer, sizeof buffer, format, value);
  return std::string(buffer, static_cast<size_t>(length));
}

}  // namespace hugot::tools
