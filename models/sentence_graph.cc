#include "models/sentence_graph.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
#include "graph/writer.h"
#include "models/pooling.h"

namespace hugot {
namespace {

constexpr double kSmallestNorm = 1e-12;

class HeadWriter {
 public:
  HeadWriter(Graph& graph, const OpRegistry& ops) : w_(graph, ops) { w_.set_scope("head"); }

  // [batch, sequence, dim] to [batch, dim]
  Term pool(const Term& tokens, const std::vector<Pooling>& modes) {
    const ValueId mask = w_.graph().find("attention_mask");
    if (mask != kNoValue) {
      mask_ = cast_to(w_.value(mask), tokens.dtype());
    } else {
      const Term ids = w_.value(w_.graph().find("input_ids"));
      mask_ = cast_to(w_.op("Equal", {ids, ids}), tokens.dtype());
    }
    std::vector<Term> parts;
    for (const Pooling mode : modes) parts.push_back(pool(tokens, mode));
    return parts.size() == 1 ? parts[0] : w_.concat(parts, 1);
  }

  Term normalize(const Term& x) {
    const Term squares = sum(square(x), w_.integers({-1}));
    return x / sqrt(w_.op("Max", {squares, kSmallestNorm * kSmallestNorm}));
  }

  // Weights are float32 in the module's file, whatever the model computes in.
  Term dense(const Term& x, const SentenceModule& module, DType dtype) {
    const Dense layer(module.folder);
    const auto inputs = static_cast<int64_t>(layer.inputs());
    const auto outputs = static_cast<int64_t>(layer.outputs());
    const auto operand = [&](const char* name, const Shape& shape, std::span<const float> data) {
      const ValueId id = w_.graph().add_initializer(dense_tensor_name(module, name),
                                                    Tensor::from<float>(shape, data));
      return cast_to(w_.value(id), dtype);
    };
    std::vector<Term> operands = {x, operand("linear.weight", {outputs, inputs}, layer.weight())};
    if (!layer.bias().empty()) operands.push_back(operand("linear.bias", {outputs}, layer.bias()));
    const Term y = w_.op("Gemm", operands, {{"transB", int64_t{1}}});
    switch (layer.activation()) {
      case Dense::Activation::kIdentity:
        return y;
      case Dense::Activation::kTanh:
        return tanh(y);
      case Dense::Activation::kRelu:
        return w_.op("Relu", {y});
      case Dense::Activation::kSigmoid:
        return sigmoid(y);
    }
    fail(ErrorCode::kInternal, "no such activation");
  }

  GraphWriter& writer() { return w_; }

 private:
  Term sum_of_tokens(const Term& x) {
    return w_.op("ReduceSum", {x, w_.integers({1})}, {{"keepdims", int64_t{0}}});
  }
  Term weighted_sum(const Term& tokens, const Term& weights) {
    return sum_of_tokens(tokens * unsqueeze(weights, {2}));
  }
  Term positions() { return w_.op("CumSum", {mask_, w_.constant(Tensor::scalar<int64_t>(1))}); }
  Term count() { return sum(mask_, w_.integers({1})); }

  Term pool(const Term& tokens, Pooling mode) {
    switch (mode) {
      case Pooling::kMean:
        return weighted_sum(tokens, mask_) / count();
      case Pooling::kMeanSqrtLen:
        return weighted_sum(tokens, mask_) / sqrt(count());
      case Pooling::kWeightedMean: {
        const Term weights = positions() * mask_;
        return weighted_sum(tokens, weights) / sum(weights, w_.integers({1}));
      }
      case Pooling::kLast:
        return weighted_sum(tokens, indicator(equal(positions(), count()), mask_) * mask_);
      case Pooling::kCls:
        return w_.op("Gather", {tokens, w_.constant(Tensor::scalar<int64_t>(0))},
                     {{"axis", int64_t{1}}});
      case Pooling::kMax: {
        const Term shown = where(unsqueeze(mask_, {2}) > 0.5, tokens, -1e9);
        return w_.op("ReduceMax", {shown, w_.integers({1})}, {{"keepdims", int64_t{0}}});
      }
    }
    fail(ErrorCode::kInternal, "no such pooling");
  }

  GraphWriter w_;
  Term mask_;
};

// Reductions had their axes as an attribute before version 18.
void axes_to_attribute(const Graph& graph, Node& node) {
  if (node.inputs.size() < 2) return;
  node.attributes["axes"] = to_int64s(*graph.constant(node.inputs[1]));
  node.inputs.resize(1);
}

}  // namespace

std::string dense_tensor_name(const SentenceModule& module, std::string_view tensor) {
  return module.folder.filename().string() + "/" + std::string(tensor);
}

void append_sentence_head(Graph& graph, const OpRegistry& ops,
                          std::span<const SentenceModule> modules) {
  infer(graph);
  const Fact fact = graph.fact(graph.outputs.at(0));
  require(fact.rank() == 3 || fact.rank() == 2, ErrorCode::kInvalidArgument, "output '",
          graph.value(graph.outputs[0]).name, "' is ", fact.to_string(),
          ", neither a vector per token nor one per text");
  if (fact.rank() == 2) return;
  HeadWriter head(graph, ops);
  Term x = head.writer().value(graph.outputs[0]);
  bool pooled = false;
  const auto pool = [&](const std::vector<Pooling>& modes) {
    require(!pooled, ErrorCode::kUnsupported, "a second pooling module");
    x = head.pool(x, modes);
    pooled = true;
  };
  for (const SentenceModule& module : modules) {
    switch (module.kind) {
      case SentenceModule::Kind::kPooling:
        pool(module.pooling);
        break;
      case SentenceModule::Kind::kDense:
        if (!pooled) pool({Pooling::kMean});
        x = head.dense(x, module, fact.dtype);
        break;
      case SentenceModule::Kind::kNormalize:
        if (!pooled) pool({Pooling::kMean});
        x = head.normalize(x);
        break;
    }
  }
  if (!pooled) pool({Pooling::kMean});
  graph.outputs = {x.id()};
  graph.declared_outputs.clear();
}

std::pair<std::string, std::string> append_classifier(Graph& graph, const OpRegistry& ops,
                                                      const Tensor& weight, const Tensor& bias) {
  const Fact fact = graph.fact(graph.outputs.at(0));
  require(fact.rank() == 2, ErrorCode::kInvalidArgument, "a classifier needs a vector per text, '",
          graph.value(graph.outputs[0]).name, "' is ", fact.to_string());
  const Dim& dim = fact.shape->at(1);
  require(!dim.is_number() || dim.is(weight.shape()[1]), ErrorCode::kInvalidArgument,
          "the classifier's weight is ", describe(weight), ", but the vectors are ",
          fact.to_string());
  const ValueId w = graph.add_initializer("classifier.weight", weight);
  const ValueId b = graph.add_initializer("classifier.bias", bias);
  Node node;
  node.name = "/classifier/Gemm";
  node.op_type = "Gemm";
  node.opset = 13;
  node.op = &ops.get("", "Gemm", 13);
  node.attributes["transB"] = int64_t{1};
  node.inputs = {graph.outputs[0], w, b};
  const ValueId logits = graph.add_value("logits");
  node.outputs = {logits};
  infer_node(graph, graph.add_node(std::move(node)));
  graph.outputs = {logits};
  graph.declared_outputs.clear();
  return {graph.value(w).name, graph.value(b).name};
}

void write_for_opset(Graph& graph, const OpRegistry& ops, size_t first) {
  const auto it = graph.opsets.find("");
  const int opset = std::max(13, it == graph.opsets.end() ? 13 : it->second);
  for (size_t i = first; i < graph.node_count(); ++i) {
    Node& node = graph.node(static_cast<NodeId>(i));
    if (node.op_type == "ReduceMax" && opset < 18) axes_to_attribute(graph, node);
    node.opset = opset;
    node.op = &ops.get("", node.op_type, opset);
    node.name = graph.value(node.outputs[0]).name;  // some runtimes want every name once
  }
  graph.opsets[""] = opset;
}

}  // namespace hugot
