// Attention written with other operators, from which its gradient follows: the function body of the
// ONNX specification, and softmax(scale Q K^T + bias) V.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "graph/gradient.h"
#include "kernels/attention/attention.h"

namespace hugot::attention::rule {
namespace {

using G = GradientContext;

constexpr int64_t kFar = int64_t{1} << 52;  // a window without limit
constexpr double kMasked = -std::numeric_limits<double>::infinity();

// What both operators have in common, in their own attributes.
struct Settings {
  int64_t heads = 0, kv_heads = 0;  // 0: the inputs have an axis of heads
  std::optional<float> scale;       // absent: 1 / sqrt(head size)
  double softcap = 0;
  bool causal = false;
  int64_t window_left = -1, window_right = -1;
  DType softmax_type = DType::kUndefined;  // undefined: that of Q
  bool repeats_bias =
      false;           // a last axis of length 1 is repeated, and not followed by masked keys
  bool drops = false;  // probabilities, by the keys in input 4
};

// [B, S, heads * d] -> [B, heads, S, d]
Term with_heads(G& g, const Term& x, int64_t heads) {
  if (heads == 0) return x;
  const Term count = g.writer().integers({heads});
  const Term shape =
      g.writer().concat({dim_of(x, 0), dim_of(x, 1), count, dim_of(x, 2) / count}, 0);
  return transpose(reshape(x, shape), {0, 2, 1, 3});
}

// Every head of K or V as often as it serves a head of Q, next to itself.
Term repeat_heads(G& g, const Term& x, const Term& q) {
  const auto &own = x.fact().shape, &wanted = q.fact().shape;
  if (own && wanted && (*own)[1] == (*wanted)[1]) return x;
  const Term heads = dim_of(x, 1), all = dim_of(q, 1);
  const Term spread =
      g.writer().concat({dim_of(x, 0), heads, all / heads, dim_of(x, 2), dim_of(x, 3)}, 0);
  const Term merged = g.writer().concat({dim_of(x, 0), all, dim_of(x, 2), dim_of(x, 3)}, 0);
  return reshape(g.op("Expand", {unsqueeze(x, {2}), spread}), merged);
}

// 0, 1, .. along the last axis or the last but one.
Term positions(G& g, const Term& count, int64_t axis) {
  const Term length = reshape(count, g.writer().integers({}));
  return unsqueeze(g.op("Range", {0, length, 1}), {axis});
}

// The mask (input 3) as numbers to add to scores [.., keys].
Term mask_bias(G& g, const Settings& s, const Term& keys, DType dtype) {
  const Term mask = g.x(3);
  Term bias = cast_to(mask, dtype);
  if (mask.dtype() == DType::kBool) {
    const Term zero = g.writer().number(0, dtype);
    bias = where(mask, zero, g.writer().number(kMasked, dtype));
  }
  if (s.repeats_bias) return bias;
  // Keys behind the end of the mask are masked.
  const Term missing = keys - dim_of(mask, mask.rank() - 1);
  const Term pads = g.writer().concat({missing * 0, missing}, 0);
  return g.op("Pad", {bias, pads, g.writer().number(kMasked, dtype), g.writer().integers({-1})});
}

// True where a query may see a key by position; nothing when all may. Query i is at position
// offset + i among the keys.
Term visible(G& g, const Settings& s, const Term& queries, const Term& keys) {
  const Term nonpad = g.x(6);
  if (!s.causal && s.window_left < 0 && s.window_right < 0 && !nonpad) return {};
  const Term key = positions(g, keys, 0);
  Term query = positions(g, queries, 1);
  Term result;
  const auto allow = [&](const Term& condition) {
    result = result ? both(result, condition) : condition;
  };
  if (nonpad) {
    const Term length = unsqueeze(nonpad, {1, 2, 3});
    query = query + (length - queries);
    allow(key < length);
  } else if (!s.drops && g.x(4)) {
    query = query + dim_of(g.x(4), 2);
  }
  const Term ahead = key - query;
  if (s.causal) allow(ahead <= 0);
  if (s.window_left >= 0) allow(ahead >= static_cast<double>(-s.window_left));
  if (s.window_right >= 0) allow(ahead <= static_cast<double>(s.window_right));
  return result;
}

// What is added to the scores; nothing without masks.
Term total_bias(G& g, const Settings& s, const Term& queries, const Term& keys, DType dtype) {
  const Term bias = g.x(3) ? mask_bias(g, s, keys, dtype) : Term();
  const Term seen = visible(g, s, queries, keys);
  if (!seen) return bias;
  const Term hidden = where(seen, g.writer().number(0, dtype), g.writer().number(kMasked, dtype));
  return bias ? bias + hidden : hidden;
}

// The stages of the scores that attribute qk_matmul_output_mode counts: the products, capped,
// masked, and the probabilities.
std::array<Term, 4> stages_of(G& g, const Settings& s, const Term& q, const Term& k) {
  const Term factor = s.scale ? Term(std::sqrt(static_cast<double>(*s.scale)))
                              : pow(cast_to(dim_of(q, 3), q.dtype()), -0.25);
  const Term products = matrix_product(q * factor, transposed(k * factor));
  const Term capped = s.softcap > 0 ? tanh(products / s.softcap) * s.softcap : products;
  const Term bias = total_bias(g, s, dim_of(q, 2), dim_of(k, 2), q.dtype());
  const DType type = s.softmax_type != DType::kUndefined ? s.softmax_type : q.dtype();
  const auto softmax = [&](const Term& x) {
    const Attributes last = {{"axis", int64_t{-1}}};
    return cast_to(g.op("Softmax", {cast_to(x, type)}, last), q.dtype());
  };
  if (!bias) return {products, capped, capped, softmax(capped)};
  // A query that sees no key has zero probabilities.
  const Term masked = capped + bias;
  const Term blind = equal(g.op("ReduceMax", {bias, g.writer().integers({-1})}), kMasked);
  return {products, capped, masked, where(blind, 0, softmax(where(blind, 0, masked)))};
}

// All outputs of ONNX Attention; the first is that of hugot.Attention.
void expand(G& g, const Settings& s) {
  const bool packed = s.heads != 0;
  const Term q = with_heads(g, g.x(0), s.heads);
  Term k = with_heads(g, g.x(1), s.kv_heads), v = with_heads(g, g.x(2), s.kv_heads);
  if (!s.drops && g.x(4)) k = g.writer().concat({g.x(4), k}, 2);
  if (g.x(5)) v = g.writer().concat({g.x(5), v}, 2);
  const std::array<Term, 4> stages = stages_of(g, s, q, repeat_heads(g, k, q));
  Term probabilities = stages.back();
  if (s.drops) {
    probabilities = g.writer().op(
        "Dropout", {probabilities, g.x(4)},
        {{"ratio", g.node().at<float>("ratio")}, {"site", g.node().at<int64_t>("site")}}, "hugot");
  }
  Term y = matrix_product(probabilities, repeat_heads(g, v, q));
  if (packed) {
    y = transpose(y, {0, 2, 1, 3});
    y = reshape(y, g.writer().concat({dim_of(y, 0), dim_of(y, 1), dim_of(y, 2) * dim_of(y, 3)}, 0));
  }
  const auto mode = g.node().get<int64_t>("qk_matmul_output_mode", 0);
  require(mode >= 0 && mode <= 3, ErrorCode::kUnsupported, "qk_matmul_output_mode ", mode,
          " is not supported");
  const Term outputs[] = {y, k, v, stages[static_cast<size_t>(mode)]};
  g.differentiate(outputs);
}

}  // namespace

void Attention(G& g) {
  const Node& node = g.node();
  Settings s;
  if (g.x().rank() == 3) {
    s.heads = node.at<int64_t>("q_num_heads");
    s.kv_heads = node.at<int64_t>("kv_num_heads");
  }
  if (node.has("scale")) s.scale = node.at<float>("scale");
  s.softcap = node.get("softcap", 0.0f);
  s.causal = node.get<int64_t>("is_causal", 0) != 0;
  s.window_left = std::min(node.get<int64_t>("left_window_size", -1), kFar);
  s.window_right = std::min(node.get<int64_t>("right_window_size", -1), kFar);
  s.softmax_type = static_cast<DType>(node.get<int64_t>("softmax_precision", 0));
  expand(g, s);
}

namespace {

// hugot.Attention and hugot.DropoutAttention.
void fused_form(G& g, bool drops) {
  const Node& node = g.node();
  require(!node.has("query_row"), ErrorCode::kUnsupported,
          "attention of one query has no gradient");
  const DType dtype = g.x().dtype();
  if (g.fused() && (dtype == DType::kFloat32 || dtype == DType::kFloat64)) {
    std::vector<Term> inputs = {g.x(0), g.x(1), g.x(2), g.dy(), g.x(3)};
    if (drops) inputs.push_back(g.x(4));
    const std::vector<Term> dx = g.writer().outputs("AttentionGradient", inputs, node.attributes,
                                                    g.wants(3) ? 4 : 3, "hugot");
    for (size_t i = 0; i < dx.size(); ++i) g.set(static_cast<int>(i), dx[i]);
    return;
  }
  Settings s;
  s.heads = node.at<int64_t>("num_heads");
  s.kv_heads = node.get<int64_t>("kv_num_heads", s.heads);
  s.scale = node.at<float>("scale");
  s.causal = node.get<int64_t>("causal", 0) != 0;
  s.window_left = node.get<int64_t>("left_window_size", -1);
  s.window_right = node.get<int64_t>("right_window_size", -1);
  s.repeats_bias = true;
  s.drops = drops;
  expand(g, s);
}

}  // namespace

void FusedAttention(G& g) { fused_form(g, false); }

void DropoutAttention(G& g) { fused_form(g, true); }

}  // namespace hugot::attention::rule
