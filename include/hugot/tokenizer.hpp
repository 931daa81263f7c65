// Text to token ids and back, as a tokenizer.json of Hugging Face's tokenizers describes it.
// Results equal those of tokenizers 0.22.2.
//
//   const auto tokenizer = hugot::Tokenizer::from_file("models/all-MiniLM-L6-v2/tokenizer.json");
//   const hugot::Encoding encoding = tokenizer.encode("hello world");   // encoding.ids: 101, ..
#ifndef HUGOT_TOKENIZER_HPP_
#define HUGOT_TOKENIZER_HPP_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hugot/common.hpp"

namespace hugot {

// A half-open range of positions.
struct Span {
  uint32_t begin = 0;
  uint32_t end = 0;
  friend bool operator==(const Span&, const Span&) = default;
};

// The result of encoding a text.
struct HUGOT_API Encoding {
  // One entry per token in each of these; offsets, word_ids and tokens are empty when they were not
  // asked for.
  std::vector<int32_t> ids;
  std::vector<int32_t> type_ids;
  std::vector<uint8_t> attention_mask;
  std::vector<uint8_t> special_tokens_mask;
  std::vector<Span> offsets;      // in the sequence that the token came from
  std::vector<int32_t> word_ids;  // -1: none
  std::vector<std::string> tokens;

  // Tokens of sequence 0 and 1, without special tokens; empty when nothing told sequences apart.
  struct SequenceRange {
    int32_t sequence = 0;
    Span range;
  };
  std::vector<SequenceRange> sequence_ranges;
  // What truncation cut off, in windows of the same length.
  std::vector<Encoding> overflowing;

  size_t size() const { return ids.size(); }
  // The sequence of each token, -1 for special tokens and padding.
  std::vector<int32_t> sequence_ids() const;
};

enum class Side { kLeft, kRight };

struct Truncation {
  enum class Strategy { kLongestFirst, kOnlyFirst, kOnlySecond };

  // Special tokens included. Nothing is cut when they alone are more, as in the reference.
  size_t max_length = 512;
  Strategy strategy = Strategy::kLongestFirst;
  Side side = Side::kRight;  // the end that is cut
  size_t stride = 0;         // tokens that consecutive windows share
};

struct Padding {
  std::optional<size_t> length;  // none: the longest of the batch
  Side side = Side::kRight;
  int32_t pad_id = 0;
  int32_t pad_type_id = 0;
  std::string pad_token = "[PAD]";
  size_t pad_to_multiple_of = 0;  // 0: any length
};

// Unit of Encoding::offsets.
enum class OffsetUnit { kBytes, kCodePoints };

struct EncodeOptions {
  bool add_special_tokens = true;
  std::optional<Truncation> truncation;
  bool overflowing = false;  // fill Encoding::overflowing when truncating
  bool offsets = true;       // fill Encoding::offsets and word_ids
  bool tokens = true;        // fill Encoding::tokens
  OffsetUnit unit = OffsetUnit::kBytes;
  bool encode_special_tokens = false;  // treat special tokens in the text as plain text
};

// Immutable and thread-safe. A moved-from tokenizer may only be destroyed or assigned to.
class HUGOT_API Tokenizer {
 public:
  // A tokenizer.json, or where there is none vocab.txt, vocab.json with merges.txt beside it, or a
  // .model of SentencePiece or tiktoken.
  // Throws kNotFound or kIo for the file, kInvalidData for malformed contents, kUnsupported for a
  // component that this version lacks; the message names the component.
  static Tokenizer from_file(const std::filesystem::path& path);
  static Tokenizer from_json(std::string_view json);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // All encode functions throw kInvalidData with the byte offset for a text that is not UTF-8, and
  // kInvalidArgument for a truncation that cannot be met, such as one shorter than the special
  // tokens. The truncation and padding of the file are not applied.
  Encoding encode(std::string_view text, const EncodeOptions& options = {}) const;
  Encoding encode(std::string_view text, std::optional<std::string_view> pair,
                  const EncodeOptions& options = {}) const;
  // The same for texts that are cut into words already: offsets are those in the word, word ids its
  // index.
  Encoding encode_words(std::span<const std::string_view> words,
                        const EncodeOptions& options = {}) const;
  Encoding encode_words(std::span<const std::string_view> words,
                        std::span<const std::string_view> pair,
                        const EncodeOptions& options = {}) const;

  // The encodings of all texts, in order, made by `threads` threads (0: the processors that this
  // process may use). What is wrong with a text is in its Outcome; it stops no other.
  std::vector<Outcome<Encoding>> encode_batch(std::span<const TextPair> texts,
                                              const EncodeOptions& options = {},
                                              int threads = 0) const;

  // Appends the ids of encode(text, options); the fast way when nothing else is needed.
  void encode_ids(std::string_view text, const EncodeOptions& options,
                  std::vector<int32_t>& out) const;

  // The text of the tokens. Ids without a token are left out.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const;
  // The same of token strings, which need not be in the vocabulary.
  std::string decode_tokens(std::vector<std::string> tokens) const;
  // "##" of a WordPiece model; empty where tokens within a word look like others.
  std::string_view continuing_prefix() const;

  std::optional<int32_t> token_to_id(std::string_view token) const;
  std::optional<std::string> id_to_token(int32_t id) const;
  // Whether this is the id of a special added token.
  bool is_special(int32_t id) const;
  // Number of tokens of the model, or of the model and the added tokens.
  size_t vocab_size(bool with_added_tokens = true) const;
  // Special tokens that encode adds to one text or to a pair.
  size_t added_tokens(bool pair) const;

  // What the file asks for; applying it is up to the caller.
  const std::optional<Truncation>& file_truncation() const;
  const std::optional<Padding>& file_padding() const;

 private:
  friend class DecodeStream;
  class Impl;
  explicit Tokenizer(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

// Decodes ids that come bit by bit, as from a model that generates them. Not thread-safe.
class HUGOT_API DecodeStream {
 public:
  // `tokenizer` must outlive this object.
  DecodeStream(const Tokenizer& tokenizer, bool skip_special_tokens)
      : tokenizer_(tokenizer), skip_special_tokens_(skip_special_tokens) {}

  // The text that these ids add; nothing while they end inside of a character or add none. Throws
  // kInvalidArgument when they change text that was given out before, which some decoders may do.
  std::optional<std::string> step(std::span<const int32_t> ids);
  std::optional<std::string> step(int32_t id) { return step({&id, 1}); }

 private:
  const Tokenizer& tokenizer_;
  bool skip_special_tokens_;
  std::vector<int32_t> ids_;  // that the next text depends on
  std::string prefix_;        // what the first of them decode to
  size_t prefix_ids_ = 0;
};

// Pads a batch, and all overflowing windows, to one length. Longer ones stay as they are.
HUGOT_API void pad_encodings(std::span<Encoding> batch, const Padding& padding);

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_HPP_
