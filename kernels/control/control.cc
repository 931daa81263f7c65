// If, Loop, Scan and SequenceMap: definitions.
#include "kernels/control/control.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/subgraph.h"

namespace hugot {
namespace control {
namespace {

using Ints = std::vector<int64_t>;

void infer_if(InferContext& ctx) {
  const int outputs = ctx.num_outputs();
  require(own_inputs(ctx.node()) == 1, ErrorCode::kInvalidData, "it takes one condition");
  const auto facts = [&](std::string_view branch) {
    return with_context(
        [&] { return std::string(branch); },
        [&] { return infer_body(ctx, body_of(ctx.node(), branch, 0, outputs), {}); });
  };
  const std::optional<Ints> condition = ctx.integers(0);
  const std::vector<Fact> yes = facts("then_branch");
  const std::vector<Fact> no = facts("else_branch");
  for (int i = 0; i < outputs; ++i) {
    const Fact a = outward(ctx, yes[static_cast<size_t>(i)], i);
    const Fact b = outward(ctx, no[static_cast<size_t>(i)], i);
    const bool known = condition && condition->size() == 1;
    ctx.output(i) = known ? (condition->front() != 0 ? a : b) : common_type(ctx, a, b, i);
  }
}

// Facts of values that a body takes and gives again, so that they hold in every iteration, and of
// what it gives besides. `first`: inputs of the body that are given to it anew each time.
std::vector<Fact> infer_carried(InferContext& ctx, const Graph& body,
                                const std::vector<Fact>& fixed, const std::vector<Fact>& initial,
                                const std::vector<Fact>& scanned, size_t skip_outputs) {
  std::vector<Fact> carried;
  for (const Fact& fact : initial) carried.push_back(fact.type());
  const auto pass = [&] {
    std::vector<Fact> inputs = fixed;
    inputs.insert(inputs.end(), carried.begin(), carried.end());
    inputs.insert(inputs.end(), scanned.begin(), scanned.end());
    std::vector<Fact> outputs = infer_body(ctx, body, std::move(inputs));
    outputs.erase(outputs.begin(), outputs.begin() + static_cast<std::ptrdiff_t>(skip_outputs));
    return outputs;
  };
  const auto widen = [&](const std::vector<Fact>& outputs) {
    bool changed = false;
    for (size_t i = 0; i < carried.size(); ++i) {
      const int index = static_cast<int>(i);
      Fact wider = i < static_cast<size_t>(ctx.num_outputs())
                       ? common_type(ctx, carried[i], outward(ctx, outputs[i], index), index)
                       : Fact();
      changed = changed || wider.shape != carried[i].shape;
      carried[i] = std::move(wider);
    }
    return changed;
  };
  std::vector<Fact> outputs = pass();
  if (widen(outputs)) {
    outputs = pass();
    if (widen(outputs)) {  // shapes go on changing: only types are sure
      for (Fact& fact : carried) fact.shape.reset();
      for (Fact& fact : outputs) fact.shape.reset();
    }
  }
  std::copy(carried.begin(), carried.end(), outputs.begin());
  return outputs;
}

std::vector<Fact> input_facts(const InferContext& ctx, int first, int last) {
  std::vector<Fact> facts;
  for (int i = first; i < last; ++i) facts.push_back(ctx.has_input(i) ? ctx.input(i) : Fact());
  return facts;
}

void infer_loop(InferContext& ctx) {
  const int carried = own_inputs(ctx.node()) - 2;
  require(carried >= 0, ErrorCode::kInvalidData, "it takes trip count and condition first");
  const Graph& body = body_of(ctx.node(), "body", carried + 2, -1);
  require(ctx.num_outputs() + 1 <= static_cast<int>(body.outputs.size()) &&
              static_cast<int>(body.outputs.size()) > carried,
          ErrorCode::kInvalidData, "the body has ", body.outputs.size(), " outputs, the node ",
          ctx.num_outputs());
  const std::vector<Fact> fixed = {Fact::of(DType::kInt64, {}), Fact::of(DType::kBool, {})};
  const std::vector<Fact> facts =
      infer_carried(ctx, body, fixed, input_facts(ctx, 2, carried + 2), {}, 1);
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    Fact fact = outward(ctx, facts[static_cast<size_t>(i)], i);
    if (i >= carried && fact.shape) fact.shape->insert(fact.shape->begin(), unknown_dim(ctx, i, 0));
    ctx.output(i) = std::move(fact);
  }
}

void infer_scan(InferContext& ctx) {
  const Node& node = ctx.node();
  const ScanLayout layout = scan_layout(node, own_inputs(node));
  const Graph& body = body_of(node, "body", layout.states + layout.inputs, -1);
  Dim length = unknown_dim(ctx, 0, -1);
  std::vector<Fact> scanned = input_facts(ctx, layout.states, layout.states + layout.inputs);
  for (size_t i = 0; i < scanned.size(); ++i) {
    scanned[i] = scanned[i].type();
    if (!scanned[i].shape) continue;
    Dims& dims = *scanned[i].shape;
    const int axis = infer_axis(dims, layout.input_axes[i]);
    length = dims[static_cast<size_t>(axis)];
    dims.erase(dims.begin() + axis);
  }
  const std::vector<Fact> facts =
      infer_carried(ctx, body, {}, input_facts(ctx, 0, layout.states), scanned, 0);
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    Fact fact = outward(ctx, facts[static_cast<size_t>(i)], i);
    if (i >= layout.states && fact.shape) {
      int64_t axis = layout.output_axes[static_cast<size_t>(i - layout.states)];
      const int64_t rank = fact.rank() + 1;
      if (axis < 0) axis += rank;
      require(axis >= 0 && axis < rank, ErrorCode::kInvalidData, "scan_output_axes: ", axis,
              " is outside of rank ", rank);
      fact.shape->insert(fact.shape->begin() + axis, length);
    }
    ctx.output(i) = std::move(fact);
  }
}

void infer_scan_batch(InferContext& ctx) {
  const ScanLayout layout = scan_layout(ctx.node(), own_inputs(ctx.node()) - 1);
  const Graph& body = body_of(ctx.node(), "body", layout.states + layout.inputs, -1);
  for (int i = 0; i < ctx.num_outputs() && i < static_cast<int>(body.outputs.size()); ++i) {
    ctx.output(i).dtype = body.fact(body.outputs[static_cast<size_t>(i)]).dtype;
  }
}

void infer_sequence_map(InferContext& ctx) {
  const int inputs = own_inputs(ctx.node());
  const Graph& body = body_of(ctx.node(), "body", inputs, -1);
  std::vector<Fact> facts;
  for (int i = 0; i < inputs; ++i) {
    const Fact& input = ctx.input(i);
    facts.push_back(input.kind == Kind::kSequence ? input.item() : input.type());
  }
  const std::vector<Fact> items = infer_body(ctx, body, std::move(facts));
  require(ctx.num_outputs() <= static_cast<int>(items.size()), ErrorCode::kInvalidData,
          "the body has ", items.size(), " outputs, the node ", ctx.num_outputs());
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    ctx.output(i) = Fact::sequence_of(outward(ctx, items[static_cast<size_t>(i)], i));
  }
}

OpDef define_control(int min_inputs, InferFunction infer, KernelFunction cpu) {
  OpDef op = define({min_inputs, OpDef::kVariadic}, infer, cpu, nullptr, {1, OpDef::kVariadic});
  op.prepare = prepare_subgraphs;
  return op;
}

}  // namespace

ScanLayout scan_layout(const Node& node, int own_inputs) {
  ScanLayout layout;
  const int64_t scanned = node.at<int64_t>("num_scan_inputs");
  require(scanned >= 1 && scanned <= own_inputs, ErrorCode::kInvalidData, "num_scan_inputs is ",
          scanned, ", the node has ", own_inputs, " inputs");
  layout.inputs = static_cast<int>(scanned);
  layout.states = own_inputs - layout.inputs;
  layout.outputs = static_cast<int>(body_of(node, "body", -1, -1).outputs.size()) - layout.states;
  require(layout.outputs >= 0 &&
              static_cast<int>(node.outputs.size()) <= layout.states + layout.outputs,
          ErrorCode::kInvalidData, "the body has ", layout.states + layout.outputs,
          " outputs, the node ", node.outputs.size(), " and ", layout.states, " states");
  const auto list = [&](const char* name, int count) {
    Ints values = node.get<Ints>(name, Ints(static_cast<size_t>(count), 0));
    require(values.size() == static_cast<size_t>(count), ErrorCode::kInvalidData, name, " has ",
            values.size(), " entries, expected ", count);
    return values;
  };
  const auto flags = [&](const Ints& values) {
    std::vector<bool> result;
    for (const int64_t value : values) {
      require(value == 0 || value == 1, ErrorCode::kInvalidData, "a direction is ", value,
              "; 0 is forward and 1 is reverse");
      result.push_back(value == 1);
    }
    return result;
  };
  const bool old = node.has("directions");  // Scan-8
  layout.input_axes = list("scan_input_axes", layout.inputs);
  layout.output_axes = list("scan_output_axes", layout.outputs);
  layout.input_reversed = flags(list(old ? "directions" : "scan_input_directions", layout.inputs));
  layout.output_reversed = flags(list("scan_output_directions", layout.outputs));
  return layout;
}

}  // namespace control

namespace ops {

OpDef onnx_If(int) {
  return with_gradient(control::define_control(1, control::infer_if, control::if_else),
                       control::rule::If);
}

OpDef onnx_Loop(int version) {
  // Version 1 wants one carried value at least; nobody minds if there is none.
  (void)version;
  return with_gradient(control::define_control(0, control::infer_loop, control::loop),
                       control::rule::Loop);
}

OpDef onnx_Scan(int version) {
  return with_gradient(
      version < 9 ? control::define_control(0, control::infer_scan_batch, control::scan_batch)
                  : control::define_control(1, control::infer_scan, control::scan),
      control::rule::Scan);
}

OpDef onnx_SequenceMap(int) {
  return control::define_control(1, control::infer_sequence_map, control::sequence_map);
}

}  // namespace ops
}  // namespace hugot
