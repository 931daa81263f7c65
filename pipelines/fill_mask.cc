// The rules are those of FillMaskPipeline of transformers.
#include "pipelines/fill_mask.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "pipelines/scores.h"

namespace hugot {

FillMask::Impl::Impl(std::shared_ptr<Session::Impl> session, const std::filesystem::path& directory,
                     const FillMaskOptions& options)
    : runner_(session, TextModel::classifier(*session, directory, options.model),
              options.model.max_length, /*pairs=*/false),
      top_k_(static_cast<size_t>(options.top_k)) {
  require(options.top_k >= 1, ErrorCode::kInvalidArgument, "top_k ", options.top_k,
          ": a positive number of tokens is expected");
  const ModelDirectory& names = runner_.model().directory();
  const auto mask = runner_.model().special_token(names.mask_token, {"[MASK]", "<mask>"});
  require(mask.has_value(), ErrorCode::kUnsupported, "model directory ", directory.string(),
          ": the tokenizer has no mask token");
  mask_id_ = *mask;
  pad_id_ = runner_.model().special_token(names.pad_token, {});
  find_targets(options.targets);
}

void FillMask::Impl::find_targets(std::span<const std::string> targets) {
  if (targets.empty()) return;
  const Tokenizer& tokenizer = runner_.model().tokenizer();
  EncodeOptions first_only = runner_.encode_options();
  first_only.add_special_tokens = false;
  if (!first_only.truncation) first_only.truncation.emplace();
  first_only.truncation->max_length = 1;
  for (const std::string& target : targets) {
    require_utf8(target);
    if (const auto id = tokenizer.token_to_id(target)) {
      targets_.push_back(*id);
      continue;
    }
    std::vector<int32_t> ids;
    tokenizer.encode_ids(target, first_only, ids);
    if (!ids.empty()) targets_.push_back(ids[0]);
  }
  require(!targets_.empty(), ErrorCode::kInvalidArgument,
          "none of the targets has a token; name some or leave the option out");
  std::sort(targets_.begin(), targets_.end());
  targets_.erase(std::unique(targets_.begin(), targets_.end()), targets_.end());
}

std::string FillMask::Impl::mask_token() const {
  return runner_.model().tokenizer().id_to_token(mask_id_).value_or("");
}

std::vector<FilledToken> FillMask::Impl::best(std::span<const float> logits) const {
  const auto scores = apply_function(ScoreFunction::kSoftmax, logits);
  std::vector<int32_t> ids = targets_;
  if (ids.empty()) {
    ids.resize(scores.size());
    std::iota(ids.begin(), ids.end(), 0);
  }
  require(static_cast<size_t>(ids.back()) < scores.size(), ErrorCode::kUnsupported,
          "the model's output has ", scores.size(), " numbers per token, the vocabulary has id ",
          ids.back(), ": it is no model that fills masks");
  const size_t count = std::min(top_k_, ids.size());
  const auto score = [&](int32_t id) { return scores[static_cast<size_t>(id)]; };
  std::partial_sort(
      ids.begin(), ids.begin() + static_cast<ptrdiff_t>(count), ids.end(),
      [&](int32_t a, int32_t b) { return score(a) != score(b) ? score(a) > score(b) : a < b; });
  std::vector<FilledToken> out(count);
  for (size_t i = 0; i < count; ++i) out[i] = {score(ids[i]), ids[i], {}, {}};
  return out;
}

void FillMask::Impl::decode(std::span<const int32_t> ids, size_t place, bool only_mask,
                            FilledToken& filled) const {
  const Tokenizer& tokenizer = runner_.model().tokenizer();
  std::vector<int32_t> changed(ids.begin(), ids.end());
  changed[place] = filled.id;
  if (pad_id_) std::erase(changed, *pad_id_);
  filled.token = tokenizer.decode({&filled.id, 1}, /*skip_special_tokens=*/false);
  filled.sequence = tokenizer.decode(changed, /*skip_special_tokens=*/only_mask);
}

std::vector<Outcome<std::vector<std::vector<FilledToken>>>> FillMask::Impl::run(
    std::span<const std::string_view> texts, const std::stop_token& stop) const {
  std::vector<Outcome<std::vector<std::vector<FilledToken>>>> out(texts.size());
  std::vector<TextItem> items(texts.size());
  runner_.tokenize(
      texts.size(),
      [&](size_t i) {
        runner_.encode(texts[i], std::nullopt, runner_.encode_options(), items[i]);
        const auto& ids = items[i].ids;
        const bool has_mask = std::find(ids.begin(), ids.end(), mask_id_) != ids.end();
        require(has_mask || texts[i].find(mask_token()) == std::string_view::npos,
                ErrorCode::kInvalidData, "the mask token ", mask_token(), " is behind the ",
                runner_.max_length(), " tokens that the text is cut to");
        require(has_mask, ErrorCode::kInvalidData, "the text has no mask token ", mask_token());
      },
      [&](size_t i) -> std::string& { return items[i].error; }, stop);
  const auto sink = [&](size_t i, const float* data, int64_t rows, int64_t width) {
    const auto& ids = items[i].ids;
    require(static_cast<size_t>(rows) == ids.size(), ErrorCode::kUnsupported,
            "the model's output has no row per token: it is no model that fills masks");
    auto& masks = out[i].value;
    masks.clear();
    for (size_t row = 0; row < ids.size(); ++row) {
      if (ids[row] != mask_id_) continue;
      const auto first = static_cast<size_t>(width) * row;
      masks.push_back(best({data + first, static_cast<size_t>(width)}));
    }
    size_t mask = 0;
    for (size_t row = 0; row < ids.size(); ++row) {
      if (ids[row] != mask_id_) continue;
      for (FilledToken& filled : masks[mask]) decode(ids, row, masks.size() == 1, filled);
      ++mask;
    }
  };
  runner_.run(items, texts.size(), sink, stop);
  for (size_t i = 0; i < items.size(); ++i) {
    out[i].error = std::move(items[i].error);
    if (!out[i].error.empty()) out[i].value.clear();
  }
  return out;
}

}  // namespace hugot
