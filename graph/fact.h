// What is known about a value before anything runs.
#ifndef HUGOT_GRAPH_FACT_H_
#define HUGOT_GRAPH_FACT_H_

#include <memory>
#include <optional>
#include <string>

#include "base/datum.h"
#include "base/tensor.h"
#include "graph/dim.h"

namespace hugot {

// A list of symbolic elements (Fact::symbolic) is kept up to this length.
inline constexpr int64_t kMaxSymbolicElements = 1024;

// Static knowledge about a value. Every part may be missing; what is there is true for every run.
struct Fact {
  Kind kind = Kind::kTensor;
  std::shared_ptr<const Fact> element;  // items of a sequence, value of an optional or a map

  DType dtype = DType::kUndefined;  // of a map: its keys
  std::optional<Dims> shape;        // without value: unknown rank
  std::optional<Tensor> constant;   // all elements known; dtype and shape agree with it
  std::optional<Dims> symbolic;     // elements of a small integer or bool tensor, row-major
  std::optional<Tensor> uniform;    // a scalar that every element equals (shape may be symbolic)

  static Fact of(const Tensor& constant);
  static Fact of(DType dtype, Dims shape);
  static Fact sequence_of(Fact element);
  static Fact optional_of(Fact element);
  static Fact map_of(DType keys, Fact values);

  bool is_tensor() const { return kind == Kind::kTensor; }
  // The element; nothing is known of it when there is none.
  const Fact& item() const;
  // Only what the type tells: kind, element types, shapes; no contents.
  Fact type() const;
  // True when `datum` can be a value that this fact describes (contents are not compared).
  bool admits(const Datum& datum) const;

  int rank() const { return shape ? static_cast<int>(shape->size()) : -1; }
  // The shape, when every dimension is a number.
  std::optional<Shape> fixed_shape() const;
  // The elements as integers, when all are known.
  std::optional<std::vector<int64_t>> integers() const;
  // The elements as dimensions, from `constant` (integers only) or `symbolic`.
  std::optional<Dims> dimensions() const;
  // The one value of all elements, from `constant` (one element) or `uniform`; a scalar.
  std::optional<Tensor> single_value() const;

  // "float32[batch,S,384]", with "=..." where the value is known; "seq(int64[..])".
  std::string to_string() const;
};

// Numpy's broadcasting on symbolic shapes; where nothing is known the result has a fresh symbol
// that is a function of the two dims. Throws kInvalidArgument for numbers that do not fit.
Dims broadcast(const Dims& a, const Dims& b);

}  // namespace hugot

#endif  // HUGOT_GRAPH_FACT_H_
