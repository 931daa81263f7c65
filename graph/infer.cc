// Type and shape inference over whole graphs.
#include <algorithm>

#include "graph/op.h"

namespace hugot {

class Inference {
 public:
  static std::vector<Fact> run(const Graph& graph, const Node& node) {
    InferContext context(graph, node);
    node.op->infer(context);
    return std::move(context.outputs_);
  }
};

namespace {

void check_arity(const Node& node) {
  const OpDef& op = *node.op;
  int given = static_cast<int>(node.inputs.size());
  while (given > 0 && node.inputs[static_cast<size_t>(given - 1)] == kNoValue) --given;
  require(given >= op.min_inputs && given <= op.max_inputs, ErrorCode::kInvalidData, "has ", given,
          " inputs; the operator takes ", op.min_inputs, " to ", op.max_inputs);
  require(static_cast<int>(node.outputs.size()) <= op.max_outputs, ErrorCode::kInvalidData, "has ",
          node.outputs.size(), " outputs; the operator has at most ", op.max_outputs);
  for (int i = 0; i < op.min_inputs; ++i) {
    require(node.input(static_cast<size_t>(i)) != kNoValue, ErrorCode::kInvalidData, "input ", i,
            " is required");
  }
}

// What the inferred fact adds to what is known. Inference wins over hints of the file, but never
// loses a number to a symbol.
void merge(Fact& known, Fact inferred) {
  if (!inferred.is_tensor()) {
    known = std::move(inferred);
    return;
  }
  if (inferred.dtype != DType::kUndefined) known.dtype = inferred.dtype;
  if (inferred.shape) {
    if (known.shape && known.shape->size() == inferred.shape->size()) {
      for (size_t i = 0; i < inferred.shape->size(); ++i) {
        Dim& dim = (*inferred.shape)[i];
        if (!dim.is_number() && (*known.shape)[i].is_number()) dim = (*known.shape)[i];
      }
    }
    known.shape = std::move(inferred.shape);
  }
  if (inferred.symbolic) known.symbolic = std::move(inferred.symbolic);
  if (inferred.uniform) known.uniform = std::move(inferred.uniform);
  if (inferred.constant) {
    known.constant = std::move(inferred.constant);
  }
}

}  // namespace

void infer_node(Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (node.op == nullptr) return;
  with_context([&] { return node.label(); },
               [&] {
                 check_arity(node);
                 if (node.op->infer == nullptr) return;
                 std::vector<Fact> facts = Inference::run(graph, node);
                 for (size_t i = 0; i < node.outputs.size(); ++i) {
                   if (node.outputs[i] != kNoValue)
                     merge(graph.value(node.outputs[i]).fact, std::move(facts[i]));
                 }
               });
}

void infer(Graph& graph) {
  for (const NodeId id : graph.order()) infer_node(graph, id);
}

}  // namespace hugot
