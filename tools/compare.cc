#include "tools/compare.h"

#include <cmath>
#include <complex>

#include "base/error.h"

namespace hugot::tools {
namespace {

bool close(double got, double want, const Tolerance& tolerance) {
  if (std::isnan(want) || std::isnan(got)) return std::isnan(want) && std::isnan(got);
  if (std::isinf(want) || std::isinf(got)) return want == got;
  return std::abs(got - want) <= tolerance.absolute + tolerance.relative * std::abs(want);
}

template <class T>
bool close(const std::complex<T>& got, const std::complex<T>& want, const Tolerance& tolerance) {
  return close(double{got.real()}, double{want.real()}, tolerance) &&
         close(double{got.imag()}, double{want.imag()}, tolerance);
}

// Compares after converting elements of type T to Wide.
template <class T, class Wide>
std::string compare(const Tensor& got, const Tensor& want, const Tolerance& tolerance) {
  const T* a = got.data<T>();
  const T* b = want.data<T>();
  int64_t wrong = 0;
  int64_t first = -1;
  for (int64_t i = 0; i < want.size(); ++i) {
    if (close(static_cast<Wide>(a[i]), static_cast<Wide>(b[i]), tolerance)) continue;
    if (wrong++ == 0) first = i;
  }
  if (wrong == 0) return {};
  return str(wrong, " of ", want.size(), " elements differ, first element ", first, ": got ",
             static_cast<Wide>(a[first]), ", expected ", static_cast<Wide>(b[first]));
}

std::string compare_strings(const Tensor& got, const Tensor& want) {
  const auto a = got.values<std::string>();
  const auto b = want.values<std::string>();
  for (size_t i = 0; i < b.size(); ++i) {
    if (a[i] != b[i]) {
      return str("element ", i, " differs: got '", a[i], "', expected '", b[i], "'");
    }
  }
  return {};
}

// Bit by bit, but for what is no number: these types have several patterns for that.
std::string compare_float8(const Tensor& got, const Tensor& want) {
  const auto is_nan = [&](uint8_t bits) {
    return want.dtype() == DType::kFloat8E5M2 ? (bits & 0x7F) > 0x7C : (bits & 0x7F) == 0x7F;
  };
  const auto* a = static_cast<const uint8_t*>(got.raw());
  const auto* b = static_cast<const uint8_t*>(want.raw());
  for (int64_t i = 0; i < want.size(); ++i) {
    if (a[i] == b[i] || (is_nan(a[i]) && is_nan(b[i]))) continue;
    return str("element ", i, " differs: got bits ", int{a[i]}, ", expected ", int{b[i]});
  }
  return {};
}

}  // namespace

std::string difference(const Tensor& got, const Tensor& want, const Tolerance& tolerance) {
  if (got.dtype() != want.dtype() || !(got.shape() == want.shape())) {
    return str("got ", describe(got), ", expected ", describe(want));
  }
  switch (want.dtype()) {
    case DType::kFloat32:
      return compare<float, double>(got, want, tolerance);
    case DType::kFloat64:
      return compare<double, double>(got, want, tolerance);
    case DType::kFloat16:
      return compare<Float16, float>(got, want, tolerance);
    case DType::kBFloat16:
      return compare<BFloat16, float>(got, want, tolerance);
    case DType::kComplex64:
      return compare<std::complex<float>, std::complex<float>>(got, want, tolerance);
    case DType::kComplex128:
      return compare<std::complex<double>, std::complex<double>>(got, want, tolerance);
    case DType::kString:
      return compare_strings(got, want);
    case DType::kFloat8E4M3FN:
    case DType::kFloat8E5M2:
      return compare_float8(got, want);
    default:
      return identical(got, want) ? std::string() : str("elements of ", describe(want), " differ");
  }
}

std::string difference(const Datum& got, const Datum& want, const Tolerance& tolerance) {
  if (got.is_tensor() && want.is_tensor()) {
    return difference(got.tensor(), want.tensor(), tolerance);
  }
  if (got.kind() != want.kind() || got.items().size() != want.items().size()) {
    return str("got ", describe(got), ", expected ", describe(want));
  }
  if (got.kind() == Kind::kMap && !identical(got.keys(), want.keys())) return "keys differ";
  for (size_t i = 0; i < got.items().size(); ++i) {
    const std::string what = difference(got.items()[i], want.items()[i], tolerance);
    if (!what.empty()) return str("item ", i, ": ", what);
  }
  return {};
}

}  // namespace hugot::tools
