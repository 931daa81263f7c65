#include "pipelines/feature_extraction.h"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "base/error.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "onnx/loader.h"
#include "pipelines/session.h"

namespace hugot {
namespace {

// Texts that one thread tokenizes in a row.
constexpr int64_t kTokenizeGrain = 16;

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

std::string lowercased(std::string_view text) {
  std::string out;
  for (size_t pos = 0; pos < text.size();) {
    const auto lower = unicode::lowercase(decode_utf8(text, pos));
    append_utf8(out, lower.first);
    if (lower.second != 0) append_utf8(out, lower.second);
  }
  return out;
}

// The name of the graph output to use: the one that was asked for; where vectors have to be pooled,
// one with a row per token; otherwise one with a row per text.
std::string choose_output(const LoadedModel& model, const std::string& wanted, bool must_pool) {
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
  }
  if (choice == nullptr) choice = of_rank(2);
  if (choice == nullptr) choice = of_rank(3);
  return choice == nullptr ? model.outputs.front().name : choice->name;
}

}  // namespace

FeatureExtraction::Impl::Impl(std::shared_ptr<Session::Impl> session,
                              const std::filesystem::path& directory,
                              const FeatureExtractionOptions& options)
    : session_(std::move(session)),
      directory_(ModelDirectory::read(directory)),
      tokenizer_(Tokenizer::from_file(directory_.tokenizer_file())) {
  require(options.truncate_dim >= 0, ErrorCode::kInvalidArgument, "truncate_dim ",
          options.truncate_dim, ": a positive number is expected");
  max_length_ = directory_.max_length(options.max_length);
  encode_options_.offsets = false;
  encode_options_.tokens = false;
  if (max_length_ > 0) {
    // The tokenizer would not truncate at all.
    const size_t added = tokenizer_.added_tokens(/*pair=*/false);
    require(static_cast<size_t>(max_length_) >= added, ErrorCode::kInvalidArgument, "max length ",
            max_length_, " leaves no room for the ", added, " special tokens of a text");
    encode_options_.truncation.emplace();
    encode_options_.truncation->max_length = static_cast<size_t>(max_length_);
    if (directory_.truncate_left) encode_options_.truncation->side = Side::kLeft;
  }

  prompt_ = directory_.prompt(options.prompt_name);
  if (!prompt_.empty()) {
    Item prompt;
    tokenizer_.encode_ids(prompt_, encode_options_, prompt.ids);
    // A separator at the end comes behind the text, not behind the prompt.
    if (!prompt.ids.empty() && tokenizer_.is_special(prompt.ids.back())) prompt.ids.pop_back();
    prompt_tokens_ = static_cast<int64_t>(prompt.ids.size());
  }
  const auto types = tokenizer_.encode("a", encode_options_).type_ids;
  has_type_ids_ = std::any_of(types.begin(), types.end(), [](int32_t type) { return type != 0; });

  const bool must_pool = options.pooling || !directory_.modules.empty();
  const auto graph_file = directory_.onnx_file(options.onnx_filename);
  EncoderOptions encoder_options;
  encoder_options.may_have_type_ids = has_type_ids_;
  encoder_options.precision = options.precision;
  encoder_options.cache_directory = session_->cache_directory;
  encoder_options.rows = SentenceHead::rows(directory_.modules, options);
  LoadedModel model = load_model(graph_file, session_->ops);
  encoder_options.output = choose_output(model, options.output_name, must_pool);
  encoder_ = Encoder::load(std::move(model), session_->ops, encoder_options);
  require(encoder_->per_token() || !options.pooling, ErrorCode::kInvalidArgument, "output '",
          encoder_options.output, "' has one row per text: there is nothing to pool");
  head_ = std::make_unique<const SentenceHead>(directory_.modules, options, encoder_->per_token());
  find_dim(options.truncate_dim);
}

// The length of the vectors, for which the model is run only when there is no other way.
void FeatureExtraction::Impl::find_dim(int truncate_dim) {
  if (const auto width = encoder_->width()) {
    const std::vector<float> row(static_cast<size_t>(*width));
    dim_ = head_->apply(row.data(), 1, *width, 0).size();
  } else {
    Item item;
    tokenizer_.encode_ids("a", encode_options_, item.ids);
    if (item.ids.empty()) item.ids = {0};
    const EncoderText text{item.ids, {}};
    encoder_->run({&text, 1}, session_->pool,
                  [&](size_t, const float* rows, int64_t count, int64_t row_width) {
                    dim_ = head_->apply(rows, count, row_width, 0).size();
                  });
  }
  require(static_cast<size_t>(truncate_dim) <= dim_, ErrorCode::kInvalidArgument, "truncate_dim ",
          truncate_dim, ": the model's vectors have ", dim_, " elements only");
}

void FeatureExtraction::Impl::tokenize(std::string_view text, Item& item) const {
  if (const size_t bad = validate_utf8(text); bad != kValidUtf8) {
    item.error = str("the text is not valid UTF-8 at byte ", bad);
    return;
  }
  item.prompt_tokens = prompt_tokens_;
  try {
    std::string changed;
    if (!prompt_.empty() || directory_.lowercase) {
      changed = prompt_ + std::string(text);
      if (directory_.lowercase) changed = lowercased(changed);
      text = changed;
    }
    if (has_type_ids_) {
      Encoding encoding = tokenizer_.encode(text, encode_options_);
      item.ids = std::move(encoding.ids);
      item.type_ids = std::move(encoding.type_ids);
    } else {
      tokenizer_.encode_ids(text, encode_options_, item.ids);
    }
  } catch (const Error& error) {
    item.error = error.what();
  }
}

EmbeddingResult FeatureExtraction::Impl::run(std::span<const std::string_view> texts,
                                             std::stop_token stop) const {
  const Stopwatch watch;
  std::vector<Item> items(texts.size());
  session_->pool.parallel_for(static_cast<int64_t>(texts.size()), kTokenizeGrain,
                              [&](int64_t begin, int64_t end) {
                                for (auto i = static_cast<size_t>(begin);
                                     i < static_cast<size_t>(end) && !stop.stop_requested(); ++i) {
                                  tokenize(texts[i], items[i]);
                                }
                              });
  {
    const std::lock_guard lock(statistics_mutex_);
    statistics_.tokenize_seconds += watch.seconds();
  }
  return embed(items, stop);
}

EmbeddingResult FeatureExtraction::Impl::run_ids(std::span<const std::vector<int32_t>> ids,
                                                 std::stop_token stop) const {
  std::vector<Item> items(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    items[i].ids = ids[i];
    check_ids(items[i]);
  }
  return embed(items, stop);
}

void FeatureExtraction::Impl::check_ids(Item& item) const {
  const int64_t vocabulary = directory_.vocab_size.value_or(INT32_MAX);
  for (const int32_t id : item.ids) {
    if (id < 0 || id >= vocabulary) {
      item.error = str("token id ", id, " is not in the vocabulary of ", vocabulary, " tokens");
      return;
    }
  }
  if (max_length_ > 0 && static_cast<int64_t>(item.ids.size()) > max_length_) {
    item.error = str(item.ids.size(), " token ids are more than the limit of ", max_length_);
  }
}

EmbeddingResult FeatureExtraction::Impl::embed(std::vector<Item>& items,
                                               std::stop_token stop) const {
  require(!stop.stop_requested(), ErrorCode::kCancelled, "cancelled");
  const Stopwatch watch;
  EmbeddingResult result;
  result.rows = items.size();
  result.dim = dim_;
  result.embeddings.resize(items.size() * dim_);

  std::vector<Item*> todo;
  std::vector<size_t> rows;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!items[i].error.empty() || items[i].ids.empty()) continue;
    todo.push_back(&items[i]);
    rows.push_back(i);
  }
  try {
    encode(todo, rows, result, stop);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kCancelled) throw;
    // One text can spoil a batch; alone each gets its own error.
    for (size_t i = 0; i < todo.size(); ++i) {
      try {
        encode({&todo[i], 1}, {&rows[i], 1}, result, stop);
      } catch (const Error& own) {
        if (own.code() == ErrorCode::kCancelled) throw;
        todo[i]->error = own.what();
      }
    }
  }

  PipelineStatistics sums;
  for (size_t i = 0; i < items.size(); ++i) {
    sums.tokens += items[i].ids.size();
    if (items[i].error.empty()) continue;
    ++sums.failed_texts;
    result.errors.resize(items.size());
    result.errors[i] = std::move(items[i].error);
    std::fill_n(result.embeddings.begin() + static_cast<ptrdiff_t>(i * dim_), dim_, 0.0f);
  }
  const std::lock_guard lock(statistics_mutex_);
  statistics_.texts += items.size();
  statistics_.tokens += sums.tokens;
  statistics_.failed_texts += sums.failed_texts;
  statistics_.model_seconds += watch.seconds();
  return result;
}

void FeatureExtraction::Impl::encode(std::span<Item* const> items, std::span<const size_t> rows,
                                     EmbeddingResult& result, std::stop_token stop) const {
  if (items.empty()) return;
  std::vector<EncoderText> texts(items.size());
  for (size_t i = 0; i < items.size(); ++i) texts[i] = {items[i]->ids, items[i]->type_ids};
  const auto sink = [&](size_t text, const float* data, int64_t count, int64_t width) {
    const auto vector = head_->apply(data, count, width, items[text]->prompt_tokens);
    require(vector.size() == dim_, ErrorCode::kInternal, "a vector of ", vector.size(),
            " elements where ", dim_, " are expected");
    std::transform(vector.begin(), vector.end(),
                   result.embeddings.begin() + static_cast<ptrdiff_t>(rows[text] * dim_),
                   [](double x) { return static_cast<float>(x); });
  };
  encoder_->run(texts, session_->pool, sink, stop);
}

std::vector<int32_t> FeatureExtraction::Impl::token_ids(std::string_view text) const {
  Item item;
  tokenize(text, item);
  require(item.error.empty(), ErrorCode::kInvalidData, item.error);
  return std::move(item.ids);
}

PipelineStatistics FeatureExtraction::Impl::statistics() const {
  const std::lock_guard lock(statistics_mutex_);
  return statistics_;
}

}  // namespace hugot
