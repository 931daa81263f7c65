// Kernel of hugot.Attention: sequences through kernels/cpu/attention.h.
#include <algorithm>
#include <vector>

#include "base/error.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/sequences.h"

namespace hugot::attention {

void fused(KernelContext& ctx) {
  if (ctx.input(0).dtype() == DType::kFloat64) return fused_f64(ctx);
  const cpu::AttentionArgs common = common_args(ctx);
  const Shape& q = ctx.input(0).shape();
  const auto segments = ctx.segments();
  const bool one_query = ctx.node().has("query_row");
  require(segments.empty() || one_query || (q[0] == 1 && segments.back() == q[1]),
          ErrorCode::kInvalidArgument, "Q is ", describe(ctx.input(0)),
          ", which does not hold the tokens of the segments");
  const int64_t sequences = segments.empty() ? q[0] : static_cast<int64_t>(segments.size()) - 1;
  float* out = ctx.output(0, DType::kFloat32, {q[0], q[1], common.out_stride}).data<float>();

  const auto sequence = [&](int64_t i, Tensor& spread) {
    cpu::AttentionArgs args = common;
    place(ctx, i, args);
    const bool joined = !segments.empty() && !one_query;
    args.out =
        out + (joined ? segments[static_cast<size_t>(i)] : i * args.query_length) * args.out_stride;
    set_bias(ctx, i, args, spread);
    return args;
  };

  if (ctx.pool() == nullptr) {
    for (int64_t i = 0; i < sequences; ++i) {
      Tensor spread;
      const cpu::AttentionArgs args = sequence(i, spread);
      cpu::attention(args, 0, args.heads, ctx.scratch_of<float>(cpu::attention_scratch(args)));
    }
    return;
  }
  // input_of_segment() may reuse its result, so the sequences are looked up before the threads
  // begin. A task is one group of heads that read the same keys.
  thread_local std::vector<cpu::AttentionArgs> kept;  // its memory serves the next call, too
  std::vector<cpu::AttentionArgs>& all = kept;
  all.clear();
  std::vector<Tensor> spreads;
  int64_t scratch = 0;
  for (int64_t i = 0; i < sequences; ++i) {
    Tensor spread;
    all.push_back(sequence(i, spread));
    if (spread.defined()) spreads.push_back(std::move(spread));
    scratch = std::max(scratch, cpu::attention_scratch(all.back()));
  }
  scratch = (scratch + 15) / 16 * 16;  // every thread's part is aligned
  const int64_t group = common.heads / common.kv_heads;
  float* memory = ctx.scratch_of<float>(scratch * ctx.pool()->size());
  ctx.pool()->parallel_for_workers(
      sequences * common.kv_heads, 1, [&](int64_t begin, int64_t end, int worker) {
        for (int64_t task = begin; task < end; ++task) {
          const int64_t head = task % common.kv_heads * group;
          cpu::attention(all[static_cast<size_t>(task / common.kv_heads)], head, head + group,
                         memory + worker * scratch);
        }
      });
}

}  // namespace hugot::attention
