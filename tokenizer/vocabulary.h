// A fixed set of token strings with ids, looked up by text or by id.
#ifndef HUGOT_TOKENIZER_VOCABULARY_H_
#define HUGOT_TOKENIZER_VOCABULARY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hugot {

// Strings of a vocabulary in one block of memory, on the way from a file to a Vocabulary.
class VocabularyBuilder {
 public:
  // A string that was added before gets the new id.
  void add(std::string_view token, int32_t id);
  void reserve(size_t tokens, size_t bytes) {
    entries_.reserve(tokens);
    bytes_.reserve(bytes);
  }
  size_t size() const { return entries_.size(); }

 private:
  friend class Vocabulary;
  struct Entry {
    uint64_t offset;
    uint32_t length;
    int32_t id;
  };
  std::string bytes_;
  std::vector<Entry> entries_;
};

// Immutable, thread-safe, allocates nothing on lookup.
class Vocabulary {
 public:
  // Hash of a prefix of a token; grows byte by byte, so that all prefixes of a word cost one pass.
  class Hash {
   public:
    void add(char byte) {
      state_ = (state_ ^ static_cast<unsigned char>(byte)) * 0x9E3779B97F4A7C15u;
    }
    void add(std::string_view bytes) {
      for (const char byte : bytes) add(byte);
    }
    // The multiplication moves entropy upwards only; fold it back for the low bits.
    uint64_t value() const { return state_ ^ state_ >> 32; }

   private:
    uint64_t state_ = 0x243F6A8885A308D3u;
  };

  // Whether the ids that a string had before its last one still have it, or no string at all.
  enum class OldIds { kDrop, kKeep };

  Vocabulary() : Vocabulary(VocabularyBuilder()) {}
  explicit Vocabulary(VocabularyBuilder builder, OldIds old_ids = OldIds::kDrop);

  // Number of ids that have a string.
  size_t size() const { return size_; }
  // Bytes of the longest string.
  size_t max_length() const { return max_length_; }

  // The id of `token`, or -1.
  int32_t find(std::string_view token) const;
  // The same for the string prefix + rest, whose hash the caller has.
  int32_t find(const Hash& hash, std::string_view prefix, std::string_view rest) const;
  // Begins to load what find() reads first for this hash.
  void prefetch(const Hash& hash) const { __builtin_prefetch(&slots_[hash.value() >> 32 & mask_]); }
  // The string with this id; empty when there is none. Valid as long as the vocabulary.
  std::optional<std::string_view> token(int64_t id) const;

 private:
  struct Slot {
    uint32_t tag;    // low half of the hash
    uint32_t entry;  // index in entries_ plus 1; 0: free
  };
  std::string_view text(const VocabularyBuilder::Entry& entry) const {
    return std::string_view(bytes_).substr(entry.offset, entry.length);
  }

  std::string bytes_;
  std::vector<VocabularyBuilder::Entry> entries_;  // sorted by id
  std::vector<Slot> slots_;
  uint64_t mask_ = 0;
  size_t size_ = 0;
  size_t max_length_ = 0;
};

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_VOCABULARY_H_
