#include "models/tied.h"

#include <cstring>
#include <map>
#include <utility>

#include "base/error.h"
#include "graph/writer.h"

namespace hugot {
namespace {

// Element [i, j] of a matrix as bytes.
const std::byte* element(const Tensor& x, int64_t i, int64_t j, size_t size) {
  return static_cast<const std::byte*>(x.raw()) + static_cast<size_t>(i * x.shape()[1] + j) * size;
}

bool all_equal(const Tensor& x, size_t size) {
  const auto* data = static_cast<const std::byte*>(x.raw());
  // Every element is like the one before.
  return std::memcmp(data, data + size, x.bytes() - size) == 0;
}

bool is_transpose(const Tensor& x, const Tensor& y, size_t size) {
  const Shape &a = x.shape(), &b = y.shape();
  if (a.rank() != 2 || b.rank() != 2 || a[0] != b[1] || a[1] != b[0]) return false;
  for (int64_t i = 0; i < a[0]; ++i) {
    for (int64_t j = 0; j < a[1]; ++j) {
      if (std::memcmp(element(x, i, j, size), element(y, j, i, size), size) != 0) return false;
    }
  }
  return true;
}

}  // namespace

std::vector<TiedWeight> tie_equal_weights(Graph& graph, const OpRegistry& ops) {
  std::map<std::pair<DType, int64_t>, std::vector<ValueId>> alike;  // by type and elements
  const auto readers = graph.readers();
  std::vector<TiedWeight> result;
  GraphWriter writer(graph, ops);
  writer.set_scope("tied");
  const auto count = static_cast<ValueId>(graph.value_count());
  for (ValueId id = 0; id < count; ++id) {
    const Value& value = graph.value(id);
    const bool used = !readers[static_cast<size_t>(id)].empty();
    if (!value.initializer || !used || !is_float(value.fact.dtype)) continue;
    const Tensor data = *value.fact.constant;
    const auto size = static_cast<size_t>(dtype_bits(data.dtype())) / 8;
    if (size == 0 || data.rank() < 2 || data.size() < 2 || all_equal(data, size)) continue;
    std::vector<ValueId>& others = alike[{data.dtype(), data.size()}];
    bool tied = false;
    for (const ValueId other : others) {
      const Tensor& original = *graph.fact(other).constant;
      const bool same = data.shape() == original.shape() &&
                        std::memcmp(data.raw(), original.raw(), data.bytes()) == 0;
      if (!same && !is_transpose(original, data, size)) continue;
      result.push_back({graph.value(id).name, graph.value(other).name, !same});
      graph.replace_uses(id, same ? other : transpose(writer.value(other), {1, 0}).id());
      tied = true;
      break;
    }
    if (!tied) others.push_back(id);
  }
  return result;
}

Tensor tied_copy(const TiedWeight& tied, const Tensor& weight) {
  if (!tied.transposed) return weight;
  const Shape& shape = weight.shape();
  Tensor result(weight.dtype(), {shape[1], shape[0]});
  const auto size = static_cast<size_t>(dtype_bits(weight.dtype())) / 8;
  auto* to = static_cast<std::byte*>(result.raw());
  for (int64_t j = 0; j < shape[1]; ++j) {
    for (int64_t i = 0; i < shape[0]; ++i, to += size) {
      std::memcpy(to, element(weight, i, j, size), size);
    }
  }
  return result;
}

}  // namespace hugot
