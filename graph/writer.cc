#include "graph/writer.h"

#include <bit>
#include <limits>
#include <numeric>

namespace hugot {
namespace {

template <class T>
T whole(double value) {
  constexpr double kEnd = -static_cast<double>(std::numeric_limits<T>::min());  // a power of two
  require(value >= -kEnd && value < kEnd, ErrorCode::kInvalidArgument, "the number ", value,
          " is outside of its integer type");
  return static_cast<T>(value);
}

Tensor scalar_tensor(double value, DType dtype) {
  switch (dtype) {
    case DType::kFloat64:
      return Tensor::scalar(value);
    case DType::kFloat32:
      return Tensor::scalar(static_cast<float>(value));
    case DType::kFloat16:
      return Tensor::scalar(Float16(static_cast<float>(value)));
    case DType::kBFloat16:
      return Tensor::scalar(BFloat16(static_cast<float>(value)));
    case DType::kInt64:
      return Tensor::scalar(whole<int64_t>(value));
    case DType::kInt32:
      return Tensor::scalar(whole<int32_t>(value));
    default:
      fail(ErrorCode::kUnsupported, "the number ", value, " cannot be written as ",
           dtype_name(dtype));
  }
}

bool same_shape(const Fact& a, const Fact& b) { return a.shape && b.shape && *a.shape == *b.shape; }

}  // namespace

const Fact& Term::fact() const { return writer_->graph().fact(id_); }

int Term::rank() const {
  const int rank = fact().rank();
  require(rank >= 0, ErrorCode::kUnsupported, "the rank of '", writer_->graph().value(id_).name,
          "' is not known");
  return rank;
}

Term Term::apply(std::string_view type, std::initializer_list<Term> inputs) {
  GraphWriter* writer = nullptr;
  for (const Term& input : inputs) {
    if (input.writer_ != nullptr) writer = input.writer_;
  }
  require(writer != nullptr, ErrorCode::kInternal, type, " of numbers only");
  return writer->op(type, inputs);
}

Term cast_to(const Term& a, DType dtype) {
  if (a.dtype() == dtype) return a;
  return a.writer().op("Cast", {a}, {{"to", static_cast<int64_t>(dtype)}});
}

Term dim_of(const Term& a, int64_t axis) {
  return a.writer().op("Shape", {a}, {{"start", axis}, {"end", axis + 1}});
}

// Counts are exact in float64; a half type may not hold them.
Term count_ratio(const Term& a, const Term& b) {
  const Term of_a = cast_to(count_of(a), DType::kFloat64);
  return cast_to(of_a / cast_to(count_of(b), DType::kFloat64), a.dtype());
}

Term zeros_like(const Term& a) {
  const Tensor zero = scalar_tensor(0, a.dtype()).reshaped({1});
  return a.writer().op("ConstantOfShape", {shape_of(a)}, {{"value", zero}});
}

Term reshape(const Term& a, const Term& shape) {
  return a.writer().op("Reshape", {a, shape}, {{"allowzero", int64_t{1}}});
}

Term reshape_like(const Term& a, const Term& like) {
  return same_shape(a.fact(), like.fact()) ? a : reshape(a, shape_of(like));
}

Term unsqueeze(const Term& a, std::vector<int64_t> axes) {
  if (axes.empty()) return a;
  return a.writer().op("Unsqueeze", {a, a.writer().integers(axes)});
}

Term transpose(const Term& a, std::vector<int64_t> perm) {
  return a.writer().op("Transpose", {a}, {{"perm", std::move(perm)}});
}

Term transposed(const Term& a) {
  std::vector<int64_t> perm(static_cast<size_t>(a.rank()));
  require(perm.size() >= 2, ErrorCode::kInternal, "a value of rank ", perm.size(),
          " has no two axes to swap");
  std::iota(perm.begin(), perm.end(), 0);
  std::swap(perm[perm.size() - 2], perm.back());
  return transpose(a, std::move(perm));
}

Term sum(const Term& a, const Term& axes) {
  return a.writer().op("ReduceSum", {a, axes}, {{"keepdims", int64_t{1}}});
}

Term mean(const Term& a, const Term& axes) {
  return a.writer().op("ReduceMean", {a, axes}, {{"keepdims", int64_t{1}}});
}

Term sum_to(const Term& a, const Term& like) {
  if (same_shape(a.fact(), like.fact())) return a;
  return a.writer().op("SumTo", {a, shape_of(like)}, {}, "hugot");
}

Term GraphWriter::constant(Tensor data) {
  return value(graph_.add_initializer(str(scope_, "/constant"), std::move(data)));
}

Term GraphWriter::number(double number, DType dtype) {
  const auto [it, added] = numbers_.try_emplace({dtype, std::bit_cast<uint64_t>(number)}, kNoValue);
  if (added) it->second = constant(scalar_tensor(number, dtype)).id();
  return value(it->second);
}

Term GraphWriter::integers(const std::vector<int64_t>& values) {
  return constant(Tensor::from<int64_t>({static_cast<int64_t>(values.size())},
                                        std::span<const int64_t>(values)));
}

std::vector<Term> GraphWriter::outputs(std::string_view type, const std::vector<Term>& inputs,
                                       Attributes attributes, int count, std::string_view domain) {
  Node node;
  node.op_type = type;
  node.domain = domain;
  node.op = &ops_.get(domain, type, std::numeric_limits<int>::max());
  node.opset = node.op->since_version;
  node.attributes = std::move(attributes);
  return append(std::move(node), inputs, count);
}

Term GraphWriter::repeat(const Node& node, const std::vector<Term>& inputs) {
  Node copy = node;
  copy.inputs.clear();
  copy.outputs.clear();
  return append(std::move(copy), inputs, 1).front();
}

std::vector<Term> GraphWriter::append(Node node, const std::vector<Term>& inputs, int outputs) {
  DType dtype = DType::kUndefined;
  for (const Term& input : inputs) {
    if (input && !input.is_number()) dtype = input.dtype();
  }
  for (const Term& input : inputs) {
    const Term operand = input.is_number() ? number(input.number(), dtype) : input;
    node.inputs.push_back(operand.id());
  }
  while (!node.inputs.empty() && node.inputs.back() == kNoValue) node.inputs.pop_back();
  node.name = str(scope_, "/", node.op_type);
  std::vector<Term> results;
  for (int i = 0; i < outputs; ++i) {
    node.outputs.push_back(graph_.add_value(node.name));
    results.push_back(value(node.outputs.back()));
  }
  infer_node(graph_, graph_.add_node(std::move(node)));
  return results;
}

}  // namespace hugot
