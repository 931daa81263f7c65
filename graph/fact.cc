#include "graph/fact.h"

#include <algorithm>

#include "base/error.h"

namespace hugot {

Fact Fact::of(const Tensor& constant) {
  Fact fact;
  fact.dtype = constant.dtype();
  fact.shape = Dims(constant.shape().begin(), constant.shape().end());
  fact.constant = constant;
  return fact;
}

Fact Fact::of(DType dtype, Dims shape) {
  Fact fact;
  fact.dtype = dtype;
  fact.shape = std::move(shape);
  return fact;
}

Fact Fact::sequence_of(Fact element) {
  Fact fact;
  fact.kind = Kind::kSequence;
  fact.element = std::make_shared<const Fact>(std::move(element));
  return fact;
}

Fact Fact::optional_of(Fact element) {
  Fact fact = sequence_of(std::move(element));
  fact.kind = Kind::kOptional;
  return fact;
}

Fact Fact::map_of(DType keys, Fact values) {
  Fact fact = sequence_of(std::move(values));
  fact.kind = Kind::kMap;
  fact.dtype = keys;
  return fact;
}

const Fact& Fact::item() const {
  static const Fact nothing;
  return element == nullptr ? nothing : *element;
}

Fact Fact::type() const {
  Fact fact;
  fact.kind = kind;
  fact.element = element;
  fact.dtype = dtype;
  fact.shape = shape;
  return fact;
}

bool Fact::admits(const Datum& datum) const {
  if (is_tensor() && dtype == DType::kUndefined && !shape) return true;  // nothing is known
  // Where an optional may stand, its value may stand, too.
  if (kind == Kind::kOptional && datum.kind() != kind) return item().admits(datum);
  if (datum.kind() != kind) return false;
  if (kind == Kind::kMap && dtype != DType::kUndefined && datum.keys().dtype() != dtype) {
    return false;
  }
  if (kind != Kind::kTensor) {
    // The items of a sequence have shapes of their own, whatever its type says.
    Fact any = item();
    any.shape.reset();
    return std::all_of(datum.items().begin(), datum.items().end(),
                       [&](const Datum& one) { return any.admits(one); });
  }
  const Tensor& tensor = datum.tensor();
  if (dtype != DType::kUndefined && dtype != tensor.dtype()) return false;
  if (!shape) return true;
  if (rank() != tensor.rank()) return false;
  for (int axis = 0; axis < tensor.rank(); ++axis) {
    const auto number = (*shape)[static_cast<size_t>(axis)].number();
    if (number && *number != tensor.shape()[axis]) return false;
  }
  return true;
}

std::optional<Shape> Fact::fixed_shape() const {
  if (!shape) return std::nullopt;
  std::vector<int64_t> dims;
  for (const Dim& dim : *shape) {
    const auto number = dim.number();
    if (!number) return std::nullopt;
    dims.push_back(*number);
  }
  return Shape(dims);
}

std::optional<std::vector<int64_t>> Fact::integers() const {
  if (constant && (is_integer(constant->dtype()) || constant->dtype() == DType::kBool)) {
    return to_int64s(*constant);
  }
  if (!symbolic) return std::nullopt;
  std::vector<int64_t> values;
  for (const Dim& dim : *symbolic) {
    const auto number = dim.number();
    if (!number) return std::nullopt;
    values.push_back(*number);
  }
  return values;
}

std::optional<Dims> Fact::dimensions() const {
  if (symbolic) return symbolic;
  const auto values = integers();
  if (!values) return std::nullopt;
  return Dims(values->begin(), values->end());
}

std::optional<Tensor> Fact::single_value() const {
  if (uniform) return uniform;
  if (constant && constant->size() == 1) return constant->reshaped({});
  return std::nullopt;
}

std::string Fact::to_string() const {
  if (kind == Kind::kSequence) return "seq(" + item().to_string() + ")";
  if (kind == Kind::kOptional) return "optional(" + item().to_string() + ")";
  if (kind == Kind::kMap) {
    return str("map(", dtype_name(dtype), ",", item().to_string(), ")");
  }
  std::string text(dtype_name(dtype));
  text += shape ? hugot::to_string(*shape) : "[..]";
  if (constant) {
    text += " const";
    if (is_integer(dtype) && constant->size() <= 8) {
      text += "=" + hugot::to_string(*dimensions());
    }
  } else if (symbolic) {
    text += " =" + hugot::to_string(*symbolic);
  } else if (uniform) {
    text += " uniform";
  }
  return text;
}

Dims broadcast(const Dims& a, const Dims& b) {
  const size_t rank = std::max(a.size(), b.size());
  Dims result(rank);
  for (size_t i = 0; i < rank; ++i) {
    const size_t skip_a = rank - a.size();
    const size_t skip_b = rank - b.size();
    const Dim da = i < skip_a ? Dim(1) : a[i - skip_a];
    const Dim db = i < skip_b ? Dim(1) : b[i - skip_b];
    if (da == db || db.is(1)) {
      result[i] = da;
    } else if (da.is(1)) {
      result[i] = db;
    } else if (da.is_number() && db.is_number()) {
      fail(ErrorCode::kInvalidArgument, "shapes ", to_string(a), " and ", to_string(b),
           " cannot be broadcast together");
    } else if (da.is_number()) {
      result[i] = da;  // the other one must be 1 or equal
    } else if (db.is_number()) {
      result[i] = db;
    } else {
      result[i] = Dim::symbol(
          str("broadcast(", std::min(da, db).to_string(), ",", std::max(da, db).to_string(), ")"));
    }
  }
  return result;
}

}  // namespace hugot
