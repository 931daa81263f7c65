// Bodies of control flow, made ready to run.
#ifndef HUGOT_KERNELS_SUBGRAPH_H_
#define HUGOT_KERNELS_SUBGRAPH_H_

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/exec/executor.h"
#include "graph/exec/state_pool.h"
#include "graph/op.h"
#include "graph/writer.h"

namespace hugot {

// Number of a node's inputs that are values captured by its subgraphs; they are the last ones.
size_t captured_count(const Node& node);
// Number of the other inputs.
int own_inputs(const Node& node);

// The body in attribute `name`. Throws kInvalidData when there is none, or when it has other
// numbers of inputs (besides captured values) and outputs than given; negative: any.
const Graph& body_of(const Node& node, std::string_view name, int inputs, int outputs);

// ---------------------------------------------------------------------------------------------
// Inference

// Facts of a body's outputs for these facts of its own inputs; captured values are as the node has
// them. What is known of contents stays inside.
std::vector<Fact> infer_body(const InferContext& ctx, const Graph& body, std::vector<Fact> inputs);

// `fact`, found inside of a body, as output `output` of the node around it: dimensions with
// symbols that no input of the node has become unknown ones.
Fact outward(const InferContext& ctx, const Fact& fact, int output);

// What holds for both: facts of one value in two branches or iterations. Dimensions that differ
// become unknown ones of output `output`; of two kinds it is the second.
Fact common_type(const InferContext& ctx, const Fact& a, const Fact& b, int output);

// The outputs of a copy of `body` in the writer's graph, whose inputs are `inputs`.
std::vector<Term> inline_body(GraphWriter& writer, const Graph& body, std::span<const Term> inputs);

// ---------------------------------------------------------------------------------------------
// Execution

// One compiled body with run states for as many threads as use it.
class Subgraph {
 public:
  explicit Subgraph(const Graph& body);

  const Graph& graph() const { return plan_->graph(); }
  // A number or flag as the body declares its input `i`: a scalar, or a list of one.
  Tensor scalar_input(int i, Tensor scalar) const;

 private:
  friend class SubgraphRun;
  std::vector<bool> lists_;  // by input: declared as a list of one
  std::shared_ptr<const Plan> plan_;
  mutable StatePool<Executor> executors_;
};

// All bodies of a node, by attribute.
class Subgraphs final : public Prepared {
 public:
  explicit Subgraphs(const Node& node);
  const Subgraph& at(std::string_view name) const;

 private:
  std::map<std::string, Subgraph, std::less<>> bodies_;
};

// OpDef::prepare of every operator with subgraphs.
std::shared_ptr<const Prepared> prepare_subgraphs(const Node& node,
                                                  std::span<const Tensor* const> constants,
                                                  BlockStore& store);

// Runs a body within one execution of its node.
class SubgraphRun {
 public:
  SubgraphRun(const KernelContext& ctx, std::string_view attribute);
  ~SubgraphRun();
  SubgraphRun(const SubgraphRun&) = delete;
  SubgraphRun& operator=(const SubgraphRun&) = delete;

  const Subgraph& body() const { return body_; }
  // `inputs` are the body's own ones. Memory of `results` is used again where it fits.
  void operator()(std::span<const Datum> inputs, std::vector<Datum>& results);

 private:
  const Subgraph& body_;
  std::vector<Datum> arguments_;  // own inputs, then captured values
  size_t own_;
  RunOptions options_;
  std::unique_ptr<Executor> executor_;
};

}  // namespace hugot

#endif  // HUGOT_KERNELS_SUBGRAPH_H_
