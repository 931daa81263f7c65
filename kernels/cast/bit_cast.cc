// BitCast: the same bits as another element type of the same width.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "kernels/cast/cast.h"
#include "kernels/define.h"
#include "kernels/ops.h"

namespace hugot {
namespace cast {
namespace {

// The types have to be known, and no string, and of equal width.
void require_castable(DType from, DType to) {
  require(from != DType::kString && to != DType::kString && dtype_bits(from) == dtype_bits(to),
          ErrorCode::kInvalidArgument, "the bits of ", dtype_name(from), " are not those of a ",
          dtype_name(to));
}

void infer_bit_cast(InferContext& ctx) {
  const DType to = target_of(ctx.node());
  if (ctx.input(0).dtype != DType::kUndefined) require_castable(ctx.input(0).dtype, to);
  ctx.output(0).dtype = to;
  ctx.output(0).shape = ctx.input(0).shape;
}

void bit_cast(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  const DType to = target_of(ctx.node());
  require_castable(in.dtype(), to);
  Tensor& out = ctx.output(0, to, in.shape());
  if (to == DType::kBool) {
    // A bool has the bits of 0 or 1: every other byte counts as true.
    const auto* bytes = static_cast<const uint8_t*>(in.raw());
    std::transform(bytes, bytes + in.size(), out.data<bool>(), [](uint8_t b) { return b != 0; });
  } else if (in.bytes() > 0) {
    std::memcpy(out.raw(), in.raw(), in.bytes());
  }
}

}  // namespace
}  // namespace cast

namespace ops {

OpDef onnx_BitCast(int) {
  return define({1, 1}, cast::infer_bit_cast, cast::bit_cast, batch_elementwise);
}

}  // namespace ops

}  // namespace hugot
