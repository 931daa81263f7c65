// Kernel of hugot.GatherGradient: the rows of dy are added to the rows of the table that they were
// taken from.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "kernels/cpu/isa.h"
#include "kernels/movement/movement.h"

namespace hugot::movement {
namespace {

void add_row(const float* x, float* sum, int64_t n) {
  cpu::active_kernels().add.vv(sum, x, sum, n);
}
void add_row(const double* x, double* sum, int64_t n) {
  for (int64_t i = 0; i < n; ++i) sum[i] += x[i];
}

// Every thread adds some columns of all rows, in their order.
template <class T>
void run(KernelContext& ctx, const std::vector<int64_t>& rows) {
  const Tensor &table = ctx.input(0), &dy = ctx.input(2);
  Tensor& sum = ctx.output(0, dy.dtype(), table.shape());
  constexpr int64_t kColumns = 64, kClearBytes = 1 << 18;
  parallel_for(ctx.pool(), static_cast<int64_t>(sum.bytes()), kClearBytes,
               [&](int64_t begin, int64_t end) {
                 std::memset(static_cast<std::byte*>(sum.raw()) + begin, 0,
                             static_cast<size_t>(end - begin));
               });
  const int64_t width = table.shape()[1];
  parallel_for(ctx.pool(), (width + kColumns - 1) / kColumns, 1, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kColumns, count = std::min(end * kColumns, width) - first;
    for (size_t i = 0; i < rows.size(); ++i) {
      add_row(dy.data<T>() + static_cast<int64_t>(i) * width + first,
              sum.data<T>() + rows[i] * width + first, count);
    }
  });
}

}  // namespace

void gather_gradient(KernelContext& ctx) {
  const Tensor &table = ctx.input(0), &indices = ctx.input(1), &dy = ctx.input(2);
  const DType dtype = dy.dtype();
  require(dtype == DType::kFloat32 || dtype == DType::kFloat64, ErrorCode::kUnsupported,
          "a gathered table has a gradient in float32 and float64, got ", describe(dy));
  require(table.rank() == 2 && dy.rank() > 0 && dy.shape().back() == table.shape()[1] &&
              dy.size() == indices.size() * table.shape()[1],
          ErrorCode::kInvalidArgument, "table ", describe(table), ", indices ", describe(indices),
          " and dy ", describe(dy), " do not fit");
  std::vector<int64_t> rows = to_int64s(indices);
  const int64_t count = table.shape()[0];
  for (int64_t& row : rows) {
    require(row >= -count && row < count, ErrorCode::kInvalidArgument, "index ", row,
            " is outside of a table of ", count, " rows");
    if (row < 0) row += count;
  }
  dtype == DType::kFloat32 ? run<float>(ctx, rows) : run<double>(ctx, rows);
}

}  // namespace hugot::movement
