#include "tokenizer/bpe_model.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "tokenizer/byte_token.h"
#include "tokenizer/word_cache.h"

namespace hugot {
namespace {

// What stands for a space in models without a pre-tokenizer that cuts words.
constexpr std::string_view kWordBegin = "\u2581";

// Where a word that begins at text[pos] ends: before the next kWordBegin behind other text.
size_t word_end(std::string_view text, size_t pos) {
  while (text.substr(pos).starts_with(kWordBegin)) pos += kWordBegin.size();
  return std::min(text.find(kWordBegin, pos), text.size());
}

constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();

}  // namespace

void MergeList::add(std::string_view left, std::string_view right) {
  bytes_ += left;
  ends_.push_back(bytes_.size());
  bytes_ += right;
  ends_.push_back(bytes_.size());
}

BpeModel::BpeModel(Vocabulary vocabulary, const MergeList& merges, Options options)
    : vocabulary_(std::move(vocabulary)),
      options_(std::move(options)),
      serial_(WordCache::next_serial()) {
  require(merges.size() < kNoRank, ErrorCode::kUnsupported, "BPE: too many merges");
  if (options_.unk_token) {
    const int32_t id = vocabulary_.find(*options_.unk_token);
    if (id >= 0) unk_id_ = id;
  }
  for (int byte = 0; byte < 256; ++byte) {
    byte_ids_[static_cast<size_t>(byte)] =
        vocabulary_.find(byte_token(static_cast<unsigned char>(byte)));
  }
  for (size_t c = 0; c < ascii_ids_.size(); ++c) {
    const char text = static_cast<char>(c);
    ascii_ids_[c] = vocabulary_.find(std::string_view(&text, 1));
  }
  slots_.resize(std::bit_ceil(std::max<size_t>(merges.size() * 2, 2)));
  mask_ = slots_.size() - 1;
  const std::string_view prefix = options_.continuing_subword_prefix;
  const auto check = [&](int32_t id, size_t index, std::string_view left, std::string_view right) {
    require(id >= 0, ErrorCode::kInvalidData, "merges[", index, "]: '", left, right,
            "' is not in the vocabulary");
    return id;
  };
  independent_words_ =
      vocabulary_.find(kWordBegin) >= 0 && prefix.empty() && options_.end_of_word_suffix.empty();
  // Tables of large vocabularies do not fit into the caches: what a few merges need is loaded at
  // the same time.
  struct Hashes {
    Vocabulary::Hash left, right, joined;
  };
  constexpr size_t kTogether = 32;
  std::array<Hashes, kTogether> hashes;
  std::array<Slot, kTogether> entries;
  for (size_t begin = 0; begin < merges.size(); begin += kTogether) {
    const size_t count = std::min(kTogether, merges.size() - begin);
    for (size_t j = 0; j < count; ++j) {
      const std::string_view right = merges.right(begin + j);
      Hashes& h = hashes[j] = {};
      h.left.add(merges.left(begin + j));
      h.joined = h.left;
      h.right.add(right);
      h.joined.add(right.substr(std::min(prefix.size(), right.size())));
      vocabulary_.prefetch(h.left);
      vocabulary_.prefetch(h.right);
      vocabulary_.prefetch(h.joined);
    }
    for (size_t j = 0; j < count; ++j) {
      const size_t i = begin + j;
      const std::string_view left = merges.left(i);
      std::string_view right = merges.right(i);
      const uint64_t key =
          pair_key(check(vocabulary_.find(hashes[j].left, left, {}), i, left, {}),
                   check(vocabulary_.find(hashes[j].right, right, {}), i, right, {}));
      require(right.size() >= prefix.size() &&
                  (prefix.size() == right.size() || !is_utf8_continuation(right[prefix.size()])),
              ErrorCode::kInvalidData, "merges[", i, "]: '", right,
              "' is shorter than the prefix of subwords");
      right.remove_prefix(prefix.size());
      const int32_t joined = check(vocabulary_.find(hashes[j].joined, left, right), i, left, right);
      if (independent_words_ && right.find(kWordBegin) != right.npos) {
        const std::string text = std::string(left) + std::string(right);
        independent_words_ = word_end(text, 0) == text.size();
      }
      entries[j] = {key, {static_cast<uint32_t>(i), joined}};
      __builtin_prefetch(&slots_[hash(key) & mask_], 1);
    }
    for (size_t j = 0; j < count; ++j) {
      const Slot& entry = entries[j];
      uint64_t slot = hash(entry.key) & mask_;
      while (slots_[slot].key != entry.key && slots_[slot].key != kNoKey) slot = (slot + 1) & mask_;
      slots_[slot] = entry;
    }
  }
}

int32_t BpeModel::unk_id() const {
  require(unk_id_.has_value(), ErrorCode::kInvalidData,
          "BPE: a character is unknown and the unknown token ", *options_.unk_token,
          " is not in the vocabulary");
  return *unk_id_;
}

bool BpeModel::is_whole(std::string_view word, int32_t& id) const {
  if (!options_.ignore_merges || options_.never_merge) return false;
  id = vocabulary_.find(word);
  return id >= 0;
}

void BpeModel::split(std::string_view word, std::vector<Symbol>& symbols) const {
  std::optional<Symbol> unknown;  // that waits for more of its kind
  const auto add = [&](int32_t id, size_t length) {
    symbols.push_back({id, static_cast<uint32_t>(length), 0, 0});
  };
  const auto flush = [&] {
    if (unknown) symbols.push_back(*unknown);
    unknown.reset();
  };
  std::string decorated;
  for (size_t pos = 0; pos < word.size();) {
    const size_t length = utf8_length(word[pos]);
    const bool first = pos == 0;
    std::string_view text = word.substr(pos, length);
    pos += length;
    const bool last = pos == word.size();
    if ((!first && !options_.continuing_subword_prefix.empty()) ||
        (last && !options_.end_of_word_suffix.empty())) {
      decorated = first ? std::string() : options_.continuing_subword_prefix;
      decorated += text;
      if (last) decorated += options_.end_of_word_suffix;
      text = decorated;
    }
    const int32_t id = text.size() == 1 && static_cast<unsigned char>(text[0]) < 128
                           ? ascii_ids_[static_cast<unsigned char>(text[0])]
                           : vocabulary_.find(text);
    if (id >= 0) {
      flush();
      add(id, length);
      continue;
    }
    const auto id_of = [this](char byte) { return byte_ids_[static_cast<unsigned char>(byte)]; };
    if (options_.byte_fallback &&
        std::all_of(text.begin(), text.end(), [&](char byte) { return id_of(byte) >= 0; })) {
      // The reference does not flush here: a waiting unknown token comes behind the bytes.
      for (const char byte : text) add(id_of(byte), 1);
      continue;
    }
    // Without an unknown token the character is left out.
    if (!options_.unk_token) continue;
    if (unknown && options_.fuse_unk) {
      unknown->length += static_cast<uint32_t>(length);
    } else {
      flush();
      unknown = Symbol{unk_id(), static_cast<uint32_t>(length), 0, 0};
    }
  }
  flush();
}

// Merges the symbols of one word.
class BpeModel::Merger {
 public:
  Merger(const BpeModel& model, std::vector<Symbol>& symbols) : model_(model), symbols_(symbols) {}

  // Looks for the best pair again after each merge: quick for short words.
  void run_scan() {
    std::vector<Merge>& merges = scratch();
    merges.resize(symbols_.size());
    size_t size = symbols_.size();
    const auto pair = [&](size_t i) {
      return i + 1 < size ? model_.find_merge(symbols_[i].id, symbols_[i + 1].id) : Merge{};
    };
    for (size_t i = 0; i < size; ++i) merges[i] = pair(i);
    while (size > 1) {
      size_t best = 0;
      for (size_t i = 1; i + 1 < size; ++i) {
        if (merges[i].rank < merges[best].rank) best = i;
      }
      if (merges[best].rank == kNoRank) break;
      symbols_[best].id = merges[best].id;
      symbols_[best].length += symbols_[best + 1].length;
      symbols_.erase(symbols_.begin() + static_cast<ptrdiff_t>(best) + 1);
      merges.erase(merges.begin() + static_cast<ptrdiff_t>(best) + 1);
      --size;
      merges[best] = pair(best);
      if (best > 0) merges[best - 1] = pair(best - 1);
    }
  }

  // Keeps the pairs in a heap: n log n for words of any length.
  void run_heap() {
    for (uint32_t i = 0; i < symbols_.size(); ++i) {
      symbols_[i].previous = i == 0 ? kNone : i - 1;
      symbols_[i].next = i + 1 == symbols_.size() ? kNone : i + 1;
    }
    for (uint32_t i = 0; i + 1 < symbols_.size(); ++i) add_pair(i);
    std::make_heap(heap_.begin(), heap_.end(), later);
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end(), later);
      const Pair top = heap_.back();
      heap_.pop_back();
      Symbol& left = symbols_[top.position];
      if (left.length == 0 || left.next == kNone) continue;
      Symbol& right = symbols_[left.next];
      // Either may have changed since the pair was found.
      if (model_.find_merge(left.id, right.id).id != top.id) continue;
      left.id = top.id;
      left.length += right.length;
      right.length = 0;
      left.next = right.next;
      if (left.next != kNone) symbols_[left.next].previous = top.position;
      if (left.previous != kNone) push(left.previous);
      push(top.position);
    }
    symbols_.erase(std::remove_if(symbols_.begin(), symbols_.end(),
                                  [](const Symbol& symbol) { return symbol.length == 0; }),
                   symbols_.end());
  }

 private:
  struct Pair {
    uint32_t rank;
    uint32_t position;
    int32_t id;
  };
  static bool later(const Pair& a, const Pair& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  }

  // Adds the pair that begins at `position`, if there is a merge for it; not in order yet.
  bool add_pair(uint32_t position) {
    const Symbol& symbol = symbols_[position];
    if (symbol.next == kNone) return false;
    const Merge merge = model_.find_merge(symbol.id, symbols_[symbol.next].id);
    if (merge.rank == kNoRank) return false;
    heap_.push_back({merge.rank, position, merge.id});
    return true;
  }
  void push(uint32_t position) {
    if (add_pair(position)) std::push_heap(heap_.begin(), heap_.end(), later);
  }

  static std::vector<Merge>& scratch() {
    static thread_local std::vector<Merge> merges;
    return merges;
  }

  const BpeModel& model_;
  std::vector<Symbol>& symbols_;
  std::vector<Pair> heap_;
};

void BpeModel::merge(std::string_view word, std::vector<Symbol>& symbols) const {
  constexpr size_t kLong = 48;
  split(word, symbols);
  if (options_.never_merge || symbols.size() < 2) return;
  Merger merger(*this, symbols);
  symbols.size() < kLong ? merger.run_scan() : merger.run_heap();
}

template <class Use>
void BpeModel::each_word(std::string_view text, const Use& use) const {
  if (!independent_words_) return use(text);
  for (size_t pos = 0; pos < text.size();) {
    const size_t end = word_end(text, pos);
    use(text.substr(pos, end - pos));
    pos = end;
  }
}

void BpeModel::tokenize(std::string_view word, std::vector<ModelToken>& out) const {
  int32_t whole = 0;
  if (is_whole(word, whole)) {
    out.push_back({whole, {0, static_cast<uint32_t>(word.size())}});
    return;
  }
  std::vector<Symbol> symbols;
  uint32_t begin = 0;
  each_word(word, [&](std::string_view part) {
    symbols.clear();
    merge(part, symbols);
    for (const Symbol& symbol : symbols) {
      out.push_back({symbol.id, {begin, begin + symbol.length}});
      begin += symbol.length;
    }
  });
}

void BpeModel::tokenize_ids(std::string_view word, std::vector<int32_t>& out) const {
  int32_t whole = 0;
  if (is_whole(word, whole)) {
    out.push_back(whole);
    return;
  }
  WordCache& cache = WordCache::of_thread(serial_);
  each_word(word, [&](std::string_view part) {
    if (cache.find(part, out)) return;
    static thread_local std::vector<Symbol> symbols;
    symbols.clear();
    merge(part, symbols);
    const size_t begin = out.size();
    for (const Symbol& symbol : symbols) out.push_back(symbol.id);
    cache.put(part, {out.begin() + static_cast<ptrdiff_t>(begin), out.end()});
  });
}

}  // namespace hugot
