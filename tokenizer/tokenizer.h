// Text to token ids and back, as a tokenizer.json of Hugging Face's tokenizers describes it.
// Results equal those of tokenizers 0.22.2.
#ifndef HUGOT_TOKENIZER_TOKENIZER_H_
#define HUGOT_TOKENIZER_TOKENIZER_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/encoding.h"

namespace hugot {

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
class Tokenizer {
 public:
  // A tokenizer.json, or where there is none vocab.txt, vocab.json with merges.txt beside it, or a
  // .model of SentencePiece or tiktoken (tokenizer/vocabulary_files.h).
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
class DecodeStream {
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

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_TOKENIZER_H_
