#include "autodiff/float_type.h"

#include <algorithm>

#include "base/error.h"

namespace hugot {
namespace {

template <class Function>
void with_float_type(DType dtype, Function&& function) {
  switch (dtype) {
    case DType::kFloat32:
      return function.template operator()<float>();
    case DType::kFloat64:
      return function.template operator()<double>();
    case DType::kFloat16:
      return function.template operator()<Float16>();
    case DType::kBFloat16:
      return function.template operator()<BFloat16>();
    default:
      fail(ErrorCode::kUnsupported, dtype_name(dtype), " is no floating-point type");
  }
}

template <class T>
double widened(T x) {
  if constexpr (sizeof(T) == 2) {
    return static_cast<double>(static_cast<float>(x));
  } else {
    return static_cast<double>(x);
  }
}

void change(Tensor& tensor, DType dtype) {
  if (is_float(tensor.dtype()) && tensor.dtype() != dtype) tensor = convert_float(tensor, dtype);
}

void change(Fact& fact, DType dtype) {
  if (is_float(fact.dtype)) fact.dtype = dtype;
  if (fact.constant) change(*fact.constant, dtype);
  if (fact.uniform) change(*fact.uniform, dtype);
}

// Attributes that name an element type: of Cast, of EyeLike and of the random operators.
bool is_type_attribute(const std::string& name) { return name == "to" || name == "dtype"; }

void change(Attribute& attribute, const std::string& name, DType dtype) {
  if (Tensor* tensor = std::get_if<Tensor>(&attribute)) {
    change(*tensor, dtype);
  } else if (auto* body = std::get_if<std::shared_ptr<const Graph>>(&attribute)) {
    auto copy = std::make_shared<Graph>(**body);
    convert_floats(*copy, dtype);
    *body = std::move(copy);
  } else if (auto* number = std::get_if<int64_t>(&attribute)) {
    const bool named = is_type_attribute(name) && *number > 0 && *number < kDTypeCount;
    if (named && is_float(static_cast<DType>(*number))) *number = static_cast<int64_t>(dtype);
  }
}

}  // namespace

Tensor convert_float(const Tensor& tensor, DType dtype) {
  Tensor out(dtype, tensor.shape());
  with_float_type(tensor.dtype(), [&]<class From>() {
    with_float_type(dtype, [&]<class To>() {
      const From* from = tensor.data<From>();
      To* to = out.data<To>();
      for (int64_t i = 0; i < tensor.size(); ++i) {
        if constexpr (sizeof(To) == 2) {
          to[i] = To(static_cast<float>(widened(from[i])));
        } else {
          to[i] = static_cast<To>(widened(from[i]));
        }
      }
    });
  });
  return out;
}

void convert_floats(Graph& graph, DType dtype) {
  for (size_t i = 0; i < graph.value_count(); ++i) {
    Value& value = graph.value(static_cast<ValueId>(i));
    change(value.fact, dtype);
    // Types of values that nodes compute are inferred anew: a node may have been skipped.
    if (value.producer != kNoNode && !value.fact.constant) value.fact = {};
  }
  for (Fact& fact : graph.declared_outputs) change(fact, dtype);
  for (size_t i = 0; i < graph.node_count(); ++i) {
    for (auto& [name, attribute] : graph.node(static_cast<NodeId>(i)).attributes) {
      change(attribute, name, dtype);
    }
  }
}

}  // namespace hugot
