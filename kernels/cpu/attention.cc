#include "kernels/cpu/attention.h"

#include "base/error.h"
#include "kernels/cpu/isa.h"

namespace hugot::cpu {

int64_t attention_scratch(const AttentionArgs& args) {
  return active_kernels().attention_scratch(&args);
}

void attention(const AttentionArgs& args, int64_t head_begin, int64_t head_end, float* scratch) {
  require(args.kv_heads > 0 && args.heads % args.kv_heads == 0, ErrorCode::kInvalidArgument,
          "attention: ", args.heads, " heads are not a multiple of ", args.kv_heads, " kv heads");
  require(0 <= head_begin && head_end <= args.heads, ErrorCode::kInvalidArgument,
          "attention: heads [", head_begin, ", ", head_end, ") of ", args.heads);
  active_kernels().attention(&args, head_begin, head_end, scratch);
}

}  // namespace hugot::cpu
