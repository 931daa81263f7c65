// Memory for what a file or a caller may ask any amount of.
#ifndef HUGOT_BASE_ALLOCATE_H_
#define HUGOT_BASE_ALLOCATE_H_

#include <cstddef>
#include <new>

namespace hugot {

// Throws kOutOfMemory when `bytes` are many and more than the machine or the cgroup has left. The
// system grants them all the same, and ends the process when they are touched.
void require_memory(size_t bytes);

// Uninitialised memory, one byte at least, to be released with operator delete of that alignment.
// Throws kOutOfMemory.
void* allocate_aligned(size_t bytes, std::align_val_t alignment);

}  // namespace hugot

#endif  // HUGOT_BASE_ALLOCATE_H_
