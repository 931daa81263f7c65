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

}  // namespace

Precision stored_precision(const LoadedModel& model) {
  const auto found = model.metadata.find(kPrecisionKey);
  if (found == model.metadata.end()) return Precision::kFloat32;
  if (found->second == "bf16") return Precision::kBFloat16;
  return found->second == "int8" ? Precision::kInt8 : Precision::kFloat32;
}

size_t narrow_weights(Graph& graph, Precision precision, const OpRegistry& ops) {
  if (graph.opsets[""] < kOpset) {
    const size_t behind = upgrade_opset(graph, ops, kOpset);
    require(behind == 0, ErrorCode::kUnsupported, "the model is of version ", graph.opsets[""],
            " of ai.onnx, and ", behind, " of its nodes cannot be taken to version ", kOpset);
  }
  const int opset = std::max(graph.opsets[""], kOpset);
  const auto readers = graph.readers();
  size_t count = 0;
  for (size_t i = 0; i < readers.size(); ++i) {
    const auto id = static_cast<ValueId>(i);
    if (!graph.value(id).initializer || readers[i].empty()) continue;
    const auto axis = column_axis(graph, id, readers[i]);
    const Tensor weight = *graph.constant(id);
    if (!axis || !fits(weight)) continue;
    const std::string name = graph.value(id).name;
    Node node;
    node.opset = opset;
    if (precision == Precision::kInt8) {
      Quantized quantized = quantize(weight, *axis);
      node.op_type = "DequantizeLinear";
      node.attributes["axis"] = static_cast<int64_t>(*axis);
      node.inputs = {graph.add_initializer(name + "_quantized", std::move(quantized.numbers)),
                     graph.add_initializer(name + "_scale", std::move(quantized.scales))};
    } else {
      node.op_type = "Cast";
      node.attributes["to"] = static_cast<int64_t>(DType::kFloat32);
      node.inputs = {graph.add_initializer(name + "_bfloat16", rounded_to_bfloat16(weight))};
    }
    node.op = ops.find("", node.op_type, opset);
    node.outputs = {graph.add_value(name + "_float32", Fact::of(weight.dtype(), {}))};
    const ValueId widened = node.outputs[0];
    graph.replace_uses(id, widened);
    infer_node(graph, graph.add_node(std::move(node)));
    ++count;
  }
  graph.remove_dead();
  return count;
}

}  // namespace hugot
