// The operator Attention of ONNX on the way to hugot.Attention.
//
// With operands of three dimensions it is that already, under another name. With four
// dimensions fuse_attention follows how the heads were split; only the mask is brought into the
// form of a bias here.
#include <cmath>
#include <limits>

#include "graph/passes/band_mask.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace hugot {
namespace {

constexpr int kWhereVersion = 16;

// No cache, no lengths of keys, no scores as a result: a function of Q, K, V and the mask.
bool is_plain(const Node& node) {
  bool first_only = true;
  for (size_t i = 1; i < node.outputs.size(); ++i) first_only &= node.outputs[i] == kNoValue;
  return first_only && node.input(4) == kNoValue && node.input(5) == kNoValue &&
         node.input(6) == kNoValue;
}

// True when the mask says something about every key: the operator hides those behind its end.
bool covers_keys(const Graph& graph, const Node& node) {
  const Fact& mask = graph.fact(node.inputs[3]);
  const Fact& keys = graph.fact(node.inputs[1]);
  return mask.rank() > 0 && keys.rank() > 2 &&
         mask.shape->back() == (*keys.shape)[static_cast<size_t>(keys.rank() - 2)];
}

// The keys that the mask leaves visible, where their distance decides. A window always has the
// query itself in it.
std::optional<Band> band_of(const Graph& graph, ValueId mask) {
  if (mask == kNoValue) return Band();
  if (graph.fact(mask).dtype != DType::kBool) {
    return number_of(graph, mask) == 0.0 ? std::optional(Band()) : std::nullopt;
  }
  const auto band = band_of_condition(graph, mask);
  const bool window = band && (!band->low || *band->low <= 0) && (!band->high || *band->high >= 0);
  return window ? band : std::nullopt;
}

// What a boolean mask adds to the scores: 0 or minus infinity.
ValueId as_bias(Graph& graph, const OpRegistry& ops, ValueId mask) {
  constexpr float kHidden = -std::numeric_limits<float>::infinity();
  Node where;
  where.op_type = "Where";
  where.name = graph.value(mask).name;
  where.opset = kWhereVersion;
  where.op = &ops.get("", "Where", kWhereVersion);
  where.inputs = {mask, graph.add_initializer("visible", Tensor::scalar(0.0f)),
                  graph.add_initializer("hidden", Tensor::scalar(kHidden))};
  const ValueId bias = graph.add_value(where.name);
  where.outputs = {bias};
  infer_node(graph, graph.add_node(std::move(where)));
  return bias;
}

bool is_token_matrix(const Fact& fact) {
  return fact.dtype == DType::kFloat32 && fact.rank() == 3 && (*fact.shape)[0].is(1) &&
         ((*fact.shape)[1] == Dim::symbol(kLengthSymbol) || (*fact.shape)[1].is_number()) &&
         (*fact.shape)[2].is_number();
}

// Rewrites an operator on token matrices whose mask is `band`, or else input 3. False when it is
// something else.
bool rename(Graph& graph, Node& node, const std::optional<Band>& band, const OpRegistry& ops) {
  for (size_t i = 0; i < 3; ++i) {
    if (!is_token_matrix(graph.fact(node.inputs[i]))) return false;
  }
  if (!band && (graph.fact(node.inputs[3]).dtype != DType::kFloat32 ||
                graph.fact(node.inputs[3]).rank() > 4)) {
    return false;
  }
  if (node.get<float>("softcap", 0) != 0 || node.has("left_window_size") ||
      node.has("right_window_size")) {
    return false;
  }
  const auto heads = node.get<int64_t>("q_num_heads", 0);
  const auto kv_heads = node.get<int64_t>("kv_num_heads", 0);
  const int64_t width = *graph.fact(node.inputs[0]).shape->back().number();
  if (heads <= 0 || kv_heads <= 0 || heads % kv_heads != 0 || width % heads != 0) return false;
  const auto given = node.get<float>("scale", 0);
  const double standard = 1.0 / std::sqrt(static_cast<double>(width / heads));
  Attributes attributes = {{"num_heads", heads},
                           {"scale", given != 0 ? given : static_cast<float>(standard)},
                           {"causal", node.get<int64_t>("is_causal", 0)}};
  if (kv_heads != heads) attributes["kv_num_heads"] = kv_heads;
  std::vector<ValueId> inputs(node.inputs.begin(), node.inputs.begin() + 3);
  if (!band) inputs.push_back(node.inputs[3]);
  if (band && band->low) attributes["left_window_size"] = -*band->low;
  if (band && band->high) attributes["right_window_size"] = *band->high;
  rewrite(node, ops, "hugot", "Attention", 1, std::move(inputs), std::move(attributes));
  node.outputs.resize(1);
  return true;
}

}  // namespace

size_t lower_attention(Graph& graph, PassContext& context) {
  size_t changes = 0;
  for (const NodeId id : graph.order()) {
    const auto is_attention = [&] {
      const Node& node = graph.node(id);
      return node.domain.empty() && node.op_type == "Attention" && is_plain(node);
    };
    if (!is_attention()) continue;
    const ValueId mask = graph.node(id).input(3);
    if (mask != kNoValue && !covers_keys(graph, graph.node(id))) continue;
    const std::optional<Band> band = band_of(graph, mask);
    if (mask != kNoValue && band && !band->low && !band->high) {
      graph.node(id).inputs.resize(3);
      ++changes;
    } else if (!band && graph.fact(mask).dtype == DType::kBool) {
      const ValueId bias = as_bias(graph, context.ops, mask);
      graph.node(id).inputs[3] = bias;
      ++changes;
    }
    Node& node = graph.node(id);
    if (rename(graph, node, band, context.ops)) {
      context.log.push_back(str("attention: ", node.label()));
      ++changes;
    }
  }
  return changes;
}

}  // namespace hugot
