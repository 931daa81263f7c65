#include "kernels/subgraph.h"

#include <algorithm>
#include <set>

#include "kernels/infer_helpers.h"

namespace hugot {
namespace {

using Body = std::shared_ptr<const Graph>;

// Symbols that the facts of a node's inputs mention.
std::set<std::string> known_symbols(const InferContext& ctx) {
  std::set<std::string> known;
  const auto add = [&](const std::optional<Dims>& dims) {
    if (!dims) return;
    for (const Dim& dim : *dims) {
      for (std::string& symbol : dim.symbols()) known.insert(std::move(symbol));
    }
  };
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    if (!ctx.has_input(i)) continue;
    add(ctx.input(i).shape);
    add(ctx.input(i).symbolic);
  }
  return known;
}

}  // namespace

size_t captured_count(const Node& node) {
  if (!node.has(kCapturedAttribute)) return 0;
  return std::min(node.at<std::vector<std::string>>(kCapturedAttribute).size(), node.inputs.size());
}

int own_inputs(const Node& node) {
  return static_cast<int>(node.inputs.size() - captured_count(node));
}

const Graph& body_of(const Node& node, std::string_view name, int inputs, int outputs) {
  const Graph& body = *node.at<Body>(name);
  const size_t captured = captured_count(node);
  require(body.inputs.size() >= captured, ErrorCode::kInternal, "a body without captured values");
  const size_t own = body.inputs.size() - captured;
  require(inputs < 0 || own == static_cast<size_t>(inputs), ErrorCode::kInvalidData,
          "the graph in '", name, "' has ", own, " inputs, expected ", inputs);
  require(outputs < 0 || body.outputs.size() == static_cast<size_t>(outputs),
          ErrorCode::kInvalidData, "the graph in '", name, "' has ", body.outputs.size(),
          " outputs, expected ", outputs);
  return body;
}

std::vector<Fact> infer_body(const InferContext& ctx, const Graph& body, std::vector<Fact> inputs) {
  for (int i = own_inputs(ctx.node()); i < ctx.num_inputs(); ++i) {
    inputs.push_back(ctx.has_input(i) ? ctx.input(i) : Fact());
  }
  require(inputs.size() == body.inputs.size(), ErrorCode::kInvalidData, "the body has ",
          body.inputs.size(), " inputs, ", inputs.size(), " are given");
  Graph copy = body;
  for (size_t i = 0; i < inputs.size(); ++i) {
    Fact& declared = copy.value(copy.inputs[i]).fact;
    const bool unknown = inputs[i].is_tensor() && inputs[i].dtype == DType::kUndefined;
    if (unknown && !inputs[i].shape) {
      declared = declared.type();
      declared.shape.reset();
    } else {
      const DType dtype = declared.dtype;
      declared = std::move(inputs[i]);
      if (declared.dtype == DType::kUndefined) declared.dtype = dtype;
    }
  }
  infer(copy);
  std::vector<Fact> outputs;
  for (const ValueId id : copy.outputs) outputs.push_back(copy.fact(id).type());
  return outputs;
}

Fact outward(const InferContext& ctx, const Fact& fact, int output) {
  Fact result = fact.type();
  if (!result.is_tensor() || !result.shape) return result;
  const std::set<std::string> known = known_symbols(ctx);
  for (size_t axis = 0; axis < result.shape->size(); ++axis) {
    const auto symbols = (*result.shape)[axis].symbols();
    const bool visible =
        std::all_of(symbols.begin(), symbols.end(),
                    [&](const std::string& symbol) { return known.contains(symbol); });
    if (!visible) (*result.shape)[axis] = unknown_dim(ctx, output, static_cast<int>(axis));
  }
  return result;
}

Fact common_type(const InferContext& ctx, const Fact& a, const Fact& b, int output) {
  if (!b.is_tensor() || !a.is_tensor()) return b.type();
  Fact result;
  result.dtype = a.dtype == DType::kUndefined ? b.dtype : a.dtype;
  if (!a.shape || !b.shape || a.shape->size() != b.shape->size()) return result;
  Dims dims = *a.shape;
  for (size_t axis = 0; axis < dims.size(); ++axis) {
    if (dims[axis] == (*b.shape)[axis]) continue;
    dims[axis] = unknown_dim(ctx, output, static_cast<int>(axis));
  }
  result.shape = std::move(dims);
  return result;
}

std::vector<Term> inline_body(GraphWriter& writer, const Graph& body,
                              std::span<const Term> inputs) {
  std::vector<ValueId> ids;
  for (const Term& input : inputs) ids.push_back(input.id());
  Graph& graph = writer.graph();
  Graph::Copied copied = graph.copy_nodes(body, ids, {}, "body/");
  for (Node& node : copied.nodes) infer_node(graph, graph.add_node(std::move(node)));
  std::vector<Term> outputs;
  for (const ValueId id : copied.outputs) outputs.push_back(writer.value(id));
  return outputs;
}

Subgraph::Subgraph(const Graph& body) {
  Graph graph = body;
  // Shapes that files declare inside of bodies are often those of the first iteration.
  for (const ValueId id : graph.inputs) {
    Fact& fact = graph.value(id).fact;
    lists_.push_back(fact.rank() == 1);
    fact.shape.reset();
  }
  plan_ = Plan::compile(std::move(graph));
}

Tensor Subgraph::scalar_input(int i, Tensor scalar) const {
  const bool list = lists_[static_cast<size_t>(i)];
  return scalar.reshaped(list ? Shape({1}) : Shape());
}

Subgraphs::Subgraphs(const Node& node) {
  for (const auto& attribute : node.attributes) {
    const Body* body = std::get_if<Body>(&attribute.second);
    if (body == nullptr) continue;
    with_context([&] { return str("graph in '", attribute.first, "'"); },
                 [&] { bodies_.try_emplace(attribute.first, **body); });
  }
}

const Subgraph& Subgraphs::at(std::string_view name) const {
  const auto it = bodies_.find(name);
  require(it != bodies_.end(), ErrorCode::kInvalidData, "attribute '", name, "' is missing");
  return it->second;
}

std::shared_ptr<const Prepared> prepare_subgraphs(const Node& node,
                                                  std::span<const Tensor* const> /*constants*/,
                                                  BlockStore& /*store*/) {
  return std::make_shared<const Subgraphs>(node);
}

SubgraphRun::SubgraphRun(const KernelContext& ctx, std::string_view attribute)
    : body_(static_cast<const Subgraphs*>(ctx.prepared())->at(attribute)),
      arguments_(body_.graph().inputs.size()),
      options_{.pool = ctx.pool(), .stop = ctx.stop()},
      executor_(body_.executors_.take()) {
  if (executor_ == nullptr) executor_ = std::make_unique<Executor>(body_.plan_);
  const size_t captured = captured_count(ctx.node());
  require(captured <= arguments_.size(), ErrorCode::kInternal, "a body without captured values");
  own_ = arguments_.size() - captured;
  const int first = own_inputs(ctx.node());
  for (size_t i = 0; i < captured; ++i) {
    const int input = first + static_cast<int>(i);
    if (ctx.has_input(input)) arguments_[own_ + i] = ctx.datum(input);
  }
}

SubgraphRun::~SubgraphRun() { body_.executors_.give(std::move(executor_)); }

void SubgraphRun::operator()(std::span<const Datum> inputs, std::vector<Datum>& results) {
  require(inputs.size() == own_, ErrorCode::kInvalidData, "the body has ", own_, " inputs, ",
          inputs.size(), " are given");
  std::copy(inputs.begin(), inputs.end(), arguments_.begin());
  executor_->run(arguments_, results, options_);
  // Nothing shares the caller's memory afterwards.
  std::fill_n(arguments_.begin(), own_, Datum());
}

}  // namespace hugot
