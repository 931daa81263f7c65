#include "models/bert_graph.h"

#include <cmath>
#include <limits>

#include "base/error.h"
#include "models/weights.h"

namespace hugot {
namespace {

constexpr int kOpset = 20;  // the first with Gelu

Tensor transposed(const Tensor& matrix) {
  const int64_t rows = matrix.shape()[0];
  const int64_t columns = matrix.shape()[1];
  Tensor out(DType::kFloat32, {columns, rows});
  const float* from = matrix.data<float>();
  float* to = out.data<float>();
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) to[c * rows + r] = from[r * columns + c];
  }
  return out;
}

class BertBuilder {
 public:
  BertBuilder(const BertConfig& config, const std::map<std::string, Tensor>& weights,
              const OpRegistry& ops)
      : config_(config), weights_(weights), ops_(ops) {}

  Graph build() {
    graph_.opsets[""] = kOpset;
    const Dims shape = {Dim::symbol("batch_size"), Dim::symbol("sequence_length")};
    const ValueId ids = graph_.add_input("input_ids", Fact::of(DType::kInt64, shape));
    const ValueId mask = graph_.add_input("attention_mask", Fact::of(DType::kInt64, shape));
    const ValueId types = graph_.add_input("token_type_ids", Fact::of(DType::kInt64, shape));
    heads_shape_ = integers("heads_shape", {0, 0, config_.heads, config_.hidden / config_.heads});
    joined_shape_ = integers("joined_shape", {0, 0, config_.hidden});

    ValueId x = embeddings(ids, types);
    const ValueId bias = mask_bias(mask);
    for (int64_t layer = 0; layer < config_.layers; ++layer) {
      x = encoder_layer(str("encoder.layer.", layer), x, bias, layer + 1 == config_.layers);
    }
    graph_.outputs = {x};
    return std::move(graph_);
  }

 private:
  // -- nodes and constants

  ValueId op(const std::string& name, const std::string& type, std::vector<ValueId> inputs,
             Attributes attributes = {}) {
    return op_to(graph_.add_value(name + "_output"), name, type, std::move(inputs),
                 std::move(attributes));
  }

  ValueId op_to(ValueId output, const std::string& name, const std::string& type,
                std::vector<ValueId> inputs, Attributes attributes = {}) {
    Node node;
    node.name = name;
    node.op_type = type;
    node.opset = kOpset;
    node.op = ops_.find("", type, kOpset);
    node.attributes = std::move(attributes);
    node.inputs = std::move(inputs);
    node.outputs = {output};
    graph_.add_node(std::move(node));
    return output;
  }

  ValueId integers(const std::string& name, std::initializer_list<int64_t> values) {
    return graph_.add_initializer(
        name, Tensor::from<int64_t>({static_cast<int64_t>(values.size())}, values));
  }

  ValueId number(const std::string& name, float value) {
    return graph_.add_initializer(name, Tensor::scalar(value));
  }

  Tensor weight(const std::string& name, const Shape& shape) const {
    auto it = weights_.find(name);
    if (it == weights_.end()) it = weights_.find("bert." + name);
    require(it != weights_.end(), ErrorCode::kInvalidData, "there is no tensor ", name);
    require(it->second.shape() == shape, ErrorCode::kInvalidData, "tensor ", name, " has shape ",
            it->second.shape().to_string(), ", config.json wants ", shape.to_string());
    return with_context([&] { return "tensor " + name; }, [&] { return to_float32(it->second); });
  }

  ValueId parameter(const std::string& name, const Shape& shape) {
    return graph_.add_initializer(name, weight(name, shape));
  }

  // -- parts of the network

  ValueId linear(const std::string& name, ValueId x, int64_t in, int64_t out) {
    const ValueId matrix =
        graph_.add_initializer(name + ".weight_t", transposed(weight(name + ".weight", {out, in})));
    const ValueId product = op(name + "/MatMul", "MatMul", {x, matrix});
    return op(name + "/Add", "Add", {product, parameter(name + ".bias", {out})});
  }

  ValueId layer_norm(const std::string& name, ValueId x, ValueId output) {
    const ValueId scale = parameter(name + ".weight", {config_.hidden});
    const ValueId shift = parameter(name + ".bias", {config_.hidden});
    return op_to(output, name, "LayerNormalization", {x, scale, shift},
                 {{"axis", int64_t{-1}}, {"epsilon", config_.layer_norm_epsilon}});
  }

  ValueId embeddings(ValueId ids, ValueId types) {
    const std::string name = "embeddings";
    const auto table = [&](const std::string& kind, int64_t rows) {
      return parameter(name + "." + kind + "_embeddings.weight", {rows, config_.hidden});
    };
    const ValueId words = op(name + "/words", "Gather", {table("word", config_.vocabulary), ids});
    const ValueId kinds =
        op(name + "/types", "Gather", {table("token_type", config_.token_types), types});
    const ValueId length = op(name + "/length", "Shape", {ids}, {{"start", int64_t{1}}});
    const ValueId zero = integers("zero", {0});
    const ValueId positions = op(name + "/positions", "Slice",
                                 {table("position", config_.positions), zero, length, zero});
    const ValueId sum = op(name + "/Add", "Add", {words, kinds});
    const ValueId all = op(name + "/Add_positions", "Add", {sum, positions});
    return layer_norm(name + ".LayerNorm", all, graph_.add_value(name + ".LayerNorm_output"));
  }

  // 0 for tokens, the lowest float for padding, [batch, 1, 1, sequence].
  ValueId mask_bias(ValueId mask) {
    const ValueId wide = op("mask/Unsqueeze", "Unsqueeze", {mask, integers("mask_axes", {1, 2})});
    const ValueId numbers =
        op("mask/Cast", "Cast", {wide}, {{"to", static_cast<int64_t>(DType::kFloat32)}});
    const ValueId padding = op("mask/Sub", "Sub", {number("one", 1.0f), numbers});
    return op("mask/Mul", "Mul", {padding, number("lowest", std::numeric_limits<float>::lowest())});
  }

  // `x` as [batch, heads, sequence, head size], permuted by `order`.
  ValueId split_heads(const std::string& name, ValueId x, std::vector<int64_t> order) {
    const ValueId split = op(name + "/Reshape", "Reshape", {x, heads_shape_});
    return op(name + "/Transpose", "Transpose", {split}, {{"perm", std::move(order)}});
  }

  ValueId attention(const std::string& name, ValueId x, ValueId bias) {
    const auto project = [&](const std::string& part, std::vector<int64_t> order) {
      const std::string projection = name + ".self." + part;
      return split_heads(projection, linear(projection, x, config_.hidden, config_.hidden),
                         std::move(order));
    };
    const ValueId query = project("query", {0, 2, 1, 3});
    const ValueId key = project("key", {0, 2, 3, 1});
    const ValueId value = project("value", {0, 2, 1, 3});
    if (scale_ == kNoValue) {
      const auto head_size = static_cast<double>(config_.hidden / config_.heads);
      scale_ = number("scale", static_cast<float>(1.0 / std::sqrt(head_size)));
    }
    const ValueId scores = op(name + "/scores", "MatMul", {query, key});
    const ValueId scaled = op(name + "/scaled", "Mul", {scores, scale_});
    const ValueId masked = op(name + "/masked", "Add", {scaled, bias});
    const ValueId shares = op(name + "/Softmax", "Softmax", {masked}, {{"axis", int64_t{-1}}});
    const ValueId context = op(name + "/context", "MatMul", {shares, value});
    const ValueId rows = op(name + "/Transpose", "Transpose", {context},
                            {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
    const ValueId joined = op(name + "/Reshape", "Reshape", {rows, joined_shape_});
    return linear(name + ".output.dense", joined, config_.hidden, config_.hidden);
  }

  ValueId activation(const std::string& name, ValueId x) {
    const std::string& kind = config_.activation;
    if (kind == "relu") return op(name, "Relu", {x});
    if (kind == "gelu") return op(name, "Gelu", {x});
    require(kind == "gelu_new" || kind == "gelu_pytorch_tanh", ErrorCode::kUnsupported,
            "hidden_act '", kind, "' is not implemented");
    return op(name, "Gelu", {x}, {{"approximate", std::string("tanh")}});
  }

  ValueId encoder_layer(const std::string& name, ValueId x, ValueId bias, bool last) {
    const ValueId attended = attention(name + ".attention", x, bias);
    const ValueId first = op(name + ".attention/Add", "Add", {attended, x});
    const std::string first_norm = name + ".attention.output.LayerNorm";
    const ValueId middle = layer_norm(first_norm, first, graph_.add_value(first_norm + "_output"));

    const ValueId up =
        linear(name + ".intermediate.dense", middle, config_.hidden, config_.intermediate);
    const ValueId active = activation(name + ".intermediate/activation", up);
    const ValueId down =
        linear(name + ".output.dense", active, config_.intermediate, config_.hidden);
    const ValueId second = op(name + "/Add", "Add", {down, middle});
    const std::string second_norm = name + ".output.LayerNorm";
    const Dims shape = {Dim::symbol("batch_size"), Dim::symbol("sequence_length"), config_.hidden};
    const ValueId output =
        last ? graph_.add_value("last_hidden_state", Fact::of(DType::kFloat32, shape))
             : graph_.add_value(second_norm + "_output");
    return layer_norm(second_norm, second, output);
  }

  const BertConfig& config_;
  const std::map<std::string, Tensor>& weights_;
  const OpRegistry& ops_;
  Graph graph_;
  ValueId heads_shape_ = kNoValue;
  ValueId joined_shape_ = kNoValue;
  ValueId scale_ = kNoValue;
};

}  // namespace

Graph build_bert(const BertConfig& config, const std::map<std::string, Tensor>& weights,
                 const OpRegistry& ops) {
  const auto positive = [](int64_t value, const char* name) {
    require(value > 0, ErrorCode::kInvalidData, "config.json: ", name, " ", value,
            " has to be a positive number");
  };
  positive(config.layers, "num_hidden_layers");
  positive(config.heads, "num_attention_heads");
  positive(config.hidden, "hidden_size");
  positive(config.intermediate, "intermediate_size");
  positive(config.vocabulary, "vocab_size");
  positive(config.positions, "max_position_embeddings");
  positive(config.token_types, "type_vocab_size");
  require(config.hidden % config.heads == 0, ErrorCode::kInvalidData, "config.json: hidden_size ",
          config.hidden, " is no multiple of num_attention_heads ", config.heads);
  return BertBuilder(config, weights, ops).build();
}

}  // namespace hugot
