// What the emulator tells the address sanitizer; nothing in other builds.
#ifndef HUGOT_KERNELS_CUDA_SANITIZER_H_
#define HUGOT_KERNELS_CUDA_SANITIZER_H_

#include <cstddef>

#include "base/sanitizer.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace hugot::cuda {

#ifdef __SANITIZE_ADDRESS__
inline void forbid_access(const void* memory, size_t bytes) {
  ASAN_POISON_MEMORY_REGION(memory, bytes);
}
inline void allow_access(const void* memory, size_t bytes) {
  ASAN_UNPOISON_MEMORY_REGION(memory, bytes);
}
inline void before_switch(void** fake_stack, const void* stack, size_t size) {
  __sanitizer_start_switch_fiber(fake_stack, stack, size);
}
inline void after_switch(void* fake_stack, const void** old_stack, size_t* old_size) {
  __sanitizer_finish_switch_fiber(fake_stack, old_stack, old_size);
}
#else
inline void forbid_access(const void* /*memory*/, size_t /*bytes*/) {}
inline void allow_access(const void* /*memory*/, size_t /*bytes*/) {}
inline void before_switch(void** /*fake_stack*/, const void* /*stack*/, size_t /*size*/) {}
inline void after_switch(void* /*fake_stack*/, const void** /*stack*/, size_t* /*size*/) {}
#endif

}  // namespace hugot::cuda

#endif  // HUGOT_KERNELS_CUDA_SANITIZER_H_
