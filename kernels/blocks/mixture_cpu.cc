// MoE and QMoE of com.microsoft: every token goes through the k experts of two layers that its
// router scores name, and the results are added up with weights.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.h"
#include "kernels/blocks/blocks.h"
#include "kernels/cpu/isa.h"

namespace hugot::blocks {
namespace {

enum class Activation { kRelu, kGelu, kSilu, kSwiGlu, kIdentity };
enum class Gate { kSeparate, kInterleaved, kHalves };  // where the gated activation finds its gate

// Layer i of an expert: y = W x + bias.
struct Layer {
  std::function<Matrix(int64_t expert)> weight;
  const float* bias = nullptr;  // [experts, rows] or null
  int64_t rows = 0;
};

struct Mixture {
  int64_t experts = 0, chosen = 0;  // all, and those of a token
  int64_t hidden = 0, inner = 0;    // features of a token, and between the layers
  bool normalized = false;
  Activation activation = Activation::kRelu;
  Gate gate = Gate::kSeparate;
  float alpha = 1, beta = 0, limit = 0;  // limit: infinity for none
  Layer up, down, linear;                // linear.rows is 0 where there is none
};

Tensor optional_input(const KernelContext& ctx, int i) {
  return i < ctx.num_inputs() && ctx.has_input(i) ? ctx.input(i) : Tensor();
}

const float* bias_of(const Tensor& bias, int64_t experts, int64_t rows) {
  if (!bias.defined()) return nullptr;
  require(bias.dtype() == DType::kFloat32 && bias.shape() == Shape{experts, rows},
          ErrorCode::kInvalidArgument, "a bias is ", describe(bias), " for ", experts,
          " experts of ", rows, " rows");
  return bias.data<float>();
}

// Element `expert` of the first axis.
Tensor part_of(const Tensor& tensor, int64_t expert) {
  if (!tensor.defined()) return {};
  const int64_t size = tensor.size() / tensor.shape()[0];
  const auto* bytes = static_cast<const std::byte*>(tensor.raw());
  const auto skipped = static_cast<size_t>(expert) * Tensor::byte_size(tensor.dtype(), {size});
  return Tensor(tensor.dtype(), {size}, bytes + skipped);
}

Layer float_layer(const KernelContext& ctx, int weight, int bias, int64_t columns) {
  const Tensor& w = ctx.input(weight);
  require(w.dtype() == DType::kFloat32 && w.rank() == 3 && w.shape()[2] == columns,
          ErrorCode::kInvalidArgument, "the weights ", describe(w), " do not fit ", columns,
          " features");
  const int64_t rows = w.shape()[1];
  const float* data = w.data<float>();
  return {[=](int64_t expert) {
            return Matrix::of_floats(rows, columns, data + expert * rows * columns);
          },
          bias_of(optional_input(ctx, bias), w.shape()[0], rows), rows};
}

// Inputs from `first` on: weights, scales, bias; zero points in input `zeros`.
Layer quantized_layer(const KernelContext& ctx, int first, int zeros, int64_t columns) {
  const Node& node = ctx.node();
  const auto bits = node.get<int64_t>("expert_weight_bits", 4);
  const Tensor &codes = ctx.input(first), &scales = ctx.input(first + 1);
  const Tensor zero = optional_input(ctx, zeros);
  require(codes.dtype() == DType::kUInt8 && codes.rank() == 3, ErrorCode::kInvalidArgument,
          "the weights are ", describe(codes));
  const int64_t experts = codes.shape()[0], rows = codes.shape()[1];
  for (const Tensor& other : {scales, zero}) {
    require(!other.defined() || (other.rank() >= 2 && other.shape()[0] == experts),
            ErrorCode::kInvalidArgument, "scales or zero points are ", describe(other), " for ",
            experts, " experts");
  }
  auto block = node.get<int64_t>("block_size", 0);
  if (block == 0) block = columns;
  require(block > 0, ErrorCode::kInvalidArgument, "attribute block_size is ", block);
  return {[=, &codes, &scales](int64_t expert) {
            return Matrix::of_bits(rows, columns, bits, block, part_of(codes, expert),
                                   part_of(scales, expert), part_of(zero, expert));
          },
          bias_of(optional_input(ctx, first + 2), experts, rows), rows};
}

Activation activation_of(const Node& node) {
  const auto name = node.get<std::string>("activation_type", "relu");
  if (name == "relu") return Activation::kRelu;
  if (name == "gelu") return Activation::kGelu;
  if (name == "silu") return Activation::kSilu;
  if (name == "swiglu") return Activation::kSwiGlu;
  require(name == "identity", ErrorCode::kUnsupported, "activation_type '", name,
          "' is not supported");
  return Activation::kIdentity;
}

Mixture mixture_of(const KernelContext& ctx) {
  const Node& node = ctx.node();
  const Tensor &x = ctx.input(0), &router = ctx.input(1);
  require(x.dtype() == DType::kFloat32 && router.dtype() == DType::kFloat32,
          ErrorCode::kUnsupported, "tokens ", describe(x), " and router scores ", describe(router),
          " have to be float32");
  require((x.rank() == 2 || x.rank() == 3) && router.rank() >= 2, ErrorCode::kInvalidArgument,
          "tokens are ", describe(x), " and router scores ", describe(router));
  Mixture m;
  m.hidden = x.shape().back();
  m.experts = router.shape().back();
  m.chosen = node.get<int64_t>("k", 1);
  require(m.hidden > 0 && m.experts > 0 && router.size() / m.experts == x.size() / m.hidden,
          ErrorCode::kInvalidArgument, "router scores ", describe(router), " do not fit tokens ",
          describe(x));
  require(m.chosen > 0 && m.chosen <= m.experts, ErrorCode::kInvalidArgument, "attribute k is ",
          m.chosen, " for ", m.experts, " experts");
  require(node.get<int64_t>("use_sparse_mixer", 0) == 0, ErrorCode::kUnsupported,
          "sparse mixing is not supported");
  m.normalized = node.get<int64_t>("normalize_routing_weights", 0) != 0;
  m.activation = activation_of(node);
  m.alpha = node.get<float>("activation_alpha", 1.0f);
  m.beta = node.get<float>("activation_beta", 0.0f);
  m.limit = node.get<float>("swiglu_limit", std::numeric_limits<float>::infinity());
  const auto fusion = node.get<int64_t>("swiglu_fusion", 0);
  require(fusion >= 0 && fusion <= 2, ErrorCode::kInvalidData, "attribute swiglu_fusion is ",
          fusion);
  m.gate = fusion == 1 ? Gate::kInterleaved : fusion == 2 ? Gate::kHalves : Gate::kSeparate;
  return m;
}

// Sets inner from the first layer, and checks that the others fit.
int64_t inner_size(const Mixture& m) {
  const bool joined = m.activation == Activation::kSwiGlu && m.gate != Gate::kSeparate;
  require(!joined || m.up.rows % 2 == 0, ErrorCode::kInvalidArgument, "a gated layer of ",
          m.up.rows, " rows");
  return joined ? m.up.rows / 2 : m.up.rows;
}

float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

float activated(Activation activation, float x) {
  switch (activation) {
    case Activation::kRelu:
      return std::max(x, 0.0f);
    case Activation::kGelu:
      return 0.5f * x * (1.0f + std::erf(x * 0.70710678f));
    case Activation::kSilu:
      return x * sigmoid(x);
    default:
      return x;
  }
}

// What lies between the layers, of one token: `up` and `linear` are rows of those layers.
void activate(const Mixture& m, const float* up, const float* linear, float* out) {
  const bool swiglu = m.activation == Activation::kSwiGlu;
  for (int64_t i = 0; i < m.inner; ++i) {
    if (!swiglu) {
      out[i] = activated(m.activation, up[i]) * (linear != nullptr ? linear[i] : 1.0f);
      continue;
    }
    float gate = up[i], line = linear != nullptr ? linear[i] : 0.0f;
    if (m.gate == Gate::kInterleaved) {
      gate = up[2 * i];
      line = up[2 * i + 1];
    } else if (m.gate == Gate::kHalves) {
      line = up[m.inner + i];
    }
    gate = std::min(gate, m.limit);
    line = std::clamp(line, -m.limit, m.limit);
    out[i] = gate * sigmoid(m.alpha * gate) * (line + m.beta);
  }
}

// The tokens of each expert, with their weights.
struct Share {
  std::vector<int64_t> tokens;
  std::vector<float> weights;
};

// `weights`: what the results are weighted with instead of the router scores; may be null.
std::vector<Share> route(const Mixture& m, const float* scores, const float* weights,
                         int64_t tokens) {
  std::vector<Share> shares(static_cast<size_t>(m.experts));
  std::vector<int64_t> order(static_cast<size_t>(m.experts));
  std::vector<float> power(order.size());
  for (int64_t t = 0; t < tokens; ++t) {
    const float* row = scores + t * m.experts;
    std::iota(order.begin(), order.end(), 0);
    // NaN comes last, so that this is an order.
    const auto higher = [&](int64_t a, int64_t b) {
      const bool nan_a = std::isnan(row[a]), nan_b = std::isnan(row[b]);
      if (nan_a != nan_b) return nan_b;
      return !nan_a && row[a] != row[b] ? row[a] > row[b] : a < b;
    };
    std::partial_sort(order.begin(), order.begin() + m.chosen, order.end(), higher);
    const float highest = row[order[0]];
    float all = 0, best = 0;
    for (int64_t e = 0; e < m.experts; ++e) {
      power[static_cast<size_t>(e)] = std::exp(row[e] - highest);
      all += power[static_cast<size_t>(e)];
    }
    for (int64_t i = 0; i < m.chosen; ++i) {
      best += power[static_cast<size_t>(order[static_cast<size_t>(i)])];
    }
    for (int64_t i = 0; i < m.chosen; ++i) {
      const int64_t expert = order[static_cast<size_t>(i)];
      Share& share = shares[static_cast<size_t>(expert)];
      share.tokens.push_back(t);
      share.weights.push_back(weights != nullptr ? weights[t * m.experts + expert]
                                                 : power[static_cast<size_t>(expert)] /
                                                       (m.normalized ? best : all));
    }
  }
  return shares;
}

void run(KernelContext& ctx, const Mixture& m, const float* weights) {
  const Tensor& x = ctx.input(0);
  const int64_t tokens = x.size() / m.hidden;
  const std::vector<Share> shares = route(m, ctx.input(1).data<float>(), weights, tokens);
  size_t most = 0;
  for (const Share& share : shares) most = std::max(most, share.tokens.size());
  float* y = ctx.output(0, DType::kFloat32, x.shape()).data<float>();
  std::fill_n(y, x.size(), 0.0f);
  const auto floats = [&](int64_t width) {
    return std::vector<float>(most * static_cast<size_t>(width));
  };
  std::vector<float> rows = floats(m.hidden), up = floats(m.up.rows),
                     linear = floats(m.linear.rows), inner = floats(m.inner);
  for (int64_t e = 0; e < m.experts; ++e) {
    require(!ctx.stop().stop_requested(), ErrorCode::kCancelled, "the run was cancelled");
    const Share& share = shares[static_cast<size_t>(e)];
    const auto count = std::ssize(share.tokens);
    if (count == 0) continue;
    const auto apply = [&](const Layer& layer, const float* in, float* out) {
      const Matrix w = layer.weight(e);
      product(count, in, w, layer.bias != nullptr ? layer.bias + e * layer.rows : nullptr, out,
              ctx.scratch_of<float>(product_scratch(w, ctx.pool())), ctx.pool());
    };
    for (int64_t i = 0; i < count; ++i) {
      std::copy_n(x.data<float>() + share.tokens[static_cast<size_t>(i)] * m.hidden, m.hidden,
                  rows.data() + i * m.hidden);
    }
    apply(m.up, rows.data(), up.data());
    if (m.linear.rows > 0) apply(m.linear, rows.data(), linear.data());
    for (int64_t i = 0; i < count; ++i) {
      activate(m, up.data() + i * m.up.rows,
               m.linear.rows > 0 ? linear.data() + i * m.linear.rows : nullptr,
               inner.data() + i * m.inner);
    }
    apply(m.down, inner.data(), rows.data());
    for (int64_t i = 0; i < count; ++i) {
      const float weight = share.weights[static_cast<size_t>(i)];
      float* to = y + share.tokens[static_cast<size_t>(i)] * m.hidden;
      for (int64_t j = 0; j < m.hidden; ++j)
        to[j] += weight * rows[static_cast<size_t>(i * m.hidden + j)];
    }
  }
}

void check_layers(const KernelContext& ctx, const Mixture& m, std::initializer_list<int> weights) {
  for (const int i : weights) {
    const bool there = i < ctx.num_inputs() && ctx.has_input(i);
    require(!there || ctx.input(i).shape()[0] == m.experts, ErrorCode::kInvalidArgument,
            "weights are ", there ? std::string(describe(ctx.input(i))) : "", " for ", m.experts,
            " experts");
  }
  require(m.down.rows == m.hidden && (m.linear.rows == 0 || m.linear.rows == m.inner),
          ErrorCode::kInvalidArgument, "the layers of an expert do not fit together");
}

}  // namespace

void mixture(KernelContext& ctx) {
  Mixture m = mixture_of(ctx);
  m.up = float_layer(ctx, 2, 3, m.hidden);
  m.inner = inner_size(m);
  m.down = float_layer(ctx, 4, 5, m.inner);
  if (optional_input(ctx, 6).defined()) m.linear = float_layer(ctx, 6, 7, m.hidden);
  check_layers(ctx, m, {2, 4, 6});
  run(ctx, m, nullptr);
}

void quantized_mixture(KernelContext& ctx) {
  Mixture m = mixture_of(ctx);
  require(ctx.node().get<std::string>("quant_type", "int") == "int", ErrorCode::kUnsupported,
          "weights that are no integers");
  m.up = quantized_layer(ctx, 2, 11, m.hidden);
  m.inner = inner_size(m);
  m.down = quantized_layer(ctx, 5, 12, m.inner);
  if (optional_input(ctx, 8).defined()) m.linear = quantized_layer(ctx, 8, 13, m.hidden);
  check_layers(ctx, m, {2, 5, 8});
  const Tensor weights = optional_input(ctx, 14);
  require(!weights.defined() ||
              (weights.dtype() == DType::kFloat32 && weights.shape() == ctx.input(1).shape()),
          ErrorCode::kInvalidArgument, "router weights are ", describe(weights));
  run(ctx, m, weights.defined() ? weights.data<float>() : nullptr);
}

}  // namespace hugot::blocks
