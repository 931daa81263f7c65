#include <algorithm>

#include "base/error.h"
#include "pipelines/feature_extraction.h"

namespace hugot {

EncoderRows SentenceHead::rows(std::span<const SentenceModule> modules,
                               const FeatureExtractionOptions& options) {
  std::vector<Pooling> modes = {Pooling::kMean};
  bool pool_prompt = true;
  for (const SentenceModule& module : modules) {
    if (module.kind != SentenceModule::Kind::kPooling) continue;
    modes = module.pooling;
    pool_prompt = module.pool_prompt;
  }
  if (options.pooling) modes = {*options.pooling};
  if (modes == std::vector{Pooling::kCls}) return EncoderRows::kFirst;
  // A text that ends with the prompt has no last row.
  return modes == std::vector{Pooling::kLast} && pool_prompt ? EncoderRows::kLast
                                                             : EncoderRows::kAll;
}

SentenceHead::SentenceHead(std::span<const SentenceModule> modules,
                           const FeatureExtractionOptions& options, bool per_token)
    : truncate_dim_(static_cast<size_t>(options.truncate_dim)), normalize_(options.normalize) {
  if (!per_token) return;  // the graph holds the modules already
  for (const SentenceModule& module : modules) {
    switch (module.kind) {
      case SentenceModule::Kind::kPooling:
        require(pooling_.empty(), ErrorCode::kUnsupported, module.folder.string(),
                ": a second pooling module");
        pooling_ = module.pooling;
        pool_prompt_ = module.pool_prompt;
        break;
      case SentenceModule::Kind::kDense:
        require(!pooling_.empty(), ErrorCode::kUnsupported, module.folder.string(),
                ": a Dense module in front of the pooling");
        steps_.emplace_back(Dense(module.folder));
        break;
      case SentenceModule::Kind::kNormalize:
        steps_.emplace_back(Normalize{});
        break;
    }
  }
  if (options.pooling) pooling_ = {*options.pooling};
  if (pooling_.empty()) pooling_ = {Pooling::kMean};
}

std::vector<double> SentenceHead::apply(const float* rows, int64_t count, int64_t width,
                                        int64_t prompt_tokens) const {
  std::vector<double> vector;
  if (pooling_.empty()) {
    vector.assign(rows, rows + width);
  } else {
    vector.resize(pooling_.size() * static_cast<size_t>(width));
    pool(pooling_, rows, count, width, pool_prompt_ ? 0 : prompt_tokens, vector.data());
  }
  for (const auto& step : steps_) {
    if (const Dense* dense = std::get_if<Dense>(&step)) {
      require(dense->inputs() == vector.size(), ErrorCode::kInvalidData, "a Dense module expects ",
              dense->inputs(), " numbers, the pooling gives ", vector.size());
      vector = dense->apply(vector);
    } else {
      normalize_l2(vector);
    }
  }
  finish(vector);
  return vector;
}

void SentenceHead::finish(std::vector<double>& vector) const {
  if (truncate_dim_ > 0) vector.resize(std::min(vector.size(), truncate_dim_));
  if (normalize_) normalize_l2(vector);
}

}  // namespace hugot
