#include "pipelines/text_model.h"

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"
#include "models/encoder_output.h"
#include "onnx/loader.h"
#include "pipelines/model_outputs.h"
#include "pipelines/session.h"
#include "pipelines/stopwatch.h"

namespace hugot {
namespace {

// Texts that one thread tokenizes in a row.
constexpr int64_t kTokenizeGrain = 16;

}  // namespace

std::string choose_logits(const LoadedModel& model) {
  require(!model.outputs.empty(), ErrorCode::kInvalidData, "the graph has no outputs");
  for (const auto& port : model.outputs) {
    if (port.name == "logits") return port.name;
  }
  return model.outputs.front().name;
}

TextModel::TextModel(const Session::Impl& session, ModelDirectory directory, const Options& options)
    : directory_(std::move(directory)),
      tokenizer_(Tokenizer::from_file(directory_.tokenizer_file())) {
  const auto sample = options.pairs ? tokenizer_.encode("a", "a") : tokenizer_.encode("a");
  has_type_ids_ = directory_.token_types.value_or(2) > 1 &&
                  std::any_of(sample.type_ids.begin(), sample.type_ids.end(),
                              [](int32_t type) { return type != 0; });
  EncoderOptions encoder;
  encoder.may_have_type_ids = has_type_ids_;
  encoder.precision = options.precision;
  encoder.cache_directory = session.cache_directory;
  encoder.rows = options.rows;
  LoadedModel loaded = load_model(directory_.onnx_file(options.onnx_filename), session.ops);
  const auto outputs = options.choose_outputs(loaded);
  outputs_ = model_outputs(loaded, outputs);
  encoder.output = outputs.front();
  encoder.more_outputs.assign(outputs.begin() + 1, outputs.end());
  encoder_ = Encoder::load(std::move(loaded), session.ops, encoder);
}

std::shared_ptr<const TextModel> TextModel::classifier(Session::Impl& session,
                                                       const std::filesystem::path& directory,
                                                       const ModelOptions& options) {
  return shared(session, directory, options, "logits",
                [](const LoadedModel& model) { return std::vector{choose_logits(model)}; });
}

std::shared_ptr<const TextModel> TextModel::shared(
    Session::Impl& session, const std::filesystem::path& directory, const ModelOptions& options,
    std::string_view kind,
    const std::function<std::vector<std::string>(const LoadedModel&)>& choose_outputs) {
  const auto make = [&](ModelDirectory read) {
    const Options load{options.onnx_filename, options.precision, /*pairs=*/true, EncoderRows::kAll,
                       choose_outputs};
    return std::make_shared<const TextModel>(session, std::move(read), load);
  };
  return session.share(session.text_models, directory, options, kind, make);
}

std::optional<int32_t> TextModel::special_token(
    std::string_view named, std::initializer_list<std::string_view> usual) const {
  std::optional<int32_t> id;
  if (!named.empty()) id = tokenizer_.token_to_id(named);
  for (const std::string_view token : usual) {
    if (!id) id = tokenizer_.token_to_id(token);
  }
  return id;
}

TextRunner::TextRunner(std::shared_ptr<Session::Impl> session,
                       std::shared_ptr<const TextModel> model, int max_length, bool pairs)
    : session_(std::move(session)),
      model_(std::move(model)),
      max_length_(model_->directory().max_length(max_length)) {
  encode_options_.offsets = false;
  encode_options_.tokens = false;
  if (max_length_ == 0) return;
  // The tokenizer would not truncate at all.
  const size_t added = model_->tokenizer().added_tokens(pairs);
  require(static_cast<size_t>(max_length_) >= added, ErrorCode::kInvalidArgument, "max length ",
          max_length_, " leaves no room for the ", added, " special tokens of a ",
          pairs ? "pair" : "text");
  encode_options_.truncation.emplace();
  encode_options_.truncation->max_length = static_cast<size_t>(max_length_);
  if (model_->directory().truncate_left) encode_options_.truncation->side = Side::kLeft;
}

ThreadPool& TextRunner::pool() const { return session_->pool; }

void TextRunner::tokenize(size_t count, const std::function<void(size_t)>& work,
                          const std::function<std::string&(size_t)>& error,
                          const std::stop_token& stop) const {
  const Stopwatch watch;
  session_->pool.parallel_for(static_cast<int64_t>(count), kTokenizeGrain,
                              [&](int64_t begin, int64_t end) {
                                for (auto i = static_cast<size_t>(begin);
                                     i < static_cast<size_t>(end) && !stop.stop_requested(); ++i) {
                                  try {
                                    work(i);
                                  } catch (const Error& thrown) {
                                    error(i) = thrown.what();
                                  }
                                }
                              });
  require(!stop.stop_requested(), ErrorCode::kCancelled, "cancelled");
  const std::lock_guard lock(statistics_mutex_);
  statistics_.tokenize_seconds += watch.seconds();
  ++statistics_.tokenize_calls;
}

void TextRunner::encode(std::string_view text, std::optional<std::string_view> pair,
                        const EncodeOptions& options, TextItem& item) const {
  require_utf8(text);
  if (pair) require_utf8(*pair);
  if (!pair && !model_->has_type_ids()) {
    model_->tokenizer().encode_ids(text, options, item.ids);
    return;
  }
  Encoding encoding = model_->tokenizer().encode(text, pair, options);
  item.ids = std::move(encoding.ids);
  if (model_->has_type_ids()) item.type_ids = std::move(encoding.type_ids);
}

void TextRunner::run(std::span<TextItem> items, size_t texts, const EncoderSink& sink,
                     std::stop_token stop) const {
  require(!stop.stop_requested(), ErrorCode::kCancelled, "cancelled");
  const Stopwatch watch;
  std::vector<size_t> todo;
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].error.empty() && !items[i].ids.empty()) todo.push_back(i);
  }
  try {
    run_some(items, todo, sink, stop);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kCancelled) throw;
    // One text can spoil a batch; alone each gets its own error.
    for (const size_t i : todo) {
      try {
        run_some(items, {&i, 1}, sink, stop);
      } catch (const Error& own) {
        if (own.code() == ErrorCode::kCancelled) throw;
        items[i].error = own.what();
      }
    }
  }
  const std::lock_guard lock(statistics_mutex_);
  statistics_.texts += texts;
  statistics_.sequences += items.size();
  ++statistics_.model_calls;
  for (const TextItem& item : items) statistics_.tokens += item.ids.size();
  statistics_.model_seconds += watch.seconds();
}

void TextRunner::run_some(std::span<TextItem> items, std::span<const size_t> which,
                          const EncoderSink& sink, const std::stop_token& stop) const {
  if (which.empty()) return;
  std::vector<EncoderText> texts(which.size());
  for (size_t i = 0; i < which.size(); ++i) {
    texts[i] = {items[which[i]].ids, items[which[i]].type_ids};
  }
  model_->encoder().run(
      texts, session_->pool,
      [&](size_t text, const float* data, int64_t rows, int64_t width) {
        sink(which[text], data, rows, width);
      },
      stop);
}

void TextRunner::count_results(uint64_t failed, uint64_t filtered) const {
  const std::lock_guard lock(statistics_mutex_);
  statistics_.failed_texts += failed;
  statistics_.filtered_results += filtered;
}

PipelineStatistics TextRunner::statistics() const {
  const std::lock_guard lock(statistics_mutex_);
  return statistics_;
}

void require_utf8(std::string_view text) {
  const size_t bad = validate_utf8(text);
  require(bad == kValidUtf8, ErrorCode::kInvalidData, "the text is not valid UTF-8 at byte ", bad);
}

std::vector<size_t> code_point_starts(std::string_view text) {
  std::vector<size_t> starts;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) starts.push_back(i);
  }
  starts.push_back(text.size());
  return starts;
}

}  // namespace hugot
