// RotaryEmbedding of com.microsoft: that of ONNX with other operands.
#include "base/error.h"
#include "kernels/composite.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot::rotary {
namespace {

// Inputs: x [B, S, heads * size] or [B, heads, S, size], positions [1] (of the first token) or
// [B, S], tables [positions, rotated / 2].
bool rotary_embedding(Expansion& e) {
  if (!e.ranks_known()) return false;
  const Node& node = e.node();
  require(node.get<int64_t>("is_packed_batching", 0) == 0, ErrorCode::kUnsupported,
          "packed batching");
  const int rank = e.rank(0);
  require(rank == 3 || rank == 4, ErrorCode::kInvalidArgument, "an input with ", rank, " axes");
  auto heads = node.get<int64_t>("num_heads", 0);
  const auto rotated = node.get<int64_t>("rotary_embedding_dim", 0);
  if (rank == 3 && heads == 0) {
    // The tables say how large a head is, when all of it is rotated.
    const auto width = e.dim(0, 2), half = e.dim(2, 1);
    if (!width || !half) return false;
    require(*half > 0 && *width % *half == 0 && *width / *half % 2 == 0,
            ErrorCode::kInvalidArgument, *width, " features and tables of ", *half,
            " do not fit together");
    heads = *width / *half / 2;
  }
  Term positions = cast_to(e.x(1), DType::kInt64);
  if (e.rank(1) == 1) {
    const Term length = reshape(dim_of(e.x(0), rank == 3 ? 1 : 2), e.writer().integers({}));
    const Term row = positions + e.op("Range", {0, length, 1});
    const Term shape = e.writer().concat({dim_of(e.x(0), 0), shape_of(row)}, 0);
    positions = e.op("Expand", {row, shape});
  }
  Attributes attributes = {{"interleaved", node.get<int64_t>("interleaved", 0)},
                           {"rotary_embedding_dim", rotated}};
  if (rank == 3) attributes["num_heads"] = heads;
  e.set(0, e.op("RotaryEmbedding", {e.x(0), e.x(2), e.x(3), positions}, std::move(attributes)));
  return true;
}

}  // namespace
}  // namespace hugot::rotary

namespace hugot::ops {

OpDef ms_RotaryEmbedding(int) {
  return composite({4, 4}, infer_same_as_input, rotary::rotary_embedding);
}

}  // namespace hugot::ops
