// Kernel of ONNX Attention: the function body of the specification, step by step, with values
// rounded to the type that each step has there. Products of matrices are accumulated in float
// (float64 in double).
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "kernels/attention/attention.h"
#include "kernels/convert.h"
#include "kernels/cpu/gemm.h"
#include "kernels/dispatch.h"
#include "kernels/strided.h"

namespace hugot::attention {
namespace {

// What input attn_mask adds to the scores, under numpy's broadcasting.
struct Mask {
  const Tensor* tensor = nullptr;
  int64_t batch_stride = 0, head_stride = 0, row_stride = 0, column_stride = 0;
  int64_t columns = 0;  // keys behind them are masked
};

struct Problem {
  int64_t batch = 0, heads = 0, kv_heads = 0;
  int64_t queries = 0, keys = 0, past = 0;  // keys: past ones included
  int64_t size = 0, value_size = 0;         // of a head
  bool packed_heads = false;                // inputs of rank 3
  double scale = 0;
  float softcap = 0;
  bool causal = false;
  int64_t window_left = -1, window_right = -1;
  int64_t qk_mode = 0;
  DType softmax_type = DType::kUndefined;
  const int64_t* nonpad = nullptr;  // [batch] or null
  Mask mask;

  // Query i is at position offset + i among the keys.
  int64_t offset(int64_t b) const { return nonpad != nullptr ? nonpad[b] - queries : past; }

  bool visible(int64_t b, int64_t i, int64_t j) const {
    const int64_t ahead = j - (offset(b) + i);  // of the query's own position
    return !(nonpad != nullptr && j >= nonpad[b]) && !(causal && ahead > 0) &&
           !(window_left >= 0 && -ahead > window_left) &&
           !(window_right >= 0 && ahead > window_right);
  }
};

bool has(const KernelContext& ctx, int i) { return i < ctx.num_inputs() && ctx.has_input(i); }

// With `repeats` a last axis of length 1 holds for all keys.
Mask mask_of(const KernelContext& ctx, const Problem& p, bool repeats) {
  Mask mask;
  if (!has(ctx, 3)) return mask;
  const Tensor& tensor = ctx.input(3);
  const Shape& shape = tensor.shape();
  require(shape.rank() >= 1 && shape.rank() <= 4 && shape.back() <= p.keys,
          ErrorCode::kInvalidArgument, "the mask is ", describe(tensor), " for ", p.keys, " keys");
  // A last axis that is shorter than the keys is filled up, not repeated.
  const Shape wanted = {p.batch, p.heads, p.queries, shape.back()};
  require(broadcast(shape, wanted) == wanted, ErrorCode::kInvalidArgument, "the mask is ",
          describe(tensor), ", needed is ", wanted.to_string());
  const auto strides = row_major_strides(shape);
  const auto stride = [&](int from_back) {
    const int axis = shape.rank() - from_back;
    return axis < 0 || shape[axis] == 1 ? 0 : strides[static_cast<size_t>(axis)];
  };
  mask.tensor = &tensor;
  mask.batch_stride = stride(4);
  mask.head_stride = stride(3);
  mask.row_stride = stride(2);
  repeats = repeats && shape.back() == 1;
  mask.column_stride = repeats ? 0 : 1;
  mask.columns = repeats ? p.keys : shape.back();
  return mask;
}

// Checks Q, K, V and the past, and gathers what the node says. hugot.Attention has other names.
Problem problem_of(const KernelContext& ctx, bool is_fused = false) {
  const Node& node = ctx.node();
  const Shape &q = ctx.input(0).shape(), &k = ctx.input(1).shape(), &v = ctx.input(2).shape();
  const auto bad_shapes = [&] {
    fail(ErrorCode::kInvalidArgument, "Q ", q.to_string(), ", K ", k.to_string(), " and V ",
         v.to_string(), " do not fit together");
  };
  Problem p;
  if (q.rank() != k.rank() || q.rank() != v.rank()) bad_shapes();
  int64_t new_keys = 0, value_length = 0, k_size = 0;
  if (q.rank() == 4) {
    p.heads = q[1];
    p.kv_heads = k[1];
    p.queries = q[2];
    new_keys = k[2];
    value_length = v[2];
    p.size = q[3];
    k_size = k[3];
    p.value_size = v[3];
    if (v[1] != k[1]) bad_shapes();
  } else {
    require(q.rank() == 3, ErrorCode::kInvalidArgument, "Q, K and V need rank 3 or 4, but Q is ",
            q.to_string());
    p.packed_heads = true;
    p.heads = node.at<int64_t>(is_fused ? "num_heads" : "q_num_heads");
    p.kv_heads =
        is_fused ? node.get<int64_t>("kv_num_heads", p.heads) : node.at<int64_t>("kv_num_heads");
    require(p.heads > 0 && p.kv_heads > 0 && q[2] % p.heads == 0 && k[2] % p.kv_heads == 0 &&
                v[2] % p.kv_heads == 0,
            ErrorCode::kInvalidArgument, "Q ", q.to_string(), ", K ", k.to_string(), " and V ",
            v.to_string(), " cannot be cut into ", p.heads, " and ", p.kv_heads, " heads");
    p.queries = q[1];
    new_keys = k[1];
    value_length = v[1];
    p.size = q[2] / p.heads;
    k_size = k[2] / p.kv_heads;
    p.value_size = v[2] / p.kv_heads;
  }
  p.batch = q[0];
  if (k[0] != q[0] || v[0] != q[0] || value_length != new_keys || k_size != p.size) bad_shapes();
  require(p.kv_heads > 0 && p.heads % p.kv_heads == 0, ErrorCode::kInvalidArgument, p.heads,
          " heads are not a multiple of ", p.kv_heads, " kv heads");

  require(has(ctx, 4) == has(ctx, 5), ErrorCode::kInvalidData,
          "past_key and past_value are used together");
  if (has(ctx, 4)) {
    const Shape &pk = ctx.input(4).shape(), &pv = ctx.input(5).shape();
    const bool fits = pk.rank() == 4 && pv.rank() == 4 && pk[2] == pv[2] &&
                      pk == Shape{p.batch, p.kv_heads, pk[2], p.size} &&
                      pv == Shape{p.batch, p.kv_heads, pk[2], p.value_size};
    require(fits, ErrorCode::kInvalidArgument, "past_key ", pk.to_string(), " and past_value ",
            pv.to_string(), " do not fit K and V");
    p.past = pk[2];
  }
  p.keys = p.past + new_keys;
  if (has(ctx, 6)) {
    const Tensor& nonpad = ctx.input(6);
    require(!has(ctx, 4) && nonpad.dtype() == DType::kInt64 && nonpad.shape() == Shape{p.batch},
            ErrorCode::kInvalidArgument, "nonpad_kv_seqlen has to be int64[batch] without a past");
    p.nonpad = nonpad.data<int64_t>();
    for (int64_t b = 0; b < p.batch; ++b) {
      require(p.nonpad[b] >= 0 && p.nonpad[b] <= p.keys, ErrorCode::kInvalidArgument,
              "nonpad_kv_seqlen ", p.nonpad[b], " is outside of [0, ", p.keys, "]");
    }
  }

  p.scale = node.has("scale") ? static_cast<double>(node.at<float>("scale"))
                              : 1 / std::sqrt(static_cast<double>(p.size));
  p.softcap = node.get<float>("softcap", 0.0f);
  p.causal = node.get<int64_t>(is_fused ? "causal" : "is_causal", 0) != 0;
  p.window_left = node.get<int64_t>("left_window_size", -1);
  p.window_right = node.get<int64_t>("right_window_size", -1);
  require(p.window_left >= -1 && p.window_right >= -1, ErrorCode::kInvalidArgument,
          "a window size is below -1");
  p.qk_mode = node.get<int64_t>("qk_matmul_output_mode", 0);
  require(p.qk_mode >= 0 && p.qk_mode <= 3, ErrorCode::kUnsupported, "qk_matmul_output_mode ",
          p.qk_mode, " is not supported");
  p.softmax_type = static_cast<DType>(
      node.get<int64_t>("softmax_precision", static_cast<int64_t>(ctx.input(0).dtype())));
  p.mask = mask_of(ctx, p, is_fused);
  return p;
}

// x as a value of type T has it.
template <class T>
Compute<T> rounded(Compute<T> x) {
  return static_cast<Compute<T>>(static_cast<T>(x));
}

// Softmax of one row, every step in type S.
template <class S, class C>
void softmax_in(C* row, int64_t n) {
  using D = Compute<S>;
  D highest = -std::numeric_limits<D>::infinity();
  for (int64_t j = 0; j < n; ++j) {
    const D x = rounded<S>(static_cast<D>(row[j]));
    highest = x > highest || x != x ? x : highest;  // NaN stays
  }
  D sum = 0;
  for (int64_t j = 0; j < n; ++j) {
    const D x = rounded<S>(static_cast<D>(row[j]));
    const D power = rounded<S>(std::exp(rounded<S>(x - highest)));
    sum += power;
    row[j] = static_cast<C>(power);
  }
  sum = rounded<S>(sum);
  for (int64_t j = 0; j < n; ++j) {
    row[j] = static_cast<C>(rounded<S>(static_cast<D>(row[j]) / sum));
  }
}

template <class C>
void softmax_row(DType type, C* row, int64_t n) {
  dispatch(FloatTypes{}, type, [&]<class S>() { softmax_in<S>(row, n); });
}

// The part of the bias that attn_mask gives to a row of scores, as numbers of type C.
template <class T>
void mask_row(const Mask& mask, int64_t b, int64_t h, int64_t i, Compute<T>* row, int64_t keys) {
  using C = Compute<T>;
  constexpr C kMasked = -std::numeric_limits<C>::infinity();
  const int64_t start = b * mask.batch_stride + h * mask.head_stride + i * mask.row_stride;
  dispatch(NumberAndBoolTypes{}, mask.tensor->dtype(), [&]<class M>() {
    const M* data = mask.tensor->data<M>() + start;
    for (int64_t j = 0; j < mask.columns; ++j) {
      const M value = data[j * mask.column_stride];
      if constexpr (std::is_same_v<M, bool>) {
        row[j] = value ? C{0} : kMasked;
      } else {
        row[j] = rounded<T>(convert<C>(value));
      }
    }
  });
  std::fill(row + mask.columns, row + keys, kMasked);
}

// K or V with the past in front: [batch, kv_heads, keys, size] in `out`.
void join_past(const KernelContext& ctx, int input, int past_input, const Problem& p, int64_t size,
               Tensor& out) {
  const Tensor& tensor = ctx.input(input);
  const int64_t fresh = p.keys - p.past;
  dispatch(FloatTypes{}, tensor.dtype(), [&]<class T>() {
    const T* source = tensor.data<T>();
    T* target = out.data<T>();
    for (int64_t b = 0; b < p.batch; ++b) {
      for (int64_t g = 0; g < p.kv_heads; ++g) {
        if (p.past > 0) {
          const T* past = ctx.input(past_input).data<T>();
          target = std::copy_n(past + (b * p.kv_heads + g) * p.past * size, p.past * size, target);
        }
        for (int64_t j = 0; j < fresh; ++j) {
          const int64_t row =
              p.packed_heads ? (b * fresh + j) * p.kv_heads + g : (b * p.kv_heads + g) * fresh + j;
          target = std::copy_n(source + row * size, size, target);
        }
      }
    }
  });
}

void multiply(int64_t m, int64_t n, int64_t k, const float* a, const float* b, bool transposed,
              float* c) {
  cpu::gemm(m, n, k, a, k, b, transposed ? k : n, transposed, c, n);
}
void multiply(int64_t m, int64_t n, int64_t k, const double* a, const double* b, bool transposed,
              double* c) {
  cpu::gemm_f64(m, n, k, a, k, b, transposed ? k : n, transposed, c, n);
}

// Queries whose scores are held at the same time.
constexpr int64_t kQueryBlock = 128;

// Buffers of one thread: K and V of a head, and a block of its queries.
template <class C>
struct Buffers {
  explicit Buffers(const Problem& p) : Buffers(p, std::min(p.queries, kQueryBlock)) {}
  Buffers(const Problem& p, int64_t block)
      : q(static_cast<size_t>(block * p.size)),
        k(static_cast<size_t>(p.keys * p.size)),
        v(static_cast<size_t>(p.keys * p.value_size)),
        scores(static_cast<size_t>(block * p.keys)),
        y(static_cast<size_t>(block * p.value_size)),
        bias(static_cast<size_t>(p.keys)) {}
  std::vector<C> q, k, v, scores, y, bias;
};

// Softcap, bias and softmax of the scores of queries [begin, end) of one head. `qk` receives the
// stage that the node wants to see, or is null.
template <class T>
void scores_to_probabilities(const Problem& p, int64_t b, int64_t h, int64_t begin, int64_t end,
                             Buffers<Compute<T>>& buffers, T* qk) {
  using C = Compute<T>;
  constexpr C kMasked = -std::numeric_limits<C>::infinity();
  const bool biased = p.mask.tensor != nullptr || p.causal || p.nonpad != nullptr ||
                      p.window_left >= 0 || p.window_right >= 0;
  for (int64_t i = begin; i < end; ++i) {
    C* row = buffers.scores.data() + (i - begin) * p.keys;
    const auto show = [&](int64_t mode) {
      if (qk == nullptr || mode != p.qk_mode) return;
      for (int64_t j = 0; j < p.keys; ++j) qk[i * p.keys + j] = static_cast<T>(row[j]);
    };
    for (int64_t j = 0; j < p.keys; ++j) row[j] = rounded<T>(row[j]);
    show(0);
    if (p.softcap > 0) {
      const C cap = rounded<T>(static_cast<C>(p.softcap));
      for (int64_t j = 0; j < p.keys; ++j) {
        row[j] = rounded<T>(rounded<T>(std::tanh(rounded<T>(row[j] / cap))) * cap);
      }
    }
    show(1);
    bool all_masked = false;
    if (biased) {
      C* bias = buffers.bias.data();
      std::fill_n(bias, p.keys, C{0});
      if (p.mask.tensor != nullptr) mask_row<T>(p.mask, b, h, i, bias, p.keys);
      all_masked = true;
      for (int64_t j = 0; j < p.keys; ++j) {
        if (!p.visible(b, i, j)) bias[j] += kMasked;
        all_masked = all_masked && bias[j] == kMasked;
        row[j] = rounded<T>(row[j] + bias[j]);
      }
    }
    show(2);
    if (all_masked) {
      std::fill_n(row, p.keys, C{0});
    } else {
      softmax_row(p.softmax_type, row, p.keys);
      for (int64_t j = 0; j < p.keys; ++j) row[j] = rounded<T>(row[j]);
    }
    show(3);
  }
}

template <class T>
void run_head(const Problem& p, const T* q, const T* keys, const T* values, int64_t b, int64_t h,
              Buffers<Compute<T>>& buffers, T* y, T* qk) {
  using C = Compute<T>;
  const C factor = rounded<T>(std::sqrt(static_cast<C>(p.scale)));
  const auto scaled = [&](T x) { return rounded<T>(static_cast<C>(x) * factor); };
  const auto row_of = [&](int64_t i) {  // of Q and Y, counted in heads
    return p.packed_heads ? (b * p.queries + i) * p.heads + h : (b * p.heads + h) * p.queries + i;
  };
  const int64_t head = b * p.kv_heads + h / (p.heads / p.kv_heads);
  const T* k = keys + head * p.keys * p.size;
  const T* v = values + head * p.keys * p.value_size;
  std::transform(k, k + p.keys * p.size, buffers.k.data(), scaled);
  convert_all(v, buffers.v.data(), p.keys * p.value_size);

  for (int64_t begin = 0; begin < p.queries; begin += kQueryBlock) {
    const int64_t end = std::min(begin + kQueryBlock, p.queries);
    for (int64_t i = begin; i < end; ++i) {
      const T* row = q + row_of(i) * p.size;
      std::transform(row, row + p.size, buffers.q.data() + (i - begin) * p.size, scaled);
    }
    multiply(end - begin, p.keys, p.size, buffers.q.data(), buffers.k.data(), true,
             buffers.scores.data());
    scores_to_probabilities<T>(p, b, h, begin, end, buffers, qk);
    multiply(end - begin, p.value_size, p.keys, buffers.scores.data(), buffers.v.data(), false,
             buffers.y.data());
    for (int64_t i = begin; i < end; ++i) {
      convert_all(buffers.y.data() + (i - begin) * p.value_size, y + row_of(i) * p.value_size,
                  p.value_size);
    }
  }
}

// The output when it is wanted, otherwise memory of its own.
Tensor& output_or(KernelContext& ctx, int i, Tensor& own, DType dtype, const Shape& shape) {
  if (i < ctx.num_outputs() && ctx.wants_output(i)) return ctx.output(i, dtype, shape);
  return own = Tensor(dtype, shape);
}

}  // namespace

namespace {

void compute(KernelContext& ctx, const Problem& p) {
  const DType dtype = ctx.input(0).dtype();
  const Shape shape = p.packed_heads ? Shape{p.batch, p.queries, p.heads * p.value_size}
                                     : Shape{p.batch, p.heads, p.queries, p.value_size};
  Tensor own_keys, own_values;
  Tensor& y = ctx.output(0, dtype, shape);
  Tensor& keys = output_or(ctx, 1, own_keys, dtype, {p.batch, p.kv_heads, p.keys, p.size});
  Tensor& values =
      output_or(ctx, 2, own_values, dtype, {p.batch, p.kv_heads, p.keys, p.value_size});
  Tensor* qk = nullptr;
  if (ctx.num_outputs() > 3 && ctx.wants_output(3)) {
    qk = &ctx.output(3, dtype, {p.batch, p.heads, p.queries, p.keys});
  }
  join_past(ctx, 1, 4, p, p.size, keys);
  join_past(ctx, 2, 5, p, p.value_size, values);
  dispatch(FloatTypes{}, dtype, [&]<class T>() {
    parallel_for(ctx.pool(), p.batch * p.heads, 1, [&](int64_t begin, int64_t end) {
      Buffers<Compute<T>> buffers(p);
      for (int64_t pair = begin; pair < end; ++pair) {
        run_head<T>(p, ctx.input(0).data<T>(), keys.data<T>(), values.data<T>(), pair / p.heads,
                    pair % p.heads, buffers, y.data<T>(),
                    qk == nullptr ? nullptr : qk->data<T>() + pair * p.queries * p.keys);
      }
    });
  });
}

}  // namespace

void onnx(KernelContext& ctx) {
  const DType dtype = ctx.input(0).dtype();
  for (int i : {1, 2, 4, 5}) {
    require(!has(ctx, i) || ctx.input(i).dtype() == dtype, ErrorCode::kUnsupported,
            "Attention with Q of ", dtype_name(dtype), " and input ", i, " of ",
            has(ctx, i) ? dtype_name(ctx.input(i).dtype()) : "", " is not supported");
  }
  compute(ctx, problem_of(ctx));
}

void fused_f64(KernelContext& ctx) {
  for (int i = 1; i < 3; ++i) {
    require(ctx.input(i).dtype() == DType::kFloat64, ErrorCode::kUnsupported,
            "Q is float64, input ", i, " is ", describe(ctx.input(i)));
  }
  require(ctx.segments().empty() && !ctx.node().has("query_row"), ErrorCode::kUnsupported,
          "Attention over several texts, or of one query, computes in float32 only");
  compute(ctx, problem_of(ctx, true));
}

}  // namespace hugot::attention
