#include "graph/exec/executor.h"

#include <algorithm>
#include <cstring>
#include <deque>

namespace hugot {

WeightPacker::WeightPacker(const Graph& graph, BlockStore& store)
    : graph_(graph), store_(store), uses_(graph.value_count(), 0) {
  for (NodeId id = 0; id < static_cast<NodeId>(graph.node_count()); ++id) {
    for (const ValueId input : graph.node(id).inputs) {
      if (input != kNoValue) ++uses_[static_cast<size_t>(input)];
    }
  }
  for (const ValueId output : graph.outputs) ++uses_[static_cast<size_t>(output)];
}

std::shared_ptr<const Prepared> WeightPacker::prepare(const Node& node, Find constant) {
  if (node.op == nullptr || node.op->prepare == nullptr) return nullptr;
  std::vector<Tensor*> data;
  for (const ValueId input : node.inputs) {
    data.push_back(input == kNoValue ? nullptr : constant(input));
  }
  const std::vector<const Tensor*> constants(data.begin(), data.end());
  std::string owner = node.label();
  for (size_t i = 0; i < data.size(); ++i) {
    if (data[i] != nullptr) owner += "\n" + graph_.value(node.inputs[i]).name;
  }
  store_.begin(owner);
  auto prepared = with_context([&] { return node.label(); },
                               [&] { return node.op->prepare(node, constants, store_); });
  for (size_t i = 0; prepared != nullptr && i < data.size(); ++i) {
    if (data[i] == nullptr || !prepared->replaces_input(static_cast<int>(i))) continue;
    release(node.inputs[i], *data[i]);
  }
  return prepared;
}

void WeightPacker::keep(ValueId id, Tensor& data) {
  if (!data.is_deferred()) return;
  store_.begin(graph_.value(id).name);
  auto block = store_.block(
      data.bytes(), [&](std::byte* memory) { std::memcpy(memory, data.raw(), data.bytes()); });
  const std::byte* const elements = block.get();
  data = Tensor(data.dtype(), data.shape(), elements, std::move(block));
}

std::shared_ptr<const Plan> Plan::compile(Graph graph, std::shared_ptr<Device> device) {
  auto plan = std::make_shared<Plan>();
  plan->graph_ = std::move(graph);
  Graph& g = plan->graph_;
  const std::vector<NodeId> order = g.order();
  for (const NodeId id : order) {
    const Node& node = g.node(id);
    require(node.op != nullptr && node.op->cpu != nullptr, ErrorCode::kUnsupported, node.label(),
            ": operator ", node.domain, node.domain.empty() ? "" : ".", node.op_type, " version ",
            node.opset, " is not implemented");
    // Bodies are compiled at once, because this is where errors in them show. A file may give an
    // attribute of type graph to an operator that has no use for one.
    const bool has_body = node.has_subgraph() && node.op->prepare != nullptr;
    plan->steps_.push_back({id, has_body ? node.op->prepare(node, {}, fresh_blocks()) : nullptr});
  }
  const auto nominal = [&](ValueId id) -> int64_t {
    const Fact& fact = g.fact(id);
    if (!fact.shape) return 0;
    // What a file declares may be any number; beyond this it makes no difference.
    constexpr int64_t kMany = int64_t{1} << 28;
    constexpr int64_t kTypical = 64;  // of a dimension that is not known
    int64_t elements = 1;
    for (const Dim& dim : *fact.shape) {
      const int64_t factor = std::clamp<int64_t>(dim.number().value_or(kTypical), 0, kMany);
      elements = std::min(elements * factor, kMany);
    }
    return elements * dtype_bits(fact.dtype) / 8;
  };
  const auto keep = [&](ValueId id) {
    return g.fact(id).dtype == DType::kString || !g.fact(id).is_tensor() ||
           std::find(g.outputs.begin(), g.outputs.end(), id) != g.outputs.end();
  };
  plan->memory_ = MemoryPlan::make(g, order, nominal, keep);
  plan->constants_.resize(g.value_count());
  plan->output_index_.assign(g.value_count(), kNoOutput);
  if (device != nullptr) {
    plan->on_device_ = std::make_unique<DeviceConstants>(g, std::move(device));
  }
  for (size_t id = 0; id < g.value_count(); ++id) {
    std::optional<Tensor>& data = g.value(static_cast<ValueId>(id)).fact.constant;
    if (!data) continue;
    plan->constants_[id] = *data;
    data = data->without_data();
  }
  for (size_t i = 0; i < g.outputs.size(); ++i) {
    plan->output_index_[static_cast<size_t>(g.outputs[i])] = static_cast<int>(i);
  }
  return plan;
}

// Casts of weights to the type that is computed in are done once, and the weights released.
bool Plan::fold_cast(const Node& node, WeightPacker& packer) const {
  if (node.op_type != "Cast" || !node.domain.empty()) return false;
  Datum& from = constants_[static_cast<size_t>(node.inputs[0])];
  if (!from.defined()) return false;
  const Tensor* const input = &from.tensor();
  constants_[static_cast<size_t>(node.outputs[0])] = evaluate(node, std::span(&input, 1))[0];
  packer.release(node.inputs[0], from.writable());
  return true;
}

void Plan::prepare() const {
  std::call_once(prepared_, [&] {
    WeightPacker packer(graph_);
    const auto constant = [&](ValueId id) -> Tensor* {
      Datum& data = constants_[static_cast<size_t>(id)];
      return data.defined() ? &data.writable() : nullptr;
    };
    for (Step& step : steps_) {
      const Node& node = graph_.node(step.node);
      if (fold_cast(node, packer)) {
        step.done = true;
        continue;
      }
      const bool on_device = on_device_ != nullptr && node.op->cuda != nullptr;
      // Not null: a body, or what an earlier attempt did before it failed.
      if (step.prepared != nullptr || on_device) continue;
      step.prepared = packer.prepare(node, constant);
    }
  });
}

class Executor::Context final : public KernelContext {
 public:
  Context(Executor& executor, const RunOptions& options) : executor_(executor), options_(options) {}

  void set_step(const Plan::Step& step) {
    node_ = &executor_.plan_->graph_.node(step.node);
    prepared_ = step.prepared.get();
    unwanted_.clear();
  }

  const Node& node() const override { return *node_; }
  bool has_input(int i) const override {
    const ValueId id = node_->input(static_cast<size_t>(i));
    return id != kNoValue && value(id).defined();
  }
  const Tensor& input(int i) const override { return tensor(input_id(i)); }
  Datum datum(int i) const override { return value(input_id(i)); }
  bool wants_output(int i) const override {
    return node_->output(static_cast<size_t>(i)) != kNoValue;
  }
  Tensor& output(int i, DType dtype, const Shape& shape) override {
    const ValueId id = node_->output(static_cast<size_t>(i));
    if (id == kNoValue) {  // a kernel may always write all outputs
      unwanted_.push_back(std::make_unique<Tensor>(dtype, shape));
      return *unwanted_.back();
    }
    return store(id, allocate(id, dtype, shape));
  }
  void set_output(int i, Datum value) override {
    const ValueId id = node_->output(static_cast<size_t>(i));
    if (id != kNoValue) executor_.values_[static_cast<size_t>(id)] = std::move(value);
  }
  void alias(int i, int j, const Shape& shape) override {
    const ValueId id = node_->output(static_cast<size_t>(i));
    if (id != kNoValue) store(id, input(j).reshaped(shape));
  }
  const Shape* planned_shape(int) const override { return nullptr; }
  std::span<std::byte> scratch(size_t bytes) override {
    return {executor_.workspace_.scratch(bytes), bytes};
  }
  ThreadPool* pool() const override { return options_.pool; }
  std::stop_token stop() const override { return options_.stop; }
  const Prepared* prepared() const override { return prepared_; }

  const Datum& value(ValueId id) const {
    const Datum& constant = executor_.plan_->constants_[static_cast<size_t>(id)];
    return constant.defined() ? constant : executor_.values_[static_cast<size_t>(id)];
  }

 private:
  ValueId input_id(int i) const {
    require(has_input(i), ErrorCode::kInvalidData, "input ", i, " is missing");
    return node_->inputs[static_cast<size_t>(i)];
  }
  const Tensor& tensor(ValueId id) const { return value(id).tensor(); }

  Tensor allocate(ValueId id, DType dtype, const Shape& shape) {
    const Plan& plan = *executor_.plan_;
    const int slot = plan.memory_.slot[static_cast<size_t>(id)];
    if (dtype == DType::kString) return Tensor(dtype, shape);
    if (slot != MemoryPlan::kNoSlot) {
      return Tensor(dtype, shape, executor_.workspace_.slot(slot, Tensor::byte_size(dtype, shape)));
    }
    const int position = plan.output_index_[static_cast<size_t>(id)];
    if (position != Plan::kNoOutput) {
      Tensor& before = executor_.reusable_[static_cast<size_t>(position)];
      if (before.dtype() == dtype && before.shape() == shape) return std::move(before);
    }
    return Tensor(dtype, shape);
  }

  Tensor& store(ValueId id, Tensor tensor) {
    Datum& place = executor_.values_[static_cast<size_t>(id)];
    place = std::move(tensor);
    return place.writable();
  }

  Executor& executor_;
  const RunOptions& options_;
  const Node* node_ = nullptr;
  const Prepared* prepared_ = nullptr;
  std::vector<std::unique_ptr<Tensor>> unwanted_;
};

Executor::Executor(std::shared_ptr<const Plan> plan)
    : plan_(std::move(plan)),
      workspace_(plan_->memory_.slot_count),
      values_(plan_->graph_.value_count()),
      reusable_(plan_->graph_.outputs.size()) {
  if (plan_->on_device_ != nullptr) {
    device_ = std::make_unique<DeviceRun>(plan_->constants_, plan_->memory_, *plan_->on_device_);
  }
}

void Executor::check_inputs(std::span<const Datum> inputs) const {
  const Graph& graph = plan_->graph_;
  require(inputs.size() == graph.inputs.size(), ErrorCode::kInvalidArgument, "the graph has ",
          graph.inputs.size(), " inputs, ", inputs.size(), " were given");
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Value& declared = graph.value(graph.inputs[i]);
    if (declared.fact.admits(inputs[i])) continue;
    fail(ErrorCode::kInvalidArgument, "input '", declared.name, "' is ", declared.fact.to_string(),
         ", got ", describe(inputs[i]));
  }
}

void Executor::run(std::span<const Datum> inputs, std::vector<Datum>& results,
                   const RunOptions& options) {
  check_inputs(inputs);
  plan_->prepare();
  const ThreadPool::Region region(options.pool);
  const Graph& graph = plan_->graph_;
  // Nothing of this run stays behind, however it ends.
  struct Sweep {
    Executor& executor;
    ~Sweep() {
      std::fill(executor.values_.begin(), executor.values_.end(), Datum());
      std::fill(executor.reusable_.begin(), executor.reusable_.end(), Tensor());
    }
  } sweep{*this};
  for (size_t i = 0; i < std::min(results.size(), reusable_.size()); ++i) {
    if (results[i].is_tensor() && results[i].tensor().unique()) {
      reusable_[i] = std::move(results[i].writable());
    }
  }
  results.assign(graph.outputs.size(), Datum());
  for (size_t i = 0; i < inputs.size(); ++i) {
    values_[static_cast<size_t>(graph.inputs[i])] = inputs[i];
  }
  Context context(*this, options);
  const DeviceRun::Scope device_scope(device_.get());
  for (const Plan::Step& step : plan_->steps_) {
    require(!options.stop.stop_requested(), ErrorCode::kCancelled, "the run was cancelled");
    if (step.done) continue;
    context.set_step(step);
    const Node& node = graph.node(step.node);
    with_context([&] { return node.label(); },
                 [&] {
                   run_observed(options.observer, step.node, [&] {
                     if (device_ != nullptr && device_->run(node, values_, workspace_)) return;
                     node.op->cpu(context);
                   });
                 });
  }
  if (device_ != nullptr) device_->to_host(graph.outputs, values_, workspace_);
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    results[i] = context.value(graph.outputs[i]).owned();
  }
}

std::vector<Tensor> Executor::run(std::span<const Tensor> inputs, const RunOptions& options) {
  const std::vector<Datum> data(inputs.begin(), inputs.end());
  std::vector<Datum> results;
  run(data, results, options);
  std::vector<Tensor> tensors;
  for (const Datum& result : results) tensors.push_back(result.tensor());
  return tensors;
}

std::map<std::string, Datum> Executor::run(const std::map<std::string, Datum>& inputs,
                                           const RunOptions& options) {
  const Graph& graph = plan_->graph_;
  std::vector<Datum> ordered;
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
  std::vector<Datum> results;
  run(ordered, results, options);
  std::map<std::string, Datum> named;
  for (size_t i = 0; i < results.size(); ++i) {
    named.emplace(graph.value(graph.outputs[i]).name, std::move(results[i]));
  }
  return named;
}

}  // namespace hugot
