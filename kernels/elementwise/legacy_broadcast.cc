#include <vector>

#include "kernels/elementwise/elementwise.h"

namespace hugot::elementwise {

template <class S>
S shape_of_b(const Node& node, const S& a, const S& b) {
  constexpr int kNumpyBroadcasting = 7;
  // One slope for each channel.
  if (node.op->since_version < kNumpyBroadcasting && node.op->name == "PRelu") {
    const auto rank = a.end() - a.begin();
    if (b.end() - b.begin() != 1 || *b.begin() == 1 || rank < 2) return b;
    std::vector<std::decay_t<decltype(*b.begin())>> dims(b.begin(), b.end());
    dims.insert(dims.end(), static_cast<size_t>(rank - 2), 1);
    return S(dims);
  }
  if (node.op->since_version >= kNumpyBroadcasting || !node.has("axis")) return b;
  const auto rank_a = static_cast<int>(a.end() - a.begin());
  const auto rank_b = static_cast<int>(b.end() - b.begin());
  const int axis = normalize_axis(node.at<int64_t>("axis"), rank_a);
  require(axis + rank_b <= rank_a, ErrorCode::kInvalidData, "operand B of rank ", rank_b,
          " does not fit at axis ", axis, " of operand A of rank ", rank_a);
  std::vector<std::decay_t<decltype(*b.begin())>> dims(b.begin(), b.end());
  dims.insert(dims.end(), static_cast<size_t>(rank_a - axis - rank_b), 1);
  return S(dims);
}

template Shape shape_of_b(const Node&, const Shape&, const Shape&);
template Dims shape_of_b(const Node&, const Dims&, const Dims&);

}  // namespace hugot::elementwise
