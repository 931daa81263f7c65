// Tokens that are recognized in the text itself, before the model sees it.
#ifndef HUGOT_TOKENIZER_ADDED_TOKENS_H_
#define HUGOT_TOKENIZER_ADDED_TOKENS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "tokenizer/normalized_string.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/vocabulary.h"

namespace hugot {

struct AddedToken {
  std::string content;
  bool single_word = false;  // matches only where no word character touches it
  bool lstrip = false;       // swallows the white space before it
  bool rstrip = false;       // swallows the white space behind it
  bool normalized = true;    // looked for in normalized text, else in the input
  bool special = false;      // left out of decoded text on request

  friend bool operator==(const AddedToken&, const AddedToken&) = default;
};

// Finds the leftmost longest of a set of byte strings.
//
// An empty string among them (an added token that normalization leaves nothing of) matches between
// characters, and makes the search that of the reference's Aho-Corasick automaton: what is then
// found last on the way through the automaton counts, which may be the empty string behind the
// beginning of another one.
class LiteralSet {
 public:
  struct Match {
    size_t begin = 0;
    size_t end = 0;
    int32_t value = -1;  // -1: none
  };

  // The first of equal strings wins.
  void add(std::string_view pattern, int32_t value);
  // To be called after the last add().
  void finish();
  bool empty() const { return patterns_ == 0; }
  // The first match that begins at or behind `from`, where the last one ended; an empty one must
  // lie further on, unless this is the first search.
  Match find(std::string_view text, size_t from, bool first) const;

 private:
  static constexpr uint32_t kDead = 0xFFFFFFFF;  // where the automaton stops
  struct Node {
    std::vector<std::pair<char, uint32_t>> children;  // in order of insertion
    int32_t value = -1;                               // of the string that ends here
    // With an empty string only: where to go when no child fits, and what ends here.
    uint32_t failure = 0;
    int32_t found = -1;
    uint32_t found_length = 0;
  };
  // The child of a node, or 0.
  uint32_t child(uint32_t node, char byte) const;
  Match find_beside_empty(std::string_view text, size_t from, bool first) const;

  std::vector<Node> nodes_{Node()};
  uint32_t first_[256] = {};  // node of each first byte; 0: none
  int32_t empty_value_ = -1;
  size_t patterns_ = 0;
};

// Immutable after construction and thread-safe.
class AddedTokens {
 public:
  AddedTokens() = default;
  // Ids follow the reference: that of an equal added token or model token, else the next free one.
  AddedTokens(const std::vector<AddedToken>& tokens, const Vocabulary& model,
              const Normalizer* normalizer);

  // A part of a text that is an added token, or with id -1 lies between them.
  struct Part {
    Span range;
    int32_t id = -1;
  };
  enum class Stage { kRaw, kNormalized };
  // Cuts the text of a stage into parts. A part may begin before the end of the one in front of it
  // when that one swallowed white space on its right.
  void split(std::string_view text, Stage stage, bool match_special, std::vector<Part>& out) const;

  bool has_normalized() const { return !normalized_.empty(); }
  std::optional<int32_t> find(std::string_view content) const;
  // Null when no added token has this id. Valid as long as this object.
  const AddedToken* token(int64_t id) const;
  // Whether a special token has this content.
  bool is_special(std::string_view content) const {
    return special_.contains(std::string(content));
  }
  // Added tokens that the model does not know.
  size_t count_outside_model() const { return outside_model_; }

 private:
  std::unordered_map<std::string, int32_t> ids_;
  std::unordered_map<int64_t, AddedToken> tokens_;
  std::unordered_set<std::string> special_;
  LiteralSet raw_;
  LiteralSet normalized_;
  size_t outside_model_ = 0;
};

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_ADDED_TOKENS_H_
