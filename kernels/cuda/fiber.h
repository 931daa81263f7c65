// Contexts of execution that give way to each other within one host thread.
#ifndef HUGOT_KERNELS_CUDA_FIBER_H_
#define HUGOT_KERNELS_CUDA_FIBER_H_

#include <ucontext.h>

#include <cstddef>
#include <memory>

namespace hugot::cuda {

// A stack, and what runs on it. Not for use from two host threads.
class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Prepares to call `entry(argument)` on a fresh stack; it must not throw. REQUIRES: what the
  // fiber ran before has returned.
  void start(void (*entry)(void*), void* argument);
  // Runs the fiber until it calls give_way() or its entry returns. Not from within a fiber.
  void resume();
  // From within the fiber: goes back to resume().
  void give_way();

 private:
  static void trampoline();
  void enter_caller(bool last);

  std::byte* stack_;
  ucontext_t own_{}, caller_{};
  void (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;
  // For the address sanitizer: the caller's stack and the fake stacks of both.
  const void* caller_stack_ = nullptr;
  size_t caller_size_ = 0;
  void* fake_stack_ = nullptr;
};

}  // namespace hugot::cuda

#endif  // HUGOT_KERNELS_CUDA_FIBER_H_
