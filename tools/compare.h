// Comparison of tensors with the tolerance of the ONNX backend tests.
#ifndef HUGOT_TOOLS_COMPARE_H_
#define HUGOT_TOOLS_COMPARE_H_

#include <string>

#include "base/datum.h"
#include "base/tensor.h"

namespace hugot::tools {

struct Tolerance {
  double relative = 1e-3;
  double absolute = 1e-7;
};

// Empty when `got` agrees with `want`: same element type and shape; floating and complex elements
// |got - want| <= absolute + relative * |want|, where NaN equals NaN and an infinity itself; every
// other type bit by bit, but that NaN equals NaN in float8, too. Otherwise a sentence that names
// the worst element.
std::string difference(const Tensor& got, const Tensor& want, const Tolerance& tolerance);
// The same for values of any kind, item by item.
std::string difference(const Datum& got, const Datum& want, const Tolerance& tolerance);

}  // namespace hugot::tools

#endif  // HUGOT_TOOLS_COMPARE_H_
