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

// Blocks of random bits that are made together, and the numbers of 16 bits in them.
constexpr uint32_t kBlocks = 4;
constexpr int64_t kNumbers = 8 * kBlocks;

uint64_t key_of(uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint64_t key) {
  std::array<std::array<uint32_t, 1>, 4> bits = {{{a}, {b}, {c}, {d}}};
  philox(bits, key);
  const uint64_t result = uint64_t{bits[1][0]} << 32 | bits[0][0];
  return result != 0 ? result : 1;
}

}  // namespace

uint64_t text_dropout_key(uint64_t seed, uint64_t step, uint32_t row, uint32_t column) {
  return key_of(static_cast<uint32_t>(step), static_cast<uint32_t>(step >> 32), row,
                column | kTextCounter, seed);
}

uint64_t token_dropout_key(uint64_t text_key, uint32_t position) {
  return text_key == 0 ? 0 : key_of(position, 0, 0, 0, text_key);
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
  const auto scale = static_cast<T>(scale_);
  std::array<T, kNumbers> factors;
  for (int64_t begin = 0; begin < count; begin += kNumbers) {
    const auto first = static_cast<uint32_t>(begin / kNumbers * kBlocks);
    std::array<std::array<uint32_t, kBlocks>, 4> bits;
    for (uint32_t i = 0; i < kBlocks; ++i) bits[0][i] = first + i;
    bits[1].fill(row);
    bits[2].fill(site_);
    bits[3].fill(1);
    philox(bits, key);
    for (size_t word = 0; word < 4; ++word) {
      for (size_t i = 0; i < kBlocks; ++i) {
        const uint32_t low = bits[word][i] & (kSteps - 1), high = bits[word][i] >> 16;
        factors[word * kBlocks + i] = low < threshold_ ? T{0} : scale;
        factors[(word + 4) * kBlocks + i] = high < threshold_ ? T{0} : scale;
      }
    }
    std::copy_n(factors.data(), std::min(kNumbers, count - begin), to + begin);
  }
}

template void DropoutMask::factors(uint64_t, uint32_t, int64_t, float*) const;
template void DropoutMask::factors(uint64_t, uint32_t, int64_t, double*) const;

}  // namespace hugot
