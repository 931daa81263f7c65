// What all pipelines of texts have in common: the loaded model, and the way of a batch through it.
#ifndef HUGOT_PIPELINES_TEXT_MODEL_H_
#define HUGOT_PIPELINES_TEXT_MODEL_H_

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hugot/hugot.hpp"
#include "hugot/tokenizer.hpp"
#include "models/encoder.h"
#include "models/model_directory.h"

namespace hugot {

// The name of the output with class scores: "logits", or else the first one.
std::string choose_logits(const LoadedModel& model);

// A model directory whose graph and tokenizer are loaded. Immutable; pipelines share it.
class HUGOT_LOCAL TextModel {
 public:
  struct Options {
    std::string onnx_filename = {};
    Precision precision = Precision::kModel;
    bool pairs = false;  // texts may come in pairs
    EncoderRows rows = EncoderRows::kAll;
    // The names of the outputs to use, side by side in every row (EncoderOptions).
    std::function<std::vector<std::string>(const LoadedModel&)> choose_outputs;
  };

  TextModel(const Session::Impl& session, ModelDirectory directory, const Options& options);

  // The model with its output of class scores ("logits"), which all pipelines of the session share
  // that ask for the same files and precision.
  static std::shared_ptr<const TextModel> classifier(Session::Impl& session,
                                                     const std::filesystem::path& directory,
                                                     const ModelOptions& options);
  // The same with other outputs; `kind` tells such models from others.
  static std::shared_ptr<const TextModel> shared(
      Session::Impl& session, const std::filesystem::path& directory, const ModelOptions& options,
      std::string_view kind,
      const std::function<std::vector<std::string>(const LoadedModel&)>& choose_outputs);

  const ModelDirectory& directory() const { return directory_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  const Encoder& encoder() const { return *encoder_; }
  // Whether the tokenizer gives types other than 0, and the model knows them.
  bool has_type_ids() const { return has_type_ids_; }
  std::string label(size_t id) const { return directory_.label(id); }
  // The id of a special token: the one that the model directory names (`named`), or else the first
  // of `usual` that the vocabulary has.
  std::optional<int32_t> special_token(std::string_view named,
                                       std::initializer_list<std::string_view> usual) const;
  const std::vector<ModelOutput>& outputs() const { return outputs_; }

 private:
  ModelDirectory directory_;
  Tokenizer tokenizer_;
  bool has_type_ids_ = false;
  std::vector<ModelOutput> outputs_;
  std::shared_ptr<const Encoder> encoder_;
};

// A text, or a pair, on its way through the model.
struct TextItem {
  std::vector<int32_t> ids;
  std::vector<int32_t> type_ids;
  std::string error;  // empty when nothing is wrong
};

// Runs batches through a TextModel and counts. All functions are thread-safe.
class HUGOT_LOCAL TextRunner {
 public:
  // `pairs`: the length limit has to leave room for the special tokens of a pair.
  TextRunner(std::shared_ptr<Session::Impl> session, std::shared_ptr<const TextModel> model,
             int max_length, bool pairs);

  const TextModel& model() const { return *model_; }
  ThreadPool& pool() const;
  // 0: no limit.
  int64_t max_length() const { return max_length_; }
  // Truncation of the model, without offsets and tokens.
  const EncodeOptions& encode_options() const { return encode_options_; }

  // Calls `work` for 0 .. count - 1 on the threads of the session, and counts the time as that of
  // tokenizing. What it throws becomes the text of `error(i)`. Throws kCancelled.
  void tokenize(size_t count, const std::function<void(size_t)>& work,
                const std::function<std::string&(size_t)>& error,
                const std::stop_token& stop) const;
  // Ids of a text or pair; for work of tokenize(). Throws kInvalidData for what is not UTF-8.
  void encode(std::string_view text, std::optional<std::string_view> pair,
              const EncodeOptions& options, TextItem& item) const;

  // Runs the model on all items without error that have ids, and gives their rows to `sink`, which
  // may be called more than once for an item when others of the batch fail. An error of an item
  // alone, of the sink too, becomes its `error`. `texts` is what the statistics count. Throws
  // kCancelled.
  void run(std::span<TextItem> items, size_t texts, const EncoderSink& sink,
           std::stop_token stop) const;

  // For statistics, at the end of every run of a pipeline: how many of its results are errors, and
  // how many it left out.
  void count_results(uint64_t failed, uint64_t filtered = 0) const;
  template <class T>
  void count_results(const std::vector<Outcome<T>>& results, uint64_t filtered = 0) const {
    count_results(static_cast<uint64_t>(std::count_if(
                      results.begin(), results.end(),
                      [](const Outcome<T>& result) { return !result.error.empty(); })),
                  filtered);
  }
  PipelineStatistics statistics() const;

 private:
  void run_some(std::span<TextItem> items, std::span<const size_t> which, const EncoderSink& sink,
                const std::stop_token& stop) const;

  std::shared_ptr<Session::Impl> session_;
  std::shared_ptr<const TextModel> model_;
  int64_t max_length_ = 0;
  EncodeOptions encode_options_;
  mutable std::mutex statistics_mutex_;
  mutable PipelineStatistics statistics_;
};

// Throws kInvalidData for text that is not UTF-8, naming the byte.
void require_utf8(std::string_view text);

// Byte positions of the code points of a text, and its size.
std::vector<size_t> code_point_starts(std::string_view text);

}  // namespace hugot

#endif  // HUGOT_PIPELINES_TEXT_MODEL_H_
