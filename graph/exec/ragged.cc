// Running ragged plans.
#include <algorithm>
#include <cstring>
#include <deque>

#include "graph/exec/ragged_impl.h"

namespace hugot {
namespace {

// y += x
template <class T>
void add_elements(const std::byte* x, std::byte* y, int64_t count) {
  const T* from = reinterpret_cast<const T*>(x);
  T* to = reinterpret_cast<T*>(y);
  for (int64_t i = 0; i < count; ++i) to[i] += from[i];
}

}  // namespace

class RaggedExecutor::Impl::Context final : public KernelContext {
 public:
  explicit Context(Impl& impl) : impl_(impl) {}

  void set_options(const RunOptions& options) { options_ = options; }

  void begin(const Step& step) {
    step_ = &step;
    node_ = &impl_.plan_->graph_.node(step.node);
    inputs_.resize(std::max(inputs_.size(), node_->inputs.size()));
    partial_.assign(node_->outputs.size(), nullptr);
    outputs_.resize(std::max(outputs_.size(), node_->outputs.size()));
    planned_.resize(outputs_.size());
    unwanted_.clear();
    allocate_outputs();
  }

  // The kernel sees instance i of everything.
  void bind_instance(size_t i) {
    for (size_t k = 0; k < node_->inputs.size(); ++k) {
      const ValueId id = node_->inputs[k];
      if (id != kNoValue) inputs_[k] = impl_.instance(id, instance_of(id, i));
    }
    const int64_t length = impl_.instances(step_->extent).length(i);
    size_t partial_bytes = 0;
    for (size_t k = 0; k < node_->outputs.size(); ++k) {
      const ValueId id = node_->outputs[k];
      if (id == kNoValue) continue;
      planned_[k] = impl_.shape_at(id, length);
      if (sums(k)) {
        // The first text's part becomes the sum, the others are added by add_instance().
        partial_[k] = nullptr;
        target_[k] = impl_.data_[static_cast<size_t>(id)];
        if (i > 0) partial_bytes += (bytes_of(k) + 63) / 64 * 64;
        continue;
      }
      const int64_t offset = impl_.instances(step_->extent).offset(impl_.info(id).coefficients, i);
      target_[k] =
          impl_.data_[static_cast<size_t>(id)] + static_cast<size_t>(offset) * impl_.width(id);
    }
    if (partial_bytes > 0) place_partials(impl_.partial_.slot(0, partial_bytes));
  }

  // After the kernel has seen instance i: its part of sums is added.
  void add_instance(size_t i) {
    for (size_t k = 0; i > 0 && k < node_->outputs.size(); ++k) {
      if (partial_[k] == nullptr) continue;
      const DType dtype = impl_.plan_->graph_.fact(node_->outputs[k]).dtype;
      std::byte* sum = impl_.data_[static_cast<size_t>(node_->outputs[k])];
      if (dtype == DType::kFloat32) {
        add_elements<float>(partial_[k], sum, planned_[k].size());
      } else {
        add_elements<double>(partial_[k], sum, planned_[k].size());
      }
    }
  }

  // The kernel sees all instances joined.
  void bind_joined() {
    expanded_used_ = 0;
    for (size_t k = 0; k < node_->inputs.size(); ++k) {
      const ValueId id = node_->inputs[k];
      if (id == kNoValue) continue;
      const Extent extent = impl_.info(id).extent;
      if (extent == Extent::kShared) {
        inputs_[k] = impl_.instance(id, 0);
      } else if (extent == step_->extent) {
        inputs_[k] = impl_.joined(id);
      } else if (step_->batching != Batching::kSegments) {
        inputs_[k] = expand_to_texts(id);
      } else {
        inputs_[k] = impl_.instance(id, 0);  // the kernel asks per segment
      }
    }
    for (size_t k = 0; k < node_->outputs.size(); ++k) {
      const ValueId id = node_->outputs[k];
      if (id == kNoValue) continue;
      planned_[k] =
          sums(k) ? impl_.shape_at(id, 0) : impl_.joined_shape(id, impl_.instances(step_->extent));
      target_[k] = impl_.data_[static_cast<size_t>(id)];
    }
  }

  const Node& node() const override { return *node_; }
  bool has_input(int i) const override { return node_->input(static_cast<size_t>(i)) != kNoValue; }
  const Tensor& input(int i) const override {
    require(has_input(i), ErrorCode::kInternal, "input ", i, " is missing");
    return inputs_[static_cast<size_t>(i)];
  }
  bool wants_output(int i) const override {
    return node_->output(static_cast<size_t>(i)) != kNoValue;
  }
  Tensor& output(int i, DType dtype, const Shape& shape) override {
    const auto k = static_cast<size_t>(i);
    if (!wants_output(i)) {
      unwanted_.resize(std::max(unwanted_.size(), k + 1));
      return unwanted_[k] = Tensor(dtype, shape);
    }
    const DType planned_dtype = impl_.plan_->graph_.fact(node_->outputs[k]).dtype;
    if (!(shape == planned_[k]) || dtype != planned_dtype) {
      fail(ErrorCode::kInternal, "output ", i, " is ", dtype_name(dtype), shape.to_string(),
           ", planned was ", dtype_name(planned_dtype), planned_[k].to_string());
    }
    return outputs_[k] = Tensor(dtype, shape, target_[k]);
  }
  void alias(int i, int j, const Shape& shape) override {
    const auto k = static_cast<size_t>(i);
    if (!(shape == planned_[k])) {
      fail(ErrorCode::kInternal, "view is ", shape.to_string(), ", planned was ",
           planned_[k].to_string());
    }
    // Whole packed values share memory already; a single instance is copied only when they do not.
    const Tensor& source = inputs_[static_cast<size_t>(j)];
    if (source.raw() != target_[k] && source.bytes() > 0) {
      std::memcpy(target_[k], source.raw(), source.bytes());
    }
  }
  const Shape* planned_shape(int i) const override { return &planned_[static_cast<size_t>(i)]; }
  std::span<std::byte> scratch(size_t bytes) override {
    return {impl_.workspace_.scratch(bytes), bytes};
  }
  ThreadPool* pool() const override { return options_.pool; }
  std::stop_token stop() const override { return options_.stop; }
  const Prepared* prepared() const override { return step_->prepared.get(); }
  const Prepared* upcoming() const override { return step_->upcoming; }
  std::span<const int64_t> segments() const override {
    if (step_->batching != Batching::kSegments) return {};
    return impl_.instances(step_->extent).boundaries();
  }
  const Tensor& input_of_segment(int i, size_t segment) const override {
    const ValueId id = node_->inputs[static_cast<size_t>(i)];
    if (impl_.info(id).extent == Extent::kShared) return input(i);
    return segment_input_ = impl_.instance(id, instance_of(id, segment));
  }

 private:
  bool sums(size_t k) const {
    return step_->sums && impl_.info(node_->outputs[k]).extent == Extent::kSum;
  }
  size_t bytes_of(size_t k) const {
    return static_cast<size_t>(planned_[k].size()) * impl_.width(node_->outputs[k]);
  }
  void place_partials(std::byte* memory) {
    for (size_t k = 0; k < node_->outputs.size(); ++k) {
      if (node_->outputs[k] == kNoValue || !sums(k)) continue;
      target_[k] = partial_[k] = memory;
      memory += (bytes_of(k) + 63) / 64 * 64;
    }
  }

  // Instance i of the step's extent, as an instance of the value's own extent.
  size_t instance_of(ValueId id, size_t i) const {
    const Extent extent = impl_.info(id).extent;
    return extent == step_->extent || extent == Extent::kShared ? i : impl_.length_of_text_[i];
  }

  void allocate_outputs() {
    const MemoryPlan& memory = impl_.plan_->memory_;
    target_.assign(node_->outputs.size(), nullptr);
    for (const ValueId id : node_->outputs) {
      if (id == kNoValue) continue;
      const ValueId root = memory.root[static_cast<size_t>(id)];
      if (root != id && impl_.info(root).extent == step_->extent) {
        impl_.data_[static_cast<size_t>(id)] = impl_.data_[static_cast<size_t>(root)];
        continue;
      }
      const Instances& over = impl_.instances(impl_.info(id).extent);
      const int64_t elements = over.offset(impl_.info(id).coefficients, over.count());
      impl_.data_[static_cast<size_t>(id)] =
          impl_.memory_of(id, static_cast<size_t>(elements) * impl_.width(id));
    }
  }

  // Repeats what is known per length for every text.
  Tensor expand_to_texts(ValueId id) {
    const ValueInfo& value = impl_.info(id);
    const Shape shape = impl_.joined_shape(id, impl_.texts_);
    const DType dtype = impl_.plan_->graph_.fact(id).dtype;
    if (expanded_used_ == expanded_.size()) expanded_.emplace_back(1);
    std::byte* target = expanded_[expanded_used_++].slot(0, Tensor::byte_size(dtype, shape));
    Tensor result(dtype, shape, target);
    for (size_t text = 0; text < impl_.texts_.count(); ++text) {
      const Tensor source = impl_.instance(id, impl_.length_of_text_[text]);
      const int64_t offset = impl_.texts_.offset(value.coefficients, text);
      std::memcpy(target + static_cast<size_t>(offset) * impl_.width(id), source.raw(),
                  source.bytes());
    }
    return result;
  }

  Impl& impl_;
  RunOptions options_;
  const Step* step_ = nullptr;
  const Node* node_ = nullptr;
  std::vector<Tensor> inputs_;
  std::vector<Tensor> outputs_;
  std::vector<Shape> planned_;
  std::vector<std::byte*> target_;
  std::vector<std::byte*> partial_;  // by output, where a text's part of a sum goes; null elsewhere
  std::vector<Workspace> expanded_;
  size_t expanded_used_ = 0;
  std::deque<Tensor> unwanted_;  // which kernels hold references to
  mutable Tensor segment_input_;
};

// ---------------------------------------------------------------------------------------------

RaggedExecutor::Impl::Impl(std::shared_ptr<const RaggedPlan> plan)
    : plan_(std::move(plan)),
      workspace_(plan_->memory_.slot_count),
      partial_(1),
      data_(plan_->graph_.value_count(), nullptr),
      given_(plan_->graph_.value_count(), nullptr),
      input_blocks_(plan_->graph_.inputs.size()),
      outputs_(plan_->graph_.outputs.size()),
      context_(std::make_unique<Context>(*this)) {
  single_.assign(std::array<int64_t, 1>{1});
  // Views of constants are their memory.
  const Graph& graph = plan_->graph_;
  for (NodeId n = 0; n < static_cast<NodeId>(graph.node_count()); ++n) {
    const Node& node = graph.node(n);
    if (!node.op->aliases || node.input(0) == kNoValue) continue;
    const Tensor* constant = graph.constant(node.inputs[0]);
    if (constant == nullptr) continue;
    data_[static_cast<size_t>(node.inputs[0])] =
        static_cast<std::byte*>(const_cast<void*>(static_cast<const void*>(constant->raw())));
  }
}

RaggedExecutor::Impl::~Impl() = default;

// Memory for all instances of a value.
std::byte* RaggedExecutor::Impl::memory_of(ValueId id, size_t bytes) {
  std::byte* const given = given_[static_cast<size_t>(id)];
  return given != nullptr ? given
                          : workspace_.slot(plan_->memory_.slot[static_cast<size_t>(id)], bytes);
}

Shape RaggedExecutor::Impl::shape_at(ValueId id, int64_t length) const {
  const std::vector<RaggedPlan::KnownDim>& known = info(id).dims;
  std::array<int64_t, Shape::kMaxRank> result{};
  for (size_t i = 0; i < known.size(); ++i) {
    switch (known[i].kind) {
      case RaggedPlan::KnownDim::kNumber:
        result[i] = known[i].number;
        break;
      case RaggedPlan::KnownDim::kLength:
        result[i] = length;
        break;
      case RaggedPlan::KnownDim::kFormula:
        result[i] = at_length((*plan_->graph_.fact(id).shape)[i], length);
        break;
    }
  }
  return Shape(std::span<const int64_t>(result.data(), known.size()));
}

Tensor RaggedExecutor::Impl::instance(ValueId id, size_t i) const {
  const Fact& fact = plan_->graph_.fact(id);
  const ValueInfo& value = info(id);
  if (value.extent == Extent::kShared) {
    if (const Tensor* constant = plan_->graph_.constant(id)) return *constant;
    i = 0;
  }
  const Instances& over = instances(value.extent);
  const auto offset = static_cast<size_t>(over.offset(value.coefficients, i)) * width(id);
  return Tensor(fact.dtype, shape_at(id, over.length(i)), data_[static_cast<size_t>(id)] + offset);
}

Shape RaggedExecutor::Impl::joined_shape(ValueId id, const Instances& over) const {
  if (info(id).token_axis >= 0) return shape_at(id, over.tokens());
  const auto count = static_cast<int64_t>(over.count());
  if (info(id).dims.empty()) return {count};  // a number for each instance
  return shape_at(id, 0).with(0, count);
}

Tensor RaggedExecutor::Impl::joined(ValueId id) const {
  return Tensor(plan_->graph_.fact(id).dtype, joined_shape(id, instances(info(id).extent)),
                data_[static_cast<size_t>(id)]);
}

void RaggedExecutor::Impl::run_step(const Step& step, Context& context) {
  const Node& node = plan_->graph_.node(step.node);
  const KernelFunction kernel = node.op->cpu;
  context.begin(step);
  const ValueId first = node.output(0);
  if (node.op->aliases && node.outputs.size() == 1 &&
      plan_->memory_.root[static_cast<size_t>(first)] != first) {
    return;  // a view of packed instances is the packed views
  }
  if (step.batching == Batching::kLoop) {
    for (size_t i = 0; i < instances(step.extent).count(); ++i) {
      context.bind_instance(i);
      kernel(context);
      if (step.sums) context.add_instance(i);
    }
  } else {
    context.bind_joined();
    kernel(context);
  }
}

void RaggedExecutor::Impl::run_steps(size_t begin, size_t end, const RunOptions& options) {
  const ThreadPool::Region region(options.pool);
  Context& context = *context_;
  context.set_options(options);
  for (size_t i = begin; i < end; ++i) {
    const Step& step = plan_->steps_[static_cast<size_t>(plan_->order_[i])];
    require(!options.stop.stop_requested(), ErrorCode::kCancelled, "the run was cancelled");
    with_context(
        [&] { return plan_->graph_.node(step.node).label(); },
        [&] { run_observed(options.observer, step.node, [&] { run_step(step, context); }); });
  }
}

void RaggedExecutor::Impl::collect_outputs(bool at_once) {
  for (size_t i = 0; i < outputs_.size(); ++i) {
    if (plan_->at_once_[i] != at_once) continue;
    const ValueId id = plan_->graph_.outputs[i];
    if (info(id).extent == Extent::kSum) {
      outputs_[i] = instance(id, 0);
      continue;
    }
    const Tensor all = joined(id);
    const int axis = std::max(info(id).token_axis, 0);
    const Shape& shape = all.shape();
    outputs_[i] = all.reshaped(Shape(shape.dims().subspan(static_cast<size_t>(axis))));
  }
}

void RaggedExecutor::Impl::begin(const RaggedBatch& batch, const RunOptions& options) {
  std::fill(given_.begin(), given_.end(), nullptr);
  set_instances(batch.lengths);
  fill_inputs(batch);
  begun_ = false;
  run_steps(0, plan_->first_half_, options);
  begun_ = true;
  collect_outputs(true);
}

// Sums over the batch are computed where the caller wants them. One that is wanted twice, or is not
// computed by a node of its own, is copied afterwards.
void RaggedExecutor::Impl::bind_results(std::span<Tensor> results) {
  for (size_t i = 0; i < results.size(); ++i) {
    if (!results[i].defined()) continue;
    const ValueId id = plan_->graph_.outputs[i];
    const Shape wanted = shape_at(id, 0);
    require(info(id).extent == Extent::kSum && results[i].shape() == wanted &&
                results[i].dtype() == plan_->graph_.fact(id).dtype,
            ErrorCode::kInvalidArgument, "result '", plan_->graph_.value(id).name, "' is ",
            describe(results[i]), ", needed is a sum ", wanted.to_string());
    std::byte*& given = given_[static_cast<size_t>(plan_->memory_.root[static_cast<size_t>(id)])];
    if (given == nullptr) given = static_cast<std::byte*>(results[i].raw());
  }
}

void RaggedExecutor::Impl::resume(std::span<const Tensor> later, std::span<Tensor> results,
                                  const RunOptions& options) {
  require(begun_, ErrorCode::kInvalidArgument, "there is no run to resume");
  require(results.empty() || results.size() == outputs_.size(), ErrorCode::kInvalidArgument,
          results.size(), " results for ", outputs_.size(), " outputs");
  begun_ = false;
  for (size_t k = 0; k < plan_->sources_.size(); ++k) {
    const RaggedInput* input = plan_->sources_[k].input;
    if (input != nullptr && input->later) take_tensor(k, later);
  }
  bind_results(results);
  run_steps(plan_->first_half_, plan_->order_.size(), options);
  collect_outputs(false);
  for (size_t i = 0; i < results.size(); ++i) {
    if (results[i].defined() && results[i].raw() != outputs_[i].raw()) {
      std::memcpy(results[i].raw(), outputs_[i].raw(), outputs_[i].bytes());
    }
  }
}

RaggedExecutor::RaggedExecutor(std::shared_ptr<const RaggedPlan> plan)
    : impl_(std::make_unique<Impl>(std::move(plan))) {}
RaggedExecutor::~RaggedExecutor() = default;
RaggedExecutor::RaggedExecutor(RaggedExecutor&&) noexcept = default;
RaggedExecutor& RaggedExecutor::operator=(RaggedExecutor&&) noexcept = default;

void RaggedExecutor::run(const RaggedBatch& batch, const RunOptions& options) {
  require(impl_->in_one(), ErrorCode::kInvalidArgument, "inputs that are given later are missing");
  impl_->begin(batch, options);
}

void RaggedExecutor::begin(const RaggedBatch& batch, const RunOptions& options) {
  impl_->begin(batch, options);
}

void RaggedExecutor::resume(std::span<const Tensor> later, std::span<Tensor> results,
                            const RunOptions& options) {
  impl_->resume(later, results, options);
}

size_t RaggedExecutor::bytes() const { return impl_->bytes(); }

const Tensor& RaggedExecutor::output(int i) const { return impl_->output(i); }

}  // namespace hugot
