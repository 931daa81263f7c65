// Kernels on the rows of a contiguous [rows, cols] array: softmax and normalizations.
#ifndef HUGOT_KERNELS_CPU_SIMD_ROWS_INL_H_
#define HUGOT_KERNELS_CPU_SIMD_ROWS_INL_H_

#include "kernels/cpu/simd/elementwise-inl.h"

namespace hugot::cpu::HUGOT_ISA {
namespace {

// Calls use(i, count, exp(x[i..] - max)) for the blocks of a row and returns the sum of the
// exponentials; past the end of the row they are 0 (or NaN, where the row's sum is too).
template <class Use>
HWY_INLINE float sum_exponentials(const float* x, int64_t n, float max, Use use) {
  const V lowest = hn::Neg(hn::Inf(d));
  Block total = each([&](int) HUGOT_LAMBDA { return hn::Zero(d); });
  for_blocks(n, [&](int64_t i, int64_t count) HUGOT_LAMBDA {
    const Block v = load_block(x + i, count, lowest);
    const Block e =
        exp_nonpositive(each([&](int j) HUGOT_LAMBDA { return hn::Sub(v.v[j], set(max)); }));
    total = each([&](int j) HUGOT_LAMBDA { return hn::Add(total.v[j], e.v[j]); });
    use(i, count, e);
  });
  const V* t = total.v;
  return sum_lanes(hn::Add(hn::Add(t[0], t[1]), hn::Add(t[2], t[3])));
}

// y = exp(x - max); returns its sum.
HWY_INLINE float exp_and_sum(const float* x, float* y, int64_t n, float max) {
  return sum_exponentials(x, n, max, [&](int64_t i, int64_t count, const Block& e) HUGOT_LAMBDA {
    store_block(e, y + i, count);
  });
}

void softmax(const float* x, float* y, int64_t rows, int64_t cols) {
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
    const float inverse = 1.0f / exp_and_sum(x, y, cols, row_max(x, cols));
    binary_vs<mul>(y, inverse, y, cols);
  }
}

void log_softmax(const float* x, float* y, int64_t rows, int64_t cols) {
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
    const float max = row_max(x, cols);
    const float total =
        sum_exponentials(x, cols, max, [](int64_t, int64_t, const Block&) HUGOT_LAMBDA {});
    const V log_total = log(each([&](int) HUGOT_LAMBDA { return set(total); })).v[0];
    // Two steps: max + log_total could lose what a small log_total says.
    map(y, cols, [&](int64_t i, int64_t count) HUGOT_LAMBDA {
      return hn::Sub(hn::Sub(load_n(x + i, count), set(max)), log_total);
    });
  }
}

HWY_INLINE float inverse_sqrt(float x) { return hn::GetLane(hn::Div(set(1.0f), hn::Sqrt(set(x)))); }

// y = (x - mean) * scale * gamma + beta; gamma and beta may be null.
HWY_INLINE void normalize_row(const float* x, const float* gamma, const float* beta, float mean,
                              float scale, int64_t n, float* y) {
  const V mean_v = set(mean), scale_v = set(scale);
  const auto centered = [&](int64_t i, int64_t count) HUGOT_LAMBDA {
    return hn::Mul(hn::Sub(load_n(x + i, count), mean_v), scale_v);
  };
  if (gamma != nullptr && beta != nullptr) {
    map(y, n, [&](int64_t i, int64_t count) HUGOT_LAMBDA {
      return hn::MulAdd(centered(i, count), load_n(gamma + i, count), load_n(beta + i, count));
    });
  } else if (gamma != nullptr) {
    map(y, n, [&](int64_t i, int64_t count) HUGOT_LAMBDA {
      return hn::Mul(centered(i, count), load_n(gamma + i, count));
    });
  } else if (beta != nullptr) {
    map(y, n, [&](int64_t i, int64_t count) HUGOT_LAMBDA {
      return hn::Add(centered(i, count), load_n(beta + i, count));
    });
  } else {
    map(y, n, centered);
  }
}

HWY_INLINE float variance(const float* x, float mean, int64_t n) {
  const V mean_v = set(mean);
  const float squares = fold_sum(n, [&](V acc, int64_t i, int64_t count) HUGOT_LAMBDA {
    const V v = count == kLanes ? load(x + i) : load_partial(x + i, count, mean_v);
    const V centered = hn::Sub(v, mean_v);
    return hn::MulAdd(centered, centered, acc);
  });
  return squares / static_cast<float>(n);
}

void layer_norm(const float* x, const float* gamma, const float* beta, float eps, int64_t rows,
                int64_t cols, float* y, float* mean_out, float* inv_std_out) {
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
    const float mean = row_sum(x, cols) / static_cast<float>(cols);
    const float inv_std = inverse_sqrt(variance(x, mean, cols) + eps);
    normalize_row(x, gamma, beta, mean, inv_std, cols, y);
    if (mean_out != nullptr) mean_out[r] = mean;
    if (inv_std_out != nullptr) inv_std_out[r] = inv_std;
  }
}

void add_layer_norm(const float* x, const float* residual, const float* gamma, const float* beta,
                    float eps, int64_t rows, int64_t cols, float* sum_out, float* y,
                    float* mean_out, float* inv_std_out) {
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t at = r * cols;
    // Without an array for the sums, y holds them until the row is normalized in place.
    float* sums = sum_out != nullptr ? sum_out + at : y + at;
    binary_vv<add>(x + at, residual + at, sums, cols);
    layer_norm(sums, gamma, beta, eps, 1, cols, y + at,
               mean_out != nullptr ? mean_out + r : nullptr,
               inv_std_out != nullptr ? inv_std_out + r : nullptr);
  }
}

void rms_norm(const float* x, const float* gamma, float eps, int64_t rows, int64_t cols, float* y,
              float* inv_rms_out) {
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
    const float inv_rms = inverse_sqrt(sum_squares(x, cols) / static_cast<float>(cols) + eps);
    normalize_row(x, gamma, nullptr, 0.0f, inv_rms, cols, y);
    if (inv_rms_out != nullptr) inv_rms_out[r] = inv_rms;
  }
}

}  // namespace
}  // namespace hugot::cpu::HUGOT_ISA

#endif  // HUGOT_KERNELS_CPU_SIMD_ROWS_INL_H_
