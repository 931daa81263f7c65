// A double-array trie: all strings of a set that a text begins with, one step per byte.
#ifndef HUGOT_TOKENIZER_TRIE_H_
#define HUGOT_TOKENIZER_TRIE_H_

#include <cstdint>
#include <string_view>
#include <vector>

namespace hugot {

// Immutable and thread-safe.
class Trie {
 public:
  struct Entry {
    std::string_view key;
    int32_t value;  // not negative
  };

  // The value of the last of equal keys counts; empty keys are left out. Throws kUnsupported when
  // the keys are too many.
  explicit Trie(std::vector<Entry> entries);

  static constexpr uint32_t kRoot = 0;
  // The node behind `byte`, or kRoot when no key goes on so.
  uint32_t next(uint32_t node, char byte) const {
    const uint32_t child = units_[node].base + static_cast<unsigned char>(byte);
    return units_[child].parent == node ? child : kRoot;
  }
  // The value of the key that ends at a node, or -1.
  int32_t value(uint32_t node) const { return units_[node].value; }

 private:
  static constexpr uint32_t kFree = 0xFFFFFFFF;
  static constexpr uint32_t kNobody = 0xFFFFFFFE;
  struct Unit {
    uint32_t base = 0;
    uint32_t parent = kFree;
    int32_t value = -1;
  };
  class Builder;

  std::vector<Unit> units_;
};

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_TRIE_H_
