// Memory for data that are computed once and then kept, such as packed weights.
#ifndef HUGOT_BASE_BLOCK_STORE_H_
#define HUGOT_BASE_BLOCK_STORE_H_

#include <cstddef>
#include <memory>
#include <string_view>

#include "base/function_ref.h"

namespace hugot {

// Gives out blocks that are never changed again. Whoever needs one says how to compute it; a store
// that remembers the contents from an earlier run of the program gives these instead. So the
// contents must follow from the owner's name and from what the store's memory is keyed by alone:
// the model, how it is to be run, and the instruction set. Not thread-safe; the blocks are.
class BlockStore {
 public:
  virtual ~BlockStore() = default;

  // The blocks that follow belong to `owner`, until the next call: a name that tells them from
  // those of others.
  virtual void begin(std::string_view /*owner*/) {}

  // A block of `bytes`, aligned to 64. `fill` writes all of it, unless the contents are known.
  // Throws kOutOfMemory, and what `fill` throws.
  virtual std::shared_ptr<const std::byte> block(size_t bytes,
                                                 FunctionRef<void(std::byte*)> fill) = 0;

  // The same as an array of T, which is any type without pointers.
  template <class T>
  std::shared_ptr<const T> array(size_t count, FunctionRef<void(T*)> fill) {
    return std::reinterpret_pointer_cast<const T>(
        block(count * sizeof(T), [&](std::byte* memory) { fill(reinterpret_cast<T*>(memory)); }));
  }
};

// Remembers nothing: every block is fresh memory. Thread-safe.
BlockStore& fresh_blocks();

}  // namespace hugot

#endif  // HUGOT_BASE_BLOCK_STORE_H_
