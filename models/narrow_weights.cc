#include "models/narrow_weights.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "onnx/upgrade.h"

namespace hugot {
namespace {

constexpr int kOpset = 13;           // Cast to bfloat16, DequantizeLinear with an axis
constexpr int64_t kSmallest = 1024;  // elements
constexpr float kLargest = 127;

// The axis of a right-hand side along which its columns lie; nothing for other operands.
std::optional<int> column_axis(const Node& node, ValueId operand) {
  if (!node.domain.empty() || node.input(1) != operand || node.input(0) == operand ||
      node.input(2) == operand) {
    return std::nullopt;
  }
  if (node.op_type == "MatMul") return 1;
  if (node.op_type == "Gemm") return node.get<int64_t>("transB", 0) != 0 ? 0 : 1;
  return std::nullopt;
}

// The same for all readers of a weight.
std::optional<int> column_axis(const Graph& graph, ValueId weight,
                               const std::vector<NodeId>& readers) {
  std::optional<int> axis;
  for (const NodeId reader : readers) {
    const auto found = column_axis(graph.node(reader), weight);
    if (!found || (axis && *axis != *found)) return std::nullopt;
    axis = found;
  }
  const auto& outputs = graph.outputs;
  if (std::find(outputs.begin(), outputs.end(), weight) != outputs.end()) return std::nullopt;
  return axis;
}

bool fits(const Tensor& weight) {
  return weight.dtype() == DType::kFloat32 && weight.rank() == 2 && weight.size() >= kSmallest &&
         std::all_of(weight.data<float>(), weight.data<float>() + weight.size(),
                     [](float w) { return std::isfinite(w); });
}

struct Quantized {
  Tensor numbers, scales;
};

Quantized quantize(const Tensor& weight, int axis) {
  const int64_t rows = weight.shape()[0], columns = weight.shape()[1];
  const int64_t channels = weight.shape()[axis];
  Quantized result = {Tensor(DType::kInt8, weight.shape()), Tensor(DType::kFloat32, {channels})};
  float* const scales = result.scales.data<float>();
  const float* const from = weight.data<float>();
  std::fill_n(scales, channels, 0.0f);
  const auto channel = [&](int64_t row, int64_t column) { return axis == 0 ? row : column; };
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      float& largest = scales[channel(i, j)];
      largest = std::max(largest, std::abs(from[i * columns + j]));
    }
  }
  for (int64_t c = 0; c < channels; ++c) {
    scales[c] /= kLargest;
    // Whatever the scale of nothing is; zero would be no number to divide by.
    if (!std::isnormal(scales[c])) scales[c] = 1;
  }
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      // As kernels/cpu/gemm_int8.cc does: a number between two others goes the same way.
      const float inverse = 1 / scales[channel(i, j)];
      const float number = std::nearbyint(from[i * columns + j] * inverse);
      result.numbers.data<int8_t>()[i * columns + j] =
          static_cast<int8_t>(std::clamp(number, -kLargest, kLargest));
    }
  }
  return result;
}

Tensor rounded_to_bfloat16(const Tensor& weight) {
  Tensor result(DType::kBFloat16, weight.shape());
  for (int64_t i = 0; i < weight.size(); ++i) {
    result.data<BFloat16>()[i] = BFloat16(weight.data<float>()[i]);
  }
  return result;
}

// Adds nodes of ai.onnx to a graph.
class NodeAdder {
 public:
  // Upgrades the graph to the version that the operators here need.
  NodeAdder(Graph& graph, const OpRegistry& ops) : graph_(graph), ops_(ops) {
    if (graph.opsets[""] < kOpset) {
      const size_t behind = upgrade_opset(graph, ops, kOpset);
      require(behind == 0, ErrorCode::kUnsupported, "the model is of version ", graph.opsets[""],
              " of ai.onnx, and ", behind, " of its nodes cannot be taken to version ", kOpset);
    }
    opset_ = graph.opsets[""];
  }

  // A node with one output, which is called `name`.
  ValueId add(const std::string& name, const char* type, std::vector<ValueId> inputs,
              Attributes attributes = {}) {
    Node node;
    node.name = name;
    node.opset = opset_;
    node.op_type = type;
    node.op = ops_.find("", type, opset_);
    node.inputs = std::move(inputs);
    node.attributes = std::move(attributes);
    node.outputs = {graph_.add_value(name)};
    const ValueId output = node.outputs[0];
    infer_node(graph_, graph_.add_node(std::move(node)));
    return output;
  }

  ValueId add_cast(const std::string& name, ValueId input) {
    return add(name, "Cast", {input}, {{"to", static_cast<int64_t>(DType::kFloat32)}});
  }

 private:
  Graph& graph_;
  const OpRegistry& ops_;
  int opset_ = 0;
};

// Whether the value is a table whose rows Gather nodes pick, and nothing else.
bool is_table(const Graph& graph, ValueId id, const std::vector<NodeId>& readers) {
  const auto& outputs = graph.outputs;
  return graph.value(id).initializer && !readers.empty() && fits(*graph.constant(id)) &&
         std::find(outputs.begin(), outputs.end(), id) == outputs.end() &&
         std::all_of(readers.begin(), readers.end(), [&](NodeId reader) {
           const Node& node = graph.node(reader);
           const auto axis = node.op_type == "Gather" ? node.get<int64_t>("axis", 0) : 1;
           return node.domain.empty() && node.input(0) == id && node.input(1) != id &&
                  (axis == 0 || axis == -2);
         });
}

}  // namespace

Precision stored_precision(const LoadedModel& model) {
  const auto found = model.metadata.find(kPrecisionKey);
  if (found == model.metadata.end()) return Precision::kFloat32;
  if (found->second == "bf16") return Precision::kBFloat16;
  return found->second == "int8" ? Precision::kInt8 : Precision::kFloat32;
}

size_t narrow_weights(Graph& graph, Precision precision, const OpRegistry& ops) {
  NodeAdder adder(graph, ops);
  const auto readers = graph.readers();
  size_t count = 0;
  for (size_t i = 0; i < readers.size(); ++i) {
    const auto id = static_cast<ValueId>(i);
    if (!graph.value(id).initializer || readers[i].empty()) continue;
    const auto axis = column_axis(graph, id, readers[i]);
    const Tensor weight = *graph.constant(id);
    if (!axis || !fits(weight)) continue;
    const std::string name = graph.value(id).name;
    ValueId widened = kNoValue;
    if (precision == Precision::kInt8) {
      Quantized quantized = quantize(weight, *axis);
      const ValueId numbers =
          graph.add_initializer(name + "_quantized", std::move(quantized.numbers));
      const ValueId scales = graph.add_initializer(name + "_scale", std::move(quantized.scales));
      widened = adder.add(name + "_float32", "DequantizeLinear", {numbers, scales},
                          {{"axis", static_cast<int64_t>(*axis)}});
    } else {
      widened =
          adder.add_cast(name + "_float32",
                         graph.add_initializer(name + "_bfloat16", rounded_to_bfloat16(weight)));
    }
    graph.replace_uses(id, widened);
    ++count;
  }
  graph.remove_dead();
  return count;
}

size_t narrow_embeddings(Graph& graph, Precision precision, const OpRegistry& ops) {
  NodeAdder adder(graph, ops);
  const auto readers = graph.readers();
  size_t count = 0;
  for (size_t i = 0; i < readers.size(); ++i) {
    const auto id = static_cast<ValueId>(i);
    if (!is_table(graph, id, readers[i])) continue;
    const Tensor table = *graph.constant(id);
    const std::string name = graph.value(id).name;
    ValueId numbers = kNoValue, scales = kNoValue;
    if (precision == Precision::kInt8) {
      Quantized quantized = quantize(table, 0);
      numbers = graph.add_initializer(name + "_quantized", std::move(quantized.numbers));
      // [rows, 1]: what a Gather takes of it multiplies whole rows.
      scales = graph.add_initializer(name + "_scale",
                                     quantized.scales.reshaped({quantized.scales.shape()[0], 1}));
    } else {
      numbers = graph.add_initializer(name + "_bfloat16", rounded_to_bfloat16(table));
    }
    for (const NodeId reader : readers[i]) {
      const ValueId ids = graph.node(reader).input(1);
      const ValueId output = graph.node(reader).output(0);
      const std::string label = graph.value(output).name;
      ValueId rows = adder.add(label + "_narrow", "Gather", {numbers, ids});
      rows = adder.add_cast(label + "_float32", rows);
      if (scales != kNoValue) {
        const ValueId factors = adder.add(label + "_scale", "Gather", {scales, ids});
        rows = adder.add(label + "_scaled", "Mul", {rows, factors});
      }
      graph.replace_uses(output, rows);
    }
    ++count;
  }
  graph.remove_dead();
  return count;
}

}  // namespace hugot
