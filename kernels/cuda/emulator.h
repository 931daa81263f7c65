// CUDA's language in plain C++: lets *.cu files compile with any C++20 compiler and run on the CPU.
// For testing: it is slow, and it turns what CUDA leaves undefined into errors where it can.
//
// Blocks run one after another. The threads of a block are contexts of one host thread that give
// way to each other at barriers and warp operations only, in an order that can be shuffled; so a
// missing barrier gives wrong results reproducibly.
//
// Included by kernels/cuda/launch.h where the compiler is not nvcc; nothing else includes it except
// its own tests. What stands outside of namespace hugot has CUDA's names and CUDA's meaning.
#ifndef HUGOT_KERNELS_CUDA_EMULATOR_H_
#define HUGOT_KERNELS_CUDA_EMULATOR_H_

#include <atomic>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

#include "graph/exec/device.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
// One block runs at a time in a host thread. Contents are left from the block before.
#define __shared__ static thread_local

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3() = default;
  constexpr dim3(unsigned x_, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}  // NOLINT
};
struct uint3 {
  unsigned x = 0, y = 0, z = 0;
};

inline thread_local uint3 threadIdx, blockIdx;
inline thread_local dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace hugot::cuda {

namespace emulator {

// The line of a call. (std::source_location is too new for some compilers.)
struct Where {
  const char* file = "";
  int line = 0;
  static constexpr Where here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
  friend bool operator==(const Where& a, const Where& b) {
    return a.line == b.line && std::string_view(a.file) == b.file;
  }
};

// One launch, ready to run.
struct Launch {
  std::string_view name;  // of the kernel, for messages
  dim3 grid, block;
  size_t shared_bytes = 0;  // of dynamic shared memory
  std::function<void()> thread;
};

// Runs every thread of every block in the calling host thread. `order_seed` 0: ascending; any other
// number shuffles the order in which threads go on, anew after every barrier. Throws
// kInvalidArgument for a launch that no device can do, and kInternal naming kernel and block when
// threads wait for others that never come, or write beyond dynamic shared memory. An exception of a
// thread ends the launch and is passed on.
void run(const Launch& launch, uint64_t order_seed);

// What the functions below are made of; only within a kernel.
enum class WarpOperation { kShuffle, kBallot, kBarrier };
void block_barrier(Where where);
// Waits for the lanes of `mask` and gives the bits that lane `source` brought. Lanes that do not
// exist or are not in `mask` give all ones: NaN, or -1.
uint64_t exchange(WarpOperation operation, unsigned mask, uint64_t bits, int source, Where where);
int lane();
std::byte* dynamic_shared_memory();

// Queues `launch` on a stream of an emulated device, whose allocations all `pointers` must point
// into (or be null).
void queue(Stream& stream, Launch launch, const std::vector<const void*>& pointers);

template <class T>
T exchange_value(unsigned mask, T value, int source, Where where) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(uint64_t));
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = exchange(WarpOperation::kShuffle, mask, bits, source, where);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

// read-modify-write of one element; gives the old value.
template <class T, class Update>
T update_atomically(T* address, const Update& update) {
  const std::atomic_ref<T> cell(*address);
  T old = cell.load();
  while (!cell.compare_exchange_weak(old, update(old))) {
  }
  return old;
}

}  // namespace emulator

// The block's dynamic shared memory.
template <class T>
T* dynamic_shared() {
  return reinterpret_cast<T*>(emulator::dynamic_shared_memory());
}

// All launches go through here: kernel<<<grid, block, shared_bytes, stream>>>(args...).
template <class... Params, class... Args>
void launch(std::string_view name, void (*kernel)(Params...), dim3 grid, dim3 block,
            size_t shared_bytes, Stream& stream, Args&&... args) {
  std::tuple<std::decay_t<Params>...> values(std::forward<Args>(args)...);
  std::vector<const void*> pointers;
  std::apply(
      [&](const auto&... value) {
        const auto collect = [&]<class T>(const T& argument) {
          if constexpr (std::is_pointer_v<T>) pointers.push_back(argument);
        };
        (collect(value), ...);
      },
      values);
  emulator::queue(
      stream, {name, grid, block, shared_bytes, [kernel, values] { std::apply(kernel, values); }},
      pointers);
}

}  // namespace hugot::cuda

using HugotWhere = hugot::cuda::emulator::Where;

inline void __syncthreads(HugotWhere where = HugotWhere::here()) {
  hugot::cuda::emulator::block_barrier(where);
}

inline void __syncwarp(unsigned mask = 0xffffffffu, HugotWhere where = HugotWhere::here()) {
  using hugot::cuda::emulator::WarpOperation;
  hugot::cuda::emulator::exchange(WarpOperation::kBarrier, mask, 0, -1, where);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, HugotWhere where = HugotWhere::here()) {
  using hugot::cuda::emulator::WarpOperation;
  return static_cast<unsigned>(hugot::cuda::emulator::exchange(WarpOperation::kBallot, mask,
                                                               predicate != 0 ? 1 : 0, -1, where));
}
inline int __any_sync(unsigned mask, int predicate, HugotWhere where = HugotWhere::here()) {
  return __ballot_sync(mask, predicate, where) != 0;
}
inline int __all_sync(unsigned mask, int predicate, HugotWhere where = HugotWhere::here()) {
  return __ballot_sync(mask, predicate == 0, where) == 0;
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize,
              HugotWhere where = HugotWhere::here()) {
  const int first = hugot::cuda::emulator::lane() & ~(width - 1);
  return hugot::cuda::emulator::exchange_value(mask, value, first | (source & (width - 1)), where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize,
                 HugotWhere where = HugotWhere::here()) {
  const int lane = hugot::cuda::emulator::lane();
  const int source = (lane & (width - 1)) - static_cast<int>(delta);
  return hugot::cuda::emulator::exchange_value(
      mask, value, source < 0 ? lane : lane - static_cast<int>(delta), where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize,
                   HugotWhere where = HugotWhere::here()) {
  const int lane = hugot::cuda::emulator::lane();
  const int source = (lane & (width - 1)) + static_cast<int>(delta);
  return hugot::cuda::emulator::exchange_value(
      mask, value, source >= width ? lane : lane + static_cast<int>(delta), where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = warpSize,
                  HugotWhere where = HugotWhere::here()) {
  const int lane = hugot::cuda::emulator::lane();
  const int source = lane ^ lane_mask;
  const int end = (lane & ~(width - 1)) + width;
  return hugot::cuda::emulator::exchange_value(mask, value, source >= end ? lane : source, where);
}

template <class T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return hugot::cuda::emulator::update_atomically(
      address, [&](T old) { return static_cast<T>(old + value); });
}
template <class T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  return hugot::cuda::emulator::update_atomically(address,
                                                  [&](T old) { return old < value ? value : old; });
}
template <class T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  return hugot::cuda::emulator::update_atomically(address,
                                                  [&](T old) { return value < old ? value : old; });
}
template <class T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return hugot::cuda::emulator::update_atomically(address, [&](T) { return value; });
}
template <class T>
T atomicCAS(T* address, std::type_identity_t<T> compare, std::type_identity_t<T> value) {
  return hugot::cuda::emulator::update_atomically(
      address, [&](T old) { return old == compare ? value : old; });
}

#endif  // HUGOT_KERNELS_CUDA_EMULATOR_H_
