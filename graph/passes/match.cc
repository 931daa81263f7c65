#include "graph/passes/match.h"

#include <algorithm>
#include <cmath>

namespace hugot {

std::optional<double> number_in(const Tensor& tensor) {
  if (tensor.size() != 1) return std::nullopt;
  switch (tensor.dtype()) {
    case DType::kFloat32:
      return static_cast<double>(*tensor.data<float>());
    case DType::kFloat64:
      return *tensor.data<double>();
    case DType::kFloat16:
      return static_cast<double>(static_cast<float>(*tensor.data<Float16>()));
    case DType::kBFloat16:
      return static_cast<double>(static_cast<float>(*tensor.data<BFloat16>()));
    default:
      if (!is_integer(tensor.dtype()) && tensor.dtype() != DType::kBool) return std::nullopt;
      return static_cast<double>(to_int64s(tensor)[0]);
  }
}

std::optional<double> number_of(const Graph& graph, ValueId id) {
  if (id == kNoValue) return std::nullopt;
  const auto single = graph.fact(id).single_value();
  return single ? number_in(*single) : std::nullopt;
}

const Node* produced_by(const Graph& graph, ValueId id, std::string_view op_type) {
  const Node* node = graph.producer(id);
  return node != nullptr && node->domain.empty() && node->op_type == op_type ? node : nullptr;
}

ValueId other_operand(const Node& node, ValueId operand) {
  if (node.inputs.size() != 2) return kNoValue;
  if (node.inputs[0] == operand) return node.inputs[1];
  return node.inputs[1] == operand ? node.inputs[0] : kNoValue;
}

std::optional<std::pair<ValueId, double>> value_and_number(const Graph& graph, const Node& node) {
  if (node.inputs.size() != 2) return std::nullopt;
  for (const size_t i : {size_t{1}, size_t{0}}) {
    if (const auto number = number_of(graph, node.inputs[i])) {
      return std::pair(node.inputs[1 - i], *number);
    }
  }
  return std::nullopt;
}

std::pair<ValueId, double> peel_scale(const Graph& graph, ValueId id) {
  double scale = 1;
  for (;;) {
    if (const Node* mul = produced_by(graph, id, "Mul")) {
      const auto parts = value_and_number(graph, *mul);
      if (!parts) return {id, scale};
      id = parts->first;
      scale *= parts->second;
    } else if (const Node* div = produced_by(graph, id, "Div")) {
      const auto divisor = number_of(graph, div->inputs[1]);
      if (!divisor || *divisor == 0) return {id, scale};
      id = div->inputs[0];
      scale /= *divisor;
    } else {
      return {id, scale};
    }
  }
}

std::optional<std::vector<int64_t>> reduction_axes(const Graph& graph, const Node& node) {
  const int rank = graph.fact(node.inputs[0]).rank();
  if (rank < 0) return std::nullopt;
  std::vector<int64_t> axes;
  if (node.has("axes")) {
    axes = node.at<std::vector<int64_t>>("axes");
  } else if (node.input(1) != kNoValue) {
    const auto integers = graph.fact(node.inputs[1]).integers();
    if (!integers) return std::nullopt;
    axes = *integers;
  } else {
    return std::nullopt;
  }
  for (int64_t& axis : axes) axis = normalize_axis(axis, rank);
  return axes;
}

ValueId mean_over_last_axis(const Graph& graph, ValueId id) {
  const Node* mean = produced_by(graph, id, "ReduceMean");
  if (mean == nullptr || mean->get<int64_t>("keepdims", 1) == 0) return kNoValue;
  const auto axes = reduction_axes(graph, *mean);
  const ValueId input = mean->inputs[0];
  if (!axes || axes->size() != 1 || (*axes)[0] != graph.fact(input).rank() - 1) return kNoValue;
  return input;
}

ValueId square_of(const Graph& graph, ValueId id) {
  if (const Node* pow = produced_by(graph, id, "Pow")) {
    return number_of(graph, pow->inputs[1]) == 2.0 ? pow->inputs[0] : kNoValue;
  }
  const Node* mul = produced_by(graph, id, "Mul");
  return mul != nullptr && mul->inputs[0] == mul->inputs[1] ? mul->inputs[0] : kNoValue;
}

std::optional<Shape> weight_shape(const Graph& graph, ValueId id, int rank) {
  if (id == kNoValue || !graph.is_weight(id)) return std::nullopt;
  const Fact& fact = graph.fact(id);
  const bool fits =
      (fact.dtype == DType::kFloat32 || fact.dtype == DType::kFloat64) && fact.rank() == rank;
  return fits ? fact.fixed_shape() : std::nullopt;
}

bool is_weight_vector(const Graph& graph, ValueId id, int64_t size) {
  return weight_shape(graph, id, 1) == Shape{size};
}

bool close_to(double a, double b) { return std::abs(a - b) <= 1e-4 * std::abs(b); }

void rewrite(Node& node, const OpRegistry& ops, std::string_view domain, std::string_view op_type,
             int opset, std::vector<ValueId> inputs, Attributes attributes) {
  node.op = &ops.get(domain, op_type, opset);
  node.domain = domain;
  node.op_type = op_type;
  node.opset = opset;
  node.inputs = std::move(inputs);
  node.attributes = std::move(attributes);
}

ValueId view_as(Graph& graph, const OpRegistry& ops, ValueId id, const Dims& dims) {
  if (*graph.fact(id).shape == dims) return id;
  Node node;
  node.name = graph.value(id).name;
  const Fact fact = Fact::of(graph.fact(id).dtype, dims);
  Attributes attributes;
  if (const auto shape = fact.fixed_shape()) {
    attributes["shape"] = std::vector<int64_t>(shape->begin(), shape->end());
  }
  rewrite(node, ops, "hugot", "View", 1, {id}, std::move(attributes));
  const ValueId view = graph.add_value(node.name, fact);
  node.outputs = {view};
  infer_node(graph, graph.add_node(std::move(node)));
  return view;
}

bool known_for_text(const Fact& fact) {
  return fact.shape && std::all_of(fact.shape->begin(), fact.shape->end(), [](const Dim& dim) {
           return !dim.coefficients(kLengthSymbol).empty();
         });
}

}  // namespace hugot
