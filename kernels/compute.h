// Operands in the type that arithmetic happens in, and loops over the pool.
#ifndef HUGOT_KERNELS_COMPUTE_H_
#define HUGOT_KERNELS_COMPUTE_H_

#include <algorithm>

#include "base/tensor.h"
#include "base/thread_pool.h"
#include "kernels/convert.h"
#include "kernels/dispatch.h"

namespace hugot {

// The elements of a tensor of T as Compute<T>: float16 and bfloat16 become float32 at once, the
// other types stay where they are.
template <class T>
class Wide {
 public:
  Wide() = default;
  explicit Wide(const Tensor& tensor) : tensor_(tensor) {
    if constexpr (is_half<T>) {
      tensor_ = Tensor(DType::kFloat32, tensor.shape());
      convert_all(tensor.data<T>(), tensor_.data<float>(), tensor.size());
    }
  }
  // Null when there is no tensor.
  const Compute<T>* data() const {
    return tensor_.defined() ? tensor_.data<Compute<T>>() : nullptr;
  }

 private:
  Tensor tensor_;
};

// The same for a result, which is rounded once, by store().
template <class T>
class WideResult {
 public:
  explicit WideResult(Tensor& tensor)
      : target_(tensor), tensor_(is_half<T> ? Tensor(DType::kFloat32, tensor.shape()) : tensor) {}
  Compute<T>* data() { return tensor_.data<Compute<T>>(); }
  void store() {
    if constexpr (is_half<T>) {
      convert_all(tensor_.data<float>(), target_.data<T>(), target_.size());
    }
  }

 private:
  Tensor& target_;
  Tensor tensor_;
};

// Calls body(begin, end, worker) for parts of [0, count), on the pool where the work pays for it.
// `cost` is the number of multiply-adds of one item.
template <class Body>
void for_items(ThreadPool* pool, int64_t count, int64_t cost, const Body& body) {
  constexpr int64_t kSmallestPart = 64 * 1024;
  const int64_t grain = std::max<int64_t>(1, kSmallestPart / std::max<int64_t>(cost, 1));
  if (pool == nullptr || count <= grain) return body(int64_t{0}, count, 0);
  const int64_t even = count / (int64_t{4} * pool->size());
  pool->parallel_for_workers(count, std::max(grain, even), body);
}

}  // namespace hugot

#endif  // HUGOT_KERNELS_COMPUTE_H_
