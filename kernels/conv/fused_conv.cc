// Convolutions of com.microsoft: with channels last, and those that have swallowed a sum and an
// activation.
#include "kernels/composite.h"
#include "kernels/conv/conv.h"
#include "kernels/fused_activation.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot::conv {
namespace {

// activation(conv(x, w, bias) + z): inputs x, w, bias, z.
Term fused(Expansion& e, const Term& x, const Term& w, const Term& z) {
  Attributes attributes = e.node().attributes;
  attributes.erase("activation");
  attributes.erase("activation_params");
  Term y = e.op("Conv", {x, w, e.x(2)}, std::move(attributes));
  if (z) y = y + z;
  return fused_activation(e, y, e.node().get<std::string>("activation", ""),
                          e.node().get<std::vector<float>>("activation_params", {}));
}

bool fused_conv(Expansion& e) {
  e.set(0, fused(e, e.x(0), e.x(1), e.x(3)));
  return true;
}

// Images and filters have their channels last.
bool nhwc_conv(Expansion& e) {
  if (!e.ranks_known()) return false;
  const Term x = channels_first(e.x(0)), w = channels_first(e.x(1));
  e.set(0, channels_last(e.op("Conv", {x, w, e.x(2)}, e.node().attributes)));
  return true;
}

// Only images have their channels last.
bool nhwc_fused_conv(Expansion& e) {
  if (!e.ranks_known()) return false;
  const Term z = e.has(3) ? channels_first(e.x(3)) : Term();
  e.set(0, channels_last(fused(e, channels_first(e.x(0)), e.x(1), z)));
  return true;
}

void infer_fused_conv(InferContext& ctx) {
  ctx.output(0).dtype = ctx.input(0).dtype;
  infer_result_shape(ctx, 0, 1);
}

void infer_nhwc(InferContext& ctx) {
  const Fact &x = ctx.input(0), &w = ctx.input(1);
  require_same_dtype(ctx, 0, 1);
  ctx.output(0).dtype = x.dtype;
  if (!x.shape) return;
  require_spatial_axes(x.rank());
  Dims dims = unknown_dims(ctx, 0, x.rank());
  dims.front() = x.shape->front();
  if (w.shape) {
    require(w.rank() == x.rank(), ErrorCode::kInvalidArgument, "input ", to_string(*x.shape),
            " and weight ", to_string(*w.shape), " differ in rank");
    dims.back() = w.shape->front();
  }
  ctx.output(0).shape = std::move(dims);
}

}  // namespace
}  // namespace hugot::conv

namespace hugot::ops {

OpDef ms_FusedConv(int) { return composite({2, 4}, conv::infer_fused_conv, conv::fused_conv); }
OpDef ms_NhwcConv(int) { return composite({2, 3}, conv::infer_nhwc, conv::nhwc_conv); }
OpDef ms_NhwcFusedConv(int) { return composite({2, 4}, conv::infer_nhwc, conv::nhwc_fused_conv); }

}  // namespace hugot::ops
