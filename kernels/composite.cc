#include "kernels/composite.h"

#include <vector>

#include "graph/exec/executor.h"
#include "graph/gradient.h"
#include "graph/passes/passes.h"
#include "kernels/registry.h"

namespace hugot {
namespace {

const OpRegistry& registry() {
  static const OpRegistry ops = builtin_ops({});
  return ops;
}

// Integers up to this number are known to the rule: axes, positions, lengths.
constexpr int64_t kMaxKnown = 1024;

void run_expansion(KernelContext& ctx) {
  Graph graph;
  Node node = ctx.node();
  std::vector<Datum> arguments;
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    ValueId& input = node.inputs[static_cast<size_t>(i)];
    if (!ctx.has_input(i)) {
      input = kNoValue;
      continue;
    }
    const Tensor& tensor = ctx.input(i);
    if ((tensor.dtype() == DType::kInt64 || tensor.dtype() == DType::kInt32) &&
        tensor.size() <= kMaxKnown) {
      input = graph.add_initializer("input", tensor);
      continue;
    }
    const Dims dims(tensor.shape().begin(), tensor.shape().end());
    input = graph.add_input("input", Fact::of(tensor.dtype(), dims));
    arguments.emplace_back(tensor);
  }
  std::vector<int> wanted;
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    ValueId& output = node.outputs[static_cast<size_t>(i)];
    if (!ctx.wants_output(i)) {
      output = kNoValue;
      continue;
    }
    output = graph.add_value("output");
    graph.outputs.push_back(output);
    wanted.push_back(i);
  }
  const NodeId id = graph.add_node(std::move(node));
  infer_node(graph, id);
  GraphWriter writer(graph, registry());
  require(expand_node(writer, id), ErrorCode::kUnsupported,
          "these operands of the operator are not supported");
  PassContext context{.ops = registry()};
  optimize_exact(graph, context);
  std::vector<Datum> results;
  Executor(Plan::compile(std::move(graph)))
      .run(arguments, results, {.pool = ctx.pool(), .stop = ctx.stop()});
  for (size_t i = 0; i < wanted.size(); ++i) ctx.set_output(wanted[i], std::move(results[i]));
}

}  // namespace

OpDef composite(Arity inputs, InferFunction infer, ExpandFunction expand, Arity outputs) {
  OpDef op = composite_of_integers(inputs, infer, expand, outputs);
  op.gradient = differentiate_expansion;
  return op;
}

OpDef composite_of_integers(Arity inputs, InferFunction infer, ExpandFunction expand,
                            Arity outputs) {
  OpDef op = define(inputs, infer, run_expansion, nullptr, outputs);
  op.expand = expand;
  op.composite = true;
  return op;
}

void differentiate_expansion(GradientContext& g) {
  Expansion expansion(g.writer(), g.node());
  require(g.node().op->expand(expansion), ErrorCode::kUnsupported,
          "the shapes of the operands are not known well enough for a gradient");
  std::vector<Term> outputs;
  for (const Term& result : expansion.results()) {
    const bool floating = result && is_float(result.dtype());
    outputs.push_back(floating ? result : Term());
  }
  g.differentiate(outputs);
}

}  // namespace hugot
