// Kernels neither read nor write past their arrays: every array ends where unmapped memory begins.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/gemm_bf16.h"
#include "kernels/cpu/gemm_int8.h"
#include "kernels/cpu/testing.h"

namespace hugot::cpu {
namespace {

using testing::for_each_isa;

// `size` floats directly before an inaccessible page.
class GuardedArray {
 public:
  explicit GuardedArray(int64_t size) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t bytes = static_cast<size_t>(size) * sizeof(float);
    const size_t usable = (bytes + page - 1) / page * page;
    length_ = usable + page;
    void* map = mmap(nullptr, length_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(map != MAP_FAILED);
    base_ = static_cast<char*>(map);
    REQUIRE(mprotect(base_ + usable, page, PROT_NONE) == 0);
    data_ = reinterpret_cast<float*>(base_ + (usable - bytes));
    std::fill_n(data_, size, 0.5f);
  }
  ~GuardedArray() { munmap(base_, length_); }
  GuardedArray(const GuardedArray&) = delete;
  GuardedArray& operator=(const GuardedArray&) = delete;

  float* data() const { return data_; }

 private:
  char* base_;
  size_t length_;
  float* data_;
};

TEST_CASE("vector kernels stay inside their arrays") {
  for (int64_t n = 1; n <= 67; ++n) {
    const GuardedArray x(n), y(n), z(n), out(n);
    for_each_isa([&](const VectorKernels& k) {
      for (UnaryKernel f : {k.exp, k.gelu, k.relu}) f(x.data(), out.data(), n);
      k.add.vv(x.data(), y.data(), out.data(), n);
      k.add.vs(x.data(), 1, out.data(), n);
      k.mul_add(x.data(), y.data(), z.data(), out.data(), n);
      CHECK(k.sum(x.data(), n) == static_cast<float>(n) / 2);
      CHECK(k.dot(x.data(), y.data(), n) == static_cast<float>(n) / 4);
      CHECK(k.reduce_max(x.data(), n) == 0.5f);
      k.softmax(x.data(), out.data(), 1, n);
      k.log_softmax(x.data(), out.data(), 1, n);
      k.layer_norm(x.data(), y.data(), z.data(), 1, 1, n, out.data(), nullptr, nullptr);
      k.rms_norm(x.data(), y.data(), 1, 1, n, out.data(), nullptr);
    });
  }
}

TEST_CASE("GEMM stays inside its arrays") {
  for (const int64_t m : {1, 2, 3, 5, 6, 13}) {
    for (const int64_t n : {1, 8, 15, 16, 31, 33, 64, 70}) {
      for (const int64_t k : {1, 4, 6, 17}) {
        const GuardedArray a(m * k), b(k * n), bias(n), residual(m * n), c(m * n);
        for_each_isa([&](const VectorKernels& kernels) {
          const GuardedArray workspace(gemm_workspace(k, nullptr));
          const Epilogue epilogue = {.bias = bias.data(),
                                     .activation = Activation::kRelu,
                                     .residual = residual.data(),
                                     .residual_stride = n};
          for (const bool transposed : {false, true}) {
            const int64_t ldb = transposed ? k : n;
            gemm(m, n, k, a.data(), k, b.data(), ldb, transposed, c.data(), n, epilogue,
                 workspace.data());
            gemm(m, n, k, a.data(), k, b.data(), ldb, transposed, c.data(), n, {},
                 workspace.data());
            const int64_t panels = (n + kernels.gemm_panel_width - 1) / kernels.gemm_panel_width;
            const GuardedArray packed(panels * k * kernels.gemm_panel_width);
            kernels.gemm_pack(b.data(), k, n, ldb, transposed, 0, panels, packed.data());
          }
          CHECK(c.data()[m * n - 1] == static_cast<float>(k) / 4);
        });
      }
    }
  }
}

TEST_CASE("GEMM on narrow weights stays inside its arrays") {
  for (const int64_t m : {1, 5, 13}) {
    for (const int64_t n : {1, 15, 33, 70}) {
      for (const int64_t k : {1, 6, 16, 33}) {
        const GuardedArray a(m * k), b(k * n), bias(n), residual(m * n), c(m * n);
        for_each_isa([&](const VectorKernels&) {
          const Epilogue epilogue = {
              .bias = bias.data(), .residual = residual.data(), .residual_stride = n};
          const Bf16Matrix bf16(b.data(), k, n, n, false);
          const GemmProduct product = {&bf16, c.data(), n, epilogue};
          const GuardedArray rows(bf16.workspace(m) / int64_t{sizeof(float)});
          gemm_bf16(m, a.data(), k, std::span(&product, 1),
                    reinterpret_cast<std::byte*>(rows.data()));
          CHECK(c.data()[m * n - 1] == static_cast<float>(k) / 4 + 1);
          const Int8Matrix int8(b.data(), k, n, n, false);
          const GuardedArray workspace(int8.workspace(m) / int64_t{sizeof(float)});
          const GemmProduct narrow = {&int8, c.data(), n, epilogue};
          gemm_int8(m, a.data(), k, std::span(&narrow, 1),
                    reinterpret_cast<std::byte*>(workspace.data()));
          CHECK(c.data()[m * n - 1] == doctest::Approx(static_cast<float>(k) / 4 + 1));
        });
      }
    }
  }
}

TEST_CASE("attention stays inside its arrays") {
  for (const int64_t length : {1, 7, 16, 33}) {
    for (const int64_t dim : {1, 6, 24, 32}) {
      const GuardedArray q(length * dim), k(length * dim), v(length * dim), out(length * dim);
      const GuardedArray bias(length * length);
      for_each_isa([&](const VectorKernels&) {
        AttentionArgs args;
        args.query_length = args.key_length = length;
        args.heads = args.kv_heads = 1;
        args.head_dim = args.value_dim = dim;
        args.q_stride = args.k_stride = args.v_stride = args.out_stride = dim;
        args.q = q.data();
        args.k = k.data();
        args.v = v.data();
        args.out = out.data();
        args.bias = bias.data();
        args.bias_stride = length;
        args.window_right = 0;
        const GuardedArray scratch(attention_scratch(args));
        attention(args, 0, 1, scratch.data());
        CHECK(out.data()[length * dim - 1] == doctest::Approx(0.5));
      });
    }
  }
}

}  // namespace
}  // namespace hugot::cpu
