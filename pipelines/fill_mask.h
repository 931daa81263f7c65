// Texts with masks to tokens.
#ifndef HUGOT_PIPELINES_FILL_MASK_H_
#define HUGOT_PIPELINES_FILL_MASK_H_

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "hugot/hugot.hpp"
#include "pipelines/text_model.h"

namespace hugot {

class HUGOT_LOCAL FillMask::Impl {
 public:
  Impl(std::shared_ptr<Session::Impl> session, const std::filesystem::path& directory,
       const FillMaskOptions& options);
  std::vector<Outcome<std::vector<std::vector<FilledToken>>>> run(
      std::span<const std::string_view> texts, const std::stop_token& stop) const;
  std::string mask_token() const;
  PipelineStatistics statistics() const { return runner_.statistics(); }
  const std::vector<ModelOutput>& outputs() const { return runner_.model().outputs(); }

 private:
  void find_targets(std::span<const std::string> targets);
  // The best tokens of a row of logits; without their texts.
  std::vector<FilledToken> best(std::span<const float> logits) const;
  // Token and sequence of what fills token `place` of a text.
  void decode(std::span<const int32_t> ids, size_t place, bool only_mask,
              FilledToken& filled) const;

  TextRunner runner_;
  size_t top_k_;
  int32_t mask_id_ = 0;
  std::optional<int32_t> pad_id_;
  std::vector<int32_t> targets_;  // sorted; empty: all
};

}  // namespace hugot

#endif  // HUGOT_PIPELINES_FILL_MASK_H_
