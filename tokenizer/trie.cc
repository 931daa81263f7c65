#include "tokenizer/trie.h"

#include <algorithm>
#include <string>

#include "base/error.h"

namespace hugot {

class Trie::Builder {
 public:
  Builder(std::vector<Unit>& units, const std::vector<Entry>& entries)
      : units_(units), entries_(entries) {}

  void build() {
    units_.assign(512, Unit());
    units_[kRoot].parent = 0xFFFFFFFE;  // nobody's child
    std::vector<Range> open{{0, entries_.size(), 0, kRoot}};
    while (!open.empty()) {
      const Range range = open.back();
      open.pop_back();
      place(range, open);
    }
    // Every base has room for all bytes.
    units_.resize(highest_ + 512);
  }

 private:
  // Entries [begin, end) share the first `depth` bytes, which lead to `node`.
  struct Range {
    size_t begin, end, depth;
    uint32_t node;
  };

  void place(Range range, std::vector<Range>& open) {
    if (entries_[range.begin].key.size() == range.depth) {
      units_[range.node].value = entries_[range.begin].value;
      ++range.begin;
    }
    bytes_.clear();
    std::vector<Range>& children = children_;
    children.clear();
    for (size_t i = range.begin; i < range.end;) {
      const char byte = entries_[i].key[range.depth];
      size_t end = i;
      while (end < range.end && entries_[end].key[range.depth] == byte) ++end;
      bytes_ += byte;
      children.push_back({i, end, range.depth + 1, 0});
      i = end;
    }
    if (children.empty()) {
      // Unit `base + byte` must exist, and must not take this node for its parent.
      units_[range.node].base = 0;
      return;
    }
    const uint32_t base = find_base();
    units_[range.node].base = base;
    for (size_t i = 0; i < children.size(); ++i) {
      children[i].node = base + static_cast<unsigned char>(bytes_[i]);
      units_[children[i].node].parent = range.node;
      open.push_back(children[i]);
    }
  }

  bool is_free(uint32_t index) {
    if (index >= units_.size()) {
      require(index < (uint32_t{1} << 31), ErrorCode::kUnsupported, "the vocabulary is too large");
      units_.resize(std::max<size_t>(units_.size() * 2, size_t{index} + 1));
    }
    return units_[index].parent == kFree;
  }

  // A place where all of bytes_ fit.
  uint32_t find_base() {
    while (!is_free(first_free_)) ++first_free_;
    const auto first = static_cast<unsigned char>(bytes_[0]);
    size_t tried = 0;
    for (uint32_t slot = std::max<uint32_t>(first_free_, first + 1);; ++slot) {
      if (!is_free(slot)) continue;
      const uint32_t base = slot - first;
      if (std::all_of(bytes_.begin(), bytes_.end(), [&](char byte) {
            return is_free(base + static_cast<unsigned char>(byte));
          })) {
        highest_ = std::max(highest_, base);
        return base;
      }
      // A region that is nearly full is not worth another search.
      if (++tried > 64) first_free_ = slot;
    }
  }

  std::vector<Unit>& units_;
  const std::vector<Entry>& entries_;
  std::string bytes_;
  std::vector<Range> children_;
  uint32_t first_free_ = 1;
  uint32_t highest_ = 0;
};

Trie::Trie(std::vector<Entry> entries) {
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.key < b.key; });
  size_t written = 0;
  for (const Entry& entry : entries) {
    if (entry.key.empty()) continue;
    if (written > 0 && entries[written - 1].key == entry.key) --written;
    entries[written++] = entry;
  }
  entries.resize(written);
  if (entries.empty()) {
    units_.assign(256, Unit());
    units_[kRoot].parent = 0xFFFFFFFE;
    return;
  }
  Builder(units_, entries).build();
}

}  // namespace hugot
