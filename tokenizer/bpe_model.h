// Byte pair encoding: characters, merged pair by pair in the order that the merges have.
#ifndef HUGOT_TOKENIZER_BPE_MODEL_H_
#define HUGOT_TOKENIZER_BPE_MODEL_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/model.h"

namespace hugot {

// Pairs of token strings in order of their rank, in one block of memory.
class MergeList {
 public:
  void add(std::string_view left, std::string_view right);
  size_t size() const { return ends_.size() / 2; }
  std::string_view left(size_t index) const { return part(2 * index); }
  std::string_view right(size_t index) const { return part(2 * index + 1); }

 private:
  std::string_view part(size_t index) const {
    const size_t begin = index == 0 ? 0 : ends_[index - 1];
    return std::string_view(bytes_).substr(begin, ends_[index] - begin);
  }
  std::string bytes_;
  std::vector<size_t> ends_;
};

class BpeModel final : public Model {
 public:
  struct Options {
    std::optional<std::string> unk_token;
    std::string continuing_subword_prefix;
    std::string end_of_word_suffix;
    bool fuse_unk = false;
    bool byte_fallback = false;
    bool ignore_merges = false;  // a word that is a token is that token
    bool never_merge = false;    // a dropout of 1
  };

  // Throws kInvalidData for a merge whose parts or result are no tokens. A pair that comes twice
  // has its last rank.
  BpeModel(Vocabulary vocabulary, const MergeList& merges, Options options);

  void tokenize(std::string_view word, std::vector<ModelToken>& out) const override;
  void tokenize_ids(std::string_view word, std::vector<int32_t>& out) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  std::string_view continuing_prefix() const override { return options_.continuing_subword_prefix; }
  const Options& options() const { return options_; }

 private:
  struct Merge {
    uint32_t rank = kNoRank;
    int32_t id = -1;
  };
  static constexpr uint32_t kNoRank = 0xFFFFFFFF;
  struct Symbol {
    int32_t id;
    uint32_t length;  // bytes of the word; 0: merged into another one
    uint32_t previous, next;
  };
  class Merger;

  Merge find_merge(int32_t left, int32_t right) const {
    const uint64_t key = pair_key(left, right);
    for (uint64_t i = hash(key) & mask_;; i = (i + 1) & mask_) {
      if (slots_[i].key == key) return slots_[i].merge;
      if (slots_[i].key == kNoKey) return {};
    }
  }
  static uint64_t pair_key(int32_t left, int32_t right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }
  static uint64_t hash(uint64_t key) {
    key *= 0x9E3779B97F4A7C15u;
    return key ^ key >> 32;
  }

  // Calls use(part) for the parts of a text that have nothing to do with each other.
  template <class Use>
  void each_word(std::string_view text, const Use& use) const;
  // The symbols of a word after all merges.
  void merge(std::string_view word, std::vector<Symbol>& symbols) const;
  void split(std::string_view word, std::vector<Symbol>& symbols) const;
  int32_t unk_id() const;
  bool is_whole(std::string_view word, int32_t& id) const;

  static constexpr uint64_t kNoKey = 0xFFFFFFFFFFFFFFFF;
  struct Slot {
    uint64_t key = kNoKey;
    Merge merge;
  };

  Vocabulary vocabulary_;
  Options options_;
  std::optional<int32_t> unk_id_;
  std::array<int32_t, 256> byte_ids_;   // of tokens like <0x0A>; -1: none
  std::array<int32_t, 128> ascii_ids_;  // of single characters; -1: none
  std::vector<Slot> slots_;
  uint64_t mask_ = 0;
  // No merge joins text to a U+2581 behind it.
  bool independent_words_ = false;
  uint64_t serial_;  // tells models apart in the caches of threads
};

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_BPE_MODEL_H_
