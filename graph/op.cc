#include "graph/op.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>

namespace hugot {
namespace {

std::string key(std::string_view domain, std::string_view name) { return str(domain, "/", name); }

// Ends a kernel that asks for more memory than it may have; never leaves this file.
struct BeyondLimit {};

// One node with owned outputs, outside of any plan.
class SingleContext final : public KernelContext {
 public:
  SingleContext(const Node& node, std::span<const Datum> inputs, const Prepared* prepared,
                ThreadPool* pool, size_t max_bytes)
      : node_(node),
        inputs_(inputs),
        prepared_(prepared),
        pool_(pool),
        max_bytes_(max_bytes),
        fresh_(node.outputs.size()),
        outputs_(node.outputs.size()) {}

  const Node& node() const override { return node_; }
  bool has_input(int i) const override {
    return static_cast<size_t>(i) < inputs_.size() && inputs_[static_cast<size_t>(i)].defined();
  }
  const Tensor& input(int i) const override {
    require(has_input(i), ErrorCode::kInvalidData, "input ", i, " is missing");
    return inputs_[static_cast<size_t>(i)].tensor();
  }
  Datum datum(int i) const override {
    require(has_input(i), ErrorCode::kInvalidData, "input ", i, " is missing");
    return inputs_[static_cast<size_t>(i)];
  }
  bool wants_output(int i) const override {
    return node_.output(static_cast<size_t>(i)) != kNoValue;
  }
  Tensor& output(int i, DType dtype, const Shape& shape) override {
    if (Tensor::byte_size(dtype, shape) > max_bytes_) throw BeyondLimit();
    return fresh_[static_cast<size_t>(i)] = Tensor(dtype, shape);
  }
  void set_output(int i, Datum value) override {
    outputs_[static_cast<size_t>(i)] = std::move(value);
  }
  void alias(int i, int j, const Shape& shape) override {
    fresh_[static_cast<size_t>(i)] = input(j).reshaped(shape).clone();
  }
  const Shape* planned_shape(int) const override { return nullptr; }
  std::span<std::byte> scratch(size_t bytes) override {
    if (bytes > max_bytes_) throw BeyondLimit();
    scratch_ = Tensor(DType::kUInt8, {static_cast<int64_t>(bytes)});
    return {static_cast<std::byte*>(scratch_.raw()), bytes};
  }
  ThreadPool* pool() const override { return pool_; }
  const Prepared* prepared() const override { return prepared_; }

  std::vector<Datum> take() {
    for (size_t i = 0; i < fresh_.size(); ++i) {
      if (fresh_[i].defined()) outputs_[i] = std::move(fresh_[i]);
    }
    return std::move(outputs_);
  }

 private:
  const Node& node_;
  std::span<const Datum> inputs_;
  const Prepared* prepared_;
  ThreadPool* pool_;
  size_t max_bytes_;
  std::vector<Tensor> fresh_;   // made by output() and alias()
  std::vector<Datum> outputs_;  // made by set_output()
  Tensor scratch_;
};

std::vector<Datum> run_single(const Node& node, std::span<const Datum> inputs, ThreadPool* pool,
                              size_t max_bytes) {
  require(node.op != nullptr && node.op->cpu != nullptr, ErrorCode::kUnsupported, node.label(),
          ": operator version ", node.opset, " is not implemented");
  return with_context([&] { return node.label(); },
                      [&] {
                        std::shared_ptr<const Prepared> prepared;
                        if (node.op->prepare != nullptr) {
                          std::vector<const Tensor*> constants;
                          for (const Datum& input : inputs) {
                            const bool given = input.is_tensor() && input.defined();
                            constants.push_back(given ? &input.tensor() : nullptr);
                          }
                          prepared = node.op->prepare(node, constants, fresh_blocks());
                        }
                        SingleContext context(node, inputs, prepared.get(), pool, max_bytes);
                        node.op->cpu(context);
                        return context.take();
                      });
}

// Null pointers become absent inputs.
std::vector<Datum> as_data(std::span<const Tensor* const> tensors) {
  std::vector<Datum> data;
  for (const Tensor* tensor : tensors) data.push_back(tensor == nullptr ? Datum() : Datum(*tensor));
  return data;
}

std::vector<Tensor> as_tensors(const std::vector<Datum>& data) {
  std::vector<Tensor> tensors;
  for (const Datum& datum : data) tensors.push_back(datum.tensor());
  return tensors;
}

// True when every axis of `query`'s ragged inputs meets the output as batch_elementwise needs it.
bool aligned_tokens(const BatchQuery& query) {
  const int out_axis = query.output_token_axis(0);
  if (out_axis < 0) return false;
  const int out_rank = query.output_fact(0).rank();
  const int inputs = static_cast<int>(query.node().inputs.size());
  for (int i = 0; i < inputs; ++i) {
    if (!query.has_input(i) || !query.ragged(i)) continue;
    const int axis = query.token_axis(i);
    if (axis < 0 || axis + out_rank - query.input_fact(i).rank() != out_axis) return false;
  }
  return true;
}

bool all_rows(const BatchQuery& query) {
  const int inputs = static_cast<int>(query.node().inputs.size());
  const int out_rank = query.output_fact(0).rank();
  if (out_rank == 0) return true;  // numbers, and a number for each instance
  for (int i = 0; i < inputs; ++i) {
    if (!query.has_input(i)) continue;
    const int rank = query.input_fact(i).rank();
    if (query.ragged(i)) {
      if (!query.row(i) || rank != out_rank) return false;
    } else if (rank >= out_rank && !query.input_fact(i).shape->front().is(1)) {
      return false;
    }
  }
  return out_rank > 0;  // not unknown
}

}  // namespace

std::optional<std::vector<int64_t>> InferContext::integers(int i) const {
  if (!has_input(i)) return std::nullopt;
  return input(i).integers();
}

void InferContext::propagate_moved(std::initializer_list<int> data_inputs) {
  propagate_moved(std::span<const int>(data_inputs.begin(), data_inputs.size()));
}

void InferContext::propagate_moved(std::span<const int> data_inputs) {
  const auto is_data = [&](int i) {
    return std::find(data_inputs.begin(), data_inputs.end(), i) != data_inputs.end();
  };
  Fact& out = output(0);

  // All elements equal: so are those of the result, wherever they come from.
  bool uniform = !data_inputs.empty();
  std::optional<Tensor> common;
  for (const int i : data_inputs) {
    const auto single = has_input(i) ? input(i).single_value() : std::nullopt;
    uniform = uniform && single && (!common || identical(*common, *single));
    if (single) common = single;
  }
  if (uniform) out.uniform = common;

  // Number the elements, let the kernel move the numbers, and look up what they stand for.
  Dims elements;
  std::vector<Tensor> stand_ins(static_cast<size_t>(num_inputs()));
  std::vector<const Tensor*> arguments(static_cast<size_t>(num_inputs()), nullptr);
  for (int i = 0; i < num_inputs(); ++i) {
    if (!has_input(i)) continue;
    const Fact& fact = input(i);
    if (!is_data(i)) {
      // A symbolic list that happens to be all numbers serves as well as a constant.
      const auto shape = fact.fixed_shape();
      const auto integers = fact.integers();
      if (fact.constant) {
        arguments[static_cast<size_t>(i)] = &*fact.constant;
      } else if (shape && integers && fact.dtype == DType::kInt64) {
        stand_ins[static_cast<size_t>(i)] =
            Tensor::from<int64_t>(*shape, std::span<const int64_t>(*integers));
        arguments[static_cast<size_t>(i)] = &stand_ins[static_cast<size_t>(i)];
      } else {
        return;
      }
      continue;
    }
    const auto shape = fact.fixed_shape();
    if (!shape || shape->size() > kMaxSymbolicElements || fact.dtype == DType::kString) return;
    auto dims = fact.dimensions();
    if (!dims || static_cast<int64_t>(dims->size()) != shape->size()) return;
    Tensor numbers(DType::kInt64, *shape);
    for (int64_t k = 0; k < shape->size(); ++k) {
      numbers.data<int64_t>()[k] = static_cast<int64_t>(elements.size());
      elements.push_back((*dims)[static_cast<size_t>(k)]);
    }
    stand_ins[static_cast<size_t>(i)] = std::move(numbers);
    arguments[static_cast<size_t>(i)] = &stand_ins[static_cast<size_t>(i)];
  }
  constexpr size_t kMaxBytes = kMaxSymbolicElements * sizeof(int64_t);
  const auto moved = evaluate_within(kMaxBytes, node_, arguments);
  if (!moved || moved->empty()) return;
  Dims result;
  for (const int64_t number : moved->front().values<int64_t>()) {
    if (number < 0 || number >= static_cast<int64_t>(elements.size())) return;
    result.push_back(elements[static_cast<size_t>(number)]);
  }
  out.symbolic = std::move(result);
}

bool sums_over_texts(const Node& node, int output) {
  if (!sums_over_texts(node)) return false;
  const auto& outputs = node.at<std::vector<int64_t>>(kSummedAttribute);
  return std::find(outputs.begin(), outputs.end(), output) != outputs.end();
}

Batching batch_elementwise(const BatchQuery& query) {
  if (aligned_tokens(query)) return Batching::kPacked;
  if (all_rows(query)) return Batching::kRows;
  return Batching::kLoop;
}

Batching batch_over_axes(const BatchQuery& query, std::span<const int64_t> axes) {
  const int rank = query.input_fact(0).rank();
  const int inputs = static_cast<int>(query.node().inputs.size());
  for (int i = 1; i < inputs; ++i) {
    if (query.has_input(i) && query.ragged(i)) return Batching::kLoop;
  }
  if (rank < 0) return Batching::kLoop;
  const int token = query.token_axis(0);
  if (token < 0 && !query.row(0)) return Batching::kLoop;
  for (const int64_t axis : axes) {
    if (axis < -rank || axis >= rank) return Batching::kLoop;
    if ((axis < 0 ? axis + rank : axis) <= std::max(token, 0)) return Batching::kLoop;
  }
  return token >= 0 ? Batching::kPacked : Batching::kRows;
}

void OpRegistry::add(const OpDef& definition) {
  auto& versions = by_name_[key(definition.domain, definition.name)];
  const auto place = std::find_if(versions.begin(), versions.end(), [&](const auto& other) {
    return other->since_version >= definition.since_version;
  });
  require(place == versions.end() || (*place)->since_version != definition.since_version,
          ErrorCode::kInternal, "operator ", definition.name, " version ", definition.since_version,
          " is registered twice");
  const auto added = versions.insert(place, std::make_unique<OpDef>(definition));
  if (added != versions.begin()) (*(added - 1))->until_version = definition.since_version - 1;
  if (added + 1 != versions.end()) (*added)->until_version = (*(added + 1))->since_version - 1;
}

const OpDef* OpRegistry::find(std::string_view domain, std::string_view name, int opset) const {
  const auto it = by_name_.find(key(domain, name));
  if (it == by_name_.end()) return nullptr;
  const OpDef* found = nullptr;
  for (const auto& definition : it->second) {
    if (definition->since_version <= opset) found = definition.get();
  }
  return found;
}

const OpDef& OpRegistry::get(std::string_view domain, std::string_view name, int opset) const {
  const OpDef* found = find(domain, name, opset);
  require(found != nullptr, ErrorCode::kUnsupported, "operator ", domain, domain.empty() ? "" : ".",
          name, " version ", opset, " is not implemented");
  return *found;
}

std::vector<const OpDef*> OpRegistry::all() const {
  std::vector<const OpDef*> result;
  for (const auto& [name, versions] : by_name_) {
    for (const auto& definition : versions) result.push_back(definition.get());
  }
  std::sort(result.begin(), result.end(), [](const OpDef* a, const OpDef* b) {
    return std::tie(a->domain, a->name, a->since_version) <
           std::tie(b->domain, b->name, b->since_version);
  });
  return result;
}

void KernelContext::set_output(int i, Datum value) {
  if (!value.is_tensor()) {
    fail(ErrorCode::kUnsupported, "output ", i, " is ", describe(value),
         "; only tensors can be kept here");
  }
  const Tensor& tensor = value.tensor();
  Tensor& out = output(i, tensor.dtype(), tensor.shape());
  if (tensor.dtype() == DType::kString) {
    std::copy_n(tensor.data<std::string>(), tensor.size(), out.data<std::string>());
  } else if (tensor.bytes() > 0) {
    std::memcpy(out.raw(), tensor.raw(), tensor.bytes());
  }
}

std::vector<Tensor> evaluate(const Node& node, std::span<const Tensor* const> inputs,
                             ThreadPool* pool) {
  return as_tensors(run_single(node, as_data(inputs), pool, SIZE_MAX));
}

std::optional<std::vector<Tensor>> evaluate_within(size_t max_bytes, const Node& node,
                                                   std::span<const Tensor* const> inputs) {
  try {
    return as_tensors(run_single(node, as_data(inputs), nullptr, max_bytes));
  } catch (const BeyondLimit&) {
    return std::nullopt;
  }
}

std::vector<Datum> evaluate_data(const Node& node, std::span<const Datum> inputs,
                                 ThreadPool* pool) {
  return run_single(node, inputs, pool, SIZE_MAX);
}

}  // namespace hugot
