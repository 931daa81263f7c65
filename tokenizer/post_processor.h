// Post-processors: the stage that joins encoded texts and adds special tokens.
// All of them are immutable and thread-safe. Semantics: Hugging Face tokenizers 0.22.2.
#ifndef HUGOT_TOKENIZER_POST_PROCESSOR_H_
#define HUGOT_TOKENIZER_POST_PROCESSOR_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/encoding.h"

namespace hugot {

class PostProcessor {
 public:
  virtual ~PostProcessor() = default;
  // Special tokens that process() adds to one text or to a pair.
  virtual size_t added_tokens(bool pair) const = 0;
  // Changes the list of encodings, whose concatenation is the result. The first processor gets one
  // or two; without `add_special_tokens` nothing is added.
  virtual void process(std::vector<Encoding>& encodings, bool add_special_tokens) const = 0;
  // Whether process() moves offsets by numbers of characters.
  virtual bool trims_offsets() const { return false; }
};

using PostProcessorPtr = std::unique_ptr<const PostProcessor>;

struct SpecialToken {
  std::string token;
  int32_t id = 0;
};

// One element of a template.
struct TemplatePiece {
  int32_t sequence = -1;              // 0 or 1; -1: special tokens
  std::vector<SpecialToken> special;  // used when sequence is -1
  int32_t type_id = 0;
};

// TemplateProcessing. Throws kInvalidData when `single` uses sequence 1.
PostProcessorPtr make_template_processor(std::vector<TemplatePiece> single,
                                         std::vector<TemplatePiece> pair);
// BertProcessing: cls A sep [B sep].
PostProcessorPtr make_bert_processor(SpecialToken sep, SpecialToken cls);
// RobertaProcessing: cls A sep [sep B sep], all of type 0; trims white space from offsets.
PostProcessorPtr make_roberta_processor(SpecialToken sep, SpecialToken cls, bool trim_offsets,
                                        bool add_prefix_space);
// ByteLevel: only trims white space from offsets.
PostProcessorPtr make_byte_level_processor(bool trim_offsets, bool add_prefix_space);
PostProcessorPtr make_sequence_processor(std::vector<PostProcessorPtr> parts);

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_POST_PROCESSOR_H_
