#include "models/encoder_output.h"

#include <algorithm>

#include "base/error.h"

namespace hugot {

int find_output(const Graph& graph, const std::string& name) {
  require(!graph.outputs.empty(), ErrorCode::kInvalidData, "the model has no outputs");
  if (name.empty()) return 0;
  std::string known;
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    const std::string& candidate = graph.value(graph.outputs[i]).name;
    if (candidate == name) return static_cast<int>(i);
    known += (known.empty() ? "'" : ", '") + candidate + "'";
  }
  fail(ErrorCode::kInvalidArgument, "the model has no output '", name, "'; it has ", known);
}

const float* as_floats(const Tensor& tensor, int64_t first, int64_t count,
                       std::vector<float>& buffer) {
  if (tensor.dtype() == DType::kFloat32) return tensor.data<float>() + first;
  buffer.resize(static_cast<size_t>(count));
  const auto convert = [&]<class T>(const T* data) {
    std::transform(data + first, data + first + count, buffer.begin(),
                   [](T v) { return static_cast<float>(v); });
  };
  switch (tensor.dtype()) {
    case DType::kFloat64:
      convert(tensor.data<double>());
      break;
    case DType::kFloat16:
      convert(tensor.data<Float16>());
      break;
    case DType::kBFloat16:
      convert(tensor.data<BFloat16>());
      break;
    default:
      fail(ErrorCode::kUnsupported, "the output is ", dtype_name(tensor.dtype()),
           ", not a floating type");
  }
  return buffer.data();
}

const char* precision_name(Precision precision) {
  switch (precision) {
    case Precision::kModel:
      return "model";
    case Precision::kFloat32:
      return "fp32";
    case Precision::kBFloat16:
      return "bf16";
    case Precision::kInt8:
      return "int8";
  }
  fail(ErrorCode::kInvalidArgument, "no such precision: ", static_cast<int>(precision));
}

}  // namespace hugot
