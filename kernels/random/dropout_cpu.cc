// Kernel of hugot.Dropout.
#include <algorithm>

#include "base/error.h"
#include "kernels/dispatch.h"
#include "kernels/dropout_mask.h"
#include "kernels/random/dropout.h"

namespace hugot::random {
namespace {

constexpr int64_t kGrain = 1 << 13;  // elements that make a task for another thread

}  // namespace

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
