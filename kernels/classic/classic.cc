#include "kernels/classic/classic.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/classic/scores.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace classic {
namespace {

// [rows, columns] for input [rows, features] or [features].
Dims rows_and(const InferContext& ctx, int output, const Dim& columns) {
  const int rank = ctx.input(0).rank();
  const Dim rows = rank == 2   ? ctx.input(0).shape->front()
                   : rank == 1 ? Dim(1)
                               : unknown_dim(ctx, output, 0);
  return {rows, columns};
}

void infer_labels(InferContext& ctx, std::string_view strings, std::string_view integers) {
  const Tensor labels = class_labels(ctx.node(), strings, integers);
  ctx.output(0).dtype = labels.dtype();
  ctx.output(0).shape = Dims{rows_and(ctx, 0, 0).front()};
  if (ctx.num_outputs() < 2) return;
  // Not every model has a score per label.
  const Dim columns = labels.size() >= 2 ? Dim(labels.size()) : unknown_dim(ctx, 1, 1);
  ctx.output(1) = Fact::of(DType::kFloat32, rows_and(ctx, 1, columns));
}

void infer_classifier(InferContext& ctx) {
  infer_labels(ctx, "classlabels_strings", "classlabels_ints");
}

// Of more than two classes there may be scores of pairs.
void infer_svm_classifier(InferContext& ctx) {
  infer_classifier(ctx);
  if (ctx.num_outputs() > 1) ctx.output(1).shape->back() = unknown_dim(ctx, 1, 1);
}

void infer_tree_classifier(InferContext& ctx) {
  infer_labels(ctx, "classlabels_strings", "classlabels_int64s");
}

void infer_linear_regressor(InferContext& ctx) {
  const auto targets = ctx.node().get<int64_t>("targets", 1);
  require(targets > 0, ErrorCode::kInvalidData, targets, " targets");
  ctx.output(0) = Fact::of(DType::kFloat32, rows_and(ctx, 0, targets));
}

void infer_svm_regressor(InferContext& ctx) {
  ctx.output(0) = Fact::of(DType::kFloat32, rows_and(ctx, 0, 1));
}

void infer_tree_regressor(InferContext& ctx) {
  const bool same = ctx.node().op->name == "TreeEnsemble";
  ctx.output(0).dtype = same ? ctx.input(0).dtype : DType::kFloat32;
  ctx.output(0).shape = rows_and(ctx, 0, tree_targets(ctx.node()));
}

// Rows are treated alone.
Batching batch_rows(const BatchQuery& query) {
  constexpr int64_t kFeatures = 1;
  return query.input_fact(0).rank() == 2 ? batch_over_axes(query, std::span(&kFeatures, 1))
                                         : Batching::kLoop;
}

OpDef classifier(InferFunction infer, KernelFunction cpu) {
  return define({1, 1}, infer, cpu, nullptr, {1, 2});
}

OpDef trees(OpDef op) {
  op.prepare = prepare_trees;
  return op;
}

}  // namespace
}  // namespace classic

namespace ops {

OpDef ml_LinearClassifier(int) {
  return classic::classifier(classic::infer_classifier, classic::linear_classifier);
}

OpDef ml_LinearRegressor(int) {
  return define({1, 1}, classic::infer_linear_regressor, classic::linear_regressor,
                classic::batch_rows);
}

OpDef ml_SVMClassifier(int) {
  return classic::classifier(classic::infer_svm_classifier, classic::svm_classifier);
}

OpDef ml_SVMRegressor(int) {
  return define({1, 1}, classic::infer_svm_regressor, classic::svm_regressor, classic::batch_rows);
}

OpDef ml_TreeEnsemble(int) {
  return classic::trees(
      define({1, 1}, classic::infer_tree_regressor, classic::tree_regressor, classic::batch_rows));
}

OpDef ml_TreeEnsembleClassifier(int) {
  return classic::trees(
      classic::classifier(classic::infer_tree_classifier, classic::tree_classifier));
}

OpDef ml_TreeEnsembleRegressor(int) {
  return classic::trees(
      define({1, 1}, classic::infer_tree_regressor, classic::tree_regressor, classic::batch_rows));
}

}  // namespace ops
}  // namespace hugot
