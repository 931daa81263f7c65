// From a graph over padded batches to the function of one text.
#include <algorithm>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace hugot {
namespace {

Tensor scalar_of(DType dtype, int64_t value) {
  switch (dtype) {
    case DType::kInt64:
      return Tensor::scalar<int64_t>(value);
    case DType::kInt32:
      return Tensor::scalar<int32_t>(static_cast<int32_t>(value));
    case DType::kFloat32:
      return Tensor::scalar<float>(static_cast<float>(value));
    case DType::kBool:
      return Tensor::scalar<bool>(value != 0);
    default:
      fail(ErrorCode::kUnsupported, "its type is ", dtype_name(dtype));
  }
}

// A tensor of one text: batch 1 in front of `shape`, which fills in what the graph leaves
// open.
Dims instance_dims(const Fact& declared, const Shape& shape) {
  Dims dims = {1};
  for (const int64_t dim : shape) dims.emplace_back(dim);
  if (!declared.shape) return dims;
  bool fits = declared.shape->size() == dims.size();
  for (size_t i = 0; fits && i < dims.size(); ++i) {
    const Dim& own = (*declared.shape)[i];
    fits = !own.is_number() || own == dims[i];
  }
  require(fits, ErrorCode::kUnsupported, "its shape ", to_string(*declared.shape),
          " does not take ", to_string(dims));
  return dims;
}

void specialize_input(Value& input, std::span<const RaggedInput> inputs) {
  const auto spec = std::find_if(inputs.begin(), inputs.end(), [&](const RaggedInput& candidate) {
    return candidate.name == input.name;
  });
  require(spec != inputs.end(), ErrorCode::kUnsupported, "nothing is known about it");
  if (spec->kind == RaggedInput::Kind::kParameter) {
    require(input.fact.fixed_shape().has_value(), ErrorCode::kUnsupported, "its shape ",
            input.fact.to_string(), " is not fixed");
    input.parameter = true;
    return;
  }
  const Fact& declared = input.fact;
  const bool fixed = spec->kind == RaggedInput::Kind::kTensor || spec->shape.rank() > 0;
  if (declared.shape && !fixed) {
    const Dims& dims = *declared.shape;
    require(dims.size() == 2 && (!dims[0].is_number() || dims[0].is(1)) && !dims[1].is_number(),
            ErrorCode::kUnsupported, "its shape ", to_string(dims),
            " has no free batch and sequence axes");
  }
  Fact fact = Fact::of(declared.dtype, fixed ? instance_dims(declared, spec->shape)
                                             : Dims{1, Dim::symbol(kLengthSymbol)});
  if (spec->kind == RaggedInput::Kind::kUniform) fact.uniform = scalar_of(fact.dtype, spec->value);
  input.fact = std::move(fact);
}

// True when a fact tells every element for a given length.
bool tells_contents(const Fact& fact) {
  if (!known_for_text(fact)) return false;
  if (fact.uniform) return dtype_bits(fact.dtype) >= 8;  // neither strings nor packed types
  if (fact.dtype != DType::kInt64 && fact.dtype != DType::kInt32) return false;
  return fact.symbolic && fact.fixed_shape() &&
         std::all_of(fact.symbolic->begin(), fact.symbolic->end(),
                     [](const Dim& dim) { return !dim.coefficients(kLengthSymbol).empty(); });
}

void drop_unread_inputs(Graph& graph) {
  const auto readers = graph.readers();
  std::erase_if(graph.inputs, [&](ValueId id) { return readers[static_cast<size_t>(id)].empty(); });
}

}  // namespace

size_t detach_known(Graph& graph, PassContext&) {
  size_t changes = 0;
  for (const NodeId id : graph.order()) {
    const std::vector<ValueId> outputs = graph.node(id).outputs;
    const bool known = std::all_of(outputs.begin(), outputs.end(), [&](ValueId output) {
      const bool result =
          std::find(graph.outputs.begin(), graph.outputs.end(), output) != graph.outputs.end();
      return output == kNoValue || (!result && tells_contents(graph.fact(output)));
    });
    if (!known) continue;
    graph.remove_node(id);
    for (const ValueId output : outputs) {
      if (output != kNoValue) graph.inputs.push_back(output);
    }
    ++changes;
  }
  graph.remove_dead();
  drop_unread_inputs(graph);
  return changes;
}

void keep_outputs(Graph& graph, std::span<const int> outputs) {
  std::vector<ValueId> kept;
  for (const int i : outputs) kept.push_back(graph.outputs.at(static_cast<size_t>(i)));
  graph.outputs = std::move(kept);
  graph.declared_outputs.clear();
  graph.remove_dead();
  drop_unread_inputs(graph);
}

void specialize(Graph& graph, std::span<const RaggedInput> inputs, std::span<const int> outputs) {
  keep_outputs(graph, outputs);  // what is declared has a batch
  for (ValueId id = 0; id < static_cast<ValueId>(graph.value_count()); ++id) {
    Value& value = graph.value(id);
    if (value.producer != kNoNode) value.fact = {};
  }
  for (const ValueId id : graph.inputs) {
    with_context([&] { return str("input '", graph.value(id).name, "'"); },
                 [&] { specialize_input(graph.value(id), inputs); });
  }
}

namespace {

struct Named {
  const char* name;
  Pass pass;
  bool training = true;  // what it makes has gradients
};

// Simplified first, so that fusions meet one spelling; linear last, because it swallows what the
// others look for.
constexpr Named kCleanup[] = {{"fold_constants", fold_constants},
                              {"simplify", simplify},
                              {"eliminate_common", eliminate_common}};
constexpr Named kFusions[] = {{"fuse_layer_norm", fuse_layer_norm},
                              {"fuse_rms_norm", fuse_rms_norm},
                              {"fuse_gelu", fuse_gelu},
                              {"fuse_rotary", fuse_rotary},
                              {"sink_transposes", sink_transposes},
                              {"lower_attention", lower_attention},
                              {"hoist_views", hoist_views},
                              {"fuse_attention", fuse_attention},
                              {"fuse_relative_attention", fuse_relative_attention, false},
                              {"fuse_patches", fuse_patches, false},
                              {"fuse_quantized", fuse_quantized, false},
                              {"fuse_linear", fuse_linear}};

size_t apply(Graph& graph, PassContext& context, const Named& named) {
  if (context.training && !named.training) return 0;
  return apply_pass(graph, context, named.name, named.pass);
}

void settle(Graph& graph, PassContext& context) {
  constexpr int kMaxRounds = 8;  // each round undoes one layer of nesting; graphs need two or three
  for (int round = 0; round < kMaxRounds; ++round) {
    size_t changes = 0;
    for (const Named& named : kCleanup) changes += apply(graph, context, named);
    if (changes == 0) return;
  }
}

}  // namespace

void optimize_for_ragged(Graph& graph, std::span<const RaggedInput> inputs,
                         std::span<const int> outputs, PassContext& context) {
  specialize(graph, inputs, outputs);
  infer(graph);
  report_pass(graph, context, "specialize", graph.inputs.size());

  apply(graph, context, {"expand_operators", expand_operators});
  // Before weights are dequantized by folding.
  apply(graph, context, {"fuse_quantized", fuse_quantized, false});
  settle(graph, context);
  if (apply(graph, context, {"widen_half", widen_half}) > 0) settle(graph, context);
  for (const Named& named : kFusions) apply(graph, context, named);
  settle(graph, context);
  if (context.training) return;
  apply(graph, context, {"keep_row", keep_row});
  if (apply(graph, context, {"prune_rows", prune_rows}) > 0) settle(graph, context);
  apply(graph, context, {"merge_linear", merge_linear});
  apply(graph, context, {"detach_known", detach_known});
}

void optimize_gradients(Graph& graph, std::span<const size_t> summed, PassContext& context) {
  graph.remove_dead();
  infer(graph);
  settle(graph, context);
  // Gradients that meet are added by the products that make them.
  if (apply(graph, context, {"fuse_linear", fuse_linear}) > 0) settle(graph, context);
  const size_t changes = sum_over_texts(graph, context, summed);
  infer(graph);
  report_pass(graph, context, "sum_over_texts", changes);
  apply(graph, context, {"detach_known", detach_known});
}

}  // namespace hugot
