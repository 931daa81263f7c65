// Reverse-mode differentiation: what a gradient rule sees, and the walk that applies the rules.
#ifndef HUGOT_GRAPH_GRADIENT_H_
#define HUGOT_GRAPH_GRADIENT_H_

#include <span>
#include <vector>

#include "graph/writer.h"

namespace hugot {

// What a gradient rule (OpDef::gradient) sees of one node. In the names of calculus: the node
// computes y from x, dy is the gradient of the loss in y, and the rule appends the nodes that
// compute dx from x, y and dy.
//
//   void tanh(GradientContext& g) { g.set(0, g.dy() * (1 - square(g.y()))); }
class GradientContext {
 public:
  // `dy`: the gradient of each output, kNoValue where none flows; `wanted`: which inputs want one.
  GradientContext(GraphWriter& writer, NodeId node, std::vector<ValueId> dy,
                  std::vector<bool> wanted);

  const Node& node() const { return node_; }
  int since_version() const { return node_.op->since_version; }
  int num_inputs() const { return static_cast<int>(node_.inputs.size()); }
  int num_outputs() const { return static_cast<int>(node_.outputs.size()); }

  GraphWriter& writer() { return writer_; }
  bool fused() const { return writer_.fused(); }
  Term op(std::string_view type, const std::vector<Term>& inputs, Attributes attributes = {}) {
    return writer_.op(type, inputs, std::move(attributes));
  }

  // Input i; nothing when it is omitted.
  Term x(int i = 0) { return {writer_, node_.input(static_cast<size_t>(i))}; }
  // Output i. An output that was omitted is added to the node.
  Term y(int i = 0);
  // The gradient of output i; nothing when none flows. There is at least one in every call, so for
  // an operator with one output dy() is there.
  Term dy(int i = 0) const;
  // The same with zeros for nothing.
  Term dy_or_zeros(int i) { return dy(i) ? dy(i) : zeros_like(y(i)); }

  // True when the gradient of input i is asked for. Rules may set others, too: it is ignored.
  bool wants(int i) const;
  // The gradient of input i. It is summed over the axes along which the input was broadcast, and
  // cast to the input's element type. An input that is never set has the gradient zero.
  void set(int i, const Term& dx);
  // What set() was given for input i, as a value of the input's shape and type; nothing if unset.
  Term result(int i) const { return dx_[static_cast<size_t>(i)]; }

  // For composite operators: `y` are the outputs once more (nothing for those without gradient),
  // written with other operators from x, all in this call of the rule. Sets the gradients that
  // follow from their rules.
  void differentiate(std::span<const Term> y);

 private:
  GraphWriter& writer_;
  NodeId id_;
  size_t first_node_;  // that this rule has written
  Node node_;          // a copy: nodes move when others are appended
  std::vector<ValueId> dy_;
  std::vector<bool> wanted_;
  std::vector<Term> dx_;
};

// A value and its gradient.
struct Seed {
  ValueId value = kNoValue;
  ValueId gradient = kNoValue;
};

// Applies the gradient rules of `nodes`, which are in topological order, backwards from `seeds`.
// Returns the gradient of each value of `wrt`; kNoValue where none flows. Only nodes between `wrt`
// and a seed are entered, along values of floating-point type. Throws kUnsupported naming operator,
// version and node where a rule is missing.
std::vector<ValueId> propagate_gradients(GraphWriter& writer, std::span<const NodeId> nodes,
                                         std::span<const Seed> seeds, std::span<const ValueId> wrt);

}  // namespace hugot

#endif  // HUGOT_GRAPH_GRADIENT_H_
