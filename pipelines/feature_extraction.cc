#include "pipelines/feature_extraction.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "onnx/loader.h"

namespace hugot {
std::string lowercased(std::string_view text) {
  std::string out;
  for (size_t pos = 0; pos < text.size();) {
    const auto lower = unicode::lowercase(decode_utf8(text, pos));
    append_utf8(out, lower.first);
    if (lower.second != 0) append_utf8(out, lower.second);
  }
  return out;
}

std::string choose_vectors(const LoadedModel& model, const std::string& wanted, bool must_pool) {
  require(!model.outputs.empty(), ErrorCode::kInvalidData, "the graph has no outputs");
  const auto find = [&](const auto& condition) -> const ModelPort* {
    const auto it = std::find_if(model.outputs.begin(), model.outputs.end(), condition);
    return it == model.outputs.end() ? nullptr : &*it;
  };
  const auto named = [&](std::string_view name) {
    return find([&](const ModelPort& port) { return port.name == name; });
  };
  const auto of_rank = [&](int rank) {
    return find([&](const ModelPort& port) { return port.fact.rank() == rank; });
  };
  if (!wanted.empty()) {
    if (named(wanted) != nullptr) return wanted;
    std::string known;
    for (const auto& port : model.outputs) known += (known.empty() ? "" : ", ") + port.name;
    fail(ErrorCode::kInvalidArgument, "the graph has no output '", wanted, "'; it has ", known);
  }
  const ModelPort* choice = nullptr;
  if (must_pool) {
    choice = named("last_hidden_state");
    if (choice == nullptr) choice = named("token_embeddings");
    if (choice == nullptr) choice = of_rank(3);
  } else {
    choice = named("sentence_embedding");
    if (choice == nullptr) choice = named("text_embeds");
  }
  if (choice == nullptr) choice = of_rank(2);
  if (choice == nullptr) choice = of_rank(3);
  return choice == nullptr ? model.outputs.front().name : choice->name;
}

FeatureExtraction::Impl::Impl(std::shared_ptr<Session::Impl> session,
                              const std::filesystem::path& directory,
                              const FeatureExtractionOptions& options) {
  require(options.truncate_dim >= 0, ErrorCode::kInvalidArgument, "truncate_dim ",
          options.truncate_dim, ": a positive number is expected");
  ModelDirectory read = ModelDirectory::read(directory);
  token_vectors_ = options.token_vectors;
  require(!token_vectors_ || !options.pooling, ErrorCode::kInvalidArgument,
          "vectors of tokens are not pooled");
  const bool must_pool = token_vectors_ || options.pooling || !read.modules.empty();
  // Before the graph is loaded, which takes longest.
  prompt_ = read.prompt(options.prompt_name);
  read.max_length(options.max_length);
  TextModel::Options load;
  load.onnx_filename = options.onnx_filename;
  load.precision = options.precision;
  load.rows = token_vectors_ ? EncoderRows::kAll : SentenceHead::rows(read.modules, options);
  std::string output;
  load.choose_outputs = [&](const LoadedModel& model) {
    output = choose_vectors(model, options.output_name, must_pool);
    return std::vector{output};
  };
  auto model = std::make_shared<const TextModel>(*session, std::move(read), load);
  runner_ = std::make_unique<const TextRunner>(std::move(session), std::move(model),
                                               options.max_length, /*pairs=*/false);
  if (!prompt_.empty()) {
    const Tokenizer& tokenizer = runner_->model().tokenizer();
    std::vector<int32_t> ids;
    tokenizer.encode_ids(prompt_, runner_->encode_options(), ids);
    // A separator at the end comes behind the text, not behind the prompt.
    if (!ids.empty() && tokenizer.is_special(ids.back())) ids.pop_back();
    prompt_tokens_ = static_cast<int64_t>(ids.size());
  }
  require(encoder().per_token() || !options.pooling, ErrorCode::kInvalidArgument, "output '",
          output, "' has one row per text: there is nothing to pool");
  require(encoder().per_token() || !token_vectors_, ErrorCode::kInvalidArgument, "output '", output,
          "' has one row per text: there are no vectors of tokens");
  head_ = std::make_unique<const SentenceHead>(this->directory().modules, options,
                                               encoder().per_token());
  find_dim(options.truncate_dim);
}

// The length of the vectors, for which the model is run only when there is no other way.
void FeatureExtraction::Impl::find_dim(int truncate_dim) {
  const auto size_of = [&](const float* rows, int64_t count, int64_t row_width) {
    return token_vectors_ ? static_cast<size_t>(row_width)
                          : head_->apply(rows, count, row_width, 0).size();
  };
  if (const auto width = encoder().width()) {
    const std::vector<float> row(static_cast<size_t>(*width));
    dim_ = size_of(row.data(), 1, *width);
  } else {
    std::vector<int32_t> ids;
    runner_->model().tokenizer().encode_ids("a", runner_->encode_options(), ids);
    if (ids.empty()) ids = {0};
    const EncoderText text{ids, {}};
    encoder().run({&text, 1}, runner_->pool(),
                  [&](size_t, const float* rows, int64_t count, int64_t row_width) {
                    dim_ = size_of(rows, count, row_width);
                  });
  }
  require(static_cast<size_t>(truncate_dim) <= dim_, ErrorCode::kInvalidArgument, "truncate_dim ",
          truncate_dim, ": the model's vectors have ", dim_, " elements only");
  if (token_vectors_ && truncate_dim > 0) dim_ = static_cast<size_t>(truncate_dim);
}

void FeatureExtraction::Impl::tokenize(std::string_view text, TextItem& item) const {
  if (prompt_.empty() && !directory().lowercase) {
    runner_->encode(text, std::nullopt, runner_->encode_options(), item);
    return;
  }
  require_utf8(text);
  std::string changed = prompt_ + std::string(text);
  if (directory().lowercase) changed = lowercased(changed);
  runner_->encode(changed, std::nullopt, runner_->encode_options(), item);
}

EmbeddingResult FeatureExtraction::Impl::run(std::span<const std::string_view> texts,
                                             std::stop_token stop) const {
  std::vector<TextItem> items(texts.size());
  runner_->tokenize(
      texts.size(), [&](size_t i) { tokenize(texts[i], items[i]); },
      [&](size_t i) -> std::string& { return items[i].error; }, stop);
  return embed(items, prompt_tokens_, std::move(stop));
}

EmbeddingResult FeatureExtraction::Impl::run_ids(std::span<const std::vector<int32_t>> ids,
                                                 std::stop_token stop) const {
  std::vector<TextItem> items(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    items[i].ids = ids[i];
    check_ids(items[i]);
  }
  return embed(items, 0, std::move(stop));
}

void FeatureExtraction::Impl::check_ids(TextItem& item) const {
  const int64_t vocabulary = directory().vocab_size.value_or(INT32_MAX);
  for (const int32_t id : item.ids) {
    if (id < 0 || id >= vocabulary) {
      item.error = str("token id ", id, " is not in the vocabulary of ", vocabulary, " tokens");
      return;
    }
  }
  if (max_length() > 0 && item.ids.size() > static_cast<size_t>(max_length())) {
    item.error = str(item.ids.size(), " token ids are more than the limit of ", max_length());
  }
}

EmbeddingResult FeatureExtraction::Impl::embed(std::vector<TextItem>& items, int64_t prompt_tokens,
                                               std::stop_token stop) const {
  require(!token_vectors_, ErrorCode::kInvalidArgument,
          "token_vectors is set: only run_tokens() can be used");
  EmbeddingResult result;
  result.rows = items.size();
  result.dim = dim_;
  result.embeddings.resize(items.size() * dim_);
  const auto sink = [&](size_t text, const float* data, int64_t count, int64_t width) {
    const auto vector = head_->apply(data, count, width, prompt_tokens);
    require(vector.size() == dim_, ErrorCode::kInternal, "a vector of ", vector.size(),
            " elements where ", dim_, " are expected");
    std::transform(vector.begin(), vector.end(),
                   result.embeddings.begin() + static_cast<ptrdiff_t>(text * dim_),
                   [](double x) { return static_cast<float>(x); });
  };
  runner_->run(items, items.size(), sink, std::move(stop));
  uint64_t failed = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].error.empty()) continue;
    ++failed;
    result.errors.resize(items.size());
    result.errors[i] = std::move(items[i].error);
    std::fill_n(result.embeddings.begin() + static_cast<ptrdiff_t>(i * dim_), dim_, 0.0f);
  }
  runner_->count_results(failed);
  return result;
}

std::vector<Outcome<TokenVectors>> FeatureExtraction::Impl::run_tokens(
    std::span<const std::string_view> texts, std::stop_token stop) const {
  require(token_vectors_, ErrorCode::kInvalidArgument,
          "run_tokens() needs the option token_vectors");
  std::vector<Outcome<TokenVectors>> out(texts.size());
  std::vector<TextItem> items(texts.size());
  runner_->tokenize(
      texts.size(), [&](size_t i) { tokenize(texts[i], items[i]); },
      [&](size_t i) -> std::string& { return items[i].error; }, stop);
  const auto sink = [&](size_t text, const float* data, int64_t rows, int64_t width) {
    TokenVectors& vectors = out[text].value;
    vectors = {static_cast<size_t>(rows), 0, {}};
    for (int64_t row = 0; row < rows; ++row) {
      std::vector<double> vector(data + row * width, data + (row + 1) * width);
      head_->finish(vector);
      vectors.dim = vector.size();
      for (const double x : vector) vectors.values.push_back(static_cast<float>(x));
    }
  };
  runner_->run(items, items.size(), sink, std::move(stop));
  for (size_t i = 0; i < items.size(); ++i) {
    out[i].error = std::move(items[i].error);
    if (!out[i].error.empty()) out[i].value = {};
  }
  return out;
}

std::vector<int8_t> quantize_int8(std::span<const float> vector) {
  float most = 0;
  for (const float x : vector) {
    require(std::isfinite(x), ErrorCode::kInvalidArgument,
            "a vector with infinite or undefined numbers cannot be quantized");
    most = std::max(most, std::abs(x));
  }
  std::vector<int8_t> out(vector.size());
  if (most == 0) return out;
  std::transform(vector.begin(), vector.end(), out.begin(), [&](float x) {
    return static_cast<int8_t>(std::lround(127.0 * double{x} / double{most}));
  });
  return out;
}

std::vector<uint8_t> quantize_binary(std::span<const float> vector) {
  std::vector<uint8_t> out((vector.size() + 7) / 8);
  for (size_t i = 0; i < vector.size(); ++i) {
    if (vector[i] > 0) out[i / 8] = static_cast<uint8_t>(out[i / 8] | 0x80 >> i % 8);
  }
  return out;
}

std::vector<int32_t> FeatureExtraction::Impl::token_ids(std::string_view text) const {
  TextItem item;
  tokenize(text, item);
  return std::move(item.ids);
}

}  // namespace hugot
