// Appends nodes to a graph in the notation of formulas: `dy * y * (1 - y)`.
#ifndef HUGOT_GRAPH_WRITER_H_
#define HUGOT_GRAPH_WRITER_H_

#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graph/graph.h"
#include "graph/op.h"

namespace hugot {

class GraphWriter;

// A value of the graph, a number, or nothing. Arithmetic on terms appends nodes; it follows the
// ONNX operators of the same name, so operands are broadcast. A number becomes a constant of the
// element type that it meets; nothing (a default-constructed term) is an omitted input. Note that a
// ValueId would count as a number: GraphWriter::value() makes a term of it. A small value type that
// must not outlive its writer.
class Term {
 public:
  Term() = default;
  Term(double number) : number_(number), is_number_(true) {}  // NOLINT: numbers are terms
  Term(GraphWriter& writer, ValueId id) : writer_(&writer), id_(id) {}

  // False for nothing.
  explicit operator bool() const { return is_number_ || id_ != kNoValue; }
  bool is_number() const { return is_number_; }
  double number() const { return number_; }
  // kNoValue for nothing. REQUIRES: not a number.
  ValueId id() const { return id_; }
  GraphWriter& writer() const { return *writer_; }

  // What is known of a value. REQUIRES: a value. The reference holds until the next node.
  const Fact& fact() const;
  DType dtype() const { return fact().dtype; }
  // Throws kUnsupported when it is not known.
  int rank() const;

  friend Term operator+(const Term& a, const Term& b) { return apply("Add", {a, b}); }
  friend Term operator-(const Term& a, const Term& b) { return apply("Sub", {a, b}); }
  friend Term operator*(const Term& a, const Term& b) { return apply("Mul", {a, b}); }
  friend Term operator/(const Term& a, const Term& b) { return apply("Div", {a, b}); }
  friend Term operator<(const Term& a, const Term& b) { return apply("Less", {a, b}); }
  friend Term operator>(const Term& a, const Term& b) { return apply("Greater", {a, b}); }
  friend Term operator<=(const Term& a, const Term& b) { return apply("LessOrEqual", {a, b}); }
  friend Term operator>=(const Term& a, const Term& b) { return apply("GreaterOrEqual", {a, b}); }
  friend Term operator-(const Term& a) { return apply("Neg", {a}); }
  friend Term both(const Term& a, const Term& b) { return apply("And", {a, b}); }
  friend Term equal(const Term& a, const Term& b) { return apply("Equal", {a, b}); }
  friend Term pow(const Term& a, const Term& b) { return apply("Pow", {a, b}); }

  friend Term exp(const Term& a) { return apply("Exp", {a}); }
  friend Term log(const Term& a) { return apply("Log", {a}); }
  friend Term sqrt(const Term& a) { return apply("Sqrt", {a}); }
  friend Term square(const Term& a) { return a * a; }
  friend Term sign(const Term& a) { return apply("Sign", {a}); }
  friend Term erf(const Term& a) { return apply("Erf", {a}); }
  friend Term tanh(const Term& a) { return apply("Tanh", {a}); }
  friend Term sigmoid(const Term& a) { return apply("Sigmoid", {a}); }
  friend Term matrix_product(const Term& a, const Term& b) { return apply("MatMul", {a, b}); }

  friend Term where(const Term& condition, const Term& a, const Term& b) {
    return apply("Where", {condition, a, b});
  }
  friend Term cast_to(const Term& a, DType dtype);
  // 1 where the condition holds and 0 elsewhere, in the element type of `like`.
  friend Term indicator(const Term& condition, const Term& like) {
    return cast_to(condition, like.dtype());
  }

  // Dimensions as int64[rank]; the number of elements as an int64 scalar.
  friend Term shape_of(const Term& a) { return apply("Shape", {a}); }
  friend Term count_of(const Term& a) { return apply("Size", {a}); }
  // The number of elements of `a` for each of `b`, a scalar of the type of `a`.
  friend Term count_ratio(const Term& a, const Term& b);
  // The dimension along an axis >= 0, int64[1].
  friend Term dim_of(const Term& a, int64_t axis);
  friend Term zeros_like(const Term& a);
  friend Term reshape(const Term& a, const Term& shape);
  friend Term reshape_like(const Term& a, const Term& like);
  friend Term unsqueeze(const Term& a, std::vector<int64_t> axes);
  // Axes in a new order.
  friend Term transpose(const Term& a, std::vector<int64_t> perm);
  // The last two axes swapped.
  friend Term transposed(const Term& a);

  // Sum and mean over axes (int64[n]; nothing: all axes), which stay with length 1.
  friend Term sum(const Term& a, const Term& axes);
  friend Term mean(const Term& a, const Term& axes);
  // The sum over everything that broadcasting `like` to the shape of `a` has repeated: a value of
  // the shape of `like`. No node when the facts show that the shapes are equal.
  friend Term sum_to(const Term& a, const Term& like);

 private:
  static Term apply(std::string_view type, std::initializer_list<Term> inputs);

  GraphWriter* writer_ = nullptr;
  ValueId id_ = kNoValue;
  double number_ = 0;
  bool is_number_ = false;
};

// Appends nodes to `graph`, each of the newest version of its operator that `ops` has, and infers
// their facts at once. Keeps references to both; not thread-safe.
class GraphWriter {
 public:
  GraphWriter(Graph& graph, const OpRegistry& ops) : graph_(graph), ops_(ops) {}

  Graph& graph() { return graph_; }
  const OpRegistry& ops() const { return ops_; }
  // Begins the names of the nodes that follow.
  void set_scope(std::string scope) { scope_ = std::move(scope); }

  // Gradient rules may write operators that compute a whole gradient at once, as hugot.Attention
  // does forwards. They are faster, and have no gradients themselves.
  void set_fused(bool fused) { fused_ = fused; }
  bool fused() const { return fused_; }

  Term value(ValueId id) { return {*this, id}; }
  Term constant(Tensor data);
  // A scalar. Throws kUnsupported for a type without arithmetic, kInvalidArgument for a number that
  // an integer type does not have.
  Term number(double value, DType dtype);
  Term integers(const std::vector<int64_t>& values);
  Term concat(const std::vector<Term>& parts, int64_t axis) {
    return op("Concat", parts, {{"axis", axis}});
  }

  // The outputs of a new node. Numbers among the inputs take the type of the last input that has
  // one. Throws kUnsupported for an operator that is not there.
  std::vector<Term> outputs(std::string_view type, const std::vector<Term>& inputs,
                            Attributes attributes, int count, std::string_view domain = "");
  // The first output.
  Term op(std::string_view type, const std::vector<Term>& inputs, Attributes attributes = {},
          std::string_view domain = "") {
    return outputs(type, inputs, std::move(attributes), 1, domain).front();
  }
  // The first output of a copy of a node, in its version, on other inputs.
  Term repeat(const Node& node, const std::vector<Term>& inputs);

 private:
  std::vector<Term> append(Node node, const std::vector<Term>& inputs, int outputs);

  Graph& graph_;
  const OpRegistry& ops_;
  std::string scope_ = "written";
  bool fused_ = false;
  std::map<std::pair<DType, uint64_t>, ValueId> numbers_;  // by type and bits
};

}  // namespace hugot

#endif  // HUGOT_GRAPH_WRITER_H_
