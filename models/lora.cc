#include "models/lora.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "autodiff/float_type.h"
#include "base/error.h"
#include "graph/writer.h"
#include "kernels/random/random.h"

namespace hugot {

Adapter add_adapter(Graph& graph, const OpRegistry& ops, const std::string& weight, int64_t rank,
                    double alpha, uint64_t seed) {
  const ValueId id = graph.find(weight);
  require(id != kNoValue && graph.value(id).initializer && is_float(graph.fact(id).dtype) &&
              graph.fact(id).constant->rank() == 2,
          ErrorCode::kInvalidArgument, "'", weight, "' is no matrix that could have an adapter");
  const Tensor& w = *graph.fact(id).constant;
  const int64_t rows = w.shape()[0], columns = w.shape()[1];
  require(rank > 0 && rank < std::min(rows, columns) && std::isfinite(alpha),
          ErrorCode::kInvalidArgument, "an adapter of rank ", rank, " for ", describe(w));
  Tensor a(DType::kFloat32, {rows, rank}), b(DType::kFloat32, {rank, columns});
  const random::Stream stream(seed);
  const double limit = 1 / std::sqrt(static_cast<double>(rows));
  for (int64_t i = 0; i < a.size(); ++i) {
    const double x = stream.uniform(static_cast<uint64_t>(i));
    a.data<float>()[i] = static_cast<float>(limit * (2 * x - 1));
  }
  std::memset(b.raw(), 0, b.bytes());

  GraphWriter writer(graph, ops);
  writer.set_scope("lora");
  Adapter adapter{weight, {}, {}, alpha / static_cast<double>(rank)};
  const auto operand = [&](const char* name, Tensor data, std::string& chosen) {
    const ValueId value = graph.add_initializer(weight + name, std::move(data));
    chosen = graph.value(value).name;
    return cast_to(writer.value(value), graph.fact(id).dtype);
  };
  const Term first = operand(".lora_a", std::move(a), adapter.a);
  const Term second = operand(".lora_b", std::move(b), adapter.b);
  const Term sum = writer.value(id) + matrix_product(first, second) * adapter.scale;
  graph.replace_uses(id, sum.id());
  graph.node(graph.value(sum.id()).producer).inputs[0] = id;
  return adapter;
}

Tensor merge_adapter(const Adapter& adapter, const Tensor& w, const Tensor& a, const Tensor& b) {
  Tensor sum = convert_float(w, DType::kFloat64);
  const Tensor left = convert_float(a, DType::kFloat64), right = convert_float(b, DType::kFloat64);
  const int64_t rows = w.shape()[0], columns = w.shape()[1], rank = a.shape()[1];
  for (int64_t i = 0; i < rows; ++i) {
    double* const to = sum.data<double>() + i * columns;
    for (int64_t k = 0; k < rank; ++k) {
      const double factor = adapter.scale * left.data<double>()[i * rank + k];
      const double* const from = right.data<double>() + k * columns;
      for (int64_t j = 0; j < columns; ++j) to[j] += factor * from[j];
    }
  }
  return convert_float(sum, w.dtype());
}

}  // namespace hugot
