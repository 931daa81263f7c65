// Texts with gaps to the tokens that fit.
#ifndef HUGOT_FILL_MASK_HPP_
#define HUGOT_FILL_MASK_HPP_

#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "hugot/common.hpp"

namespace hugot {

struct FillMaskOptions {
  int top_k = 5;  // so many tokens per mask
  // Only these tokens. What is not in the vocabulary stands for the first of its tokens; texts
  // without tokens are left out, and it is an error when none is left. Empty: all tokens.
  std::vector<std::string> targets = {};
  ModelOptions model = {};
};

struct FilledToken {
  double score = 0;  // softmax over the whole vocabulary
  int32_t id = 0;
  std::string token;  // decoded by itself
  // The text with this token in the place of the mask, as the tokenizer decodes it; with special
  // tokens when there are several masks, because the others would be missing otherwise.
  std::string sequence;
};

// Texts with masks ("Paris is the [MASK] of France.") to the tokens that fit. As all pipelines: a
// handle that is cheap to copy; all functions may be called from several threads at the same time;
// the result of a text does not depend on the others; what is wrong with a text is in its Outcome;
// kCancelled is thrown soon after `stop` is requested.
class HUGOT_API FillMask {
 public:
  class Impl;

  // For every mask of a text, in order, its tokens by score, the best first; of equal ones the
  // smaller id. A text without a mask, also because it was cut off, is an error.
  std::vector<Outcome<std::vector<std::vector<FilledToken>>>> run(
      std::span<const std::string_view> texts, std::stop_token stop = {}) const;
  // "[MASK]" or "<mask>"
  std::string mask_token() const;
  PipelineStatistics statistics() const;
  std::vector<ModelOutput> outputs() const;

 private:
  friend class Session;
  explicit FillMask(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

}  // namespace hugot

#endif  // HUGOT_FILL_MASK_HPP_
