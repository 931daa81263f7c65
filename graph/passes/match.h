// Small questions that fusion passes ask about a graph.
#ifndef HUGOT_GRAPH_PASSES_MATCH_H_
#define HUGOT_GRAPH_PASSES_MATCH_H_

#include <initializer_list>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "graph/graph.h"
#include "graph/passes/passes.h"

namespace hugot {

// The number in a tensor of one element; nothing for other tensors and for strings.
std::optional<double> number_in(const Tensor& tensor);

// The number that every element of a value equals, when it is known.
std::optional<double> number_of(const Graph& graph, ValueId id);

// The producer of `id` when it is ai.onnx.`op_type`, else null.
const Node* produced_by(const Graph& graph, ValueId id, std::string_view op_type);

// The other operand of a two-input node, when one is `operand`; kNoValue otherwise.
ValueId other_operand(const Node& node, ValueId operand);

// For a commutative two-input node: (value, number) when one operand is a known number.
std::optional<std::pair<ValueId, double>> value_and_number(const Graph& graph, const Node& node);

// `id` without factors: walks through Mul and Div by known numbers. Returns the value and the
// product of the numbers.
std::pair<ValueId, double> peel_scale(const Graph& graph, ValueId id);

// The axes of a Reduce* node from its attribute or its constant input, none negative; nothing when
// they are not known.
std::optional<std::vector<int64_t>> reduction_axes(const Graph& graph, const Node& node);

// The input of a mean over the last axis with kept dimensions; kNoValue otherwise.
ValueId mean_over_last_axis(const Graph& graph, ValueId id);

// x when `id` is x * x or x ^ 2; kNoValue otherwise.
ValueId square_of(const Graph& graph, ValueId id);

// The shape of `id` when it is a weight (Graph::is_weight), float32 or float64, with `rank` axes.
std::optional<Shape> weight_shape(const Graph& graph, ValueId id, int rank);
// True when it is such a weight of shape [size].
bool is_weight_vector(const Graph& graph, ValueId id, int64_t size);

// |a - b| <= 1e-4 * |b|: for constants that exporters round to float32 or print with few digits.
bool close_to(double a, double b);

// Turns `node` into another operator in place: its outputs stay, everything else is new.
void rewrite(Node& node, const OpRegistry& ops, std::string_view domain, std::string_view op_type,
             int opset, std::vector<ValueId> inputs, Attributes attributes);

// `id` under another shape with the same number of elements: itself, or the result of a new
// hugot.View.
ValueId view_as(Graph& graph, const OpRegistry& ops, ValueId id, const Dims& dims);

// True when all dimensions are numbers or expressions in the length of a text.
bool known_for_text(const Fact& fact);

}  // namespace hugot

#endif  // HUGOT_GRAPH_PASSES_MATCH_H_
