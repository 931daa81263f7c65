// Operators written with other operators: what a rule of OpDef::expand sees.
#ifndef HUGOT_GRAPH_EXPANSION_H_
#define HUGOT_GRAPH_EXPANSION_H_

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "graph/writer.h"

namespace hugot {

// One node that is to be written with others.
//
//   bool bias_gelu(Expansion& e) { e.set(0, e.op("Gelu", {e.x(0) + e.x(1)})); return true; }
class Expansion {
 public:
  Expansion(GraphWriter& writer, const Node& node)
      : writer_(writer), node_(node), results_(node.outputs.size()) {}

  const Node& node() const { return node_; }
  GraphWriter& writer() { return writer_; }
  Term op(std::string_view type, const std::vector<Term>& inputs, Attributes attributes = {},
          std::string_view domain = "") {
    return writer_.op(type, inputs, std::move(attributes), domain);
  }

  // Input i; nothing when it is omitted.
  Term x(int i) { return {writer_, node_.input(static_cast<size_t>(i))}; }
  // The same for one number: a list of one becomes a scalar.
  Term scalar(int i);
  bool has(int i) const { return node_.input(static_cast<size_t>(i)) != kNoValue; }
  // What is known of input i. REQUIRES: has(i)
  const Fact& fact(int i) { return writer_.graph().fact(node_.input(static_cast<size_t>(i))); }
  // The rank of input i: -1 when it is omitted or not known.
  int rank(int i) { return has(i) ? fact(i).rank() : -1; }
  // The length of input i along an axis (negative: from the back), when it is a known number.
  std::optional<int64_t> dim(int i, int axis);
  // True when the ranks of all inputs that are there are known: most rules need no more.
  bool ranks_known();

  bool wants(int output) const { return node_.output(static_cast<size_t>(output)) != kNoValue; }
  // What output i is. REQUIRES: not a number.
  void set(int output, const Term& y);
  const std::vector<Term>& results() const { return results_; }

 private:
  GraphWriter& writer_;
  Node node_;  // a copy: nodes move when others are appended
  std::vector<Term> results_;
};

// Writes node `id` of the writer's graph with the operators of its rule, which then produce its
// outputs. False, and nothing but dead nodes was added, when the facts do not tell enough yet.
bool expand_node(GraphWriter& writer, NodeId id);

}  // namespace hugot

#endif  // HUGOT_GRAPH_EXPANSION_H_
