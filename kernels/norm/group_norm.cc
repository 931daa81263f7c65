// InstanceNormalization, GroupNormalization, MeanVarianceNormalization, LpNormalization: inference
// and batching.
#include <numeric>
#include <vector>

#include "base/error.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/norm/norm.h"
#include "kernels/ops.h"

namespace hugot {
namespace norm {

int64_t group_count(const Node& node, int64_t channels) {
  if (node.op->name == "InstanceNormalization") return channels;
  const auto groups = node.at<int64_t>("num_groups");
  require(groups > 0 && channels % groups == 0, ErrorCode::kInvalidArgument, groups,
          " groups do not divide ", channels, " channels");
  return groups;
}

std::vector<int64_t> mean_variance_axes(const Node& node) {
  return node.get<std::vector<int64_t>>("axes", {0, 2, 3});
}

bool is_l1(const Node& node) {
  const auto p = node.get<int64_t>("p", 2);
  require(p == 1 || p == 2, ErrorCode::kInvalidArgument, "the L", p, " norm is not supported");
  return p == 1;
}

namespace {

void infer_group_norm(InferContext& ctx) {
  require_same_dtype(ctx, 0, 1);
  require_same_dtype(ctx, 0, 2);
  infer_same_as_input(ctx);
}

// The instances are the batch axis; everything else is used together.
Batching batch_group_norm(const BatchQuery& query) {
  const int rank = query.input_fact(0).rank();
  if (rank < 2) return Batching::kLoop;
  std::vector<int64_t> axes(static_cast<size_t>(rank - 1));
  std::iota(axes.begin(), axes.end(), 1);
  return batch_over_axes(query, axes);
}

Batching batch_mean_variance(const BatchQuery& query) {
  return batch_over_axes(query, mean_variance_axes(query.node()));
}

Batching batch_lp_norm(const BatchQuery& query) {
  const int64_t axis[] = {query.node().get<int64_t>("axis", -1)};
  return batch_over_axes(query, axis);
}

}  // namespace
}  // namespace norm

namespace ops {

OpDef onnx_InstanceNormalization(int) {
  return with_gradient(
      define({3, 3}, norm::infer_group_norm, norm::group_norm, norm::batch_group_norm),
      norm::rule::GroupNormalization);
}

OpDef onnx_GroupNormalization(int) {
  return with_gradient(
      define({3, 3}, norm::infer_group_norm, norm::group_norm, norm::batch_group_norm),
      norm::rule::GroupNormalization);
}

OpDef onnx_MeanVarianceNormalization(int) {
  return with_gradient(
      define({1, 1}, infer_same_as_input, norm::mean_variance_norm, norm::batch_mean_variance),
      norm::rule::MeanVarianceNormalization);
}

OpDef onnx_LpNormalization(int) {
  return with_gradient(define({1, 1}, infer_same_as_input, norm::lp_norm, norm::batch_lp_norm),
                       norm::rule::LpNormalization);
}

}  // namespace ops
}  // namespace hugot
