// Models: the stage that turns a word into tokens of a vocabulary.
// All of them are immutable and thread-safe. Semantics: Hugging Face tokenizers 0.22.2.
#ifndef HUGOT_TOKENIZER_MODEL_H_
#define HUGOT_TOKENIZER_MODEL_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/normalized_string.h"
#include "tokenizer/vocabulary.h"

namespace hugot {

struct ModelToken {
  int32_t id = 0;
  // Bytes of the word that the token stands for. Models that add text may exceed the word.
  Span range;
  // Whether the token's string is the word's text in `range` instead of the vocabulary's.
  bool is_surface = false;
};

class Model {
 public:
  virtual ~Model() = default;
  // Appends the tokens of a word. Throws kInvalidData when the word needs an unknown token that
  // the vocabulary lacks.
  virtual void tokenize(std::string_view word, std::vector<ModelToken>& out) const = 0;
  // Appends the ids of tokenize(); the fast way when nothing else is needed.
  virtual void tokenize_ids(std::string_view word, std::vector<int32_t>& out) const;
  virtual const Vocabulary& vocabulary() const = 0;
  // What tokens within a word begin with; empty where they look like others.
  virtual std::string_view continuing_prefix() const { return {}; }
};

using ModelPtr = std::unique_ptr<const Model>;

// Greedy longest match first; a word with a part that does not match is one unknown token.
class WordPieceModel final : public Model {
 public:
  struct Options {
    std::string unk_token = "[UNK]";
    std::string continuing_subword_prefix = "##";
    size_t max_input_chars_per_word = 100;
  };

  WordPieceModel(Vocabulary vocabulary, Options options);
  void tokenize(std::string_view word, std::vector<ModelToken>& out) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  std::string_view continuing_prefix() const override { return options_.continuing_subword_prefix; }

  // The ids of tokenize().
  void tokenize_ids(std::string_view word, std::vector<int32_t>& out) const override;
  // The same for a word whose hash and number of characters are known.
  void tokenize_ids(std::string_view word, size_t characters, const Vocabulary::Hash& hash,
                    std::vector<int32_t>& out) const {
    if (characters <= options_.max_input_chars_per_word) {
      const int32_t id = vocabulary_.find(hash, {}, word);
      if (id >= 0) {
        out.push_back(id);
        return;
      }
    }
    tokenize_parts(word, characters, out);
  }

 private:
  struct Match {
    int32_t id = -1;
    size_t end = 0;
  };
  // The longest token at `begin`.
  Match longest_match(std::string_view word, size_t begin) const;
  void tokenize_parts(std::string_view word, size_t characters, std::vector<int32_t>& out) const;
  int32_t unk_id() const;

  Vocabulary vocabulary_;
  Options options_;
  int32_t unk_id_;  // -1: not in the vocabulary
  Vocabulary::Hash prefix_hash_;
};

// Every word is a token or unknown.
ModelPtr make_word_level_model(Vocabulary vocabulary, std::string unk_token);

// The most probable sequence of tokens, each of which has a score.
struct UnigramOptions {
  std::optional<int32_t> unk_id;
  bool byte_fallback = false;
};
// `scores` are those of the entries of `vocabulary`, by id. Throws kInvalidData for an unk_id that
// is none of them.
ModelPtr make_unigram_model(Vocabulary vocabulary, std::vector<double> scores,
                            const UnigramOptions& options);

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_MODEL_H_
