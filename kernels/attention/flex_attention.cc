// FlexAttention: attention whose scores and probabilities pass through bodies that the node has as
// attributes. These see the whole [batch, heads, queries, keys], so it is there as a whole.
#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "graph/gradient.h"
#include "kernels/compute.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/isa.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"
#include "kernels/running.h"
#include "kernels/subgraph.h"

namespace hugot {
namespace attention {
namespace {

constexpr std::string_view kScoreMod = "score_mod", kProbMod = "prob_mod";

// The type of scores and probabilities.
DType softmax_dtype(const Node& node, DType input) {
  if (!node.has("softmax_precision")) {
    return input == DType::kFloat64 ? DType::kFloat64 : DType::kFloat32;
  }
  const auto number = node.at<int64_t>("softmax_precision");
  require(number > 0 && number < kDTypeCount && is_float(static_cast<DType>(number)),
          ErrorCode::kInvalidArgument, "attribute softmax_precision is ", number);
  return static_cast<DType>(number);
}

void infer(InferContext& ctx) {
  const Node& node = ctx.node();
  require(own_inputs(node) == 3, ErrorCode::kInvalidData, "it takes queries, keys and values");
  const Fact &q = ctx.input(0), &k = ctx.input(1), &v = ctx.input(2);
  Fact& y = ctx.output(0);
  y.dtype = q.dtype;
  for (const Fact* fact : {&q, &k, &v}) {
    require(!fact->shape || fact->rank() == 4, ErrorCode::kInvalidArgument,
            "queries, keys and values need rank 4");
  }
  y.shape = unknown_dims(ctx, 0, 4);
  if (q.shape) std::copy_n(q.shape->begin(), 3, y.shape->begin());
  if (v.shape) y.shape->back() = v.shape->back();
  Fact scores;
  scores.dtype = q.dtype == DType::kUndefined ? q.dtype : softmax_dtype(node, q.dtype);
  if (q.shape && k.shape) {
    scores.shape = Dims{(*q.shape)[0], (*q.shape)[1], (*q.shape)[2], (*k.shape)[2]};
  }
  for (const std::string_view mod : {kScoreMod, kProbMod}) {
    if (node.has(mod)) infer_body(ctx, body_of(node, mod, 1, 1), {scores});
  }
}

// c [m, n] = a [m, k] . b, where b is [k, n], or [n, k] when transposed.
void multiply(int64_t m, int64_t n, int64_t k, const float* a, const float* b, bool transposed,
              float* c, ThreadPool* pool) {
  cpu::gemm(m, n, k, a, k, b, transposed ? k : n, transposed, c, n, {}, nullptr, pool);
}
void multiply(int64_t m, int64_t n, int64_t k, const double* a, const double* b, bool transposed,
              double* c, ThreadPool* pool) {
  cpu::gemm_f64(m, n, k, a, k, b, transposed ? k : n, transposed, c, n, pool);
}

void softmax(const float* x, float* y, int64_t rows, int64_t columns) {
  cpu::active_kernels().softmax(x, y, rows, columns);
}
void softmax(const double* x, double* y, int64_t rows, int64_t columns) {
  for (int64_t row = 0; row < rows; ++row, x += columns, y += columns) {
    const double most = *std::max_element(x, x + columns);
    double sum = 0;
    for (int64_t i = 0; i < columns; ++i) sum += y[i] = std::exp(x[i] - most);
    for (int64_t i = 0; i < columns; ++i) y[i] /= sum;
  }
}

// What a body makes of `tensor`, or that itself where there is none.
Tensor modified(KernelContext& ctx, std::string_view attribute, const Tensor& tensor) {
  if (!ctx.node().has(attribute)) return tensor;
  SubgraphRun run(ctx, attribute);
  const Datum input = tensor;
  std::vector<Datum> results;
  run(std::span(&input, 1), results);
  const Tensor result = results.at(0).tensor();
  if (result.dtype() != tensor.dtype() || !(result.shape() == tensor.shape())) {
    fail(ErrorCode::kInvalidArgument, attribute, " makes ", describe(result), " of ",
         describe(tensor));
  }
  return result;
}

template <class C>
Tensor converted(const Tensor& tensor) {
  Tensor result(dtype_of<C>, tensor.shape());
  dispatch(FloatTypes{}, tensor.dtype(),
           [&]<class T>() { convert_all(tensor.data<T>(), result.data<C>(), tensor.size()); });
  return result;
}

// Rows of queries times keys, scaled, in the type P of probabilities.
template <class T, class P>
Tensor scores_of(KernelContext& ctx, const Shape& shape, int64_t group) {
  using C = Compute<T>;
  const Tensor &q = ctx.input(0), &k = ctx.input(1);
  const int64_t queries = shape[2], keys = shape[3], size = q.shape()[3];
  const float given = ctx.node().get<float>("scale", 0.0f);
  const C scale = ctx.node().has("scale")
                      ? static_cast<C>(given)
                      : C{1} / std::sqrt(static_cast<C>(std::max<int64_t>(size, 1)));
  const Wide<T> wide_q(q), wide_k(k);
  Tensor scores(dtype_of<P>, shape);
  std::vector<C> rows(static_cast<size_t>(queries * keys));
  for (int64_t head = 0; head < shape[0] * shape[1]; ++head) {
    check_running(ctx);
    multiply(queries, keys, size, wide_q.data() + head * queries * size,
             wide_k.data() + head / group * keys * size, true, rows.data(), ctx.pool());
    for (C& value : rows) value *= scale;
    convert_all(rows.data(), scores.data<P>() + head * queries * keys, queries * keys);
  }
  return scores;
}

template <class P>
Tensor probabilities_of(const Tensor& scores) {
  using C = Compute<P>;
  Tensor result(scores.dtype(), scores.shape());
  if (result.size() == 0) return result;
  const Wide<P> wide(scores);
  WideResult<P> rows(result);
  const int64_t keys = scores.shape().back();
  C* to = rows.data();
  softmax(wide.data(), to, scores.size() / keys, keys);
  rows.store();
  return result;
}

void flex_attention(KernelContext& ctx) {
  const Tensor &q = ctx.input(0), &k = ctx.input(1), &v = ctx.input(2);
  bool fits = q.rank() == 4 && k.rank() == 4 && v.rank() == 4 && q.dtype() == k.dtype() &&
              q.dtype() == v.dtype();
  fits = fits && q.shape()[0] == k.shape()[0] && q.shape()[0] == v.shape()[0] &&
         q.shape()[3] == k.shape()[3] && k.shape()[1] == v.shape()[1] &&
         k.shape()[2] == v.shape()[2] && k.shape()[1] > 0 && q.shape()[1] % k.shape()[1] == 0;
  if (!fits) {
    fail(ErrorCode::kInvalidArgument, "queries ", describe(q), ", keys ", describe(k),
         " and values ", describe(v), " do not fit");
  }
  const int64_t group = q.shape()[1] / k.shape()[1], queries = q.shape()[2], keys = k.shape()[2];
  const int64_t size = v.shape()[3];
  const Shape shape{q.shape()[0], q.shape()[1], queries, keys};
  dispatch(FloatTypes{}, softmax_dtype(ctx.node(), q.dtype()), [&]<class P>() {
    using C = Compute<P>;
    Tensor scores;
    dispatch(FloatTypes{}, q.dtype(),
             [&]<class T>() { scores = scores_of<T, P>(ctx, shape, group); });
    scores = modified(ctx, kScoreMod, scores);
    const Tensor probabilities = modified(ctx, kProbMod, probabilities_of<P>(scores));
    const Wide<P> wide(probabilities);
    const Tensor values = converted<C>(v);
    Tensor& y = ctx.output(0, q.dtype(), shape.with(3, size));
    std::vector<C> rows(static_cast<size_t>(queries * size));
    dispatch(FloatTypes{}, q.dtype(), [&]<class T>() {
      for (int64_t head = 0; head < shape[0] * shape[1]; ++head) {
        multiply(queries, size, keys, wide.data() + head * queries * keys,
                 values.data<C>() + head / group * keys * size, false, rows.data(), ctx.pool());
        convert_all(rows.data(), y.data<T>() + head * queries * size, queries * size);
      }
    });
  });
}

// The same written with other operators, bodies included.
void differentiate(GradientContext& g) {
  GraphWriter& w = g.writer();
  const Node node = g.node();
  const Term q = g.x(0), k = g.x(1), v = g.x(2);
  const DType dtype = softmax_dtype(node, q.dtype());
  // Heads of queries that share keys, [batch, kv heads, group, queries, size].
  const Term grouped = reshape(q, w.concat({dim_of(q, 0), dim_of(k, 1), dim_of(q, 1) / dim_of(k, 1),
                                            dim_of(q, 2), dim_of(q, 3)},
                                           0));
  const Term scale = node.has("scale")
                         ? Term(node.get<float>("scale", 0.0f))
                         : 1 / sqrt(cast_to(reshape(dim_of(q, 3), w.integers({})), q.dtype()));
  const auto modified = [&](std::string_view attribute, const Term& x) {
    if (!node.has(attribute)) return x;
    std::vector<Term> inputs = {x};
    for (int i = own_inputs(node); i < g.num_inputs(); ++i) inputs.push_back(g.x(i));
    return inline_body(w, body_of(node, attribute, 1, 1), inputs).front();
  };
  const Term products = matrix_product(grouped, transposed(unsqueeze(k, {2}))) * scale;
  const Term shape = w.concat({dim_of(q, 0), dim_of(q, 1), dim_of(q, 2), dim_of(k, 2)}, 0);
  const Term scores = modified(kScoreMod, cast_to(reshape(products, shape), dtype));
  const Term softmax = w.op("Softmax", {scores}, {{"axis", int64_t{-1}}});
  const Term probabilities = modified(kProbMod, softmax);
  const Term rows = reshape(probabilities, shape_of(products));
  const Term y = reshape_like(matrix_product(rows, cast_to(unsqueeze(v, {2}), dtype)), g.y());
  const Term result[] = {cast_to(y, q.dtype())};
  g.differentiate(result);
}

}  // namespace
}  // namespace attention

namespace ops {

OpDef preview_FlexAttention(int) {
  OpDef op = define({3, OpDef::kVariadic}, attention::infer, attention::flex_attention);
  op.prepare = prepare_subgraphs;
  op.gradient = attention::differentiate;
  return op;
}

}  // namespace ops
}  // namespace hugot
