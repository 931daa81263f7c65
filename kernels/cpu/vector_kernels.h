// The table of CPU kernels that is compiled once per instruction set, and its argument types.
// Included by the translation units of simd/, so only C headers may be included here: an inline
// function of the C++ library compiled with AVX flags could replace the portable copy at link time.
#ifndef HUGOT_KERNELS_CPU_VECTOR_KERNELS_H_
#define HUGOT_KERNELS_CPU_VECTOR_KERNELS_H_

#include <stdint.h>

namespace hugot::cpu {

enum class Activation : int32_t { kNone, kRelu, kGelu, kGeluTanh, kTanh, kSigmoid, kSilu };

// What a GEMM does to its result before storing it: C = activation(A.B + bias) + residual.
struct Epilogue {
  const float* bias = nullptr;  // [N] or null
  Activation activation = Activation::kNone;
  const float* residual = nullptr;  // [M, N] or null; may be C itself (same stride)
  int64_t residual_stride = 0;      // floats from one row to the next

  // The same for the rows from `row` on.
  Epilogue from_row(int64_t row) const {
    Epilogue rest = *this;
    if (residual != nullptr) rest.residual += row * residual_stride;
    return rest;
  }
};

// One matrix product on a range of column panels; a panel is `gemm_panel_width` columns of B.
struct GemmArgs {
  int64_t m, n, k;  // n counts from panel 0, whatever the range
  const float* a;   // [m, k]
  int64_t lda;
  const float* b;  // panel p starts at b + p * b_panel_stride
  int64_t b_row_stride;
  int64_t b_panel_stride;
  float* c;  // [m, n]
  int64_t ldc;
  Epilogue epilogue;
  int64_t panel_begin, panel_end;
  const float* next = nullptr;  // what will be read after these panels; null: the panel behind
};

// The same for 8-bit operands. Along K they are read in groups of 32 bits, of `int8_group` steps
// each: A holds numbers 0..255 in 8 or 16 bits, B holds -128..127 in bytes, zeros past K. What
// belongs to the columns of B has whole panels. With sums in int32, which wrap around,
// C = activation(a_scale b_scale D + bias) + residual, where D = A.B - a_zero b_sum - a_sum b_zero.
struct GemmInt8Args {
  int64_t m, n, groups;
  const uint32_t* a;  // [m, groups]
  int64_t a_stride;   // groups from one row to the next
  const float* a_scale;
  const int32_t* a_zero;
  const int32_t* a_sum = nullptr;  // over K, by row; null when b_zero is
  const int8_t* b;                 // by panel, group, column, step in the group
  const float* b_scale;
  const int32_t* b_sum;             // by column
  const int32_t* b_zero = nullptr;  // by column; null: zeros
  bool integers = false;  // C gets the numbers D themselves, as int32; no scales, no epilogue
  float* c;               // [m, n]
  int64_t ldc;
  Epilogue epilogue;
  int64_t panel_begin, panel_end;
};

// The same with B in bfloat16. Along K both are read in groups of `bf16_group` steps, which take 32
// bits of A: a float32 where that is 1, or two numbers of bfloat16, zero past K.
struct GemmBf16Args {
  int64_t m, n, groups;
  const void* a;      // [m, groups]
  int64_t a_stride;   // groups from one row to the next
  const uint16_t* b;  // by panel, group, column, step in the group
  float* c;
  int64_t ldc;
  Epilogue epilogue;
  int64_t panel_begin, panel_end;
};

// Filters in a tile of a convolution.
inline constexpr int64_t kConvRows = 6;

// A convolution of one image. Outputs stand in rows of `width`, whose beginnings are `pitch` places
// apart; what lies between is computed in vain and not stored. The result for a filter and place is
// bias + sum over steps s of w[s] * rows[s][place], as one chain of multiply-adds.
struct ConvArgs {
  int64_t filters, steps;  // steps: channels times kernel elements
  const float* w;     // tiles of kConvRows filters, the last with what is left: [steps, filters]
  const float* bias;  // [filters] or null
  // [steps]; readable for places up to place_end, and for a vector more.
  const float* const* rows;
  int64_t width, pitch;
  float* y;          // [filters, places without those between rows]
  int64_t y_stride;  // floats from one filter to the next
  int64_t place_begin, place_end;
  int64_t filter_begin, filter_end;  // whole tiles
  int64_t depth;                     // steps after which the next tile's turn comes
  float* sums;  // kConvRows * conv_block floats per tile; may be null when depth >= steps
};

// Rows of an image under a border of zeros, every `step`-th element of each.
struct PadRowsArgs {
  const float* x;  // the first element of the first row
  int64_t x_pitch, step;
  float* y;  // [rows, pitch]
  int64_t rows, pitch;
  int64_t row_first, row_last;  // the rows of y that are no border
  int64_t first, last;          // the elements of such a row that are no border
};

// One axis of a pool: output o meets the elements o * stride + k * dilation - before.
struct PoolAxis {
  int64_t in, out, kernel, stride, dilation, before;

  // Elements from the first one that an output meets to the last one, padding and all others.
  int64_t reach() const {
    const int64_t last = (out - 1) * stride + (kernel - 1) * dilation + 1;
    return last > before + in ? last : before + in;
  }
};

// A pool of one image x [rows.in, columns.in] to y [rows.out, columns.out]. What lies outside of
// the image is -inf for maxima and 0 for sums. A window is folded along its columns, then these
// are.
struct PoolArgs {
  PoolAxis rows, columns;
  const float* x;
  float* y;
  float* row;  // memory for 2 (columns.reach() + kPoolSlack) floats
};
inline constexpr int64_t kPoolSlack = 64;

// Attention of one sequence; see attention.h, which documents the fields.
struct AttentionArgs {
  int64_t query_length = 0, key_length = 0;
  int64_t heads = 0, kv_heads = 0;
  int64_t head_dim = 0, value_dim = 0;
  const float *q = nullptr, *k = nullptr, *v = nullptr;
  float* out = nullptr;
  int64_t q_stride = 0, k_stride = 0, v_stride = 0, out_stride = 0;
  int64_t q_head_stride = 0, k_head_stride = 0, v_head_stride = 0, out_head_stride = 0;
  float scale = 1.0f;
  float softcap = 0.0f;
  const float* bias = nullptr;
  int64_t bias_stride = 0, bias_head_stride = 0;
  int64_t window_left = -1, window_right = -1;
  int64_t query_offset = 0;
  const float* sinks = nullptr;
};

// y[i] = f(x[i]) for i < n.
using UnaryKernel = void (*)(const float* x, float* y, int64_t n);

// y[i] = f(a[i], b[i]) for i < n, with both operands vectors or one of them a scalar.
struct BinaryKernel {
  void (*vv)(const float* a, const float* b, float* y, int64_t n);
  void (*vs)(const float* a, float b, float* y, int64_t n);
  void (*sv)(float a, const float* b, float* y, int64_t n);
};

// Pointers need the alignment of float only. Outputs may be the same array as an input (not a
// shifted one). Every n >= 0 is allowed. All kernels are pure and thread-safe.
//
// Bits: within one instruction set the result for an element depends on that element's inputs
// alone, never on its position, on n or on alignment. A reduction depends on its n values in their
// order alone, a row kernel on its row alone, a GEMM element on its row of A, column of B, bias and
// residual alone. Two instruction sets may differ in the last bits.
struct VectorKernels {
  const char* name;

  // exp, log, erf, tanh: at most 2 ulp; sigmoid 3 ulp; silu = x sigmoid(x) 4 ulp.
  // gelu: x/2 (1 + erf(x/sqrt 2)), gelu_tanh: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))): error
  // at most 3e-7 max(1, |result|), gelu_tanh otherwise 4 ulp. relu, sqrt, reciprocal, abs and neg
  // are correctly rounded. NaN in, NaN out.
  UnaryKernel exp, log, erf, tanh, sigmoid, gelu, gelu_tanh, silu, relu, sqrt, reciprocal, abs, neg;

  // max and min give NaN when either operand is NaN, as ONNX does.
  BinaryKernel add, sub, mul, div, max, min;

  // y = a * b + c; one rounding where the instruction set has FMA, two elsewhere.
  void (*mul_add)(const float* a, const float* b, const float* c, float* y, int64_t n);

  // Empty input: sum, dot, sum_squares 0; max -inf; min +inf. NaN wins in max and min. `sum` has
  // the same bits on every instruction set.
  float (*sum)(const float* x, int64_t n);
  float (*sum_squares)(const float* x, int64_t n);
  float (*dot)(const float* a, const float* b, int64_t n);
  float (*reduce_max)(const float* x, int64_t n);
  float (*reduce_min)(const float* x, int64_t n);

  // Rows of [rows, cols], contiguous. A row that is all -inf gives NaN.
  void (*softmax)(const float* x, float* y, int64_t rows, int64_t cols);
  void (*log_softmax)(const float* x, float* y, int64_t rows, int64_t cols);

  // y = (x - mean) * inv_std * gamma + beta per row of [rows, cols]; inv_std = 1/sqrt(var + eps),
  // var the biased variance, computed in two passes. gamma, beta [cols] may be null (1, 0); mean,
  // inv_std [rows] may be null (not wanted).
  void (*layer_norm)(const float* x, const float* gamma, const float* beta, float eps, int64_t rows,
                     int64_t cols, float* y, float* mean, float* inv_std);
  // The same on x + residual; `sum` [rows, cols] receives x + residual unless null. y, sum, x and
  // residual may be the same array in any combination but y == sum.
  void (*add_layer_norm)(const float* x, const float* residual, const float* gamma,
                         const float* beta, float eps, int64_t rows, int64_t cols, float* sum,
                         float* y, float* mean, float* inv_std);
  // y = x * inv_rms * gamma; inv_rms = 1/sqrt(mean(x^2) + eps). gamma, inv_rms may be null.
  void (*rms_norm)(const float* x, const float* gamma, float eps, int64_t rows, int64_t cols,
                   float* y, float* inv_rms);

  // dx = dy f'(x) of gelu and gelu_tanh; error of f' at most 3e-7.
  void (*gelu_gradient)(const float* x, const float* dy, float* dx, int64_t n);
  void (*gelu_tanh_gradient)(const float* x, const float* dy, float* dx, int64_t n);
  // The gradients of layer_norm, which is computed again from x: dx for each row, and what each row
  // adds to those of gamma and beta. Any of the three may be null, gamma too. dx may be dy.
  void (*layer_norm_gradient)(const float* x, const float* gamma, const float* dy, float eps,
                              int64_t rows, int64_t cols, float* dx, float* dgamma, float* dbeta);
  // ds = scale p (dp - sum(p dp)), in the place of dp: of y = softmax(s), given p = softmax(s).
  void (*softmax_gradient)(const float* p, float scale, int64_t n, float* dp);

  // y [cols, rows] = x [rows, cols] transposed.
  void (*transpose)(const float* x, int64_t rows, int64_t cols, int64_t ldx, float* y, int64_t ldy);

  // GEMM building blocks; callers use gemm.h. Panels are best read gemm_tile_panels at a time.
  int64_t gemm_panel_width, gemm_tile_panels;
  // Copies panels [panel_begin, panel_end) of B into dst (k * panel width floats each, the first of
  // the range at dst), columns past n filled with zeros. B is [k, n] with row stride ldb, or its
  // transpose [n, k] when `transposed`.
  void (*gemm_pack)(const float* b, int64_t k, int64_t n, int64_t ldb, bool transposed,
                    int64_t panel_begin, int64_t panel_end, float* dst);
  void (*gemm)(const GemmArgs* args);

  // int8 GEMM building blocks; callers use gemm_int8.h.
  int64_t int8_group;
  // Rows of x [rows, k] as x = scale (q - zero), but for rounding, with q in 0..255. All
  // instruction sets compute the same scale, zero and q. A row with an element that is not finite
  // has scale NaN. A row of `groups` needs space for k numbers rounded up to a whole vector.
  void (*quantize_rows)(const float* x, int64_t rows, int64_t k, int64_t ldx, uint32_t* groups,
                        int64_t stride, float* scale, int32_t* zero);
  void (*gemm_int8)(const GemmInt8Args* args);
  // Rows of bytes x [rows, k] as such groups, with the bits of `flip` inverted: 0x80 makes
  // -128..127 to 0..255. sum[r] is that of the row's numbers after that.
  void (*pack_bytes)(const uint8_t* x, uint8_t flip, int64_t rows, int64_t k, int64_t ldx,
                     uint32_t* groups, int64_t stride, int32_t* sum);

  // Smallest and largest of x[0, n) and 0. Returns 0, or NaN when an element is not finite: then
  // the limits are not to be used.
  float (*range)(const float* x, int64_t n, float* low, float* high);

  // y[i] = x[i] / scale, rounded to nearest, ties to even, plus zero, saturated to the type of y;
  // NaN gives the lowest number of that type. All instruction sets compute the same.
  void (*quantize_uint8)(const float* x, int64_t n, float scale, int32_t zero, uint8_t* y);
  void (*quantize_int8)(const float* x, int64_t n, float scale, int32_t zero, int8_t* y);

  // bfloat16 GEMM building blocks; callers use gemm_bf16.h.
  int64_t bf16_group;
  // Rows of x [rows, k] rounded to groups of bfloat16, to nearest, ties to even; what is below the
  // normal numbers may become 0. A row needs space for k numbers rounded up to a whole vector.
  // Null where the group is a float32.
  void (*round_to_bf16)(const float* x, int64_t rows, int64_t k, int64_t ldx, uint32_t* groups,
                        int64_t stride);
  void (*gemm_bf16)(const GemmBf16Args* args);

  // Convolution building blocks; see ConvArgs. `conv_block`: places that a tile takes; a range
  // that begins at a multiple of it wastes nothing.
  int64_t conv_block;
  void (*conv)(const ConvArgs* args);
  void (*pad_rows)(const PadRowsArgs* args);

  // Maxima and sums over the windows of one image; see PoolArgs.
  void (*pool_max)(const PoolArgs* args);
  void (*pool_sum)(const PoolArgs* args);

  // Attention building blocks; callers use attention.h.
  int64_t (*attention_scratch)(const AttentionArgs* args);
  void (*attention)(const AttentionArgs* args, int64_t head_begin, int64_t head_end,
                    float* scratch);

  // For calibration: independent chains of vector multiply-adds that never leave the registers,
  // `rounds` of each chain. *y depends on all of them. Returns the floating-point operations done,
  // two per lane and multiply-add; the time it takes gives the peak of one thread.
  int64_t (*multiply_add_loop)(int64_t rounds, float* y);
};

}  // namespace hugot::cpu

#endif  // HUGOT_KERNELS_CPU_VECTOR_KERNELS_H_
