// Kernel of hugot.Dropout.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/dispatch.h"
#include "kernels/random/dropout.h"
#include "kernels/random/philox.h"

namespace hugot::random {
namespace {

constexpr uint32_t kSteps = 1u << 16;        // probabilities are multiples of 1 / kSteps
constexpr int64_t kGrain = 1 << 13;          // elements that make a task for another thread
constexpr uint32_t kTextCounter = 1u << 31;  // sets the counters of texts apart from columns

uint64_t key_of(const std::array<uint32_t, 4>& bits) {
  const uint64_t key = uint64_t{bits[1]} << 32 | bits[0];
  return key != 0 ? key : 1;
}

}  // namespace

uint64_t text_key(uint64_t seed, uint64_t step, uint32_t row, uint32_t column) {
  return key_of(philox(
      {static_cast<uint32_t>(step), static_cast<uint32_t>(step >> 32), row, column | kTextCounter},
      seed));
}

uint64_t token_key(uint64_t text_key, uint32_t position) {
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

void dropout(KernelContext& ctx) {
  const Tensor &x = ctx.input(0), &keys = ctx.input(1);
  const bool added = ctx.has_input(2);
  const Shape& shape = x.shape();
  const int rank = shape.rank();
  const bool fits =
      (rank == 3 || rank == 4) && keys.dtype() == DType::kInt64 &&
      keys.shape() == Shape{shape[0], shape[rank - 2]} &&
      (!added || (ctx.input(2).dtype() == x.dtype() && ctx.input(2).shape() == shape));
  require(fits, ErrorCode::kInvalidArgument, "dropout of ", describe(x), " with keys ",
          describe(keys), added ? " and a residual " : "",
          added ? std::string(describe(ctx.input(2))) : "", " does not fit");
  const DropoutMask mask(ctx.node());
  const int64_t tokens = shape[rank - 2], width = shape[rank - 1];
  const int64_t heads = rank == 4 ? shape[1] : 1, rows = shape[0] * heads * tokens;
  Tensor& y = ctx.output(0, x.dtype(), shape);
  dispatch(Types<float, double>{}, x.dtype(), [&]<class T>() {
    const T* residual = added ? ctx.input(2).data<T>() : nullptr;
    const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(width, 1));
    parallel_for(ctx.pool(), rows, grain, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t head = row / tokens % heads, text = row / (tokens * heads);
        const auto key = static_cast<uint64_t>(keys.data<int64_t>()[text * tokens + row % tokens]);
        T* const to = y.data<T>() + row * width;
        mask.factors(key, static_cast<uint32_t>(head), width, to);
        const T* const from = x.data<T>() + row * width;
        for (int64_t i = 0; i < width; ++i) to[i] *= from[i];
        if (residual == nullptr) continue;
        for (int64_t i = 0; i < width; ++i) to[i] += residual[row * width + i];
      }
    });
  });
}

}  // namespace hugot::random
