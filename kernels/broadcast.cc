#include "kernels/broadcast.h"

#include "base/error.h"

namespace hugot {
namespace {

[[noreturn]] void fail_to_broadcast(const Shape& operand, const Shape& output) {
  fail(ErrorCode::kInvalidArgument, "shape ", operand.to_string(), " cannot be broadcast to ",
       output.to_string());
}

}  // namespace

BroadcastPlan::BroadcastPlan(const Shape& output, std::initializer_list<const Shape*> operands) {
  // From the innermost axis outwards: an axis joins the one before it when every operand is
  // broadcast along both or along neither.
  struct Merged {
    int64_t dim;
    std::array<bool, kMaxOperands> varies;
    Offsets steps;
  };
  std::array<Merged, Shape::kMaxRank> merged;
  size_t count = 0;
  Offsets stride{1, 1, 1};
  for (int axis = output.rank() - 1; axis >= 0; --axis) {
    const int64_t dim = output[axis];
    Merged next{dim, {}, {}};
    size_t i = 0;
    for (const Shape* operand : operands) {
      const int own = axis - (output.rank() - operand->rank());
      const int64_t own_dim = own < 0 ? 1 : (*operand)[own];
      if (own_dim != dim && own_dim != 1) fail_to_broadcast(*operand, output);
      next.varies[i] = own_dim != 1;
      next.steps[i] = own_dim != 1 ? stride[i] : 0;
      stride[i] *= own_dim;
      ++i;
    }
    if (dim == 1) continue;
    if (count > 0 && merged[count - 1].varies == next.varies) {
      merged[count - 1].dim *= dim;
    } else {
      merged[count++] = next;
    }
  }
  for (const Shape* operand : operands) {
    if (operand->rank() > output.rank()) fail_to_broadcast(*operand, output);
  }
  if (count == 0) return;
  run_ = std::max<int64_t>(merged[0].dim, 1);
  inner_steps_ = merged[0].steps;
  outer_rank_ = static_cast<int>(count) - 1;
  for (size_t d = 1; d < count; ++d) {
    dims_[count - 1 - d] = merged[d].dim;
    steps_[count - 1 - d] = merged[d].steps;
  }
}

}  // namespace hugot
