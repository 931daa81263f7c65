// CUDA's language on the CPU: what kernels may rely on, and what is an error.
#include "kernels/cuda/emulator.h"

#include <doctest/doctest.h>

#include <numeric>
#include <string>

#include "base/error.h"
#include "kernels/cuda/emulated_device.h"
#include "kernels/cuda/sanitizer.h"

namespace hugot::cuda {
namespace {

// Device memory for `count` numbers, and a stream to fill and read it.
template <class T>
class Buffer {
 public:
  explicit Buffer(size_t count, uint64_t order = 0, T value = {})
      : device_(emulated_device({.thread_order = order})),
        stream_(device_->new_stream()),
        host_(count, value),
        memory_(device_->allocate(bytes())) {
    stream_->copy_to_device(memory_, reinterpret_cast<std::byte*>(host_.data()), bytes());
  }
  ~Buffer() { device_->free(memory_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  T* data() { return reinterpret_cast<T*>(memory_); }
  Stream& stream() { return *stream_; }
  std::vector<T> read() {
    stream_->copy_to_host(reinterpret_cast<std::byte*>(host_.data()), memory_, bytes());
    stream_->synchronize();
    return host_;
  }

 private:
  size_t bytes() const { return host_.size() * sizeof(T); }

  std::shared_ptr<Device> device_;
  std::unique_ptr<Stream> stream_;
  std::vector<T> host_;
  std::byte* memory_;
};

// What running `work` says; empty when it does not fail.
template <class Work>
std::string error_of(const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

__global__ void number_kernel(int* out) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  const unsigned i = block * blockDim.x * blockDim.y * blockDim.z + thread;
  out[i] = static_cast<int>(i);
}

__global__ void add_kernel(int* values, int number) { values[threadIdx.x] += number; }

// Mirrors `values` within each block; `kBarrier` false is the classical mistake.
template <bool kBarrier>
__global__ void mirror_kernel(int* values) {
  __shared__ int shared[64];
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  shared[threadIdx.x] = values[i];
  if (kBarrier) __syncthreads();
  values[i] = shared[blockDim.x - 1 - threadIdx.x];
}

__global__ void dynamic_kernel(float* out, unsigned count) {
  auto* shared = dynamic_shared<float>();
  for (unsigned i = threadIdx.x; i < count; i += blockDim.x) shared[i] = static_cast<float>(i);
  __syncthreads();
  out[threadIdx.x] = shared[(threadIdx.x + 1) % blockDim.x];
}

__global__ void unwritten_kernel(float* out) { out[threadIdx.x] = dynamic_shared<float>()[0]; }

__global__ void diverging_kernel(int* out) {
  if (threadIdx.x < 5) __syncthreads();
  out[threadIdx.x] = 1;
}

__global__ void two_barriers_kernel(int* out) {
  if (threadIdx.x % 2 == 0) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  out[threadIdx.x] = 1;
}

__global__ void lonely_shuffle_kernel(int* out) {
  if (threadIdx.x != 3) out[threadIdx.x] = __shfl_sync(0xffffffffu, 1, 0);
}

__global__ void foreign_mask_kernel(int* out) { out[threadIdx.x] = __shfl_sync(0x1u, 1, 0); }

enum class Shuffle { kDirect, kUp, kDown, kXor };

template <Shuffle kHow>
__global__ void shuffle_kernel(int* out, int by, int width) {
  const auto lane = static_cast<int>(threadIdx.x % 32);
  const unsigned all = 0xffffffffu;
  int result = 0;
  if (kHow == Shuffle::kDirect) result = __shfl_sync(all, lane, by, width);
  if (kHow == Shuffle::kUp) result = __shfl_up_sync(all, lane, static_cast<unsigned>(by), width);
  if (kHow == Shuffle::kDown) {
    result = __shfl_down_sync(all, lane, static_cast<unsigned>(by), width);
  }
  if (kHow == Shuffle::kXor) result = __shfl_xor_sync(all, lane, by, width);
  out[threadIdx.x] = result;
}

__global__ void groups_kernel(double* out) {
  const bool low = threadIdx.x < 16;
  const unsigned mask = low ? 0x0000ffffu : 0xffff0000u;
  // The halves of the warp come here in different orders and do not wait for each other.
  if (low) __syncwarp(mask);
  out[threadIdx.x] = __shfl_sync(mask, static_cast<double>(threadIdx.x), low ? 3 : 19);
}

__global__ void ballot_kernel(unsigned* out) {
  const unsigned odd = __ballot_sync(0xffffffffu, threadIdx.x % 2);
  const bool any = __any_sync(0xffffffffu, threadIdx.x == 7) != 0;
  const bool all = __all_sync(0xffffffffu, threadIdx.x == 7) != 0;
  out[threadIdx.x] = any && !all ? odd : 0;
}

__global__ void atomic_kernel(float* sum, int* numbers) {
  atomicAdd(sum, 0.5f);
  const auto i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  atomicMax(&numbers[0], i);
  atomicMin(&numbers[1], -i);
  atomicCAS(&numbers[2], 0, 17);
  atomicExch(&numbers[3], 5);
}

__global__ void overrun_kernel(int* out, int offset) { out[offset] = 1; }

__global__ void failing_kernel(int* out) {
  __syncthreads();
  if (blockIdx.x == 1 && threadIdx.x == 2) fail(ErrorCode::kInvalidData, "thread 2 fails");
  __syncthreads();
  out[threadIdx.x] = 1;
}

}  // namespace

TEST_CASE("every thread of every block runs once, with its numbers") {
  for (const uint64_t order : {0, 1, 2}) {
    Buffer<int> out(2 * 3 * 2 * 4 * 2 * 3, order);
    launch("number", number_kernel, dim3(2, 3, 2), dim3(4, 2, 3), 0, out.stream(), out.data());
    std::vector<int> expected(out.read().size());
    std::iota(expected.begin(), expected.end(), 0);
    CHECK(out.read() == expected);
  }
}

TEST_CASE("a barrier makes shared memory visible; a shuffled order shows where one is missing") {
  for (const uint64_t order : {0, 1, 2, 3}) {
    Buffer<int> values(64, order);
    launch("number", number_kernel, 2, 32, 0, values.stream(), values.data());
    launch("mirror", mirror_kernel<true>, 2, 32, 0, values.stream(), values.data());
    const std::vector<int> mirrored = values.read();
    for (int i = 0; i < 64; ++i)
      CHECK(mirrored[static_cast<size_t>(i)] == i / 32 * 32 + 31 - i % 32);
  }
  int wrong = 0;
  for (const uint64_t order : {1, 2, 3}) {
    Buffer<int> values(64, order);
    launch("number", number_kernel, 1, 64, 0, values.stream(), values.data());
    launch("add", add_kernel, 1, 64, 0, values.stream(), values.data(),
           static_cast<int>(order) * 100);
    launch("mirror", mirror_kernel<false>, 1, 64, 0, values.stream(), values.data());
    if (values.read()[0] != static_cast<int>(order) * 100 + 63) ++wrong;
    if (values.read()[63] != static_cast<int>(order) * 100) ++wrong;
  }
  CHECK(wrong == 3);  // of two threads that swap, the first one misses the other's element
}

TEST_CASE("dynamic shared memory is the block's own, begins as NaN and is guarded") {
  Buffer<float> out(48, 5);
  launch("dynamic", dynamic_kernel, 1, 48, 48 * sizeof(float), out.stream(), out.data(), 48u);
  CHECK(out.read()[47] == 0);
  CHECK(out.read()[0] == 1);
  launch("unwritten", unwritten_kernel, 1, 48, 48 * sizeof(float), out.stream(), out.data());
  CHECK(std::isnan(out.read()[0]));
  launch("dynamic", dynamic_kernel, 1, 48, 48 * sizeof(float), out.stream(), out.data(), 50u);
  CHECK(contains(error_of([&] { out.read(); }),
                 "kernel dynamic, block (0,0,0): writes beyond its 192 bytes"));
}

TEST_CASE("a barrier that not all threads reach is an error") {
  for (const uint64_t order : {0, 1}) {
    Buffer<int> out(64, order);
    launch("diverging", diverging_kernel, dim3(1, 3), 64, 0, out.stream(), out.data());
    const std::string error = error_of([&] { out.stream().synchronize(); });
    CHECK(contains(error, "kernel diverging, block (0,0,0): the barrier at emulator_test.cc:"));
    CHECK(contains(error, "is reached by 5 of 64 threads, 59 have returned"));
    launch("two", two_barriers_kernel, 1, 64, 0, out.stream(), out.data());
    CHECK(contains(error_of([&] { out.stream().synchronize(); }), "reached by 32 of 64 threads"));
    // The emulator goes on working.
    launch("number", number_kernel, 1, 64, 0, out.stream(), out.data());
    CHECK(out.read()[63] == 63);
  }
}

TEST_CASE("warp operations") {
  Buffer<int> out(64, 3);
  const auto shuffled = [&](auto kernel, int by, int width) {
    launch("shuffle", kernel, 1, 64, 0, out.stream(), out.data(), by, width);
    return out.read();
  };
  CHECK(shuffled(shuffle_kernel<Shuffle::kDirect>, 5, 32)[40] == 5);
  CHECK(shuffled(shuffle_kernel<Shuffle::kDirect>, 9, 8)[18] == 17);
  CHECK(shuffled(shuffle_kernel<Shuffle::kUp>, 4, 32)[36] == 0);
  CHECK(shuffled(shuffle_kernel<Shuffle::kUp>, 4, 32)[35] == 3);  // its own
  CHECK(shuffled(shuffle_kernel<Shuffle::kDown>, 4, 32)[0] == 4);
  CHECK(shuffled(shuffle_kernel<Shuffle::kDown>, 4, 32)[30] == 30);
  CHECK(shuffled(shuffle_kernel<Shuffle::kDown>, 4, 8)[11] == 15);
  CHECK(shuffled(shuffle_kernel<Shuffle::kDown>, 4, 8)[13] == 13);
  CHECK(shuffled(shuffle_kernel<Shuffle::kXor>, 16, 32)[3] == 19);
  CHECK(shuffled(shuffle_kernel<Shuffle::kXor>, 8, 8)[3] == 3);
  // A lane that does not exist: 40 threads are one warp and a quarter.
  launch("shuffle", shuffle_kernel<Shuffle::kDirect>, 1, 40, 0, out.stream(), out.data(), 20, 32);
  CHECK(out.read()[39] == -1);

  Buffer<double> halves(32, 9);
  launch("groups", groups_kernel, 1, 32, 0, halves.stream(), halves.data());
  CHECK(halves.read()[0] == 3);
  CHECK(halves.read()[31] == 19);

  Buffer<unsigned> votes(32);
  launch("ballot", ballot_kernel, 1, 32, 0, votes.stream(), votes.data());
  CHECK(votes.read()[11] == 0xaaaaaaaau);
}

TEST_CASE("a warp operation that not all its lanes reach is an error") {
  Buffer<int> out(32);
  launch("lonely", lonely_shuffle_kernel, 1, 32, 0, out.stream(), out.data());
  CHECK(contains(error_of([&] { out.stream().synchronize(); }),
                 "kernel lonely, block (0,0,0): the warp operation at emulator_test.cc:"));
  launch("mask", foreign_mask_kernel, 1, 32, 0, out.stream(), out.data());
  CHECK(contains(error_of([&] { out.stream().synchronize(); }), "a mask without the lane"));
}

TEST_CASE("atomic operations") {
  Buffer<float> sum(1, 4);
  Buffer<int> other(4);
  CHECK(contains(error_of([&] {
                   launch("atomic", atomic_kernel, 4, 64, 0, sum.stream(), sum.data(),
                          other.data());
                 }),
                 "kernel atomic: an argument points to no memory of device cuda-emulated"));
  Buffer<float> room(8, 4);
  int* numbers = reinterpret_cast<int*>(room.data() + 1);
  launch("atomic", atomic_kernel, 4, 64, 0, room.stream(), room.data(), numbers);
  const std::vector<float> result = room.read();
  int integers[4];
  std::memcpy(integers, result.data() + 1, sizeof(integers));
  CHECK(result[0] == 128);
  CHECK(integers[0] == 255);
  CHECK(integers[1] == -255);
  CHECK(integers[2] == 17);
  CHECK(integers[3] == 5);
}

TEST_CASE("writes beyond an allocation are an error") {
  if (kAddressSanitizer) return;  // the sanitizer ends the program there
  for (const int offset : {-1, 16, 40}) {
    Buffer<int> out(16);
    launch("overrun", overrun_kernel, 1, 1, 0, out.stream(), out.data(), offset);
    CHECK(error_of([&] { out.stream().synchronize(); }) ==
          "kernel overrun writes beyond an allocation");
  }
}

TEST_CASE("an error of one thread ends the launch, the others are unwound") {
  for (const uint64_t order : {0, 1}) {
    Buffer<int> out(8, order);
    launch("failing", failing_kernel, 4, 8, 0, out.stream(), out.data());
    CHECK(error_of([&] { out.stream().synchronize(); }) == "thread 2 fails");
    CHECK(out.read() == std::vector<int>{1, 1, 1, 1, 1, 1, 1, 1});  // written by block 0
  }
}

TEST_CASE("launches that no device can do") {
  Buffer<int> out(1);
  const auto error = [&](dim3 grid, dim3 block, size_t shared) {
    launch("number", number_kernel, grid, block, shared, out.stream(), out.data());
    return error_of([&] { out.stream().synchronize(); });
  };
  CHECK(contains(error(1, 1025, 0), "kernel number: a block of 1025 x 1 x 1 threads"));
  CHECK(contains(error(1, 0, 0), "a block of 0 x 1 x 1"));
  CHECK(contains(error(0, 1, 0), "a grid of 0 x 1 x 1"));
  CHECK(contains(error(dim3(1, 65536), 1, 0), "a grid of 1 x 65536 x 1"));
  CHECK(contains(error(1, 1, 49 * 1024), "bytes of shared memory"));
}

}  // namespace hugot::cuda
