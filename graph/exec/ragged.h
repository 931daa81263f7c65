// Ragged execution: many texts of different lengths through one graph, without padding.
//
// The result for a text is defined as the graph run on that text alone (batch 1). A plan knows for
// every value whether it is shared, a function of the text's length, or of the text itself; a batch
// stores the latter two packed, one instance after the other, and each node runs by the batching
// rule of its operator. docs/architecture.md, "Ragged mode", has the idea.
#ifndef HUGOT_GRAPH_EXEC_RAGGED_H_
#define HUGOT_GRAPH_EXEC_RAGGED_H_

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "graph/exec/executor.h"
#include "graph/exec/memory.h"
#include "graph/op.h"

namespace hugot {

// The symbol that stands for a text's number of tokens.
inline constexpr std::string_view kLengthSymbol = "S";

// The leading axis of that length: every axis before it is 1 and none behind it depends on the
// length; -1 when there is none.
int leading_token_axis(const Dims& dims);
int leading_token_axis(const Fact& fact);  // -1 for unknown shapes, too

// What an input of the graph holds in ragged mode. Inputs that passes added are not listed: their
// facts tell their contents for every length.
struct RaggedInput {
  enum class Kind {
    kTokens,     // a number per token, given for every text
    kUniform,    // `value` everywhere (attention mask, token types of single texts)
    kPositions,  // value, value + 1, ..
    kTensor,     // a tensor of `shape` for each text, such as an image
    kParameter,  // one tensor for all texts, which every run is given: a weight under training
  };
  std::string name;
  Kind kind = Kind::kTokens;
  int64_t value = 0;
  // Without the batch axis: of kTensor, and of kUniform where it has no token axis.
  Shape shape = {};
  // Of kTensor: given to RaggedExecutor::resume() only, as the gradients of results are.
  bool later = false;
};

// What is given for the texts of one run.
struct RaggedBatch {
  // Tokens of each text, at least 1. Where the graph takes no tokens, 1 for every text.
  std::span<const int64_t> lengths;
  // For the k-th input of kind kTokens the numbers of all texts one after the other.
  std::span<const std::span<const int64_t>> tokens = {};
  // For the k-th input of kind kTensor those of all texts, [N, shape..], of the graph's type. Read
  // in place.
  std::span<const Tensor> tensors = {};
  // For the k-th input of kind kParameter its tensor. Read in place.
  std::span<const Tensor> parameters = {};
};

// On what a value depends, and so how many instances of it a batch holds: one that is the same for
// all batches or depends on parameters alone; one per distinct length; one per text; or one, the
// sum over all texts of the batch or what is computed from such sums.
enum class Extent { kShared, kLength, kText, kSum };

// A specialised graph made ready to run raggedly. Immutable, shared between threads.
class RaggedPlan {
 public:
  // `graph` has been through specialize() and the passes. Throws kUnsupported when the graph does
  // not qualify, naming the value or node that stands in the way. Packed weights lie in blocks of
  // `store`.
  static std::shared_ptr<const RaggedPlan> compile(Graph graph, std::vector<RaggedInput> inputs,
                                                   BlockStore& store = fresh_blocks());

  const Graph& graph() const { return graph_; }
  const std::vector<RaggedInput>& inputs() const { return inputs_; }
  Extent extent(ValueId id) const { return values_[static_cast<size_t>(id)].extent; }
  // Batching rule of a node of graph().
  Batching batching(NodeId id) const { return steps_[static_cast<size_t>(id)].batching; }
  // True when output i has a row per token ([T, ..]), false when it has a row per text ([N, ..]) or
  // is a sum over the batch.
  bool output_per_token(int i) const;
  // True when output i needs nothing that is given later, and so is there after begin().
  bool output_at_once(int i) const;
  const MemoryPlan& memory() const { return memory_; }
  // Bytes of packed weights.
  size_t prepared_bytes() const;
  // About the bytes that a run of one text of so many tokens keeps at once, as far as they grow
  // with the number of tokens and not with its square.
  int64_t activation_bytes(int64_t tokens) const;

 private:
  friend class RaggedExecutor;
  class Query;

  // A dimension as most are, so that runs need not evaluate the expression.
  struct KnownDim {
    enum Kind : uint8_t { kNumber, kLength, kFormula } kind = kFormula;
    int64_t number = 0;
  };
  struct ValueInfo {
    Extent extent = Extent::kShared;
    int token_axis = -1;                // leading axis of length S, see BatchQuery
    std::vector<KnownDim> dims;         // empty for kShared
    std::vector<int64_t> coefficients;  // elements per instance: sum of coefficients[p] * S^p
  };
  struct Step {
    NodeId node = kNoNode;
    Extent extent = Extent::kText;
    Batching batching = Batching::kLoop;
    std::shared_ptr<const Prepared> prepared;
    const Prepared* upcoming = nullptr;  // of a later step
    bool sums = false;                   // sums_over_texts
  };

  // Where an input of the graph gets its contents.
  struct Source {
    const RaggedInput* input = nullptr;  // into inputs_; null: the fact tells
    size_t index = 0;                    // which of those of its kind
    bool is(RaggedInput::Kind kind) const { return input != nullptr && input->kind == kind; }
    bool given() const { return is(RaggedInput::Kind::kTokens) || is(RaggedInput::Kind::kTensor); }
  };

  void find_sources();
  void classify(BlockStore& store);
  void describe_layout(ValueId id);
  Extent extent_of(const Node& node) const;
  void check_outputs() const;
  void order_steps();

  Graph graph_;
  std::vector<RaggedInput> inputs_;
  std::vector<Source> sources_;    // by graph input
  std::vector<ValueInfo> values_;  // by ValueId
  std::vector<Step> steps_;        // by NodeId: the graph is compact and in order
  std::vector<NodeId> order_;      // of execution
  size_t first_half_ = 0;          // steps of order_ that begin() runs
  std::vector<bool> at_once_;      // by graph output
  MemoryPlan memory_;
};

// Runs a ragged plan; keeps its memory between runs. One run at a time: use one per thread.
class RaggedExecutor {
 public:
  explicit RaggedExecutor(std::shared_ptr<const RaggedPlan> plan);
  ~RaggedExecutor();
  RaggedExecutor(RaggedExecutor&&) noexcept;
  RaggedExecutor& operator=(RaggedExecutor&&) noexcept;

  // Afterwards output(i) is valid until the next run. REQUIRES: no input is given later.
  void run(const RaggedBatch& batch, const RunOptions& options = {});
  void run(std::span<const int64_t> lengths, std::span<const std::span<const int64_t>> tokens,
           const RunOptions& options = {}) {
    run({.lengths = lengths, .tokens = tokens}, options);
  }

  // The same in two halves. begin() computes the outputs that need nothing which is given later,
  // and no more than they need. resume() computes the rest from what begin() has left, at most
  // once; `later` are the tensors of the inputs that RaggedInput::later marks, in their order, as
  // RaggedBatch::tensors has the others. What an output that is a sum over the batch is computed to
  // lies in the memory of its place in `results`, which has one for each output, where that is
  // defined.
  void begin(const RaggedBatch& batch, const RunOptions& options = {});
  void resume(std::span<const Tensor> later, std::span<Tensor> results,
              const RunOptions& options = {});

  // Bytes of memory held.
  size_t bytes() const;

  // Packed results: [T, ..] or [N, ..] by output_per_token(i), further axes as in the graph; what
  // the graph says for sums over the batch.
  const Tensor& output(int i) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hugot

#endif  // HUGOT_GRAPH_EXEC_RAGGED_H_
