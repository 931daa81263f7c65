#include "tokenizer/word_cache.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

namespace hugot {

uint64_t WordCache::next_serial() {
  static std::atomic<uint64_t> serial{0};
  return ++serial;
}

WordCache& WordCache::of_thread(uint64_t serial) {
  // A few, for threads that serve several models by turns.
  static thread_local std::array<WordCache, 4> caches;
  WordCache& cache = caches[serial % caches.size()];
  if (cache.serial_ != serial) {
    cache.serial_ = serial;
    cache.slots_.assign(kSlots, Slot());
  }
  return cache;
}

uint64_t WordCache::hash(std::string_view word) {
  // All bytes of up to 23, in overlapping words of 8.
  uint64_t state = word.size() * 0x9E3779B97F4A7C15u;
  const auto mix = [&](uint64_t value) {
    state = (state ^ value) * 0xD6E8FEB86659FD93u;
    state ^= state >> 32;
  };
  const auto load = [&](size_t pos, size_t size) {
    uint64_t value = 0;
    std::memcpy(&value, word.data() + pos, size);
    return value;
  };
  size_t pos = 0;
  for (; pos + 8 <= word.size(); pos += 8) mix(load(pos, 8));
  if (pos < word.size()) mix(load(pos, word.size() - pos));
  return state;
}

bool WordCache::find(std::string_view word, std::vector<int32_t>& out) const {
  if (word.size() > kMaxWord) return false;
  const Slot& slot = slots_[hash(word) % kSlots];
  if (slot.length != word.size() || slot.count == 0 ||
      std::memcmp(slot.word, word.data(), word.size()) != 0) {
    return false;
  }
  out.insert(out.end(), slot.ids, slot.ids + slot.count);
  return true;
}

void WordCache::put(std::string_view word, std::span<const int32_t> ids) {
  if (word.size() > kMaxWord || ids.empty() || ids.size() > kMaxIds) return;
  Slot& slot = slots_[hash(word) % kSlots];
  std::memcpy(slot.word, word.data(), word.size());
  slot.length = static_cast<uint8_t>(word.size());
  slot.count = static_cast<uint8_t>(ids.size());
  std::copy(ids.begin(), ids.end(), slot.ids);
}

}  // namespace hugot
