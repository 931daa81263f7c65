// LinearAttention: a state [d_k, d_v] per head that every token decays, corrects, writes to and
// reads from. Tokens follow one another; heads and sequences are independent.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/error.h"
#include "kernels/compute.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"
#include "kernels/running.h"

namespace hugot {
namespace attention {
namespace {

enum Input { kQuery, kKey, kValue, kPast, kDecay, kBeta };

struct Rule {
  bool gated = false, delta = false;
};

Rule rule_of(const Node& node) {
  const std::string name = node.get<std::string>("update_rule", "gated_delta");
  if (name == "linear") return {};
  if (name == "gated") return {true, false};
  if (name == "delta") return {false, true};
  require(name == "gated_delta", ErrorCode::kInvalidArgument, "attribute update_rule is ", name);
  return {true, true};
}

struct Heads {
  int64_t query, state;  // of queries, and of keys, values and states
};

Heads heads_of(const Node& node) {
  const Heads heads{node.at<int64_t>("q_num_heads"), node.at<int64_t>("kv_num_heads")};
  require(heads.state > 0 && heads.query > 0 && heads.query % heads.state == 0,
          ErrorCode::kInvalidArgument, heads.query, " heads of queries do not share ", heads.state,
          " states");
  return heads;
}

bool has(const KernelContext& ctx, int i) { return i < ctx.num_inputs() && ctx.has_input(i); }

// The operands' lengths, checked.
struct Sizes {
  Heads heads;
  int64_t batch = 0, steps = 0;
  int64_t key = 0, value = 0;     // of one head
  int64_t decays = 0, betas = 0;  // of one token; decays of a head are one or as many as keys
};

Sizes sizes_of(const KernelContext& ctx, const Rule& rule) {
  const Tensor &q = ctx.input(kQuery), &k = ctx.input(kKey), &v = ctx.input(kValue);
  Sizes s{heads_of(ctx.node())};
  for (const Tensor* tensor : {&q, &k, &v}) {
    if (tensor->rank() != 3 || tensor->dtype() != q.dtype() || tensor->shape()[0] != q.shape()[0] ||
        tensor->shape()[1] != q.shape()[1]) {
      fail(ErrorCode::kInvalidArgument, "queries ", describe(q), ", keys ", describe(k),
           " and values ", describe(v), " do not fit");
    }
  }
  s.batch = q.shape()[0];
  s.steps = q.shape()[1];
  s.key = q.shape()[2] / s.heads.query;
  s.value = v.shape()[2] / s.heads.state;
  require(q.shape()[2] == s.key * s.heads.query && k.shape()[2] == s.key * s.heads.state &&
              v.shape()[2] == s.value * s.heads.state,
          ErrorCode::kInvalidArgument, "queries of ", q.shape()[2], ", keys of ", k.shape()[2],
          " and values of ", v.shape()[2], " numbers are not those of ", s.heads.query, " and ",
          s.heads.state, " heads");
  const auto numbers = [&](int i, bool wanted, const char* what) -> int64_t {
    require(has(ctx, i) == wanted, ErrorCode::kInvalidArgument, "this update_rule ",
            wanted ? "needs " : "has no ", what);
    if (!wanted) return 0;
    const Tensor& tensor = ctx.input(i);
    if (tensor.rank() != 3 || tensor.dtype() != q.dtype() || tensor.shape()[0] != s.batch ||
        tensor.shape()[1] != s.steps) {
      fail(ErrorCode::kInvalidArgument, what, " is ", describe(tensor), " for queries ",
           describe(q));
    }
    return tensor.shape()[2];
  };
  s.decays = numbers(kDecay, rule.gated, "decay");
  s.betas = numbers(kBeta, rule.delta, "beta");
  require(!rule.gated || s.decays == s.heads.state || s.decays == s.heads.state * s.key,
          ErrorCode::kInvalidArgument, "decay has ", s.decays, " numbers for ", s.heads.state,
          " heads of ", s.key);
  require(!rule.delta || s.betas == s.heads.state || s.betas == 1, ErrorCode::kInvalidArgument,
          "beta has ", s.betas, " numbers for ", s.heads.state, " heads");
  return s;
}

// y += factor * x
template <class C>
void add_scaled(C factor, const C* x, C* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] += factor * x[i];
}

template <class C>
struct Operands {
  const C *q, *k, *v, *decay, *beta;
  C scale;
};

// All tokens of one sequence and one head of states.
template <class C>
void run_head(const KernelContext& ctx, const Sizes& s, const Operands<C>& o, int64_t sequence,
              int64_t head, C* state, C* y) {
  const int64_t group = s.heads.query / s.heads.state;
  std::vector<C> fresh(static_cast<size_t>(s.value));
  for (int64_t step = 0; step < s.steps; ++step) {
    if (step % 64 == 0) {
      check_running(ctx);
    }
    const int64_t token = sequence * s.steps + step;
    const C* k = o.k + (token * s.heads.state + head) * s.key;
    const C* v = o.v + (token * s.heads.state + head) * s.value;
    if (o.decay != nullptr) {
      const int64_t own = s.decays / s.heads.state;
      const C* decay = o.decay + token * s.decays + head * own;
      for (int64_t d = 0; d < s.key; ++d) {
        const C factor = std::exp(decay[own == 1 ? 0 : d]);
        for (int64_t i = 0; i < s.value; ++i) state[d * s.value + i] *= factor;
      }
    }
    std::copy_n(v, s.value, fresh.begin());
    if (o.beta != nullptr) {
      for (int64_t d = 0; d < s.key; ++d) {
        add_scaled(-k[d], state + d * s.value, fresh.data(), s.value);
      }
      const C beta = o.beta[token * s.betas + (s.betas == 1 ? 0 : head)];
      for (C& value : fresh) value *= beta;
    }
    for (int64_t d = 0; d < s.key; ++d) {
      add_scaled(k[d], fresh.data(), state + d * s.value, s.value);
    }
    for (int64_t i = head * group; i < (head + 1) * group; ++i) {
      const C* q = o.q + (token * s.heads.query + i) * s.key;
      C* to = y + (token * s.heads.query + i) * s.value;
      std::fill_n(to, s.value, C{0});
      for (int64_t d = 0; d < s.key; ++d) {
        add_scaled(o.scale * q[d], state + d * s.value, to, s.value);
      }
    }
  }
}

// A tensor of any floating-point type in the type of arithmetic.
template <class C>
std::vector<C> numbers_of(const Tensor& tensor) {
  std::vector<C> result(static_cast<size_t>(tensor.size()));
  dispatch(FloatTypes{}, tensor.dtype(),
           [&]<class T>() { convert_all(tensor.data<T>(), result.data(), tensor.size()); });
  return result;
}

void linear_attention(KernelContext& ctx) {
  const Rule rule = rule_of(ctx.node());
  const Sizes s = sizes_of(ctx, rule);
  const DType dtype = ctx.input(kQuery).dtype();
  const Shape state_shape{s.batch, s.heads.state, s.key, s.value};
  DType state_dtype = dtype;
  if (has(ctx, kPast)) {
    const Tensor& past = ctx.input(kPast);
    state_dtype = past.dtype();
    if (!(past.shape() == state_shape) || !is_float(state_dtype)) {
      fail(ErrorCode::kInvalidArgument, "the state is ", describe(past), ", but has to be ",
           state_shape.to_string());
    }
  }
  float scale = ctx.node().get<float>("scale", 0.0f);
  dispatch(FloatTypes{}, dtype, [&]<class T>() {
    using C = Compute<T>;
    Tensor& out = ctx.output(0, dtype, Shape{s.batch, s.steps, s.heads.query * s.value});
    Tensor* present = ctx.num_outputs() > 1 && ctx.wants_output(1)
                          ? &ctx.output(1, state_dtype, state_shape)
                          : nullptr;
    std::vector<C> states(static_cast<size_t>(state_shape.size()));
    if (has(ctx, kPast)) states = numbers_of<C>(ctx.input(kPast));
    const auto wide = [&](int i) { return has(ctx, i) ? Wide<T>(ctx.input(i)) : Wide<T>(); };
    const Wide<T> q = wide(kQuery), k = wide(kKey), v = wide(kValue), decay = wide(kDecay),
                  beta = wide(kBeta);
    WideResult<T> result(out);
    const C factor = scale != 0 ? static_cast<C>(scale)
                                : C{1} / std::sqrt(static_cast<C>(std::max<int64_t>(s.key, 1)));
    const Operands<C> operands{q.data(), k.data(), v.data(), decay.data(), beta.data(), factor};
    C* y = result.data();
    const int64_t size = s.key * s.value, group = s.heads.query / s.heads.state;
    for_items(ctx.pool(), s.batch * s.heads.state, s.steps * size * (3 + group),
              [&](int64_t begin, int64_t end, int /*worker*/) {
                for (int64_t item = begin; item < end; ++item) {
                  run_head(ctx, s, operands, item / s.heads.state, item % s.heads.state,
                           states.data() + item * size, y);
                }
              });
    result.store();
    if (present == nullptr) return;
    dispatch(FloatTypes{}, state_dtype,
             [&]<class S>() { convert_all(states.data(), present->data<S>(), present->size()); });
  });
}

void infer(InferContext& ctx) {
  rule_of(ctx.node());
  const Heads heads = heads_of(ctx.node());
  const Fact &q = ctx.input(kQuery), &v = ctx.input(kValue);
  const bool past = ctx.num_inputs() > kPast && ctx.has_input(kPast);
  ctx.output(0).dtype = q.dtype;
  if (ctx.num_outputs() > 1) {
    ctx.output(1).dtype = past ? ctx.input(kPast).dtype : q.dtype;
    if (past) ctx.output(1).shape = ctx.input(kPast).shape;
  }
  if (!q.shape || !v.shape) return;
  require(q.rank() == 3 && v.rank() == 3, ErrorCode::kInvalidArgument, "queries ",
          to_string(*q.shape), " and values ", to_string(*v.shape), " have to be of rank 3");
  const Dim value = Dim::divide((*v.shape)[2], heads.state);
  ctx.output(0).shape = Dims{(*q.shape)[0], (*q.shape)[1], value * heads.query};
  if (ctx.num_outputs() > 1 && !past) {
    ctx.output(1).shape =
        Dims{(*q.shape)[0], heads.state, Dim::divide((*q.shape)[2], heads.query), value};
  }
}

}  // namespace
}  // namespace attention

namespace ops {

OpDef onnx_LinearAttention(int) {
  return define({3, 6}, attention::infer, attention::linear_attention, nullptr, {1, 2});
}

}  // namespace ops
}  // namespace hugot
