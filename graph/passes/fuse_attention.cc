// hugot.Attention from softmax(scale * Q K^T + bias) V.
//
// How the heads are split, repeated and joined is left to head_layout.h. Masks that depend on the
// distance of query and key become the window of the operator; other biases are operands.
#include <cmath>
#include <map>

#include "graph/passes/band_mask.h"
#include "graph/passes/head_layout.h"
#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace hugot {
namespace {

bool is_view(const Node& node) { return node.domain == "hugot" && node.op_type == "View"; }

// Why a match failed, for people: the first reason counts, as the later ones are farther from the
// pattern.
class Reason {
 public:
  bool fail(std::string text) {
    if (text_.empty()) text_ = std::move(text);
    return false;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

struct Scores {
  const Node* product = nullptr;  // Q K^T
  double scale = 1;
  ValueId bias = kNoValue;
  Band band;  // of a mask that was put in the place of scores
};

// True when the shapes are equal but for leading ones and at most [heads, queries, keys], so that
// what is broadcast to one is broadcast to the other.
bool aligned(const Fact& a, const Fact& b) {
  const auto strip = [](const Fact& fact) {
    const auto begin = std::find_if(fact.shape->begin(), fact.shape->end(),
                                    [](const Dim& dim) { return !dim.is(1); });
    return Dims(begin, fact.shape->end());
  };
  return a.shape && b.shape && strip(a).size() <= 3 && strip(a) == strip(b);
}

// Takes scale * (Q K^T) [+ bias] apart.
std::optional<Scores> match_scores(const Graph& graph, ValueId id) {
  const auto [value, scale] = peel_scale(graph, id);
  const Node* node = graph.producer(value);
  if (node == nullptr) return std::nullopt;
  if (is_view(*node)) {
    auto scores = match_scores(graph, node->inputs[0]);
    if (!scores) return std::nullopt;
    const bool plain = scores->bias == kNoValue && !scores->band.low && !scores->band.high;
    if (!plain && (scale != 1 || !aligned(graph.fact(node->inputs[0]), graph.fact(value)))) {
      return std::nullopt;
    }
    scores->scale *= scale;
    return scores;
  }
  if (!node->domain.empty()) return std::nullopt;
  if (node->op_type == "MatMul") return Scores{node, scale, kNoValue, {}};
  if (scale != 1) return std::nullopt;
  if (node->op_type == "Where") {
    const auto hidden = number_of(graph, node->inputs[2]);
    const auto band =
        hidden && hides(*hidden) ? band_of_condition(graph, node->inputs[0]) : std::nullopt;
    auto scores = band ? match_scores(graph, node->inputs[1]) : std::nullopt;
    if (!scores || scores->band.low || scores->band.high) return std::nullopt;
    scores->band = *band;
    return scores;
  }
  if (node->op_type != "Add") return std::nullopt;
  for (const ValueId operand : node->inputs) {
    auto scores = match_scores(graph, operand);
    if (!scores || scores->bias != kNoValue) continue;
    scores->bias = other_operand(*node, operand);
    return scores;
  }
  return std::nullopt;
}

// The softmax behind `id`, seen through views that only touch leading ones and through
// Where(IsNaN(p), 0, p): a row of scores without a mask has a finite maximum, so the guard never
// acts.
const Node* match_softmax(const Graph& graph, ValueId id) {
  const Node* view = graph.producer(id);
  if (view != nullptr && is_view(*view) && aligned(graph.fact(id), graph.fact(view->inputs[0]))) {
    id = view->inputs[0];
  }
  if (const Node* where = produced_by(graph, id, "Where")) {
    const Node* is_nan = produced_by(graph, where->inputs[0], "IsNaN");
    if (is_nan == nullptr || is_nan->inputs[0] != where->inputs[2]) return nullptr;
    id = where->inputs[2];
  }
  const Node* softmax = produced_by(graph, id, "Softmax");
  if (softmax == nullptr) return nullptr;
  const int rank = graph.fact(softmax->inputs[0]).rank();
  const int64_t axis = softmax->get<int64_t>("axis", softmax->opset >= 13 ? -1 : 1);
  return axis == -1 || axis == rank - 1 ? softmax : nullptr;
}

struct Pattern {
  HeadOperand q, k, v;
  int64_t heads = 0, head_dim = 0, value_dim = 0;
  Dim queries = 0, keys = 0;  // how many
  double scale = 1;
  ValueId bias = kNoValue;
  bool causal = false;
  Band band;
  ValueId heads_first = kNoValue;  // the result before the heads are joined
};

// Parts of an operand [.., heads, tokens, head_dim] with leading ones, or with the last two axes
// swapped. Tokens are those of a text, or as many for every image.
bool split_dims(const Fact& fact, bool transposed, int64_t& heads, int64_t& head_dim, Dim& tokens) {
  if (!fact.shape || fact.rank() < 3) return false;
  const Dims& dims = *fact.shape;
  Dim product = 1;
  for (size_t i = 0; i + 2 < dims.size(); ++i) product = product * dims[i];
  tokens = dims[dims.size() - (transposed ? 1 : 2)];
  const auto features = dims[dims.size() - (transposed ? 2 : 1)].number();
  if (!product.number() || !features || *features < 1 ||
      !(tokens == Dim::symbol(kLengthSymbol) || tokens.number().value_or(0) > 1)) {
    return false;
  }
  heads = *product.number();
  head_dim = *features;
  return heads > 0;
}

bool trace_all(const Graph& graph, ValueId q, ValueId k, bool k_transposed, ValueId v, Pattern& p,
               Reason& why) {
  const auto trace = [&](const char* name, ValueId id, bool transposed, HeadOperand& operand,
                         int64_t& head_dim, Dim& tokens) {
    int64_t heads = 0;
    if (!split_dims(graph.fact(id), transposed, heads, head_dim, tokens)) {
      return why.fail(str("its ", name, " are ", graph.fact(id).to_string(), ", not heads of the ",
                          "tokens of a text or an image"));
    }
    if (p.heads == 0) p.heads = heads;
    const auto traced = p.heads == heads
                            ? trace_heads(graph, id, heads, head_dim, tokens, transposed)
                            : std::nullopt;
    if (!traced) {
      return why.fail(str("its ", name, " '", graph.value(id).name, "' are not made from [1,",
                          tokens.to_string(), ",..] by views, transposes and repetitions"));
    }
    operand = *traced;
    return true;
  };
  int64_t key_dim = 0;
  Dim values = 0;
  if (!trace("queries", q, false, p.q, p.head_dim, p.queries) ||
      !trace("keys", k, k_transposed, p.k, key_dim, p.keys) ||
      !trace("values", v, false, p.v, p.value_dim, values)) {
    return false;
  }
  if (key_dim != p.head_dim || !(p.keys == values) || p.v.scale != 1 || p.q.heads != p.heads ||
      p.k.heads != p.v.heads) {
    return why.fail("its queries, keys and values have heads that do not fit");
  }
  p.scale *= p.q.scale * p.k.scale;
  return true;
}

// Turns a bias that is a mask by distance into a window. A query that sees not even itself might
// see no key at all, where masks by numbers and windows differ.
void find_window(const Graph& graph, Pattern& p) {
  const auto sees_itself = [](const Band& band) {
    return (!band.low || *band.low <= 0) && (!band.high || *band.high >= 0);
  };
  const auto band = p.bias != kNoValue ? band_of_bias(graph, p.bias) : std::nullopt;
  if (!band || !sees_itself(*band)) return;
  if (band->low) p.band.low = p.band.low ? std::max(*p.band.low, *band->low) : *band->low;
  if (band->high) p.band.high = p.band.high ? std::min(*p.band.high, *band->high) : *band->high;
  p.bias = kNoValue;
}

std::optional<Pattern> match_decomposed(const Graph& graph, const Node& matmul, const Node& softmax,
                                        Reason& why) {
  const auto scores = match_scores(graph, softmax.inputs[0]);
  if (!scores) {
    why.fail("its scores are not scale * Q K^T + bias");
    return std::nullopt;
  }
  Pattern p;
  p.scale = scores->scale;
  p.bias = scores->bias;
  p.band = scores->band;
  p.heads_first = matmul.outputs[0];
  if (!trace_all(graph, scores->product->inputs[0], scores->product->inputs[1], true,
                 matmul.inputs[1], p, why)) {
    return std::nullopt;
  }
  return p;
}

// ai.onnx Attention with four-dimensional operands and no cache.
std::optional<Pattern> match_operator(const Graph& graph, const Node& node, Reason& why) {
  const bool only_first = node.outputs.size() == 1;
  if (!only_first || node.input(4) != kNoValue || node.input(5) != kNoValue ||
      node.input(6) != kNoValue || node.get<float>("softcap", 0) != 0 ||
      node.has("left_window_size") || node.has("right_window_size")) {
    why.fail("it has a cache, a soft cap, a window or further results");
    return std::nullopt;
  }
  Pattern p;
  p.heads_first = node.outputs[0];
  p.causal = node.get<int64_t>("is_causal", 0) != 0;
  if (const ValueId mask = node.input(3); mask != kNoValue) {
    // A shorter mask hides the keys behind it; it is not repeated.
    const Fact &fact = graph.fact(mask), &keys = graph.fact(node.inputs[1]);
    if (fact.rank() < 1 || keys.rank() != 4 || !(fact.shape->back() == (*keys.shape)[2])) {
      why.fail("its mask does not cover all keys");
      return std::nullopt;
    }
    const bool boolean = graph.fact(mask).dtype == DType::kBool;
    const auto band = boolean ? band_of_condition(graph, mask) : std::nullopt;
    if (band) {
      p.band = *band;
    } else if (number_of(graph, mask) != (boolean ? 1.0 : 0.0)) {
      if (graph.fact(mask).dtype != DType::kFloat32) {
        why.fail("its mask is boolean and no band");
        return std::nullopt;
      }
      p.bias = mask;
    }
  }
  if (!trace_all(graph, node.inputs[0], node.inputs[1], false, node.inputs[2], p, why))
    return std::nullopt;
  const double standard = 1.0 / std::sqrt(static_cast<double>(p.head_dim));
  const double given = static_cast<double>(node.get<float>("scale", 0));
  p.scale *= given != 0 ? given : standard;
  return p;
}

// The fused node in the place of `joined`, the value with the heads joined again.
void fuse(Graph& graph, const OpRegistry& ops, const Pattern& p, ValueId joined,
          const std::string& name) {
  const auto rows = [&](const HeadOperand& operand, const Dim& tokens, int64_t head_dim) {
    return view_as(graph, ops, operand.source, {1, tokens, operand.heads * head_dim});
  };
  Node node;
  node.name = name;
  std::vector<ValueId> inputs = {rows(p.q, p.queries, p.head_dim), rows(p.k, p.keys, p.head_dim),
                                 rows(p.v, p.keys, p.value_dim)};
  if (p.bias != kNoValue) inputs.push_back(p.bias);
  Attributes attributes = {{"num_heads", p.heads},
                           {"kv_num_heads", p.k.heads},
                           {"scale", static_cast<float>(p.scale)},
                           {"causal", int64_t{p.causal}}};
  if (p.band.low) attributes["left_window_size"] = -*p.band.low;
  if (p.band.high) attributes["right_window_size"] = *p.band.high;
  rewrite(node, ops, "hugot", "Attention", 1, std::move(inputs), std::move(attributes));
  const Dims dims = {1, p.queries, p.heads * p.value_dim};
  const DType dtype = graph.fact(node.inputs[0]).dtype;
  node.outputs = {graph.add_value(name, Fact::of(dtype, dims))};
  const ValueId attended = node.outputs[0];
  graph.add_node(std::move(node));
  // A view, which vanishes where the shapes agree.
  rewrite(graph.node(graph.value(joined).producer), ops, "hugot", "View", 1, {attended}, {});
}

bool is_attention(const Node& node) { return node.domain.empty() && node.op_type == "Attention"; }

// True for a softmax over the keys of [.., heads, S, S]; of images they are as many, but it may be
// something else.
bool is_over_keys(const Graph& graph, const Node& node) {
  if (!node.domain.empty() || node.op_type != "Softmax") return false;
  const Fact& fact = graph.fact(node.inputs[0]);
  if (fact.rank() < 2) return false;
  const Dim& keys = fact.shape->back();
  const bool tokens = keys == Dim::symbol(kLengthSymbol) || keys.number().value_or(0) > 1;
  return tokens && (*fact.shape)[fact.shape->size() - 2] == keys;
}

}  // namespace

size_t fuse_attention(Graph& graph, PassContext& context) {
  size_t changes = 0;
  const auto readers = graph.readers();
  std::map<std::string, std::string> missed;  // reasons by node
  const std::vector<NodeId> order = graph.order();
  for (const NodeId id : order) {
    const Node& node = graph.node(id);
    if (is_over_keys(graph, node)) missed[node.label()] = "no product with values follows";
    if (!node.domain.empty()) continue;
    Reason why;
    std::optional<Pattern> p;
    const Node* softmax = nullptr;
    if (is_attention(node)) {
      p = match_operator(graph, node, why);
    } else if (node.op_type == "MatMul") {
      softmax = match_softmax(graph, node.inputs[0]);
      if (softmax == nullptr) continue;
      p = match_decomposed(graph, node, *softmax, why);
    } else {
      continue;
    }
    const std::string label = softmax != nullptr ? softmax->label() : node.label();
    ValueId joined = kNoValue;
    if (p && p->bias != kNoValue && graph.fact(p->bias).rank() > 4) {
      why.fail("its bias has more than four axes");
    } else if (p) {
      joined = join_heads(graph, readers, p->heads_first, p->heads, p->value_dim, p->queries);
      if (joined == kNoValue) why.fail("its heads are not joined again");
    }
    if (joined == kNoValue) {
      missed[label] = why.text();
      continue;
    }
    find_window(graph, *p);
    missed.erase(label);
    context.log.push_back(str("attention: ", node.label()));
    const std::string name = node.name;
    fuse(graph, context.ops, *p, joined, name);
    ++changes;
  }
  for (const auto& [label, why] : missed) {
    context.log.push_back(str(kNotFused, label, ": ", why));
  }
  return changes;
}

}  // namespace hugot
