#include "tokenizer/vocabulary.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

#include "base/error.h"

namespace hugot {

void VocabularyBuilder::add(std::string_view token, int32_t id) {
  require(token.size() <= std::numeric_limits<uint32_t>::max() &&
              entries_.size() < std::numeric_limits<uint32_t>::max() - 1,
          ErrorCode::kUnsupported, "the vocabulary is too large");
  entries_.push_back({bytes_.size(), static_cast<uint32_t>(token.size()), id});
  bytes_ += token;
}

Vocabulary::Vocabulary(VocabularyBuilder builder, OldIds old_ids)
    : bytes_(std::move(builder.bytes_)), entries_(std::move(builder.entries_)) {
  // Sorting by id moves entries, so duplicates are resolved first: the table below keeps the last.
  const size_t capacity = std::bit_ceil(std::max<size_t>(entries_.size() * 2, 2));
  mask_ = capacity - 1;
  slots_.assign(capacity, Slot{0, 0});
  std::vector<bool> replaced(entries_.size(), false);
  for (size_t i = 0; i < entries_.size(); ++i) {
    const std::string_view token = text(entries_[i]);
    max_length_ = std::max(max_length_, token.size());
    Hash hash;
    hash.add(token);
    const auto tag = static_cast<uint32_t>(hash.value());
    uint64_t slot = hash.value() >> 32 & mask_;
    for (; slots_[slot].entry != 0; slot = (slot + 1) & mask_) {
      const uint32_t other = slots_[slot].entry - 1;
      if (slots_[slot].tag == tag && text(entries_[other]) == token) {
        replaced[other] = old_ids == OldIds::kDrop;
        break;
      }
    }
    slots_[slot] = {tag, static_cast<uint32_t>(i + 1)};
  }

  std::vector<uint32_t> order;
  order.reserve(entries_.size());
  for (uint32_t i = 0; i < entries_.size(); ++i) {
    if (!replaced[i]) order.push_back(i);
  }
  size_ = order.size();
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return entries_[a].id < entries_[b].id; });
  std::vector<VocabularyBuilder::Entry> sorted(size_);
  std::vector<uint32_t> new_index(entries_.size(), 0);
  for (uint32_t i = 0; i < size_; ++i) {
    sorted[i] = entries_[order[i]];
    new_index[order[i]] = i;
  }
  for (Slot& slot : slots_) {
    if (slot.entry != 0) slot.entry = new_index[slot.entry - 1] + 1;
  }
  entries_ = std::move(sorted);
}

int32_t Vocabulary::find(std::string_view token) const {
  if (token.size() > max_length_) return -1;
  Hash hash;
  hash.add(token);
  return find(hash, {}, token);
}

int32_t Vocabulary::find(const Hash& hash, std::string_view prefix, std::string_view rest) const {
  const uint64_t value = hash.value();
  const auto tag = static_cast<uint32_t>(value);
  for (uint64_t i = value >> 32 & mask_; slots_[i].entry != 0; i = (i + 1) & mask_) {
    if (slots_[i].tag != tag) continue;
    const VocabularyBuilder::Entry& entry = entries_[slots_[i].entry - 1];
    const std::string_view token = text(entry);
    if (token.size() == prefix.size() + rest.size() && token.starts_with(prefix) &&
        token.substr(prefix.size()) == rest) {
      return entry.id;
    }
  }
  return -1;
}

std::optional<std::string_view> Vocabulary::token(int64_t id) const {
  if (id < 0) return std::nullopt;
  // Most vocabularies have no holes.
  if (static_cast<uint64_t>(id) < entries_.size() && entries_[id].id == id) {
    return text(entries_[id]);
  }
  const auto found =
      std::lower_bound(entries_.begin(), entries_.end(), id,
                       [](const VocabularyBuilder::Entry& e, int64_t key) { return e.id < key; });
  if (found == entries_.end() || found->id != id) return std::nullopt;
  return text(*found);
}

}  // namespace hugot
