// hugot.QuantizedLinear from the spellings of products with quantized weights:
//
//   Mul(Cast(MatMulInteger(a, w)), a_scale * w_scale)   dynamic quantization
//   MatMul or Gemm(DequantizeLinear(a), DequantizeLinear(w))   QDQ
//   com.microsoft.MatMulIntegerToFloat, DynamicQuantizeMatMul
//
// The first and the last keep every bit; QDQ is computed with exact integers instead of rounded
// products of dequantized numbers. fuse_linear adds bias, activation and residual.
#include <algorithm>
#include <optional>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace hugot {
namespace {

bool is_byte(DType dtype) { return dtype == DType::kInt8 || dtype == DType::kUInt8; }

// An operand as its quantized elements; kNoValue for a zero point that is 0.
struct Quantized {
  ValueId elements = kNoValue, scale = kNoValue, zero = kNoValue;
};

class Fusion {
 public:
  Fusion(Graph& graph, PassContext& context)
      : graph_(graph), context_(context), readers_(graph.readers()) {}

  bool apply(NodeId id) {
    const Node& node = graph_.node(id);
    if (node.domain == "com.microsoft") {
      return node.op_type == "MatMulIntegerToFloat"    ? from_integer_to_float(id)
             : node.op_type == "DynamicQuantizeMatMul" ? from_dynamic(id)
                                                       : false;
    }
    if (!node.domain.empty()) return false;
    if (node.op_type == "Mul") return from_scaled_product(id);
    if (node.op_type == "MatMul" || node.op_type == "Gemm") return from_dequantized(id);
    return false;
  }

 private:
  // [K, N] bytes that are known.
  bool is_weight(ValueId id) const {
    const Tensor* weight = graph_.constant(id);
    return weight != nullptr && is_byte(weight->dtype()) && weight->rank() == 2 &&
           weight->size() > 0;
  }

  // Absent, or known: one number, or one for each of n columns.
  bool is_column_list(ValueId id, int64_t n) const {
    if (id == kNoValue) return true;
    const Tensor* list = graph_.constant(id);
    return list != nullptr && (list->size() == 1 || (list->rank() == 1 && list->size() == n));
  }

  bool is_float_scalar(ValueId id) const {
    const Fact& fact = graph_.fact(id);
    const auto shape = fact.fixed_shape();
    return fact.dtype == DType::kFloat32 && shape && shape->size() == 1;
  }

  // Absent, or one number.
  bool is_single(ValueId id) const {
    if (id == kNoValue) return true;
    const auto shape = graph_.fact(id).fixed_shape();
    return shape && shape->size() == 1;
  }

  // Bytes that are no vector.
  bool is_activation(ValueId id) const {
    return is_byte(graph_.fact(id).dtype) && graph_.fact(id).rank() >= 2;
  }

  bool sole_reader(ValueId id) const {
    return readers_[static_cast<size_t>(id)].size() == 1 &&
           std::find(graph_.outputs.begin(), graph_.outputs.end(), id) == graph_.outputs.end();
  }

  bool become(NodeId id, const Quantized& a, const Quantized& w, ValueId bias,
              Attributes attributes) {
    Node& node = graph_.node(id);
    context_.log.push_back(str("quantized_linear: ", node.label()));
    rewrite(node, context_.ops, "hugot", "QuantizedLinear", 1,
            {a.elements, w.elements, a.scale, w.scale, a.zero, w.zero, bias},
            std::move(attributes));
    return true;
  }

  // (MatMulInteger -> Cast) * (a_scale * w_scale), the factors in any order.
  bool from_scaled_product(NodeId id) {
    const Node& mul = graph_.node(id);
    for (const ValueId operand : mul.inputs) {
      const Node* cast = produced_by(graph_, operand, "Cast");
      const Node* product =
          cast != nullptr ? produced_by(graph_, cast->inputs[0], "MatMulInteger") : nullptr;
      const ValueId factor = other_operand(mul, operand);
      if (product == nullptr || factor == kNoValue || factor == operand ||
          graph_.fact(operand).dtype != DType::kFloat32 || !sole_reader(operand) ||
          !sole_reader(cast->inputs[0])) {
        continue;
      }
      Quantized a{product->inputs[0], kNoValue, product->input(2)};
      Quantized w{product->inputs[1], kNoValue, product->input(3)};
      if (!is_activation(a.elements) || !is_weight(w.elements) || !is_single(a.zero)) continue;
      const int64_t n = graph_.constant(w.elements)->shape()[1];
      if (!is_column_list(w.zero, n)) continue;
      if (!split_factor(factor, n, a, w)) continue;
      return become(id, a, w, kNoValue, {});
    }
    return false;
  }

  // The scales of both operands from their product.
  bool split_factor(ValueId factor, int64_t n, Quantized& a, Quantized& w) {
    const auto column_scale = [&](ValueId id) {
      return graph_.constant(id) != nullptr && graph_.fact(id).dtype == DType::kFloat32 &&
             is_column_list(id, n);
    };
    if (column_scale(factor)) {
      w.scale = factor;
      a.scale = graph_.add_initializer("one", Tensor::scalar<float>(1));
      return true;
    }
    const Node* mul = produced_by(graph_, factor, "Mul");
    if (mul == nullptr) return false;
    for (const ValueId scale : mul->inputs) {
      const ValueId other = other_operand(*mul, scale);
      if (other != kNoValue && column_scale(scale) && is_float_scalar(other)) {
        w.scale = scale;
        a.scale = other;
        return true;
      }
    }
    return false;
  }

  // What a DequantizeLinear to float32 reads, when its scale is a float32.
  std::optional<Quantized> dequantized(ValueId id) const {
    const Node* node = produced_by(graph_, id, "DequantizeLinear");
    if (node == nullptr || graph_.fact(id).dtype != DType::kFloat32 ||
        graph_.fact(node->inputs[1]).dtype != DType::kFloat32 ||
        !is_byte(graph_.fact(node->inputs[0]).dtype)) {
      return std::nullopt;
    }
    return Quantized{node->inputs[0], node->inputs[1], node->input(2)};
  }

  // Scales and zero points of a dequantized weight belong to columns of the product.
  bool by_columns(ValueId dequantized, const Quantized& w, bool transposed) const {
    const Node& node = *graph_.producer(dequantized);
    const Tensor* scale = graph_.constant(w.scale);
    const Shape& shape = graph_.constant(w.elements)->shape();
    const int64_t n = shape[transposed ? 0 : 1];
    if (scale == nullptr || !is_column_list(w.scale, n) || !is_column_list(w.zero, n)) return false;
    if (scale->size() == 1) return true;
    return node.get<int64_t>("block_size", 0) == 0 &&
           normalize_axis(node.get<int64_t>("axis", 1), 2) == (transposed ? 0 : 1);
  }

  bool from_dequantized(NodeId id) {
    const Node& node = graph_.node(id);
    const auto a = dequantized(node.inputs[0]), w = dequantized(node.inputs[1]);
    if (!a || !w || !is_activation(a->elements) || !is_weight(w->elements)) return false;
    if (!is_float_scalar(a->scale) || !is_single(a->zero)) return false;
    if (node.op_type == "MatMul") {
      return by_columns(node.inputs[1], *w, false) && become(id, *a, *w, kNoValue, {});
    }
    const int64_t transposed = node.get<int64_t>("transB", 0);
    if (node.get<float>("alpha", 1) != 1 || node.get<float>("beta", 1) != 1 ||
        node.get<int64_t>("transA", 0) != 0 || !by_columns(node.inputs[1], *w, transposed != 0)) {
      return false;
    }
    const ValueId bias = node.input(2);
    if (bias != kNoValue) {
      const Fact& fact = graph_.fact(bias);
      const int64_t n = graph_.constant(w->elements)->shape()[transposed != 0 ? 0 : 1];
      const bool vector = fact.dtype == DType::kFloat32 && fact.rank() == 1 &&
                          fact.shape->front().is(n) && known_without_text(bias);
      if (!vector) return false;
    }
    return become(id, *a, *w, bias, {{"trans_w", transposed}});
  }

  // A constant, or a dequantized one.
  bool known_without_text(ValueId id) const {
    if (graph_.constant(id) != nullptr) return true;
    const Node* node = produced_by(graph_, id, "DequantizeLinear");
    return node != nullptr && graph_.constant(node->inputs[0]) != nullptr;
  }

  bool fits_columns(const Quantized& w) const {
    const Tensor* weight = graph_.constant(w.elements);
    return is_weight(w.elements) && is_column_list(w.scale, weight->shape()[1]) &&
           is_column_list(w.zero, weight->shape()[1]);
  }

  bool from_integer_to_float(NodeId id) {
    const Node& node = graph_.node(id);
    const Quantized a{node.inputs[0], node.inputs[2], node.input(4)};
    const Quantized w{node.inputs[1], node.inputs[3], node.input(5)};
    if (!is_activation(a.elements) || !is_float_scalar(a.scale) || !is_single(a.zero) ||
        !fits_columns(w)) {
      return false;
    }
    return become(id, a, w, node.input(6), {});
  }

  bool from_dynamic(NodeId id) {
    const Node node = graph_.node(id);
    const Quantized w{node.inputs[1], node.inputs[2], node.input(3)};
    if (graph_.fact(node.inputs[0]).rank() < 2 || !fits_columns(w)) return false;
    Node quantize;
    quantize.name = node.name;
    rewrite(quantize, context_.ops, "", "DynamicQuantizeLinear", 11, {node.inputs[0]}, {});
    const Quantized a{graph_.add_value(node.name), graph_.add_value(node.name),
                      graph_.add_value(node.name)};
    quantize.outputs = {a.elements, a.scale, a.zero};
    infer_node(graph_, graph_.add_node(std::move(quantize)));
    return become(id, a, w, node.input(4), {});
  }

  Graph& graph_;
  PassContext& context_;
  std::vector<std::vector<NodeId>> readers_;
};

}  // namespace

size_t fuse_quantized(Graph& graph, PassContext& context) {
  Fusion fusion(graph, context);
  size_t changes = 0;
  for (const NodeId id : graph.order()) changes += fusion.apply(id) ? 1 : 0;
  return changes;
}

}  // namespace hugot
