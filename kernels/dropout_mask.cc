#include "kernels/dropout_mask.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "kernels/philox.h"

namespace hugot {
namespace {

constexpr uint32_t kSteps = 1u << 16;        // probabilities are multiples of 1 / kSteps
constexpr uint32_t kTextCounter = 1u << 31;  // sets the counters of texts apart from columns

uint64_t key_of(const std::array<uint32_t, 4>& bits) {
  const uint64_t key = uint64_t{bits[1]} << 32 | bits[0];
  return key != 0 ? key : 1;
}

}  // namespace

uint64_t text_dropout_key(uint64_t seed, uint64_t step, uint32_t row, uint32_t column) {
  return key_of(philox(
      {static_cast<uint32_t>(step), static_cast<uint32_t>(step >> 32), row, column | kTextCounter},
      seed));
}

uint64_t token_dropout_key(uint64_t text_key, uint32_t position) {
  return text_key == 0 ? 0 : key_of(philox({position, 0, 0, 0}, text_key));
}

DropoutMask::DropoutMask(double ratio, uint32_t site) : site_(site) {
  require(ratio >= 0 && ratio < 1, ErrorCode::kInvalidArgument, "dropout: ", ratio,
          " is no probability below 1");
  threshold_ = std::min(static_cast<uint32_t>(std::lround(ratio * kSteps)), kSteps - 1);
  scale_ = static_cast<double>(kSteps) / (kSteps - threshold_);
}

DropoutMask::DropoutMask(const Node& node)
    : DropoutMask(static_cast<double>(node.at<float>("ratio")),
                  static_cast<uint32_t>(node.at<int64_t>("site"))) {}

template <class T>
void DropoutMask::factors(uint64_t key, uint32_t row, int64_t count, T* to) const {
  if (key == 0) {
    std::fill_n(to, count, T{1});
    return;
  }
  constexpr int64_t kPerBlock = 8;  // numbers of 16 bits
  const auto scale = static_cast<T>(scale_);
  for (int64_t begin = 0; begin < count; begin += kPerBlock) {
    const auto bits = philox({static_cast<uint32_t>(begin / kPerBlock), row, site_, 1}, key);
    const int64_t n = std::min(kPerBlock, count - begin);
    for (int64_t i = 0; i < n; ++i) {
      const uint32_t number = bits[static_cast<size_t>(i / 2)] >> (i % 2 * 16) & (kSteps - 1);
      to[begin + i] = number < threshold_ ? T{0} : scale;
    }
  }
}

template void DropoutMask::factors(uint64_t, uint32_t, int64_t, float*) const;
template void DropoutMask::factors(uint64_t, uint32_t, int64_t, double*) const;

}  // namespace hugot
