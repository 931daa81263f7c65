// The state of a ragged run: for the files that implement RaggedExecutor alone.
#ifndef HUGOT_GRAPH_EXEC_RAGGED_IMPL_H_
#define HUGOT_GRAPH_EXEC_RAGGED_IMPL_H_

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "graph/exec/ragged.h"

namespace hugot {

// Instances of one extent: all texts of the batch, or its distinct lengths.
class Instances {
 public:
  void assign(std::span<const int64_t> lengths) {
    lengths_.assign(lengths.begin(), lengths.end());
    for (auto& sums : power_sums_) sums.assign(1, 0);
    for (const int64_t length : lengths_) {
      int64_t power = 1;
      for (auto& sums : power_sums_) {
        sums.push_back(sums.back() + power);
        power *= length;
      }
    }
  }

  size_t count() const { return lengths_.size(); }
  int64_t length(size_t i) const { return lengths_[i]; }
  int64_t tokens() const { return power_sums_[1].back(); }
  // count() + 1 ascending numbers from 0: where each instance begins on the joined token axis.
  std::span<const int64_t> boundaries() const { return power_sums_[1]; }

  // Elements before instance i of a value whose instances have sum of coefficients[p] * S^p
  // elements.
  int64_t offset(const std::vector<int64_t>& coefficients, size_t i) const {
    int64_t sum = 0;
    for (size_t p = 0; p < coefficients.size(); ++p) sum += coefficients[p] * power_sums_[p][i];
    return sum;
  }

 private:
  std::vector<int64_t> lengths_;
  std::array<std::vector<int64_t>, 3> power_sums_{};  // [p][i] = sum of S_j^p for j < i
};

// The value for S = length.
inline int64_t at_length(const Dim& dim, int64_t length) {
  if (const auto number = dim.number()) return *number;
  return dim.evaluate([&](std::string_view symbol) {
    return symbol == kLengthSymbol ? std::optional<int64_t>(length) : std::nullopt;
  });
}

class RaggedExecutor::Impl {
 public:
  explicit Impl(std::shared_ptr<const RaggedPlan> plan);
  ~Impl();

  void begin(const RaggedBatch& batch, const RunOptions& options);
  void resume(std::span<const Tensor> later, std::span<Tensor> results, const RunOptions& options);
  bool in_one() const { return plan_->first_half_ == plan_->order_.size(); }
  size_t bytes() const { return workspace_.bytes() + partial_.bytes(); }

  const Tensor& output(int i) const { return outputs_[static_cast<size_t>(i)]; }

 private:
  class Context;
  using ValueInfo = RaggedPlan::ValueInfo;
  using Step = RaggedPlan::Step;

  const ValueInfo& info(ValueId id) const { return plan_->values_[static_cast<size_t>(id)]; }
  const Instances& instances(Extent extent) const {
    if (extent == Extent::kText) return texts_;
    return extent == Extent::kLength ? lengths_ : single_;
  }
  size_t width(ValueId id) const {
    return static_cast<size_t>(dtype_bits(plan_->graph_.fact(id).dtype)) / 8;
  }

  void set_instances(std::span<const int64_t> lengths);
  void fill_inputs(const RaggedBatch& batch);
  void take_tensor(size_t k, std::span<const Tensor> tensors);
  void bind_results(std::span<Tensor> results);
  void run_steps(size_t begin, size_t end, const RunOptions& options);
  void collect_outputs(bool at_once);
  std::byte* memory_of(ValueId id, size_t bytes);
  void fill_input(size_t k, std::span<const int64_t> tokens);
  void run_step(const Step& step, Context& context);

  // The value's tensor for one instance of its extent.
  Tensor instance(ValueId id, size_t i) const;
  // All instances joined along the token axis or the batch axis.
  Tensor joined(ValueId id) const;
  Shape joined_shape(ValueId id, const Instances& over) const;
  // The shape of a value for a text of this length.
  Shape shape_at(ValueId id, int64_t length) const;

  std::shared_ptr<const RaggedPlan> plan_;
  Workspace workspace_;
  Workspace partial_;              // a text's part of a sum
  std::vector<std::byte*> data_;   // by ValueId: the packed instances
  std::vector<std::byte*> given_;  // by ValueId: memory of a result that the caller gave, or null
  std::vector<Tensor> input_blocks_;  // by graph input
  std::vector<Tensor> outputs_;

  Instances texts_;
  Instances lengths_;
  Instances single_;  // of what is shared by all texts, or summed over them
  bool begun_ = false;
  std::vector<size_t> length_of_text_;  // index into lengths_
  std::vector<int64_t> distinct_;       // lengths, sorted

  std::unique_ptr<Context> context_;  // kept for the memory of its lists
};

}  // namespace hugot

#endif  // HUGOT_GRAPH_EXEC_RAGGED_IMPL_H_
