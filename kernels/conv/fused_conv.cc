// Convolutions of com.microsoft that have swallowed a sum and an activation.
#include "kernels/composite.h"
#include "kernels/conv/conv.h"
#include "kernels/fused_activation.h"
#include "kernels/ops.h"

namespace hugot::conv {
namespace {

// activation(conv(x, w, bias) + z): inputs x, w, bias, z.
bool fused_conv(Expansion& e) {
  Attributes attributes = e.node().attributes;
  attributes.erase("activation");
  attributes.erase("activation_params");
  Term y = e.op("Conv", {e.x(0), e.x(1), e.x(2)}, std::move(attributes));
  if (e.has(3)) y = y + e.x(3);
  e.set(0, fused_activation(e, y, e.node().get<std::string>("activation", ""),
                            e.node().get<std::vector<float>>("activation_params", {})));
  return true;
}

void infer_fused_conv(InferContext& ctx) {
  ctx.output(0).dtype = ctx.input(0).dtype;
  infer_result_shape(ctx, 0, 1);
}

}  // namespace
}  // namespace hugot::conv

namespace hugot::ops {

OpDef ms_FusedConv(int) { return composite({2, 4}, conv::infer_fused_conv, conv::fused_conv); }

}  // namespace hugot::ops
