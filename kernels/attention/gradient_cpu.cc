// Kernels of attention under training. Of hugot.AttentionGradient: with P = softmax(scale Q K^T +
// bias) and Y = (M P) V, where M are the factors of dropout or 1,
//   dV = (M P)^T dY,  dP = M dY V^T,  dS = P (dP - rowsum(P dP)),
//   dQ = scale dS K,  dK = scale dS^T Q.
// P and M are computed again. Of hugot.DropoutAttention: Y.
// Rows of queries are taken in blocks, so that P and dP stay small; what the
// blocks and the heads of a group add to dK and dV is added in their order.
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "base/error.h"
#include "kernels/attention/attention.h"
#include "kernels/broadcast.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/isa.h"
#include "kernels/dropout_mask.h"
#include "kernels/strided.h"

namespace hugot::attention {
namespace {

constexpr int64_t kScoreElements = 48 * 1024;  // of P, and of dP

struct Sizes {
  int64_t heads = 0, kv_heads = 0, head_dim = 0, value_dim = 0;
  int64_t left = -1, right = -1;  // of the window
  double scale = 1;
  std::optional<DropoutMask> dropout = {};

  int64_t q_width() const { return heads * head_dim; }
  int64_t k_width() const { return kv_heads * head_dim; }
  int64_t v_width() const { return kv_heads * value_dim; }
  int64_t y_width() const { return heads * value_dim; }
};

// Elements of a bias that is broadcast to [heads, queries, keys].
template <class T>
struct Bias {
  const T* data = nullptr;
  int64_t head_stride = 0, query_stride = 0, key_stride = 0;
};

template <class T>
struct Sequence {
  int64_t queries = 0, keys = 0;
  const T *q, *k, *v;
  T* y = nullptr;  // forwards; null: the gradients
  const T* dy = nullptr;
  T *dq = nullptr, *dk = nullptr, *dv = nullptr;
  T* dbias = nullptr;  // [heads, queries, keys] or null
  Bias<T> bias;
  const int64_t* dropout_keys = nullptr;  // of the queries, with Sizes::dropout
};

// Products of small matrices, C = A B^T, A B and A^T B, the last two added to C on request.
void product_nt(int64_t m, int64_t n, int64_t k, const double* a, int64_t lda, const double* b,
                int64_t ldb, double* c, int64_t ldc, double* /*workspace*/) {
  cpu::gemm_f64(m, n, k, a, lda, b, ldb, true, c, ldc, nullptr);
}

void product_nn(int64_t m, int64_t n, int64_t k, const double* a, int64_t lda, const double* b,
                int64_t ldb, double* c, int64_t ldc, bool add, double* /*workspace*/) {
  for (int64_t i = 0; i < m; ++i) {
    double* row = c + i * ldc;
    if (!add) std::fill_n(row, n, 0.0);
    for (int64_t x = 0; x < k; ++x) {
      for (int64_t j = 0; j < n; ++j) row[j] += a[i * lda + x] * b[x * ldb + j];
    }
  }
}

void product_tn(int64_t m, int64_t n, int64_t k, const double* a, int64_t lda, const double* b,
                int64_t ldb, double* c, int64_t ldc, bool add, double* /*workspace*/) {
  for (int64_t i = 0; i < m; ++i) {
    double* row = c + i * ldc;
    if (!add) std::fill_n(row, n, 0.0);
    for (int64_t x = 0; x < k; ++x) {
      for (int64_t j = 0; j < n; ++j) row[j] += a[x * lda + i] * b[x * ldb + j];
    }
  }
}

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// B is packed into the workspace: n rounded up to whole panels, times k.
void multiply_packed(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
                     int64_t ldb, bool transposed, float* c, int64_t ldc, bool add,
                     float* workspace) {
  cpu::Epilogue epilogue;
  if (add) {
    epilogue.residual = c;
    epilogue.residual_stride = ldc;
  }
  cpu::gemm_of_packed(m, n, k, a, lda, b, ldb, transposed, c, ldc, epilogue, workspace, nullptr);
}

void product_nt(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
                int64_t ldb, float* c, int64_t ldc, float* workspace) {
  multiply_packed(m, n, k, a, lda, b, ldb, true, c, ldc, false, workspace);
}

void product_nn(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
                int64_t ldb, float* c, int64_t ldc, bool add, float* workspace) {
  multiply_packed(m, n, k, a, lda, b, ldb, false, c, ldc, add, workspace);
}

// The transpose of A lies in front of the packed B.
void product_tn(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
                int64_t ldb, float* c, int64_t ldc, bool add, float* workspace) {
  cpu::active_kernels().transpose(a, k, m, lda, workspace, k);
  multiply_packed(m, n, k, workspace, k, b, ldb, false, c, ldc, add,
                  workspace + round_up(m * k, 16));
}

// p = softmax(x) of `n` numbers; zeros where all are -infinity.
template <class T>
void softmax_row(T* x, int64_t n) {
  const T max = *std::max_element(x, x + n);
  if (max == -std::numeric_limits<T>::infinity()) {
    std::fill_n(x, n, T{0});
  } else if constexpr (std::is_same_v<T, float>) {
    cpu::active_kernels().softmax(x, x, 1, n);
  } else {
    T total = 0;
    for (int64_t j = 0; j < n; ++j) total += x[j] = std::exp(x[j] - max);
    for (int64_t j = 0; j < n; ++j) x[j] /= total;
  }
}

void softmax_gradient_row(const float* p, int64_t n, float* dp) {
  cpu::active_kernels().softmax_gradient(p, 1.0f, n, dp);
}

void softmax_gradient_row(const double* p, int64_t n, double* dp) {
  double total = 0;
  for (int64_t j = 0; j < n; ++j) total += p[j] * dp[j];
  for (int64_t j = 0; j < n; ++j) dp[j] = p[j] * (dp[j] - total);
}

void multiply(float* x, const float* by, int64_t n) { cpu::active_kernels().mul.vv(x, by, x, n); }

void multiply(double* x, const double* by, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] *= by[i];
}

template <class T>
class Blocks {
 public:
  Blocks(const Sizes& sizes, const Sequence<T>& sequence) : sizes_(sizes), s_(sequence) {
    rows_ = std::clamp<int64_t>(kScoreElements / std::max<int64_t>(s_.keys, 1), 1,
                                std::max<int64_t>(s_.queries, 1));
  }

  // Elements that run() needs.
  int64_t scratch() const {
    const int64_t panel = cpu::active_kernels().gemm_panel_width;
    const int64_t dim = round_up(std::max(sizes_.head_dim, sizes_.value_dim), panel);
    const int64_t longest = std::max(s_.keys, rows_);
    const int64_t buffers = sizes_.dropout ? 4 : 3;
    return buffers * score_elements() + round_up(dim * round_up(longest, panel), 16);
  }

  // All heads that read kv head `group`.
  void run(int64_t group, T* scratch) {
    probabilities_ = scratch;
    slopes_ = scratch + score_elements();
    factors_ = slopes_ + score_elements();
    workspace_ = factors_ + (sizes_.dropout ? score_elements() : 0);
    const int64_t each = sizes_.heads / sizes_.kv_heads;
    bool add = false;
    for (int64_t head = group * each; head < (group + 1) * each; ++head) {
      for (int64_t row = 0; row < s_.queries; row += rows_) {
        run_block(head, group, row, std::min(rows_, s_.queries - row), add);
        add = true;
      }
    }
  }

 private:
  int64_t score_elements() const { return round_up(rows_ * s_.keys, 16); }

  // The keys that a query sees.
  std::pair<int64_t, int64_t> visible(int64_t query) const {
    int64_t begin = 0, end = s_.keys;
    if (sizes_.left >= 0) begin = std::clamp<int64_t>(query - sizes_.left, 0, end);
    if (sizes_.right >= 0) end = std::clamp<int64_t>(query + sizes_.right + 1, begin, end);
    return {begin, end};
  }

  void run_block(int64_t head, int64_t group, int64_t row, int64_t rows, bool add) {
    const int64_t d = sizes_.head_dim, dv = sizes_.value_dim, keys = s_.keys;
    const int64_t qw = sizes_.q_width(), kw = sizes_.k_width(), vw = sizes_.v_width(),
                  yw = sizes_.y_width();
    const T* q = s_.q + row * qw + head * d;
    const T *k = s_.k + group * d, *v = s_.v + group * dv;
    product_nt(rows, keys, d, q, qw, k, kw, probabilities_, keys, workspace_);
    for (int64_t i = 0; i < rows; ++i) to_probabilities(head, row + i, probabilities_ + i * keys);
    const T* kept = probabilities_;  // what V is multiplied by
    if (sizes_.dropout) {
      find_factors(head, row, rows);
      std::copy_n(probabilities_, rows * keys, slopes_);
      multiply(slopes_, factors_, rows * keys);
      kept = slopes_;
    }
    if (s_.y != nullptr) {
      product_nn(rows, dv, keys, kept, keys, v, vw, s_.y + row * yw + head * dv, yw, false,
                 workspace_);
      return;
    }
    const T* dy = s_.dy + row * yw + head * dv;
    product_tn(keys, dv, rows, kept, keys, dy, yw, s_.dv + group * dv, vw, add, workspace_);
    product_nt(rows, keys, dv, dy, yw, v, vw, slopes_, keys, workspace_);
    if (sizes_.dropout) multiply(slopes_, factors_, rows * keys);
    for (int64_t i = 0; i < rows; ++i) {
      softmax_gradient_row(probabilities_ + i * keys, keys, slopes_ + i * keys);
    }
    if (s_.dbias != nullptr) {
      std::copy_n(slopes_, rows * keys, s_.dbias + (head * s_.queries + row) * keys);
    }
    scale(slopes_, rows * keys);
    product_nn(rows, d, keys, slopes_, keys, k, kw, s_.dq + row * qw + head * d, qw, false,
               workspace_);
    product_tn(keys, d, rows, slopes_, keys, q, qw, s_.dk + group * d, kw, add, workspace_);
  }

  void find_factors(int64_t head, int64_t row, int64_t rows) const {
    for (int64_t i = 0; i < rows; ++i) {
      sizes_.dropout->factors(static_cast<uint64_t>(s_.dropout_keys[row + i]),
                              static_cast<uint32_t>(head), s_.keys, factors_ + i * s_.keys);
    }
  }

  void scale(T* x, int64_t n) const {
    if constexpr (std::is_same_v<T, float>) {
      cpu::active_kernels().mul.vs(x, static_cast<float>(sizes_.scale), x, n);
    } else {
      for (int64_t i = 0; i < n; ++i) x[i] *= sizes_.scale;
    }
  }

  void to_probabilities(int64_t head, int64_t query, T* x) const {
    const auto [begin, end] = visible(query);
    std::fill(x, x + begin, T{0});
    std::fill(x + end, x + s_.keys, T{0});
    if (begin == end) return;
    scale(x + begin, end - begin);
    if (s_.bias.data != nullptr) {
      const T* bias = s_.bias.data + head * s_.bias.head_stride + query * s_.bias.query_stride;
      for (int64_t j = begin; j < end; ++j) x[j] += bias[j * s_.bias.key_stride];
    }
    softmax_row(x + begin, end - begin);
  }

  const Sizes& sizes_;
  const Sequence<T>& s_;
  int64_t rows_;  // of a block
  T *probabilities_ = nullptr, *slopes_ = nullptr, *factors_ = nullptr, *workspace_ = nullptr;
};

// Q, K and V are inputs 0 to 2.
enum class Direction { kForward, kBackward };
constexpr int kGradient = 3;  // input of kBackward, in front of the others
int bias_input(Direction direction) { return direction == Direction::kForward ? 3 : 4; }

Sizes sizes_of(const KernelContext& ctx, Direction direction) {
  const Node& node = ctx.node();
  const DType dtype = ctx.input(0).dtype();
  const bool backward = direction == Direction::kBackward;
  for (int i = 0; i < (backward ? 4 : 3); ++i) {
    require(ctx.input(i).dtype() == dtype && ctx.input(i).rank() == 3, ErrorCode::kInvalidArgument,
            "Q, K, V and dY have to be of one type and rank 3, but input ", i, " is ",
            describe(ctx.input(i)));
  }
  const Shape &q = ctx.input(0).shape(), &k = ctx.input(1).shape(), &v = ctx.input(2).shape();
  Sizes sizes;
  sizes.heads = node.at<int64_t>("num_heads");
  sizes.kv_heads = node.get<int64_t>("kv_num_heads", sizes.heads);
  const bool heads = sizes.heads > 0 && sizes.kv_heads > 0 && sizes.heads % sizes.kv_heads == 0 &&
                     q[2] % sizes.heads == 0 && v[2] % sizes.kv_heads == 0;
  require(heads, ErrorCode::kInvalidArgument, "Q ", q.to_string(), " and V ", v.to_string(),
          " do not fit ", sizes.heads, " heads and ", sizes.kv_heads, " kv heads");
  sizes.head_dim = q[2] / sizes.heads;
  sizes.value_dim = v[2] / sizes.kv_heads;
  sizes.scale = static_cast<double>(node.at<float>("scale"));
  sizes.left = node.get<int64_t>("left_window_size", -1);
  sizes.right = node.get<int64_t>("right_window_size", -1);
  if (node.get<int64_t>("causal", 0) != 0) sizes.right = 0;
  const bool windowed = sizes.left >= 0 || sizes.right >= 0;
  const Shape y = {q[0], q[1], sizes.y_width()};
  const bool fits = k[2] == sizes.k_width() && q[0] == k[0] && k[0] == v[0] && k[1] == v[1] &&
                    (!backward || ctx.input(kGradient).shape() == y) && (!windowed || q[1] == k[1]);
  require(fits, ErrorCode::kInvalidArgument, "Q ", q.to_string(), ", K ", k.to_string(), " and V ",
          v.to_string(), backward ? " and dY " : "",
          backward ? ctx.input(kGradient).shape().to_string() : "", " do not fit");
  const int keys = bias_input(direction) + 1;
  if (ctx.num_inputs() <= keys || !ctx.has_input(keys)) return sizes;
  sizes.dropout.emplace(node);
  require(ctx.input(keys).dtype() == DType::kInt64 && ctx.input(keys).shape() == Shape{q[0], q[1]},
          ErrorCode::kInvalidArgument, "the keys of dropout are ", describe(ctx.input(keys)),
          " for Q ", q.to_string());
  return sizes;
}

template <class T>
Bias<T> bias_of(const KernelContext& ctx, int input, int64_t index, const Sequence<T>& s,
                int64_t heads) {
  if (!ctx.has_input(input)) return {};
  const bool segments = !ctx.segments().empty();
  const Tensor& bias =
      segments ? ctx.input_of_segment(input, static_cast<size_t>(index)) : ctx.input(input);
  const Shape wanted = {segments ? 1 : ctx.input(0).shape()[0], heads, s.queries, s.keys};
  require(bias.dtype() == ctx.input(0).dtype() && bias.rank() > 0 &&
              broadcast(bias.shape(), wanted) == wanted,
          ErrorCode::kInvalidArgument, "the bias is ", describe(bias), ", needed is ",
          wanted.to_string());
  const auto strides = row_major_strides(bias.shape());
  const auto stride = [&](int from_back) {  // 0 where the axis is missing or repeats
    const int axis = bias.rank() - from_back;
    return axis < 0 || bias.shape()[axis] == 1 ? 0 : strides[static_cast<size_t>(axis)];
  };
  return {bias.data<T>() + (segments ? 0 : index * stride(4)), stride(3), stride(2), stride(1)};
}

template <class T>
void run(KernelContext& ctx, Direction direction) {
  const bool backward = direction == Direction::kBackward;
  const Sizes sizes = sizes_of(ctx, direction);
  const Shape &q = ctx.input(0).shape(), &k = ctx.input(1).shape();
  const auto segments = ctx.segments();
  require(segments.empty() || (q[0] == 1 && segments.back() == q[1] && q[1] == k[1]),
          ErrorCode::kInvalidArgument, "Q is ", q.to_string(),
          ", which does not hold the tokens of the segments");
  const auto count = segments.empty() ? q[0] : static_cast<int64_t>(segments.size()) - 1;
  T* outputs[3] = {};
  if (!backward) {
    outputs[0] = ctx.output(0, ctx.input(0).dtype(), {q[0], q[1], sizes.y_width()}).data<T>();
  }
  for (int i = 0; backward && i < 3; ++i) {
    Tensor& output = ctx.output(i, ctx.input(i).dtype(), ctx.input(i).shape());
    outputs[i] = output.data<T>();
  }
  T* dbias = nullptr;
  if (backward && ctx.wants_output(3)) {
    require(segments.empty(), ErrorCode::kUnsupported,
            "the gradient of a bias is computed for one text at a time");
    dbias = ctx.output(3, ctx.input(0).dtype(), {q[0], sizes.heads, q[1], k[1]}).data<T>();
  }
  // input_of_segment() may reuse its result, so the sequences are looked up before the threads
  // begin.
  std::vector<Sequence<T>> all;
  int64_t scratch = 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto index = static_cast<size_t>(i);
    Sequence<T> s;
    s.queries = segments.empty() ? q[1] : segments[index + 1] - segments[index];
    s.keys = segments.empty() ? k[1] : s.queries;
    const int64_t query = segments.empty() ? i * s.queries : segments[index];
    const int64_t key = segments.empty() ? i * s.keys : segments[index];
    s.q = ctx.input(0).data<T>() + query * sizes.q_width();
    s.k = ctx.input(1).data<T>() + key * sizes.k_width();
    s.v = ctx.input(2).data<T>() + key * sizes.v_width();
    if (backward) {
      s.dy = ctx.input(kGradient).data<T>() + query * sizes.y_width();
      s.dq = outputs[0] + query * sizes.q_width();
      s.dk = outputs[1] + key * sizes.k_width();
      s.dv = outputs[2] + key * sizes.v_width();
      s.dbias = dbias != nullptr ? dbias + i * sizes.heads * s.queries * s.keys : nullptr;
    } else {
      s.y = outputs[0] + query * sizes.y_width();
    }
    s.bias = bias_of<T>(ctx, bias_input(direction), i, s, sizes.heads);
    if (sizes.dropout) {
      s.dropout_keys = ctx.input(bias_input(direction) + 1).data<int64_t>() + query;
    }
    scratch = std::max(scratch, Blocks<T>(sizes, s).scratch());
    all.push_back(s);
  }
  scratch = round_up(scratch, 16);
  ThreadPool* pool = ctx.pool();
  T* memory = ctx.scratch_of<T>(scratch * (pool != nullptr ? pool->size() : 1));
  const auto work = [&](int64_t begin, int64_t end, int worker) {
    for (int64_t task = begin; task < end; ++task) {
      const Sequence<T>& s = all[static_cast<size_t>(task / sizes.kv_heads)];
      Blocks<T>(sizes, s).run(task % sizes.kv_heads, memory + worker * scratch);
    }
  };
  const int64_t tasks = count * sizes.kv_heads;
  if (pool == nullptr) return work(0, tasks, 0);
  pool->parallel_for_workers(tasks, std::max<int64_t>(1, tasks / (8 * pool->size())), work);
}

void run_direction(KernelContext& ctx, Direction direction) {
  const DType dtype = ctx.input(0).dtype();
  require(dtype == DType::kFloat32 || dtype == DType::kFloat64, ErrorCode::kUnsupported,
          "attention is trained in float32 and float64, not ", dtype_name(dtype));
  dtype == DType::kFloat32 ? run<float>(ctx, direction) : run<double>(ctx, direction);
}

}  // namespace

void fused_gradient(KernelContext& ctx) { run_direction(ctx, Direction::kBackward); }

void with_dropout(KernelContext& ctx) {
  const Tensor& keys = ctx.input(bias_input(Direction::kForward) + 1);
  const bool drops = keys.dtype() != DType::kInt64 ||
                     std::any_of(keys.data<int64_t>(), keys.data<int64_t>() + keys.size(),
                                 [](int64_t key) { return key != 0; });
  // Outside of training as fast as without dropout.
  if (!drops && ctx.input(0).dtype() == DType::kFloat32) return fused(ctx);
  run_direction(ctx, Direction::kForward);
}

}  // namespace hugot::attention
