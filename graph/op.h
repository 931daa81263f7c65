// Operator definitions: what a room says about an operator, and the contexts its functions get.
#ifndef HUGOT_GRAPH_OP_H_
#define HUGOT_GRAPH_OP_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/block_store.h"
#include "base/datum.h"
#include "base/tensor.h"
#include "base/thread_pool.h"
#include "graph/graph.h"

namespace hugot {

class Stream;  // graph/exec/device.h

// ---------------------------------------------------------------------------------------------
// Type and shape inference

// Facts of a node's inputs, and the facts of its outputs to fill in.
class InferContext {
 public:
  InferContext(const Graph& graph, const Node& node) : graph_(graph), node_(node) {
    outputs_.resize(node.outputs.size());
  }

  const Node& node() const { return node_; }
  int num_inputs() const { return static_cast<int>(node_.inputs.size()); }
  int num_outputs() const { return static_cast<int>(node_.outputs.size()); }
  bool has_input(int i) const { return node_.input(static_cast<size_t>(i)) != kNoValue; }
  // REQUIRES: has_input(i)
  const Fact& input(int i) const { return graph_.fact(node_.inputs[static_cast<size_t>(i)]); }
  Fact& output(int i) { return outputs_[static_cast<size_t>(i)]; }
  bool wants_output(int i) const { return node_.output(static_cast<size_t>(i)) != kNoValue; }
  // Graph::scope, for symbols that a rule makes up.
  const std::string& scope() const { return graph_.scope; }

  // Integers of input i when all are known, e.g. axes; empty optional when not known or absent.
  std::optional<std::vector<int64_t>> integers(int i) const;

  // For operators that only move elements (Gather, Slice, Concat, Reshape, Transpose ..): when the
  // data inputs have known or symbolic elements, runs the node's own kernel on element numbers and
  // so finds which element goes where. `data_inputs` are the inputs whose elements move to output
  // 0; the others must be constant. Sets output(0).symbolic or .uniform when that works. Call it
  // after output(0).shape and dtype are set.
  void propagate_moved(std::initializer_list<int> data_inputs);
  void propagate_moved(std::span<const int> data_inputs);

 private:
  friend class Inference;
  const Graph& graph_;
  const Node& node_;
  std::vector<Fact> outputs_;
};

// ---------------------------------------------------------------------------------------------
// Ragged execution (docs/architecture.md, "Ragged mode")

// How a node of a ragged graph is executed over many texts at once.
enum class Batching {
  kLoop,      // one instance after the other with the ordinary kernel: always right
  kPacked,    // once, on the token axes of all instances joined: [1,S,..] -> [1,T,..]
  kRows,      // once, on the batch axes of all instances joined: [1,..] -> [N,..], no token axis
  kSegments,  // once, on joined token axes, with KernelContext::segments() telling the boundaries
              // In both, scalars that differ between instances are lists: [] -> [N].
  kSum,       // once, on joined axes, which gives the sums over all instances of the outputs that
              // the node has to sum (sums_over_texts), and the others joined
};

// An attribute of nodes: the outputs (std::vector<int64_t>) of which only the sum over all
// instances is wanted, as of the gradients of weights. A node whose operator has no rule kSum for
// that runs once per instance, and its results are added.
inline constexpr std::string_view kSummedAttribute = "hugot.summed";
inline bool sums_over_texts(const Node& node) { return node.has(kSummedAttribute); }
// True for one of those outputs.
bool sums_over_texts(const Node& node, int output);

// What the batching rule of an operator may ask. The token axis of a value is the axis whose length
// is the text's length S when every axis before it has length 1 ("leading"); -1 when there is none.
class BatchQuery {
 public:
  virtual ~BatchQuery() = default;
  virtual const Node& node() const = 0;
  virtual const Fact& input_fact(int i) const = 0;
  virtual const Fact& output_fact(int i) const = 0;
  virtual bool has_input(int i) const = 0;
  // True when the value differs between instances (it depends on S or on a text).
  virtual bool ragged(int i) const = 0;
  // Leading token axis of input i / output i, or -1.
  virtual int token_axis(int i) const = 0;
  virtual int output_token_axis(int i) const = 0;
  // True when input i is ragged, has no dimension that depends on S, and begins with a batch
  // axis 1.
  virtual bool row(int i) const = 0;
};

// Packed when the operator treats every element alone: token axes of all ragged inputs meet the
// output's token axis under broadcasting. Rows when no input depends on S; scalars, too: [] -> [N].
Batching batch_elementwise(const BatchQuery& query);

// Packed when the operator works on `axes` of input 0 only and all of them lie behind the token
// axis, and the other inputs are not ragged. Rows likewise when there is no token axis and no axis
// is 0.
Batching batch_over_axes(const BatchQuery& query, std::span<const int64_t> axes);

// ---------------------------------------------------------------------------------------------
// Kernels

// Work done once per node and model: packed weights, tables. Immutable and shared between threads.
class Prepared {
 public:
  virtual ~Prepared() = default;
  virtual size_t bytes() const { return 0; }
  // True when the kernel needs only dtype and shape of input i from now on: its data may be
  // released.
  virtual bool replaces_input(int /*i*/) const { return false; }
};

// What a kernel sees of one execution of its node. Tensors are contiguous. A kernel may be called
// from several threads at once with different contexts.
class KernelContext {
 public:
  virtual ~KernelContext() = default;

  virtual const Node& node() const = 0;
  int num_inputs() const { return static_cast<int>(node().inputs.size()); }
  int num_outputs() const { return static_cast<int>(node().outputs.size()); }
  virtual bool has_input(int i) const = 0;
  // Throws kInvalidData when the input is absent, and kInvalidArgument when it is no tensor.
  virtual const Tensor& input(int i) const = 0;
  // The same for an input of any kind.
  virtual Datum datum(int i) const { return input(i); }
  virtual bool wants_output(int i) const = 0;
  // Memory for output i, uninitialised. To be called once per wanted output, after all shapes are
  // known. Output memory never overlaps inputs.
  virtual Tensor& output(int i, DType dtype, const Shape& shape) = 0;
  // Output i of any kind, instead of output(). Its tensors must own their memory: Datum::owned().
  // Throws kUnsupported where only tensors can be kept (ragged mode).
  virtual void set_output(int i, Datum value);
  // Output i is input j's memory under another shape. Only for operators with OpDef::aliases.
  virtual void alias(int i, int j, const Shape& shape) = 0;
  // In ragged mode: the shape output i has to have, because shape inputs hold one text's shape.
  // Null in exact mode.
  virtual const Shape* planned_shape(int i) const = 0;
  // 64-byte aligned memory until the kernel returns; one call replaces the block of an earlier one.
  virtual std::span<std::byte> scratch(size_t bytes) = 0;
  // Threads for this node; null: stay in this thread.
  virtual ThreadPool* pool() const = 0;
  // Long-running kernels (loops) ask it now and then.
  virtual std::stop_token stop() const { return {}; }
  // For a kernel of a device: where it queues its work. Inputs, outputs and scratch are memory of
  // that device then, which the host must not touch. Null for a kernel of the host.
  virtual Stream* stream() const { return nullptr; }
  // Input i in host memory, for operands that say what to do (axes, shapes). Waits for the device.
  virtual const Tensor& host_input(int i) { return input(i); }
  // What OpDef::prepare returned, or null.
  virtual const Prepared* prepared() const = 0;
  // What OpDef::prepare returned for the next node that has it, or null: a kernel may begin to
  // fetch its memory.
  virtual const Prepared* upcoming() const { return nullptr; }
  // Boundaries of the instances on the joined token axis (n + 1 ascending numbers from 0), when the
  // node runs as Batching::kSegments; empty otherwise.
  virtual std::span<const int64_t> segments() const { return {}; }
  // For a ragged input: its own tensor for segment i. Otherwise, and where a context knows only
  // joined inputs, the input itself.
  virtual const Tensor& input_of_segment(int i, size_t /*segment*/) const { return input(i); }

  // T* of scratch memory for `count` elements.
  template <class T>
  T* scratch_of(int64_t count) {
    return reinterpret_cast<T*>(scratch(static_cast<size_t>(count) * sizeof(T)).data());
  }
};

// ---------------------------------------------------------------------------------------------
// Definitions

using InferFunction = void (*)(InferContext&);
using BatchingFunction = Batching (*)(const BatchQuery&);
using KernelFunction = void (*)(KernelContext&);
// `constants[i]` is input i when it is a constant of the graph, else null. Large results lie in
// blocks of `store`, and the constants' elements are looked at only where such a block is filled:
// then a store that remembers the blocks saves reading the weights at all.
using PrepareFunction = std::shared_ptr<const Prepared> (*)(
    const Node& node, std::span<const Tensor* const> constants, BlockStore& store);
// Appends the nodes that compute the gradients of the inputs: graph/gradient.h.
class GradientContext;
using GradientRule = void(GradientContext&);
// Writes the operator with others: graph/expansion.h. False when the facts do not tell enough yet;
// facts with all dimensions always do.
class Expansion;
using ExpandFunction = bool (*)(Expansion&);

// One version of one operator. Rooms fill these; nothing changes them afterwards.
struct OpDef {
  std::string_view name;
  std::string_view domain;
  int since_version = 1;
  // The last version of the domain that has this definition; the registry knows.
  int until_version = kNewest;
  int min_inputs = 0;
  int max_inputs = 0;  // kVariadic: any number
  int min_outputs = 1;
  int max_outputs = 1;
  InferFunction infer = nullptr;
  BatchingFunction batching = nullptr;  // null: kLoop
  PrepareFunction prepare = nullptr;
  KernelFunction cpu = nullptr;
  // Throws kUnsupported, before it asks for outputs, for operands that only `cpu` can take.
  KernelFunction cuda = nullptr;
  GradientRule* gradient = nullptr;  // null: not differentiable, or not yet
  ExpandFunction expand = nullptr;   // null: no composition of others
  // The operator is nothing but its expansion: the passes of both modes replace it. Otherwise only
  // those of ragged mode do.
  bool composite = false;
  bool deterministic = true;  // equal inputs give equal outputs; false for random operators
  bool aliases = false;       // output 0 may be input 0's memory (views)

  static constexpr int kVariadic = 1 << 20;
  static constexpr int kNewest = 1 << 20;
};

// All operators of a build, by (domain, name, version). Immutable after construction; passed in,
// never global.
class OpRegistry {
 public:
  // Throws kInternal when a (domain, name, since_version) is there already.
  void add(const OpDef& definition);

  // The newest definition with since_version <= opset; null when there is none.
  const OpDef* find(std::string_view domain, std::string_view name, int opset) const;
  // Like find, but throws kUnsupported naming operator and version.
  const OpDef& get(std::string_view domain, std::string_view name, int opset) const;

  // All definitions of all versions, sorted by domain, name, version.
  std::vector<const OpDef*> all() const;

 private:
  std::unordered_map<std::string, std::vector<std::unique_ptr<OpDef>>> by_name_;
};

// Infers the facts of a node's outputs from those of its inputs, merges them with what is already
// known, and stores them in the graph. Checks the number of inputs and outputs. Errors name the
// node.
void infer_node(Graph& graph, NodeId node);
// All nodes in order.
void infer(Graph& graph);

// Runs one node on given inputs (null: absent) without plan; outputs own their memory. Used for
// constant folding, tests and symbolic propagation.
std::vector<Tensor> evaluate(const Node& node, std::span<const Tensor* const> inputs,
                             ThreadPool* pool = nullptr);
// The same for a node that a file has made up: nothing when an output or scratch memory would take
// more than `max_bytes`, which a few bytes of a model can ask for.
std::optional<std::vector<Tensor>> evaluate_within(size_t max_bytes, const Node& node,
                                                   std::span<const Tensor* const> inputs);
// The same for values of any kind; an undefined datum is an absent input.
std::vector<Datum> evaluate_data(const Node& node, std::span<const Datum> inputs,
                                 ThreadPool* pool = nullptr);

}  // namespace hugot

#endif  // HUGOT_GRAPH_OP_H_
