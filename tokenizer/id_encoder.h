// Bare ids of normalized text, word by word, without building the texts between the stages.
#ifndef HUGOT_TOKENIZER_ID_ENCODER_H_
#define HUGOT_TOKENIZER_ID_ENCODER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/model.h"
#include "tokenizer/pre_tokenizer.h"

namespace hugot {

// Gives the ids that a pre-tokenizer and a model give one after the other. Immutable, thread-safe.
class IdEncoder {
 public:
  // Nothing for pre-tokenizers other than none, Metaspace, ByteLevel and Split with a known pattern
  // in front of ByteLevel. `pre_tokenizer` may be null; both must outlive the result.
  static std::optional<IdEncoder> make(const PreTokenizer* pre_tokenizer, const Model& model);

  // Appends the ids of normalized text.
  void encode(std::string_view text, std::vector<int32_t>& out) const;

 private:
  enum class Kind { kWhole, kByteLevel, kMetaspace };

  explicit IdEncoder(const Model& model);
  void encode_byte_level(std::string_view text, std::vector<int32_t>& out) const;
  void encode_metaspace(std::string_view text, std::vector<int32_t>& out) const;

  const Model* model_;
  Kind kind_ = Kind::kWhole;
  WordScanner scanner_ = WordScanner::kGpt2;
  bool add_prefix_space_ = false;
  std::string replacement_;
  uint64_t serial_;  // of the cache, for words whose bytes the model would see otherwise
};

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_ID_ENCODER_H_
