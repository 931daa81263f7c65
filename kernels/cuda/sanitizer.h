// What the emulator tells the address sanitizer; nothing in other builds.
#ifndef HUGOT_KERNELS_CUDA_SANITIZER_H_
#define HUGOT_KERNELS_CUDA_SANITIZER_H_

#if !defined(__SANITIZE_ADDRESS__) && defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#include <cstddef>

namespace hugot::cuda {

#ifdef __SANITIZE_ADDRESS__
inline constexpr bool kAddressSanitizer = true;
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
inline constexpr bool kAddressSanitizer = false;
inline void forbid_access(const void* /*memory*/, size_t /*bytes*/) {}
inline void allow_access(const void* /*memory*/, size_t /*bytes*/) {}
inline void before_switch(void** /*fake_stack*/, const void* /*stack*/, size_t /*size*/) {}
inline void after_switch(void* /*fake_stack*/, const void** /*stack*/, size_t* /*size*/) {}
#endif

}  // namespace hugot::cuda

#endif  // HUGOT_KERNELS_CUDA_SANITIZER_H_
