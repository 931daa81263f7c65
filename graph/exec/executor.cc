#include "graph/exec/executor.h"

#include <algorithm>
#include <deque>

namespace hugot {

std::shared_ptr<const Prepared> prepare_node(const Graph& graph, const Node& node) {
  if (node.op == nullptr || node.op->prepare == nullptr) return nullptr;
  std::vector<const Tensor*> constants;
  for (const ValueId input : node.inputs) constants.push_back(graph.constant(input));
  return with_context([&] { return node.label(); },
                      [&] { return node.op->prepare(node, constants); });
}

ConstantUses::ConstantUses(const Graph& graph) : uses_(graph.value_count(), 0) {
  for (NodeId id = 0; id < static_cast<NodeId>(graph.node_count()); ++id) {
    for (const ValueId input : graph.node(id).inputs) {
      if (input != kNoValue) ++uses_[static_cast<size_t>(input)];
    }
  }
  for (const ValueId output : graph.outputs) ++uses_[static_cast<size_t>(output)];
}

void ConstantUses::prepared(Graph& graph, const Node& node, const Prepared* prepared) {
  if (prepared == nullptr) return;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const ValueId id = node.inputs[i];
    if (graph.constant(id) == nullptr || !prepared->replaces_input(static_cast<int>(i))) continue;
    if (--uses_[static_cast<size_t>(id)] > 0) continue;
    std::optional<Tensor>& data = graph.value(id).fact.constant;
    data = Tensor(data->dtype(), data->shape(), nullptr);
  }
}

std::shared_ptr<const Plan> Plan::compile(Graph graph) {
  auto plan = std::make_shared<Plan>();
  plan->graph_ = std::move(graph);
  Graph& g = plan->graph_;
  ConstantUses uses(g);
  const std::vector<NodeId> order = g.order();
  for (const NodeId id : order) {
    const Node& node = g.node(id);
    require(node.op != nullptr && node.op->cpu != nullptr, ErrorCode::kUnsupported, node.label(),
            ": operator ", node.domain, node.domain.empty() ? "" : ".", node.op_type, " version ",
            node.opset, " is not implemented");
    plan->steps_.push_back({id, prepare_node(g, node)});
    uses.prepared(g, node, plan->steps_.back().prepared.get());
  }
  const auto nominal = [&](ValueId id) -> int64_t {
    const Fact& fact = g.fact(id);
    if (!fact.shape) return 0;
    int64_t elements = 1;
    for (const Dim& dim : *fact.shape) {
      constexpr int64_t kTypical = 64;  // of a dimension that is not known
      elements *= dim.number().value_or(kTypical);
      if (elements > (int64_t{1} << 40)) break;
    }
    return elements * dtype_bits(fact.dtype) / 8;
  };
  const auto keep = [&](ValueId id) {
    return g.fact(id).dtype == DType::kString ||
           std::find(g.outputs.begin(), g.outputs.end(), id) != g.outputs.end();
  };
  plan->memory_ = MemoryPlan::make(g, order, nominal, keep);
  return plan;
}

class Executor::Context final : public KernelContext {
 public:
  Context(Executor& executor, const RunOptions& options) : executor_(executor), options_(options) {}

  void set_step(const Plan::Step& step) {
    node_ = &executor_.plan_->graph_.node(step.node);
    prepared_ = step.prepared.get();
  }

  const Node& node() const override { return *node_; }
  bool has_input(int i) const override { return node_->input(static_cast<size_t>(i)) != kNoValue; }
  const Tensor& input(int i) const override {
    require(has_input(i), ErrorCode::kInvalidData, "input ", i, " is missing");
    return tensor(node_->inputs[static_cast<size_t>(i)]);
  }
  bool wants_output(int i) const override {
    return node_->output(static_cast<size_t>(i)) != kNoValue;
  }
  Tensor& output(int i, DType dtype, const Shape& shape) override {
    const ValueId id = node_->output(static_cast<size_t>(i));
    if (id == kNoValue) {  // a kernel may always write all outputs
      unwanted_.emplace_back(dtype, shape);
      return unwanted_.back();
    }
    const int slot = executor_.plan_->memory_.slot[static_cast<size_t>(id)];
    Tensor& result = executor_.values_[static_cast<size_t>(id)];
    if (slot == MemoryPlan::kNoSlot || dtype == DType::kString) {
      result = Tensor(dtype, shape);
    } else {
      result =
          Tensor(dtype, shape, executor_.workspace_.slot(slot, Tensor::byte_size(dtype, shape)));
    }
    return result;
  }
  void alias(int i, int j, const Shape& shape) override {
    const ValueId id = node_->output(static_cast<size_t>(i));
    if (id != kNoValue) executor_.values_[static_cast<size_t>(id)] = input(j).reshaped(shape);
  }
  const Shape* planned_shape(int) const override { return nullptr; }
  std::span<std::byte> scratch(size_t bytes) override {
    return {executor_.workspace_.scratch(bytes), bytes};
  }
  ThreadPool* pool() const override { return options_.pool; }
  const Prepared* prepared() const override { return prepared_; }

  const Tensor& tensor(ValueId id) const {
    const Tensor* constant = executor_.plan_->graph_.constant(id);
    return constant != nullptr ? *constant : executor_.values_[static_cast<size_t>(id)];
  }

  void forget_unwanted() { unwanted_.clear(); }

 private:
  Executor& executor_;
  const RunOptions& options_;
  const Node* node_ = nullptr;
  const Prepared* prepared_ = nullptr;
  std::deque<Tensor> unwanted_;
};

Executor::Executor(std::shared_ptr<const Plan> plan)
    : plan_(std::move(plan)),
      workspace_(plan_->memory_.slot_count),
      values_(plan_->graph_.value_count()) {}

void Executor::check_inputs(std::span<const Tensor> inputs) const {
  const Graph& graph = plan_->graph_;
  require(inputs.size() == graph.inputs.size(), ErrorCode::kInvalidArgument, "the graph has ",
          graph.inputs.size(), " inputs, ", inputs.size(), " were given");
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Value& declared = graph.value(graph.inputs[i]);
    const Fact& fact = declared.fact;
    bool fits = fact.dtype == DType::kUndefined || fact.dtype == inputs[i].dtype();
    if (fact.shape) {
      fits = fits && fact.rank() == inputs[i].rank();
      for (int axis = 0; fits && axis < inputs[i].rank(); ++axis) {
        const auto number = (*fact.shape)[static_cast<size_t>(axis)].number();
        fits = !number || *number == inputs[i].shape()[axis];
      }
    }
    require(fits, ErrorCode::kInvalidArgument, "input '", declared.name, "' is ", fact.to_string(),
            ", got ", describe(inputs[i]));
  }
}

std::vector<Tensor> Executor::run(std::span<const Tensor> inputs, const RunOptions& options) {
  check_inputs(inputs);
  const Graph& graph = plan_->graph_;
  std::fill(values_.begin(), values_.end(), Tensor());
  for (size_t i = 0; i < inputs.size(); ++i) {
    values_[static_cast<size_t>(graph.inputs[i])] = inputs[i];
  }
  Context context(*this, options);
  for (const Plan::Step& step : plan_->steps_) {
    require(!options.stop.stop_requested(), ErrorCode::kCancelled, "the run was cancelled");
    context.set_step(step);
    with_context([&] { return graph.node(step.node).label(); },
                 [&] { graph.node(step.node).op->cpu(context); });
    context.forget_unwanted();
  }
  std::vector<Tensor> results;
  for (const ValueId output : graph.outputs) {
    const Tensor& tensor = context.tensor(output);
    results.push_back(tensor.owns() ? tensor : tensor.clone());
  }
  std::fill(values_.begin(), values_.end(), Tensor());
  return results;
}

std::map<std::string, Tensor> Executor::run(const std::map<std::string, Tensor>& inputs,
                                            const RunOptions& options) {
  const Graph& graph = plan_->graph_;
  std::vector<Tensor> ordered;
  for (const ValueId id : graph.inputs) {
    const auto it = inputs.find(graph.value(id).name);
    require(it != inputs.end(), ErrorCode::kInvalidArgument, "input '", graph.value(id).name, "' (",
            graph.fact(id).to_string(), ") is missing");
    ordered.push_back(it->second);
  }
  for (const auto& [name, tensor] : inputs) {
    const ValueId id = graph.find(name);
    require(std::find(graph.inputs.begin(), graph.inputs.end(), id) != graph.inputs.end(),
            ErrorCode::kInvalidArgument, "the graph has no input '", name, "'");
  }
  std::vector<Tensor> results = run(ordered, options);
  std::map<std::string, Tensor> named;
  for (size_t i = 0; i < results.size(); ++i) {
    named.emplace(graph.value(graph.outputs[i]).name, std::move(results[i]));
  }
  return named;
}

}  // namespace hugot
