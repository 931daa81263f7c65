// A transformer graph as a function from token ids to vectors, over batches of texts.
#ifndef HUGOT_MODELS_ENCODER_H_
#define HUGOT_MODELS_ENCODER_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "graph/exec/executor.h"
#include "graph/exec/ragged.h"
#include "graph/op.h"
#include "graph/passes/passes.h"
#include "hugot/hugot.hpp"
#include "onnx/loader.h"

namespace hugot {

// One text as the tokenizer gives it. At least one id. `type_ids` empty: all 0.
struct EncoderText {
  std::span<const int32_t> ids;
  std::span<const int32_t> type_ids = {};
};

// The rows that one text got: `rows` x `width` floats, valid during the call only. One row when the
// output has one per text or only one is wanted, otherwise one per token. Called from worker
// threads, once per text.
using EncoderSink =
    std::function<void(size_t text, const float* data, int64_t rows, int64_t width)>;

// Which rows of an output with a row per token are wanted. What only the others need is not
// computed.
enum class EncoderRows { kAll, kFirst, kLast };

struct EncoderOptions {
  std::string output = {};  // name of the graph output; empty: the first one
  // Further outputs, whose numbers come behind those of `output` in every row. All of them have a
  // row per token then; only with kAll.
  std::vector<std::string> more_outputs = {};
  bool may_have_type_ids = false;  // false: token types are 0 for every text that will ever come
  EncoderRows rows = EncoderRows::kAll;
  PassObserver observer = {};  // sees the graph after every pass
  int64_t first_position = 0;  // what the graph's position_ids begin with, if it has that input
  Precision precision = Precision::kModel;  // of linear layers
  // Where packed weights are remembered (models/packed_cache.h). Empty: nowhere.
  std::filesystem::path cache_directory = {};
};

// Loads an ONNX encoder (inputs input_ids and, where it has them, attention_mask, token_type_ids,
// position_ids; any floating output) and runs it raggedly: each text as if alone, bitwise
// independent of what else is in the batch and of the number of threads. Graphs that do not qualify
// run text by text in exact mode, in float32; to ask for less is an error. Immutable; run() may be
// called from many threads.
class Encoder {
 public:
  static std::shared_ptr<const Encoder> load(const std::filesystem::path& onnx_file,
                                             const OpRegistry& ops, const EncoderOptions& options);
  // The same from a model that has been loaded, which is used up.
  static std::shared_ptr<const Encoder> load(LoadedModel model, const OpRegistry& ops,
                                             const EncoderOptions& options);
  virtual ~Encoder() = default;

  // Runs all texts and gives each to `sink`. Micro-batches of whole texts, sorted by length, go to
  // the threads of `pool`; with one micro-batch only, its operators are split instead. Throws the
  // first error of any thread; kCancelled when `stop` is requested. `observer`, unless null, sees
  // the nodes of graph().
  virtual void run(std::span<const EncoderText> texts, ThreadPool& pool, const EncoderSink& sink,
                   std::stop_token stop = {}, NodeObserver* observer = nullptr) const = 0;

  // The graph that runs, after all passes.
  virtual const Graph& graph() const = 0;

  // True when the output has a row per token, wanted or not.
  virtual bool per_token() const = 0;
  // Elements of a row, where that can be told without running the model.
  virtual std::optional<int64_t> width() const = 0;
  // The ragged plan, or null when texts run one by one; `why_not_ragged` tells the reason then.
  virtual const RaggedPlan* ragged_plan() const = 0;
  const std::string& why_not_ragged() const { return why_not_ragged_; }
  // How its linear layers compute; not kModel.
  Precision precision() const { return precision_; }
  // One line per fusion of the ragged plan: "layer_norm: Add '/encoder/Add_1'".
  const std::vector<std::string>& fusions() const { return fusions_; }

 protected:
  std::string why_not_ragged_;
  Precision precision_ = Precision::kFloat32;
  std::vector<std::string> fusions_;
};

}  // namespace hugot

#endif  // HUGOT_MODELS_ENCODER_H_
