#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/isa.h"

// Of the OpenMP runtime that oneDNN brings; not every compiler has omp.h.
extern "C" int omp_get_max_threads();
extern "C" void omp_set_num_threads(int threads);

namespace hugot::cpu {
namespace {

using dnnl::memory;

// While it lives the calling thread's oneDNN primitives run on that thread alone: the work is split
// by our pool, and a second team of threads would fight it.
class OneThread {
 public:
  OneThread() : previous_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(previous_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int previous_;
};

const dnnl::engine& cpu_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

// Calls `function`; an error of oneDNN becomes ours.
template <class Function>
decltype(auto) translate_errors(Function&& function) {
  try {
    return function();
  } catch (const dnnl::error& error) {
    fail(ErrorCode::kInternal, "oneDNN: ", error.what());
  }
}

memory::desc row_major(int64_t rows, int64_t cols, int64_t stride) {
  return {{rows, cols}, memory::data_type::f32, memory::dims{stride, 1}};
}

// The matmul of m rows; `weights` may leave the layout to oneDNN.
dnnl::matmul::primitive_desc describe(int64_t m, int64_t k, int64_t n, int64_t lda, int64_t ldc,
                                      const memory::desc& weights, bool bias) {
  const memory::desc src = row_major(m, k, lda), dst = row_major(m, n, ldc);
  if (!bias) return {dnnl::matmul::desc(src, weights, dst), cpu_engine()};
  return {dnnl::matmul::desc(src, weights, row_major(1, n, n), dst), cpu_engine()};
}

class OnednnMatrix final : public PackedMatrix {
 public:
  OnednnMatrix(const float* b, int64_t k, int64_t n, int64_t row_stride, bool transposed)
      : PackedMatrix(k, n) {
    // oneDNN chooses the layout for a typical number of rows.
    constexpr int64_t kTypicalRows = 128;
    const memory::desc any({k, n}, memory::data_type::f32, memory::format_tag::any);
    memory_ = memory(describe(kTypicalRows, k, n, k, n, any, true).weights_desc(), cpu_engine());
    const memory::desc given(
        {k, n}, memory::data_type::f32,
        transposed ? memory::dims{1, row_stride} : memory::dims{row_stride, 1});
    memory source(given, cpu_engine(), const_cast<float*>(b));
    dnnl::stream stream(cpu_engine());
    dnnl::reorder(source, memory_).execute(stream, source, memory_);
    stream.wait();
  }

  int64_t bytes() const override { return static_cast<int64_t>(memory_.get_desc().get_size()); }
  const memory& weights() const { return memory_; }

 private:
  memory memory_;
};

void activate(const VectorKernels& kernels, Activation activation, float* row, int64_t n) {
  switch (activation) {
    case Activation::kNone:
      return;
    case Activation::kRelu:
      return kernels.relu(row, row, n);
    case Activation::kGelu:
      return kernels.gelu(row, row, n);
    case Activation::kGeluTanh:
      return kernels.gelu_tanh(row, row, n);
    case Activation::kTanh:
      return kernels.tanh(row, row, n);
    case Activation::kSigmoid:
      return kernels.sigmoid(row, row, n);
    case Activation::kSilu:
      return kernels.silu(row, row, n);
  }
}

class OnednnGemm final : public GemmProvider {
 public:
  const char* name() const override { return "onednn"; }
  // oneDNN chooses its kernel, and with it the order of summation, by the number of rows.
  bool batch_invariant() const override { return false; }

  std::shared_ptr<const PackedMatrix> pack(FloatSource b, int64_t k, int64_t n, int64_t row_stride,
                                           bool transposed, BlockStore& /*store*/) const override {
    require(k > 0 && n > 0, ErrorCode::kInvalidArgument, "oneDNN: empty matrix");
    const OneThread one_thread;
    return translate_errors(
        [&] { return std::make_shared<OnednnMatrix>(b.get(), k, n, row_stride, transposed); });
  }

  void run(int64_t m, const float* a, int64_t lda, const PackedMatrix& b, float* c, int64_t ldc,
           const Epilogue& epilogue, ThreadPool* pool) const override {
    const auto* matrix = dynamic_cast<const OnednnMatrix*>(&b);
    require(matrix != nullptr, ErrorCode::kInvalidArgument,
            "gemm: the matrix was packed by another provider");
    if (m <= 0) return;
    const int64_t threads = pool == nullptr ? 1 : pool->size();
    parallel_for(pool, m, (m + threads - 1) / threads, [&](int64_t begin, int64_t end) {
      translate_errors([&] {
        run_rows(end - begin, a + begin * lda, lda, *matrix, c + begin * ldc, ldc,
                 epilogue.from_row(begin));
      });
    });
  }

 private:
  void run_rows(int64_t m, const float* a, int64_t lda, const OnednnMatrix& b, float* c,
                int64_t ldc, const Epilogue& epilogue) const {
    const int64_t n = b.n();
    // C may be the residual, which is still needed after the product.
    std::vector<float> product;
    float* dst = c;
    int64_t dst_stride = ldc;
    if (epilogue.residual != nullptr) {
      product.resize(static_cast<size_t>(m * n));
      dst = product.data();
      dst_stride = n;
    }
    multiply(m, a, lda, b, dst, dst_stride, epilogue.bias);
    const VectorKernels& kernels = active_kernels();
    for (int64_t i = 0; i < m; ++i) {
      float* row = dst + i * dst_stride;
      activate(kernels, epilogue.activation, row, n);
      if (epilogue.residual != nullptr) {
        kernels.add.vv(row, epilogue.residual + i * epilogue.residual_stride, c + i * ldc, n);
      }
    }
  }

  void multiply(int64_t m, const float* a, int64_t lda, const OnednnMatrix& b, float* c,
                int64_t ldc, const float* bias) const {
    const OneThread one_thread;
    const auto description =
        describe(m, b.k(), b.n(), lda, ldc, b.weights().get_desc(), bias != nullptr);
    memory src(description.src_desc(), cpu_engine(), const_cast<float*>(a));
    memory dst(description.dst_desc(), cpu_engine(), c);
    std::unordered_map<int, memory> args = {
        {DNNL_ARG_SRC, src}, {DNNL_ARG_WEIGHTS, b.weights()}, {DNNL_ARG_DST, dst}};
    if (bias != nullptr) {
      args[DNNL_ARG_BIAS] = memory(description.bias_desc(), cpu_engine(), const_cast<float*>(bias));
    }
    dnnl::stream stream(cpu_engine());
    dnnl::matmul(description).execute(stream, args);
    stream.wait();
  }
};

}  // namespace

const GemmProvider* onednn_gemm() {
  static const OnednnGemm provider;
  return &provider;
}

}  // namespace hugot::cpu
