// LinearAttention: a state [d_k, d_v] per head that every token decays, corrects, writes to and
// reads from, and its gradient. Tokens follow one another; heads and sequences are independent.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/error.h"
#include "graph/gradient.h"
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

// One token of one head: how the state decays, what is written to it.
template <class C>
struct Step {
  const C *k, *v, *decay;
  int64_t decays;
  C beta;

  C factor(int64_t d) const {
    return decay == nullptr ? C{1} : std::exp(decay[decays == 1 ? 0 : d]);
  }
};

template <class C>
Step<C> step_of(const Sizes& s, const Operands<C>& o, int64_t token, int64_t head) {
  const int64_t own = s.decays / s.heads.state;
  return {o.k + (token * s.heads.state + head) * s.key,
          o.v + (token * s.heads.state + head) * s.value,
          o.decay == nullptr ? nullptr : o.decay + token * s.decays + head * own, own,
          o.beta == nullptr ? C{1} : o.beta[token * s.betas + (s.betas == 1 ? 0 : head)]};
}

// The state decays.
template <class C>
void decay_state(const Sizes& s, const Step<C>& step, C* state) {
  if (step.decay == nullptr) return;
  for (int64_t d = 0; d < s.key; ++d) {
    const C factor = step.factor(d);
    for (int64_t i = 0; i < s.value; ++i) state[d * s.value + i] *= factor;
  }
}

// What is written at the token's key: beta times what the value has beyond the (decayed) state.
template <class C>
void correct(const Sizes& s, const Step<C>& step, bool delta, const C* state, C* rest) {
  std::copy_n(step.v, s.value, rest);
  if (!delta) return;
  for (int64_t d = 0; d < s.key; ++d) add_scaled(-step.k[d], state + d * s.value, rest, s.value);
}

// The state of the token before becomes that of this one. `fresh`: memory for one value.
template <class C>
void write(const Sizes& s, const Step<C>& step, bool delta, C* state, C* fresh) {
  decay_state(s, step, state);
  correct(s, step, delta, state, fresh);
  if (delta) {
    for (int64_t i = 0; i < s.value; ++i) fresh[i] *= step.beta;
  }
  for (int64_t d = 0; d < s.key; ++d) add_scaled(step.k[d], fresh, state + d * s.value, s.value);
}

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
    write(s, step_of(s, o, token, head), o.beta != nullptr, state, fresh.data());
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

template <class C>
C scale_of(const Node& node, const Sizes& s) {
  const auto given = static_cast<C>(node.get<float>("scale", 0.0f));
  return given != 0 ? given : C{1} / std::sqrt(static_cast<C>(std::max<int64_t>(s.key, 1)));
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
    const Operands<C> operands{q.data(),     k.data(),    v.data(),
                               decay.data(), beta.data(), scale_of<C>(ctx.node(), s)};
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

template <class C>
C dot(const C* a, const C* b, int64_t n) {
  C sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// Where the gradients of the operands go; decay and beta may be null. Those of beta are one per
// head.
template <class C>
struct Gradients {
  C *q, *k, *v, *past, *decay, *beta;
};

// The way back through all tokens of one sequence and one head of states. `past`: its state in the
// beginning; `dstate`: the gradient of the last state, which becomes that of the first one.
//
// States are kept at every `stride`-th token, and computed once more from there.
template <class C>
void run_head_back(const KernelContext& ctx, const Sizes& s, const Operands<C>& o, const C* dy,
                   int64_t sequence, int64_t head, const C* past, C* dstate,
                   const Gradients<C>& to) {
  const int64_t group = s.heads.query / s.heads.state, size = s.key * s.value;
  const auto stride = static_cast<int64_t>(
      std::ceil(std::sqrt(static_cast<double>(std::max<int64_t>(s.steps, 1)))));
  const bool delta = o.beta != nullptr;
  std::vector<C> fresh(static_cast<size_t>(s.value)), rest(fresh), dfresh(fresh);
  std::vector<C> state(past, past + size), kept;
  const auto advance = [&](int64_t step) {
    if (step % 64 == 0) check_running(ctx);
    write(s, step_of(s, o, sequence * s.steps + step, head), delta, state.data(), fresh.data());
  };
  for (int64_t step = 0; step < s.steps; ++step) {
    if (step % stride == 0) kept.insert(kept.end(), state.begin(), state.end());
    advance(step);
  }
  std::vector<C> before(static_cast<size_t>(stride * size));  // the states in front of each token
  for (int64_t first = (s.steps - 1) / stride * stride; first >= 0 && s.steps > 0;
       first -= stride) {
    const int64_t end = std::min(first + stride, s.steps);
    std::copy_n(kept.begin() + first / stride * size, size, state.begin());
    for (int64_t step = first; step < end; ++step) {
      std::copy_n(state.begin(), size, before.begin() + (step - first) * size);
      advance(step);
    }
    for (int64_t step = end - 1; step >= first; --step) {
      const int64_t token = sequence * s.steps + step;
      const Step<C> now = step_of(s, o, token, head);
      C* decayed = before.data() + (step - first) * size;
      std::copy_n(decayed, size, state.begin());
      write(s, now, delta, state.data(), fresh.data());
      decay_state(s, now, decayed);
      for (int64_t i = head * group; i < (head + 1) * group; ++i) {
        const C* q = o.q + (token * s.heads.query + i) * s.key;
        const C* share = dy + (token * s.heads.query + i) * s.value;
        C* dq = to.q + (token * s.heads.query + i) * s.key;
        for (int64_t d = 0; d < s.key; ++d) {
          dq[d] = o.scale * dot(state.data() + d * s.value, share, s.value);
          add_scaled(o.scale * q[d], share, dstate + d * s.value, s.value);
        }
      }
      C* dk = to.k + (token * s.heads.state + head) * s.key;
      C* dv = to.v + (token * s.heads.state + head) * s.value;
      std::fill_n(dv, s.value, C{0});
      for (int64_t d = 0; d < s.key; ++d) {
        dk[d] = dot(dstate + d * s.value, fresh.data(), s.value);
        add_scaled(now.k[d], dstate + d * s.value, dv, s.value);
      }
      if (delta) {
        correct(s, now, delta, decayed, rest.data());
        to.beta[token * s.heads.state + head] = dot(rest.data(), dv, s.value);
        for (int64_t i = 0; i < s.value; ++i) dv[i] *= now.beta;
        for (int64_t d = 0; d < s.key; ++d) {
          dk[d] -= dot(decayed + d * s.value, dv, s.value);
          add_scaled(-now.k[d], dv, dstate + d * s.value, s.value);
        }
      }
      if (now.decay == nullptr) continue;
      C* ddecay = to.decay + token * s.decays + head * now.decays;
      std::fill_n(ddecay, now.decays, C{0});
      for (int64_t d = 0; d < s.key; ++d) {
        ddecay[now.decays == 1 ? 0 : d] +=
            dot(dstate + d * s.value, decayed + d * s.value, s.value);
        const C factor = now.factor(d);
        for (int64_t i = 0; i < s.value; ++i) dstate[d * s.value + i] *= factor;
      }
    }
  }
}

// hugot.LinearAttentionGradient: the gradients of LinearAttention's operands in the type of the
// queries. Inputs: its operands, the gradient of y and that of the last state (may be absent).
void linear_attention_gradient(KernelContext& ctx) {
  constexpr int kShare = 6, kStateShare = 7;
  const Rule rule = rule_of(ctx.node());
  const Sizes s = sizes_of(ctx, rule);
  const DType dtype = ctx.input(kQuery).dtype();
  const Shape state_shape{s.batch, s.heads.state, s.key, s.value};
  const Shape y{s.batch, s.steps, s.heads.query * s.value};
  for (const int i : {static_cast<int>(kPast), kShare, kStateShare}) {
    const Shape& wanted = i == kShare ? y : state_shape;
    if (has(ctx, i) && !(ctx.input(i).shape() == wanted)) {
      fail(ErrorCode::kInvalidArgument, "input ", i, " is ", describe(ctx.input(i)),
           ", but has to be ", wanted.to_string());
    }
  }
  dispatch(FloatTypes{}, dtype, [&]<class T>() {
    using C = Compute<T>;
    const auto numbers = [&](int i, int64_t size) {
      return has(ctx, i) ? numbers_of<C>(ctx.input(i)) : std::vector<C>(static_cast<size_t>(size));
    };
    const auto q = numbers(kQuery, 0), k = numbers(kKey, 0), v = numbers(kValue, 0),
               decay = numbers(kDecay, 0), beta = numbers(kBeta, 0), dy = numbers(kShare, 0);
    const auto past = numbers(kPast, state_shape.size());
    auto dstate = numbers(kStateShare, state_shape.size());
    const auto result = [&](int i, const Shape& shape) {
      return WideResult<T>(ctx.output(i, dtype, shape));
    };
    auto dq = result(kQuery, ctx.input(kQuery).shape()), dk = result(kKey, ctx.input(kKey).shape()),
         dv = result(kValue, ctx.input(kValue).shape()), dpast = result(kPast, state_shape),
         ddecay = result(kDecay, Shape{s.batch, s.steps, s.decays}),
         dbeta = result(kBeta, Shape{s.batch, s.steps, s.betas});
    std::vector<C> betas(static_cast<size_t>(s.batch * s.steps * s.heads.state));
    const Operands<C> operands{q.data(),
                               k.data(),
                               v.data(),
                               rule.gated ? decay.data() : nullptr,
                               rule.delta ? beta.data() : nullptr,
                               scale_of<C>(ctx.node(), s)};
    const Gradients<C> to{dq.data(),    dk.data(),     dv.data(),
                          dpast.data(), ddecay.data(), betas.data()};
    const int64_t size = s.key * s.value, group = s.heads.query / s.heads.state;
    for_items(ctx.pool(), s.batch * s.heads.state, s.steps * size * (10 + 3 * group),
              [&](int64_t item, int64_t end, int /*worker*/) {
                for (; item < end; ++item) {
                  run_head_back(ctx, s, operands, dy.data(), item / s.heads.state,
                                item % s.heads.state, past.data() + item * size,
                                dstate.data() + item * size, to);
                }
              });
    std::copy(dstate.begin(), dstate.end(), dpast.data());
    const int64_t shared = s.betas == 0 ? 1 : s.heads.state / s.betas;  // heads with one beta
    for (int64_t i = 0; i < s.batch * s.steps * s.betas; ++i) {
      C sum = 0;
      for (int64_t h = 0; h < shared; ++h) sum += betas[static_cast<size_t>(i * shared + h)];
      dbeta.data()[i] = sum;
    }
    for (WideResult<T>* part : {&dq, &dk, &dv, &dpast, &ddecay, &dbeta}) part->store();
  });
}

void differentiate(GradientContext& g) {
  const auto parts = g.writer().outputs("LinearAttentionGradient",
                                        {g.x(kQuery), g.x(kKey), g.x(kValue), g.x(kPast),
                                         g.x(kDecay), g.x(kBeta), g.dy_or_zeros(0), g.dy(1)},
                                        g.node().attributes, 6, "hugot");
  for (int i = 0; i < g.num_inputs(); ++i) {
    if (g.x(i)) g.set(i, parts[static_cast<size_t>(i)]);
  }
}

void infer_gradient(InferContext& ctx) {
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    ctx.output(i).dtype = ctx.input(kQuery).dtype;
    if (ctx.has_input(i)) ctx.output(i).shape = ctx.input(i).shape;
  }
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
  return with_gradient(
      define({3, 6}, attention::infer, attention::linear_attention, nullptr, {1, 2}),
      attention::differentiate);
}

OpDef hugot_LinearAttentionGradient(int) {
  return define({3, 8}, attention::infer_gradient, attention::linear_attention_gradient, nullptr,
                {1, 6});
}

}  // namespace ops
}  // namespace hugot
