#include "kernels/cuda/fiber.h"

#include <sys/mman.h>

#include "base/error.h"
#include "kernels/cuda/sanitizer.h"

namespace hugot::cuda {
namespace {

constexpr size_t kStackBytes = size_t{1} << (kAddressSanitizer ? 18 : 16);
constexpr size_t kGuardBytes = 4096;  // below the stack: an overflow ends the program

// makecontext() passes no pointers.
thread_local Fiber* starting = nullptr;

}  // namespace

Fiber::Fiber() {
  void* memory = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  require(memory != MAP_FAILED, ErrorCode::kOutOfMemory, "no memory for the stack of a fiber");
  mprotect(memory, kGuardBytes, PROT_NONE);
  stack_ = static_cast<std::byte*>(memory) + kGuardBytes;
}

Fiber::~Fiber() {
  allow_access(stack_, kStackBytes);
  munmap(stack_ - kGuardBytes, kGuardBytes + kStackBytes);
}

void Fiber::start(void (*entry)(void*), void* argument) {
  entry_ = entry;
  argument_ = argument;
  fake_stack_ = nullptr;
  allow_access(stack_, kStackBytes);
  getcontext(&own_);
  own_.uc_stack.ss_sp = stack_;
  own_.uc_stack.ss_size = kStackBytes;
  own_.uc_link = nullptr;
  makecontext(&own_, trampoline, 0);
}

void Fiber::resume() {
  starting = this;
  void* fake_stack = nullptr;
  before_switch(&fake_stack, stack_, kStackBytes);
  swapcontext(&caller_, &own_);
  after_switch(fake_stack, nullptr, nullptr);
}

void Fiber::trampoline() {
  Fiber& self = *starting;
  after_switch(nullptr, &self.caller_stack_, &self.caller_size_);
  self.entry_(self.argument_);
  self.enter_caller(true);
}

void Fiber::give_way() { enter_caller(false); }

void Fiber::enter_caller(bool last) {
  before_switch(last ? nullptr : &fake_stack_, caller_stack_, caller_size_);
  swapcontext(&own_, &caller_);
  after_switch(fake_stack_, &caller_stack_, &caller_size_);
}

}  // namespace hugot::cuda
