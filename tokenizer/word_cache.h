// Remembers the ids of words: most words of a text came before.
#ifndef HUGOT_TOKENIZER_WORD_CACHE_H_
#define HUGOT_TOKENIZER_WORD_CACHE_H_

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace hugot {

// A table of fixed size in which a word replaces another one of the same place. Not thread-safe:
// every thread has its own.
class WordCache {
 public:
  // A number for a user of caches that no other one has; thread-safe.
  static uint64_t next_serial();
  // The cache of this thread for the user with this serial number; one that served another user
  // before starts empty.
  static WordCache& of_thread(uint64_t serial);

  // Appends the ids of a word, if they are known.
  bool find(std::string_view word, std::vector<int32_t>& out) const;
  // Words that are long or have many ids are not kept.
  void put(std::string_view word, std::span<const int32_t> ids);

 private:
  static constexpr size_t kSlots = size_t{1} << 15;
  static constexpr size_t kMaxWord = 23;
  static constexpr size_t kMaxIds = 8;
  // One cache line.
  struct alignas(64) Slot {
    char word[kMaxWord];
    uint8_t length = 0;
    uint8_t count = 0;
    int32_t ids[kMaxIds];
  };

  static uint64_t hash(std::string_view word);

  uint64_t serial_ = 0;
  std::vector<Slot> slots_;
};

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_WORD_CACHE_H_
