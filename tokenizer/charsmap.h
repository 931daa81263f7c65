// Replacement rules as SentencePiece compiles them: a double-array trie of sources and a pool of
// targets.
#ifndef HUGOT_TOKENIZER_CHARSMAP_H_
#define HUGOT_TOKENIZER_CHARSMAP_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hugot {

// Immutable and thread-safe.
class Charsmap {
 public:
  // Throws kInvalidData for a malformed blob. An empty one has no rules.
  explicit Charsmap(std::string_view blob);

  struct Match {
    size_t length = 0;  // of the source, in bytes
    std::string_view target;
  };
  // The rule with the shortest source that is a prefix of `text`, and that with the longest.
  std::optional<Match> shortest(std::string_view text) const { return find(text, false); }
  std::optional<Match> longest(std::string_view text) const { return find(text, true); }

 private:
  std::optional<Match> find(std::string_view text, bool longest) const;

  std::vector<uint32_t> units_;
  std::string pool_;  // ends with NUL
};

// Decodes standard base64 with padding; throws kInvalidData.
std::string decode_base64(std::string_view text);

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_CHARSMAP_H_
