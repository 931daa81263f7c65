// MatMul, Gemm, Linear: inference and batching.
#include "kernels/matmul/matmul.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace matmul {
namespace {

// Throws when both are numbers and differ.
void require_equal(const Dim& a, const Dim& b, std::string_view what) {
  require(!a.is_number() || !b.is_number() || a == b, ErrorCode::kInvalidArgument, what, ": ",
          a.to_string(), " columns on the left meet ", b.to_string(), " rows on the right");
}

void infer_matmul(InferContext& ctx) {
  require_same_dtype(ctx, 0, 1);
  ctx.output(0).dtype = ctx.input(0).dtype;
  infer_product_shape(ctx, 0, 1);
}

Batching batch_matmul(const BatchQuery& query) {
  const int a_rank = query.input_fact(0).rank(), b_rank = query.input_fact(1).rank();
  if (a_rank < 0 || b_rank < 0) return Batching::kLoop;
  if (query.ragged(1)) {
    const bool rows = query.row(0) && query.row(1) && a_rank == b_rank && a_rank > 2;
    return rows ? Batching::kRows : Batching::kLoop;
  }
  // Batch axes of the right-hand side have to stay behind the axis that instances are joined on.
  const int joined = std::max(query.token_axis(0), 0);
  if (b_rank > 2 && b_rank > a_rank - joined - 1) return Batching::kLoop;
  const int64_t contracted[] = {-1};
  return batch_over_axes(query, contracted);
}

Batching batch_gemm(const BatchQuery& query) {
  if (sums_over_texts(query.node())) {
    // A^T B over the rows of all texts.
    const bool rows = query.node().get<int64_t>("transA", 0) != 0 &&
                      query.node().get<int64_t>("transB", 0) == 0 &&
                      query.node().inputs.size() == 2;
    const bool tokens = query.token_axis(0) == 0 && query.token_axis(1) == 0;
    const bool joined = tokens || (query.row(0) && query.row(1));
    return rows && joined ? Batching::kSum : Batching::kLoop;
  }
  if (query.node().get<int64_t>("transA", 0) != 0) return Batching::kLoop;
  const int64_t contracted[] = {-1};
  return batch_over_axes(query, contracted);
}

void infer_linear(InferContext& ctx) {
  Fact& out = ctx.output(0);
  out.dtype = ctx.input(0).dtype;
  const auto& x = ctx.input(0).shape;
  const auto& w = ctx.input(1).shape;
  if (!x || !w) return;
  require(!x->empty() && w->size() == 2, ErrorCode::kInvalidArgument,
          "Linear multiplies rows by a matrix, got ", to_string(*x), " and ", to_string(*w));
  const size_t n = ctx.node().get<int64_t>("trans_w", 0) != 0 ? 0 : 1;
  require_equal(x->back(), (*w)[1 - n], "the weight does not fit");
  out.shape = x;
  out.shape->back() = (*w)[n];
}

// x, then weight and bias of each product.
void infer_linear_group(InferContext& ctx) {
  require(ctx.num_inputs() == 2 * ctx.num_outputs() + 1 && ctx.num_outputs() <= kMaxGroup,
          ErrorCode::kInvalidArgument, "LinearGroup has ", ctx.num_inputs(), " inputs for ",
          ctx.num_outputs(), " products");
  const auto& x = ctx.input(0).shape;
  const size_t n = ctx.node().get<int64_t>("trans_w", 0) != 0 ? 0 : 1;
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    ctx.output(i).dtype = ctx.input(0).dtype;
    const auto& w = ctx.input(1 + 2 * i).shape;
    if (!x || !w) continue;
    require(!x->empty() && w->size() == 2, ErrorCode::kInvalidArgument,
            "LinearGroup multiplies rows by matrices, got ", to_string(*x), " and ", to_string(*w));
    require_equal(x->back(), (*w)[1 - n], "the weight does not fit");
    ctx.output(i).shape = x;
    ctx.output(i).shape->back() = (*w)[n];
  }
}

Batching batch_linear_group(const BatchQuery& query) {
  const int rank = query.input_fact(0).rank();
  const int token = query.token_axis(0);
  if (rank < 0) return Batching::kLoop;
  for (size_t i = 1; i < query.node().inputs.size(); ++i) {
    const int input = static_cast<int>(i);
    if (query.has_input(input) && query.ragged(input)) return Batching::kLoop;
  }
  if (token >= 0 && token < rank - 1 && query.output_token_axis(0) == token) {
    return Batching::kPacked;
  }
  return query.row(0) && rank > 1 ? Batching::kRows : Batching::kLoop;
}

Batching batch_linear(const BatchQuery& query) {
  const int rank = query.input_fact(0).rank();
  if (rank < 0 || query.ragged(1) || (query.has_input(2) && query.ragged(2))) {
    return Batching::kLoop;
  }
  const bool residual = query.has_input(3);
  const int token = query.token_axis(0);
  if (token >= 0 && token < rank - 1 && query.output_token_axis(0) == token &&
      (!residual || (query.ragged(3) && query.token_axis(3) == token))) {
    return Batching::kPacked;
  }
  return query.row(0) && rank > 1 && (!residual || query.row(3)) ? Batching::kRows
                                                                 : Batching::kLoop;
}

// x [.., k] and dy [.., n] to dW and dbias.
void infer_weight_gradient(InferContext& ctx) {
  for (int i = 0; i < ctx.num_outputs(); ++i) ctx.output(i).dtype = ctx.input(0).dtype;
  const auto &x = ctx.input(0).shape, &dy = ctx.input(1).shape;
  if (!x || !dy) return;
  require(!x->empty() && x->size() == dy->size(), ErrorCode::kInvalidArgument, "input ",
          to_string(*x), " and gradient ", to_string(*dy), " do not have the same rows");
  const bool transposed = ctx.node().get<int64_t>("trans_w", 0) != 0;
  ctx.output(0).shape = transposed ? Dims{dy->back(), x->back()} : Dims{x->back(), dy->back()};
  if (ctx.num_outputs() > 1) ctx.output(1).shape = Dims{dy->back()};
}

// All rows of all texts make one sum.
Batching batch_weight_gradient(const BatchQuery& query) {
  const int token = query.token_axis(0), rank = query.input_fact(0).rank();
  const bool tokens = token >= 0 && token == query.token_axis(1) && token < rank - 1;
  const bool rows = query.row(0) && query.row(1) && rank > 1;
  return sums_over_texts(query.node()) && (tokens || rows) ? Batching::kSum : Batching::kLoop;
}

OpDef with_prepare(OpDef op, PrepareFunction prepare) {
  op.prepare = prepare;
  return op;
}

}  // namespace

void infer_gemm(InferContext& ctx) {
  require_same_dtype(ctx, 0, 1);
  Fact& out = ctx.output(0);
  out.dtype = ctx.input(0).dtype;
  const auto& a = ctx.input(0).shape;
  const auto& b = ctx.input(1).shape;
  if (!a || !b) return;
  require(a->size() == 2 && b->size() == 2, ErrorCode::kInvalidArgument,
          "Gemm multiplies matrices, got ", to_string(*a), " and ", to_string(*b));
  const size_t m = ctx.node().get<int64_t>("transA", 0) != 0 ? 1 : 0;
  const size_t n = ctx.node().get<int64_t>("transB", 0) != 0 ? 0 : 1;
  require_equal((*a)[1 - m], (*b)[1 - n], "the matrices do not fit");
  out.shape = Dims{(*a)[m], (*b)[n]};
}

Dims product_dims(Dims a, Dims b) {
  require(!a.empty() && !b.empty(), ErrorCode::kInvalidArgument, "an operand is a scalar");
  const bool vector_a = a.size() == 1, vector_b = b.size() == 1;
  if (vector_a) a.insert(a.begin(), 1);
  if (vector_b) b.push_back(1);
  require_equal(a.back(), b[b.size() - 2], "the matrices do not fit");
  Dims dims = broadcast(Dims(a.begin(), a.end() - 2), Dims(b.begin(), b.end() - 2));
  if (!vector_a) dims.push_back(a[a.size() - 2]);
  if (!vector_b) dims.push_back(b.back());
  return dims;
}

void infer_product_shape(InferContext& ctx, int left, int right) {
  const auto &a = ctx.input(left).shape, &b = ctx.input(right).shape;
  if (a && b) ctx.output(0).shape = product_dims(*a, *b);
}

BatchedProduct plan_product(const Shape& a, const Shape& b) {
  require(a.rank() > 0 && b.rank() > 0, ErrorCode::kInvalidArgument, "an operand is a scalar");
  BatchedProduct plan;
  const bool vector_a = a.rank() == 1, vector_b = b.rank() == 1;
  Product& p = plan.product;
  p.m = vector_a ? 1 : a[a.rank() - 2];
  p.k = a.back();
  p.n = vector_b ? 1 : b.back();
  require((vector_b ? b[0] : b[b.rank() - 2]) == p.k, ErrorCode::kInvalidArgument, "matrices ",
          a.to_string(), " and ", b.to_string(), " do not fit");
  const Shape a_batch(a.dims().first(static_cast<size_t>(std::max(a.rank() - 2, 0))));
  const Shape b_batch(b.dims().first(static_cast<size_t>(std::max(b.rank() - 2, 0))));
  const Shape batch = broadcast(a_batch, b_batch);
  std::array<int64_t, Shape::kMaxRank> dims{};
  auto end = std::copy(batch.begin(), batch.end(), dims.begin());
  if (!vector_a) *end++ = p.m;
  if (!vector_b) *end++ = p.n;
  plan.shape = Shape(std::span<const int64_t>(dims.begin(), end));
  plan.batches = batch.size();

  if (b_batch.size() == 1) {  // one matrix on the right: all rows of A in one product
    p.m *= plan.batches;
    plan.batches = 1;
    return plan;
  }
  const auto add_axes = [&](Odometer& odometer, const Shape& own, int64_t elements) {
    const auto strides = row_major_strides(own);
    const int shift = batch.rank() - own.rank();
    for (int axis = 0; axis < batch.rank(); ++axis) {
      const bool repeats = axis < shift || own[axis - shift] == 1;
      odometer.add(batch[axis],
                   repeats ? 0 : strides[static_cast<size_t>(axis - shift)] * elements);
    }
  };
  add_axes(plan.a, a_batch, p.m * p.k);
  add_axes(plan.b, b_batch, p.k * p.n);
  return plan;
}

}  // namespace matmul

namespace ops {

OpDef onnx_MatMul(int) {
  return with_gradient(matmul::with_prepare(define({2, 2}, matmul::infer_matmul, matmul::matmul,
                                                   matmul::batch_matmul),
                                            matmul::prepare_matmul),
                       matmul::rule::MatMul);
}

OpDef onnx_Gemm(int version) {
  return with_gradient(matmul::with_prepare(define({version < 11 ? 3 : 2, 3}, matmul::infer_gemm,
                                                   matmul::gemm, matmul::batch_gemm),
                                            matmul::prepare_gemm),
                       matmul::rule::Gemm);
}

OpDef hugot_Linear(int) {
  return with_gradient(matmul::with_prepare(define({2, 4}, matmul::infer_linear, matmul::linear,
                                                   matmul::batch_linear),
                                            matmul::prepare_linear),
                       matmul::rule::Linear);
}

OpDef hugot_LinearWeightGradient(int) {
  return define({2, 2}, matmul::infer_weight_gradient, matmul::linear_weight_gradient,
                matmul::batch_weight_gradient, {1, 2});
}

OpDef hugot_LinearGroup(int) {
  return with_gradient(
      matmul::with_prepare(
          define({2, OpDef::kVariadic}, matmul::infer_linear_group, matmul::linear_group,
                 matmul::batch_linear_group, {1, OpDef::kVariadic}),
          matmul::prepare_linear_group),
      matmul::rule::LinearGroup);
}

}  // namespace ops
}  // namespace hugot
