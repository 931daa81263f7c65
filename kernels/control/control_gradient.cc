// Gradients of If, Loop and Scan: other control flow, whose bodies are the bodies' derivatives.
#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "graph/gradient.h"
#include "kernels/control/control.h"
#include "kernels/subgraph.h"

namespace hugot::control::rule {
namespace {

using G = GradientContext;
using Body = std::shared_ptr<const Graph>;
using Names = std::vector<std::string>;

// Values of the graph around bodies that they are to see.
class Captured {
 public:
  explicit Captured(GraphWriter& writer) : writer_(writer) {}

  // Returns the number of the value.
  size_t add(const Term& value) {
    values_.push_back(value);
    names_.push_back(value ? writer_.graph().value(value.id()).name : std::string());
    return values_.size() - 1;
  }
  void add_all(G& g, int first) {
    for (int i = first; i < g.num_inputs(); ++i) add(g.x(i));
  }
  const std::vector<Term>& values() const { return values_; }
  const Names& names() const { return names_; }

  // Inputs for the values at the end of those of a body.
  std::vector<Term> inputs_of(GraphWriter& body) const {
    std::vector<Term> result;
    for (size_t i = 0; i < values_.size(); ++i) {
      const Fact fact = values_[i] ? values_[i].fact().type() : Fact();
      result.push_back(body.value(body.graph().add_input(names_[i], fact)));
    }
    return result;
  }

 private:
  GraphWriter& writer_;
  std::vector<Term> values_;
  Names names_;
};

GraphWriter writer_for(Graph& body, G& g, std::string_view scope) {
  body.opsets = g.writer().graph().opsets;
  body.scope = g.writer().graph().fresh_name(scope);
  GraphWriter writer(body, g.writer().ops());
  writer.set_fused(g.fused());
  writer.set_scope("gradient");
  return writer;
}

// A node of control flow with the bodies of `attributes`, which see `captured` besides `inputs`.
std::vector<Term> run(G& g, std::string_view type, std::vector<Term> inputs, Attributes attributes,
                      const Captured& captured, size_t outputs) {
  attributes[std::string(kCapturedAttribute)] = captured.names();
  inputs.insert(inputs.end(), captured.values().begin(), captured.values().end());
  return g.writer().outputs(type, inputs, std::move(attributes), static_cast<int>(outputs));
}

// The gradients of `wrt` by nodes of the body's graph from number `first` on; zeros where none
// flows.
std::vector<Term> gradients_in(GraphWriter& body, size_t first, const std::vector<Seed>& seeds,
                               const std::vector<Term>& wrt) {
  std::vector<NodeId> nodes;
  for (size_t i = first; i < body.graph().node_count(); ++i) {
    nodes.push_back(static_cast<NodeId>(i));
  }
  std::vector<ValueId> ids;
  for (const Term& value : wrt) ids.push_back(value.id());
  const std::vector<ValueId> gradients = propagate_gradients(body, nodes, seeds, ids);
  std::vector<Term> result;
  for (size_t i = 0; i < wrt.size(); ++i) {
    result.push_back(gradients[i] == kNoValue ? zeros_like(wrt[i]) : body.value(gradients[i]));
  }
  return result;
}

Body finished(Graph& body, const std::vector<Term>& outputs) {
  for (const Term& output : outputs) body.outputs.push_back(output.id());
  body.remove_dead();
  return std::make_shared<const Graph>(std::move(body));
}

std::vector<int> wanted_inputs(const G& g, int first, int last) {
  std::vector<int> result;
  for (int i = first; i < last; ++i) {
    if (g.wants(i)) result.push_back(i);
  }
  return result;
}

}  // namespace

void If(G& g) {
  Captured captured(g.writer());
  captured.add_all(g, 1);
  std::vector<size_t> outputs, shares;  // those with gradients, and where these are
  for (int i = 0; i < g.num_outputs(); ++i) {
    if (!g.dy(i)) continue;
    outputs.push_back(static_cast<size_t>(i));
    shares.push_back(captured.add(g.dy(i)));
  }
  const std::vector<int> wanted = wanted_inputs(g, 1, g.num_inputs());
  Attributes branches;
  for (const char* branch : {"then_branch", "else_branch"}) {
    const Graph& original = body_of(g.node(), branch, 0, g.num_outputs());
    Graph graph;
    GraphWriter writer = writer_for(graph, g, branch);
    const std::vector<Term> inputs = captured.inputs_of(writer);
    const std::vector<Term> y =
        inline_body(writer, original, std::span(inputs).first(original.inputs.size()));
    std::vector<Seed> seeds;
    for (size_t i = 0; i < outputs.size(); ++i) {
      seeds.push_back({y[outputs[i]].id(), inputs[shares[i]].id()});
    }
    std::vector<Term> wrt;
    for (const int i : wanted) wrt.push_back(inputs[static_cast<size_t>(i) - 1]);
    branches[branch] = finished(graph, gradients_in(writer, 0, seeds, wrt));
  }
  const auto dx = run(g, "If", {g.x(0)}, std::move(branches), captured, wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) g.set(wanted[i], dx[i]);
}

// The loop runs once more and keeps what its carried values are at the beginning of each iteration;
// then another one walks back. So carried values must not change their shape.
void Loop(G& g) {
  const int states = own_inputs(g.node()) - 2, first_captured = states + 2;
  const Graph& body = body_of(g.node(), "body", first_captured, -1);
  const auto scans = static_cast<int>(body.outputs.size()) - states - 1;
  const auto at = [](int i) { return static_cast<size_t>(i); };

  Captured captured(g.writer());
  captured.add_all(g, first_captured);
  Graph keeping_graph = body;
  keeping_graph.declared_outputs.clear();
  keeping_graph.outputs.resize(at(states) + 1);
  for (int i = 0; i <= states; ++i) {  // the number of the iteration, and the states
    const ValueId id = body.inputs[at(i == 0 ? 0 : i + 1)];
    keeping_graph.outputs.push_back(id);
  }
  std::vector<Term> inputs;
  for (int i = 0; i < first_captured; ++i) inputs.push_back(g.x(i));
  const auto all = run(g, "Loop", inputs, {{"body", std::make_shared<const Graph>(keeping_graph)}},
                       captured, at(2 * states) + 1);
  const std::vector<Term> kept(all.begin() + states, all.end());
  const Term count = dim_of(kept[0], 0);

  // What is carried back: the gradients of the states, then the sums for captured values.
  std::vector<int> carried;  // states with gradients
  std::vector<Term> back = {reshape(count, g.writer().integers({})), Term()};
  for (int i = 0; i < states; ++i) {
    const DType dtype = kept[at(i) + 1].dtype();
    if (!is_float(dtype)) continue;
    carried.push_back(i);
    back.push_back(g.dy(i) ? g.dy(i) : zeros_like(g.y(i)));
  }
  const std::vector<int> wanted = wanted_inputs(g, first_captured, g.num_inputs());
  for (const int i : wanted) back.push_back(zeros_like(g.x(i)));
  const size_t first_kept = captured.values().size();
  for (const Term& value : kept) captured.add(value);
  std::vector<std::pair<int, size_t>> shares;  // stacked outputs with gradients
  for (int i = states; i < states + scans && i < g.num_outputs(); ++i) {
    if (g.dy(i)) shares.emplace_back(i, captured.add(g.dy(i)));
  }
  const size_t count_at = captured.add(count);

  Graph graph;
  GraphWriter writer = writer_for(graph, g, "loop");
  const Term iteration = writer.value(graph.add_input("iteration", Fact::of(DType::kInt64, {})));
  const Term condition = writer.value(graph.add_input("condition", Fact::of(DType::kBool, {})));
  std::vector<Term> sums;
  for (size_t i = 2; i < back.size(); ++i) {
    sums.push_back(writer.value(graph.add_input("gradient", back[i].fact().type())));
  }
  const std::vector<Term> outer = captured.inputs_of(writer);
  const Term index = reshape(outer[count_at], writer.integers({})) - 1 - iteration;
  const auto row = [&](const Term& stack) { return writer.op("Gather", {stack, index}); };
  std::vector<Term> arguments = {row(outer[first_kept]),
                                 writer.constant(Tensor::scalar<bool>(true))};
  for (int i = 0; i < states; ++i) arguments.push_back(row(outer[first_kept + 1 + at(i)]));
  for (int i = first_captured; i < g.num_inputs(); ++i) {
    arguments.push_back(outer[at(i - first_captured)]);
  }
  std::vector<Seed> seeds;
  const size_t first_node = graph.node_count();
  const std::vector<Term> y = inline_body(writer, body, arguments);
  std::vector<Term> wrt;
  for (size_t i = 0; i < carried.size(); ++i) {
    seeds.push_back({y[at(carried[i]) + 1].id(), sums[i].id()});
    wrt.push_back(arguments[at(carried[i]) + 2]);
  }
  for (const auto& [output, place] : shares) {
    seeds.push_back({y[at(output) + 1].id(), row(outer[place]).id()});
  }
  for (const int i : wanted) wrt.push_back(outer[at(i - first_captured)]);
  std::vector<Term> results = gradients_in(writer, first_node, seeds, wrt);
  for (size_t i = carried.size(); i < results.size(); ++i) results[i] = sums[i] + results[i];
  results.insert(results.begin(), condition);
  const auto dx =
      run(g, "Loop", back, {{"body", finished(graph, results)}}, captured, back.size() - 2);
  for (size_t i = 0; i < carried.size(); ++i) g.set(carried[i] + 2, dx[i]);
  for (size_t i = 0; i < wanted.size(); ++i) g.set(wanted[i], dx[carried.size() + i]);
}

// As a Loop that takes its rows out of what is scanned.
void Scan(G& g) {
  require(g.since_version() >= 9, ErrorCode::kUnsupported, "version 8 has no gradient");
  const int own = own_inputs(g.node());
  const ScanLayout layout = scan_layout(g.node(), own);
  const Graph& body = body_of(g.node(), "body", own, -1);
  const auto at = [](int i) { return static_cast<size_t>(i); };
  const auto axis_of = [&](int i) {
    const int64_t axis = layout.input_axes[at(i)];
    return axis < 0 ? axis + g.x(layout.states + i).rank() : axis;
  };
  Captured captured(g.writer());
  const Term length = dim_of(g.x(layout.states), axis_of(0));
  for (int i = 0; i < layout.inputs; ++i) captured.add(g.x(layout.states + i));
  captured.add_all(g, own);
  const size_t length_at = captured.add(length);

  Graph graph;
  GraphWriter writer = writer_for(graph, g, "scan");
  const Term iteration = writer.value(graph.add_input("iteration", Fact::of(DType::kInt64, {})));
  const Term condition = writer.value(graph.add_input("condition", Fact::of(DType::kBool, {})));
  std::vector<Term> arguments;
  for (int i = 0; i < layout.states; ++i) {
    arguments.push_back(writer.value(graph.add_input("state", g.x(i).fact().type())));
  }
  const std::vector<Term> outer = captured.inputs_of(writer);
  const Term last = reshape(outer[length_at], writer.integers({})) - 1;
  for (int i = 0; i < layout.inputs; ++i) {
    const Term index = layout.input_reversed[at(i)] ? last - iteration : iteration;
    arguments.push_back(writer.op("Gather", {outer[at(i)], index}, {{"axis", axis_of(i)}}));
  }
  for (int i = own; i < g.num_inputs(); ++i) {
    arguments.push_back(outer[at(layout.inputs + i - own)]);
  }
  std::vector<Term> results = inline_body(writer, body, arguments);
  results.insert(results.begin(), condition);
  std::vector<Term> inputs = {reshape(length, g.writer().integers({})), Term()};
  for (int i = 0; i < layout.states; ++i) inputs.push_back(g.x(i));
  std::vector<Term> y =
      run(g, "Loop", inputs, {{"body", finished(graph, results)}}, captured, results.size() - 1);
  for (int i = 0; i < layout.outputs; ++i) {
    Term& stack = y[at(layout.states + i)];
    if (layout.output_reversed[at(i)]) {
      const auto ints = [&](int64_t n) { return g.writer().integers({n}); };
      stack = g.op("Slice", {stack, ints(-1), ints(INT64_MIN), ints(0), ints(-1)});
    }
    const int64_t axis = layout.output_axes[at(i)];
    if (axis == 0) continue;
    std::vector<int64_t> perm(static_cast<size_t>(stack.rank()));
    for (size_t k = 0; k < perm.size(); ++k) perm[k] = static_cast<int64_t>(k) + 1;
    perm.pop_back();
    perm.insert(perm.begin() + (axis < 0 ? axis + stack.rank() : axis), 0);
    stack = transpose(stack, std::move(perm));
  }
  y.resize(static_cast<size_t>(g.num_outputs()));
  g.differentiate(y);
}

}  // namespace hugot::control::rule
