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
    units_.clear();
    grow(512);
    take(kRoot);
    units_[kRoot].parent = kNobody;
    std::vector<Range> open{{0, entries_.size(), 0, kRoot}};
    while (!open.empty()) {
      const Range range = open.back();
      open.pop_back();
      place(range, open);
    }
    // Every base has room for all bytes. What stayed free belongs to nobody.
    units_.resize(size_t{highest_} + 256);
    for (Unit& unit : units_) {
      if (unit.parent == kFree) unit = Unit();
    }
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
    if (children.empty()) return;
    const uint32_t base = find_base();
    units_[range.node].base = base;
    highest_ = std::max(highest_, base);
    for (size_t i = 0; i < children.size(); ++i) {
      children[i].node = base + static_cast<unsigned char>(bytes_[i]);
      take(children[i].node);
      units_[children[i].node].parent = range.node;
      open.push_back(children[i]);
    }
  }

  // Free units are a list in ascending order: `base` is the next one, `value` the one before.
  void grow(size_t size) {
    require(size < (size_t{1} << 30), ErrorCode::kUnsupported, "the vocabulary is too large");
    auto index = static_cast<uint32_t>(units_.size());
    units_.resize(size);
    for (; index < size; ++index) {
      units_[index].value = static_cast<int32_t>(last_free_);
      units_[index].base = kFree;
      (last_free_ == kFree ? first_free_ : units_[last_free_].base) = index;
      last_free_ = index;
    }
  }
  void take(uint32_t index) {
    const uint32_t next = units_[index].base;
    const auto previous = static_cast<uint32_t>(units_[index].value);
    (previous == kFree ? first_free_ : units_[previous].base) = next;
    if (next == kFree) {
      last_free_ = previous;
    } else {
      units_[next].value = static_cast<int32_t>(previous);
    }
    units_[index] = Unit();
    end_ = std::max(end_, index + 1);
  }
  bool is_free(uint32_t index) const {
    return index >= units_.size() || units_[index].parent == kFree;
  }

  // A place where all of bytes_ fit.
  uint32_t find_base() {
    const uint32_t first = static_cast<unsigned char>(bytes_[0]);
    // Behind all that is taken there is room; not behind all units, or else each node that finds no
    // gap would make the array longer by its half.
    uint32_t base = end_ > first ? end_ - first : 0;
    // A region that is nearly full is not worth a long search.
    int tries = 32;
    for (uint32_t slot = first_free_; slot != kFree && tries > 0; slot = units_[slot].base) {
      if (slot <= first) continue;
      --tries;
      if (std::all_of(bytes_.begin(), bytes_.end(), [&](char byte) {
            return is_free(slot - first + static_cast<unsigned char>(byte));
          })) {
        base = slot - first;
        break;
      }
    }
    if (size_t{base} + 256 > units_.size()) {
      grow(std::max(units_.size() + units_.size() / 2, size_t{base} + 256));
    }
    return base;
  }

  std::vector<Unit>& units_;
  const std::vector<Entry>& entries_;
  std::string bytes_;
  std::vector<Range> children_;
  uint32_t first_free_ = kFree;
  uint32_t last_free_ = kFree;
  uint32_t end_ = 0;      // behind the last unit that is taken
  uint32_t highest_ = 0;  // of all bases
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
    units_[kRoot].parent = kNobody;
    return;
  }
  Builder(units_, entries).build();
}

}  // namespace hugot
