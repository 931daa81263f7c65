#include "graph/exec/flops.h"

#include <algorithm>

namespace hugot {
namespace {

// The shapes and attributes of a node for texts of one length.
class NodeAtLength {
 public:
  NodeAtLength(const Graph& graph, const Node& node, int64_t length)
      : graph_(graph), node_(node), length_(length) {}

  int64_t attribute(std::string_view name, int64_t fallback) const {
    return node_.get<int64_t>(name, fallback);
  }
  // Axis of an input, counted from the back: 1 is the last.
  double input_axis(size_t input, size_t from_back) const {
    const Dims& dims = *graph_.fact(node_.inputs[input]).shape;
    return dims.size() < from_back ? 1 : at_length(dims[dims.size() - from_back]);
  }
  double elements(ValueId id) const {
    double product = 1;
    for (const Dim& dim : *graph_.fact(id).shape) product *= at_length(dim);
    return product;
  }
  double input_elements(size_t input) const { return elements(node_.inputs[input]); }
  double output_elements() const { return elements(node_.outputs[0]); }

 private:
  double at_length(const Dim& dim) const {
    return static_cast<double>(dim.evaluate([&](std::string_view symbol) {
      return symbol == kLengthSymbol ? std::optional<int64_t>(length_) : std::nullopt;
    }));
  }

  const Graph& graph_;
  const Node& node_;
  int64_t length_;
};

// The part of the pairs of `queries` and `keys` that attention looks at.
double visible_part(const NodeAtLength& node, int64_t queries, int64_t keys) {
  int64_t left = node.attribute("left_window_size", -1);
  int64_t right = node.attribute("right_window_size", -1);
  if (node.attribute("causal", 0) != 0 || node.attribute("is_causal", 0) != 0) right = 0;
  if (left < 0) left = queries;
  if (right < 0) right = keys;
  left = std::min(left, queries);
  right = std::min(right, keys);
  int64_t pairs = 0;
  for (int64_t i = 0; i < queries; ++i) {
    pairs += std::max<int64_t>(std::min(keys, i + right + 1) - std::max<int64_t>(i - left, 0), 0);
  }
  return static_cast<double>(pairs) / static_cast<double>(queries * keys);
}

double attention_flops(const NodeAtLength& node) {
  const double queries = node.input_axis(0, 2), keys = node.input_axis(1, 2);
  return 2 * (node.input_elements(0) + node.output_elements()) * keys *
         visible_part(node, static_cast<int64_t>(queries), static_cast<int64_t>(keys));
}

}  // namespace

double matrix_flops(const RaggedPlan& plan, int64_t length) {
  const Graph& graph = plan.graph();
  double sum = 0;
  for (NodeId id = 0; id < static_cast<NodeId>(graph.node_count()); ++id) {
    const Node& node = graph.node(id);
    if (node.output(0) == kNoValue || plan.extent(node.outputs[0]) != Extent::kText) continue;
    const NodeAtLength at(graph, node, length);
    if (node.op_type == "Attention") {
      sum += attention_flops(at);
    } else if (node.op_type == "MatMul" || node.op_type == "Linear" ||
               node.op_type == "MatMulInteger" || node.op_type == "QLinearMatMul" ||
               node.op_type == "QuantizedLinear") {
      sum += 2 * at.output_elements() * at.input_axis(0, 1);
    } else if (node.op_type == "LinearGroup") {
      for (const ValueId output : node.outputs) {
        if (output != kNoValue) sum += 2 * at.elements(output) * at.input_axis(0, 1);
      }
    } else if (node.op_type == "Gemm") {
      sum += 2 * at.output_elements() * at.input_axis(0, at.attribute("transA", 0) != 0 ? 2 : 1);
    }
  }
  return sum;
}

}  // namespace hugot
