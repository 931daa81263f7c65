// What the inputs of a ragged run hold.
#include <algorithm>

#include "graph/exec/ragged_impl.h"

namespace hugot {

void RaggedExecutor::Impl::set_instances(std::span<const int64_t> lengths) {
  std::vector<int64_t>& distinct = distinct_;
  distinct.assign(lengths.begin(), lengths.end());
  std::sort(distinct.begin(), distinct.end());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  length_of_text_.clear();
  for (const int64_t length : lengths) {
    require(length >= 1, ErrorCode::kInvalidArgument, "a text needs at least one token");
    length_of_text_.push_back(static_cast<size_t>(
        std::lower_bound(distinct.begin(), distinct.end(), length) - distinct.begin()));
  }
  texts_.assign(lengths);
  lengths_.assign(distinct);
}

namespace {

// Writes the integers that an input holds for all its instances: tokens, positions or shapes.
template <class T>
void write_integers(const Fact& fact, const RaggedInput* input, const Instances& over,
                    std::span<const int64_t> tokens, T* target) {
  const auto put = [&](int64_t value) { *target++ = static_cast<T>(value); };
  if (!tokens.empty()) {
    for (const int64_t token : tokens) put(token);
    return;
  }
  for (size_t i = 0; i < over.count(); ++i) {
    if (input != nullptr) {
      for (int64_t k = 0; k < over.length(i); ++k) put(input->value + k);
    } else {
      for (const Dim& dim : *fact.symbolic) put(at_length(dim, over.length(i)));
    }
  }
}

}  // namespace

void RaggedExecutor::Impl::fill_input(size_t k, std::span<const int64_t> tokens) {
  const ValueId id = plan_->graph_.inputs[k];
  const Fact& fact = plan_->graph_.fact(id);
  const RaggedInput* input = plan_->sources_[k].input;
  const Instances& over = instances(info(id).extent);
  const int64_t count = over.offset(info(id).coefficients, over.count());
  Tensor& block = input_blocks_[k];
  if (!block.defined() || block.size() < count) block = Tensor(fact.dtype, {count});
  data_[static_cast<size_t>(id)] = static_cast<std::byte*>(block.raw());
  if (fact.uniform) {
    fill(block, *fact.uniform, count);
    return;
  }
  const auto write = [&]<class T>(T* target) { write_integers(fact, input, over, tokens, target); };
  switch (fact.dtype) {
    case DType::kInt64:
      write(block.data<int64_t>());
      break;
    case DType::kInt32:
      write(block.data<int32_t>());
      break;
    case DType::kFloat32:
      write(block.data<float>());
      break;
    case DType::kFloat64:
      write(block.data<double>());
      break;
    case DType::kBool:
      write(block.data<bool>());
      break;
    default:
      fail(ErrorCode::kUnsupported, "input '", plan_->graph_.value(id).name, "' is ",
           dtype_name(fact.dtype));
  }
}

// Reads what is given for an input in place.
void RaggedExecutor::Impl::take_tensor(size_t k, std::span<const Tensor> tensors) {
  const RaggedPlan::Source& source = plan_->sources_[k];
  const ValueId id = plan_->graph_.inputs[k];
  require(source.index < tensors.size(), ErrorCode::kInvalidArgument, "input '", source.input->name,
          "' is missing");
  const Tensor& given = tensors[source.index];
  const Shape wanted =
      info(id).extent == Extent::kShared ? shape_at(id, 0) : joined_shape(id, texts_);
  require(given.dtype() == plan_->graph_.fact(id).dtype && given.shape() == wanted,
          ErrorCode::kInvalidArgument, "input '", source.input->name, "' is ", describe(given),
          ", needed is ", dtype_name(plan_->graph_.fact(id).dtype), wanted.to_string());
  input_blocks_[k] = given;
  data_[static_cast<size_t>(id)] = static_cast<std::byte*>(input_blocks_[k].raw());
}

void RaggedExecutor::Impl::fill_inputs(const RaggedBatch& batch) {
  for (size_t k = 0; k < plan_->sources_.size(); ++k) {
    const RaggedPlan::Source& source = plan_->sources_[k];
    std::span<const int64_t> given;
    if (source.is(RaggedInput::Kind::kTensor)) {
      if (!source.input->later) take_tensor(k, batch.tensors);
      continue;
    }
    if (source.is(RaggedInput::Kind::kParameter)) {
      take_tensor(k, batch.parameters);
      continue;
    }
    if (source.given()) {
      require(source.index < batch.tokens.size(), ErrorCode::kInvalidArgument, "input '",
              source.input->name, "' is missing");
      given = batch.tokens[source.index];
      require(static_cast<int64_t>(given.size()) == texts_.tokens(), ErrorCode::kInvalidArgument,
              "input '", source.input->name, "' has ", given.size(), " tokens, ", texts_.tokens(),
              " are needed");
    }
    fill_input(k, given);
  }
}

}  // namespace hugot
