// Attention of one head: see attention.h for the meaning of AttentionArgs.
//
// K^T and V are copied into column panels once per kv head, so the caller's strides do not matter
// further. A block of query rows is multiplied with K^T into rows of scores, which softmax turns
// into unnormalized probabilities in place; they are multiplied with V, and the rows of the
// result are divided by the sums. Both products go panel by panel over all tiles of the block, so
// that a panel is read from the first cache level.
#ifndef HUGOT_KERNELS_CPU_SIMD_ATTENTION_INL_H_
#define HUGOT_KERNELS_CPU_SIMD_ATTENTION_INL_H_

#include "kernels/cpu/simd/gemm-inl.h"
#include "kernels/cpu/simd/rows-inl.h"

namespace hugot::cpu::HUGOT_ISA {
namespace {

HWY_INLINE int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }
HWY_INLINE int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
HWY_INLINE int64_t max_of(int64_t a, int64_t b) { return a > b ? a : b; }

// Floats of scores kept at a time: a good part of the second cache level.
constexpr int64_t kScoreFloats = 24 * 1024;

struct AttentionPlan {
  int64_t score_stride;  // floats per row of scores
  int64_t block;         // query rows per block
  int64_t k_floats, v_floats, score_floats, out_floats;
};

HWY_INLINE AttentionPlan attention_plan(const AttentionArgs& args) {
  AttentionPlan plan;
  const int64_t keys = round_up(args.key_length, kPanelWidth);
  // An odd number of cache lines, so that the rows of a tile fall into different sets.
  plan.score_stride = round_up(max_of(keys, 1), 16) + 16;
  plan.block = max_of(kScoreFloats / plan.score_stride / kPanelTileRows, 1) * kPanelTileRows;
  plan.block = min_of(plan.block, round_up(args.query_length, kPanelTileRows));
  plan.k_floats = keys * args.head_dim;
  plan.v_floats = round_up(args.value_dim, kPanelWidth) * args.key_length;
  plan.score_floats = plan.block * plan.score_stride;
  plan.out_floats = kMaxTileFloats;
  return plan;
}

int64_t attention_scratch(const AttentionArgs* args) {
  const AttentionPlan plan = attention_plan(*args);
  // 16 floats to align the start.
  return round_up(plan.k_floats, 16) + round_up(plan.v_floats, 16) + plan.score_floats +
         plan.out_floats + 16;
}

// The keys [begin, end) that query `i` sees.
struct KeyRange {
  int64_t begin, end;
};

HWY_INLINE KeyRange visible_keys(const AttentionArgs& args, int64_t i) {
  const int64_t center = i + args.query_offset;
  KeyRange range = {0, args.key_length};
  if (args.window_left >= 0) range.begin = max_of(center - args.window_left, 0);
  if (args.window_right >= 0) range.end = min_of(center + args.window_right + 1, range.end);
  range.end = max_of(range.end, 0);
  range.begin = min_of(range.begin, range.end);
  return range;
}

// scores = cap * tanh(scale * scores / cap)
HWY_INLINE void cap_scores(const AttentionArgs& args, float* scores, int64_t n) {
  const V factor = set(args.scale / args.softcap);
  map_blocks(scores, n, [&](int64_t i, int64_t count) HUGOT_LAMBDA {
    const Block x = load_block(scores + i, count, hn::Zero(d));
    const Block t = tanh(each([&](int j) HUGOT_LAMBDA { return hn::Mul(x.v[j], factor); }));
    return each([&](int j) HUGOT_LAMBDA { return hn::Mul(t.v[j], set(args.softcap)); });
  });
}

// scores = scale * scores + bias, in place; returns the largest (NaN ignored).
HWY_INLINE float scale_scores(float scale, const float* bias, float* scores, int64_t n) {
  const V lowest = hn::Neg(hn::Inf(d));
  const V factor = set(scale);
  return max_lanes(fold(
      n, lowest,
      [&](V acc, int64_t i, int64_t count) HUGOT_LAMBDA {
        V v = hn::Mul(load_n(scores + i, count), factor);
        if (bias != nullptr) v = hn::Add(v, load_n(bias + i, count));
        if (count == kLanes) {
          store(v, scores + i);
          return hn::Max(v, acc);
        }
        store_partial(v, scores + i, count);
        const M valid = hn::FirstN(d, static_cast<size_t>(count));
        return hn::Max(hn::IfThenElse(valid, v, lowest), acc);
      },
      [](V a, V b) HUGOT_LAMBDA { return hn::Max(a, b); }));
}

// Turns row `i`'s scores [0, keys) into exp(score - max), zeros where the query does not see the
// key. Returns the factor that normalizes them: 0 for a row that sees nothing.
HWY_INLINE float score_softmax(const AttentionArgs& args, int64_t head, int64_t i, float* scores,
                               KeyRange block_keys) {
  const KeyRange range = visible_keys(args, i);
  for (int64_t j = block_keys.begin; j < min_of(range.begin, block_keys.end); ++j) scores[j] = 0;
  for (int64_t j = max_of(range.end, block_keys.begin); j < block_keys.end; ++j) scores[j] = 0;
  const int64_t n = range.end - range.begin;
  if (n <= 0) return 0.0f;
  const float* bias = args.bias == nullptr ? nullptr
                                           : args.bias + head * args.bias_head_stride +
                                                 i * args.bias_stride + range.begin;
  float* x = scores + range.begin;
  const bool capped = args.softcap != 0.0f;
  if (capped) cap_scores(args, x, n);
  float max = scale_scores(capped ? 1.0f : args.scale, bias, x, n);
  if (max == -__builtin_inff()) {
    // Nothing is visible, or every visible score is NaN: keep the NaN, or give zeros.
    const float total = row_sum(x, n);
    for (int64_t j = 0; j < n; ++j) x[j] = 0;
    return total == total ? 0.0f : total;
  }
  if (args.sinks == nullptr) return 1.0f / exp_and_sum(x, x, n, max);
  float sink = args.sinks[head];
  if (sink > max) max = sink;
  const float rest = exp_and_sum(&sink, &sink, 1, max);
  return 1.0f / (exp_and_sum(x, x, n, max) + rest);
}

// score_softmax() for `rows` >= 1 rows from `first` on that have at most kVectors vectors of keys,
// all visible, without softcap and sinks: one block holds several rows, whose reductions overlap.
// Gives the same bits. False, and nothing done, when a row needs the care of score_softmax().
template <int kVectors>
HWY_INLINE bool short_softmax(const AttentionArgs& args, int64_t head, int64_t first, int64_t rows,
                              float* scores, int64_t stride, float* factors) {
  constexpr int kRows = kBlockVectors / kVectors;
  const int64_t keys = args.key_length;
  // The last row stands in for those that are missing.
  const auto row_of = [&](int r) HUGOT_LAMBDA { return min_of(r, rows - 1); };
  const V lowest = hn::Neg(hn::Inf(d));
  const V factor = set(args.scale);
  Block x = each([&](int j) HUGOT_LAMBDA {
    const int64_t row = row_of(j / kVectors), at = j % kVectors * kLanes;
    const int64_t count = max_of(min_of(keys - at, kLanes), 0);
    V v = hn::Mul(load(scores + row * stride + at), factor);
    if (args.bias != nullptr && count > 0) {
      v = hn::Add(v, load_n(args.bias + head * args.bias_head_stride +
                                (first + row) * args.bias_stride + at,
                            count));
    }
    return hn::IfThenElse(hn::FirstN(d, static_cast<size_t>(count)), v, lowest);
  });
  bool usual = true;
  HUGOT_UNROLL
  for (int r = 0; r < kRows; ++r) {
    V* v = x.v + r * kVectors;
    V most = hn::Max(v[0], lowest);
    HUGOT_UNROLL
    for (int i = 1; i < kVectors; ++i) most = hn::Max(v[i], most);
    const float max = max_lanes(most);
    usual = usual && max != -__builtin_inff();
    HUGOT_UNROLL
    for (int i = 0; i < kVectors; ++i) v[i] = hn::Sub(v[i], set(max));
  }
  if (!usual) return false;
  const Block e = exp_nonpositive(x);
  HUGOT_UNROLL
  for (int r = 0; r < kRows; ++r) {
    const V* v = e.v + r * kVectors;
    V total = v[0];
    if constexpr (kVectors == 2) total = hn::Add(v[0], v[1]);
    factors[row_of(r)] = 1.0f / sum_lanes(total);
    HUGOT_UNROLL
    for (int i = 0; i < kVectors; ++i) store(v[i], scores + row_of(r) * stride + i * kLanes);
  }
  return true;
}

// The products of one block of query rows [row, row + rows).
struct AttentionBlock {
  int64_t row, rows;
  KeyRange keys;  // what any row of the block sees, widened to whole panels
};

// Calls body(product, first row, rows, panel, panels) for the tiles of `rows` rows and the panels
// [begin, end).
template <class Body>
HWY_INLINE void for_tiles(int64_t rows, int64_t begin, int64_t end, Body body) {
  for (int64_t panel = begin; panel < end;) {
    const bool several = panel + kTilePanels <= end;
    const int64_t panels = several ? kTilePanels : 1;
    const int64_t most = several ? kTileRows : kPanelTileRows;
    int64_t tiles = (rows + most - 1) / most;
    for (int64_t first = 0; first < rows; --tiles) {
      const int64_t count = (rows - first + tiles - 1) / tiles;
      body(several ? kTiles[count] : kPanelTiles[count], first, count, panel, panels);
      first += count;
    }
    panel += panels;
  }
}

HWY_INLINE void score_block(const AttentionArgs& args, const float* q, const float* packed_k,
                            const AttentionPlan& plan, AttentionBlock block, float* scores) {
  const int64_t panel_floats = args.head_dim * kPanelWidth;
  for_tiles(block.rows, block.keys.begin / kPanelWidth, block.keys.end / kPanelWidth,
            [&](TileProduct product, int64_t first, int64_t, int64_t panel, int64_t) {
              product(args.head_dim, q + (block.row + first) * args.q_stride, args.q_stride,
                      {packed_k + panel * panel_floats, kPanelWidth, panel_floats}, {}, {},
                      scores + first * plan.score_stride + panel * kPanelWidth, plan.score_stride);
            });
}

HWY_INLINE void softmax_block(const AttentionArgs& args, int64_t head, const AttentionPlan& plan,
                              AttentionBlock block, float* scores, float* factors) {
  const int64_t stride = plan.score_stride, keys = args.key_length;
  const bool all_visible = args.window_left < 0 && args.window_right < 0 && args.softcap == 0.0f &&
                           args.sinks == nullptr;
  const int64_t group = keys <= kLanes ? kBlockVectors : keys <= 2 * kLanes ? kBlockVectors / 2 : 1;
  for (int64_t r = 0; r < block.rows; r += group) {
    const int64_t rows = min_of(group, block.rows - r), row = block.row + r;
    float* at = scores + r * stride;
    bool done = false;
    if (all_visible && keys > 0) {
      if (keys <= kLanes) {
        done = short_softmax<1>(args, head, row, rows, at, stride, factors + r);
      } else if (keys <= 2 * kLanes) {
        done = short_softmax<2>(args, head, row, rows, at, stride, factors + r);
      }
    }
    for (int64_t i = 0; i < rows && !done; ++i) {
      factors[r + i] = score_softmax(args, head, row + i, at + i * stride, block.keys);
    }
  }
}

// out rows = factor * probabilities . V
HWY_INLINE void value_block(const AttentionArgs& args, const float* packed_v,
                            const AttentionPlan& plan, AttentionBlock block, const float* scores,
                            const float* factors, float* tile, float* out) {
  const int64_t panel_floats = args.key_length * kPanelWidth;
  const int64_t keys = min_of(block.keys.end, args.key_length) - block.keys.begin;
  const auto finish = [&](TileProduct product, int64_t first, int64_t count, int64_t panel,
                          int64_t panels) {
    const int64_t width = panels * kPanelWidth, col = panel * kPanelWidth;
    product(keys, scores + first * plan.score_stride + block.keys.begin, plan.score_stride,
            {packed_v + panel * panel_floats + block.keys.begin * kPanelWidth, kPanelWidth,
             panel_floats},
            {}, {}, tile, width);
    const int64_t cols = min_of(width, args.value_dim - col);
    for (int64_t r = 0; r < count; ++r) {
      const V factor = set(factors[first + r]);
      float* row = out + (block.row + first + r) * args.out_stride + col;
      int64_t i = 0;
      for (; i + kLanes <= cols; i += kLanes) {
        store(hn::Mul(load(tile + r * width + i), factor), row + i);
      }
      if (i < cols) store_partial(hn::Mul(load(tile + r * width + i), factor), row + i, cols - i);
    }
  };
  for_tiles(block.rows, 0, round_up(args.value_dim, kPanelWidth) / kPanelWidth, finish);
}

// The largest number of query rows in a block: plan.block is at most that, because a row of scores
// is never shorter than 32 floats.
constexpr int64_t kMaxBlock = kScoreFloats / 32;

void attention(const AttentionArgs* args_pointer, int64_t head_begin, int64_t head_end,
               float* scratch) {
  const AttentionArgs& args = *args_pointer;
  const AttentionPlan plan = attention_plan(args);
  float* packed_k = scratch + (64 - reinterpret_cast<uintptr_t>(scratch) % 64) % 64 / sizeof(float);
  float* packed_v = packed_k + round_up(plan.k_floats, 16);
  float* scores = packed_v + round_up(plan.v_floats, 16);
  float* tile = scores + plan.score_floats;
  float factors[kMaxBlock];

  const int64_t group = args.heads / args.kv_heads;
  int64_t packed_head = -1;
  for (int64_t head = head_begin; head < head_end; ++head) {
    const int64_t kv_head = head / group;
    if (kv_head != packed_head) {
      gemm_pack(args.k + kv_head * args.k_head_stride, args.head_dim, args.key_length,
                args.k_stride, true, 0, (args.key_length + kPanelWidth - 1) / kPanelWidth,
                packed_k);
      gemm_pack(args.v + kv_head * args.v_head_stride, args.key_length, args.value_dim,
                args.v_stride, false, 0, (args.value_dim + kPanelWidth - 1) / kPanelWidth,
                packed_v);
      packed_head = kv_head;
    }
    const float* q = args.q + head * args.q_head_stride;
    float* out = args.out + head * args.out_head_stride;
    for (int64_t row = 0; row < args.query_length; row += plan.block) {
      AttentionBlock block;
      block.row = row;
      block.rows = min_of(plan.block, args.query_length - row);
      block.keys.begin = visible_keys(args, row).begin / kPanelWidth * kPanelWidth;
      block.keys.end = round_up(visible_keys(args, row + block.rows - 1).end, kPanelWidth);
      block.keys.end = max_of(block.keys.end, block.keys.begin);
      score_block(args, q, packed_k, plan, block, scores);
      softmax_block(args, head, plan, block, scores, factors);
      value_block(args, packed_v, plan, block, scores, factors, tile, out);
    }
  }
}

}  // namespace
}  // namespace hugot::cpu::HUGOT_ISA

#endif  // HUGOT_KERNELS_CPU_SIMD_ATTENTION_INL_H_
