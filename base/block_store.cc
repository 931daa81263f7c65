#include "base/block_store.h"

#include <new>

#include "base/allocate.h"

namespace hugot {
namespace {

constexpr std::align_val_t kAlignment{64};

class FreshBlocks final : public BlockStore {
 public:
  std::shared_ptr<const std::byte> block(size_t bytes,
                                         FunctionRef<void(std::byte*)> fill) override {
    const std::shared_ptr<std::byte> memory(
        static_cast<std::byte*>(allocate_aligned(bytes, kAlignment)),
        [](std::byte* p) { ::operator delete(p, kAlignment); });
    fill(memory.get());
    return memory;
  }
};

}  // namespace

BlockStore& fresh_blocks() {
  static FreshBlocks store;
  return store;
}

}  // namespace hugot
