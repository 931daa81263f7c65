// GroupQueryAttention of com.microsoft: causal attention of new tokens to a cache of keys and
// values that it extends, with rotation of queries and keys.
//
// Inputs: query, key, value, past key, past value, lengths - 1, longest length, cos, sin,
// positions, bias, sinks, key scale, value scale, query norm, key norm. The cache is [batch, kv
// heads, positions, size] with the tokens of each row from position 0 on.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/quantized_cache.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/isa.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"
#include "kernels/rotate.h"

namespace hugot::attention {
namespace {

enum Input {
  kQuery,
  kKey,
  kValue,
  kPastKey,
  kPastValue,
  kLastPositions,
  kLongest,
  kCos,
  kSin,
  kPositions,
  kBias,
  kSinks,
  kKeyScale,
  kValueScale,
  kQueryNorm,
  kKeyNorm,
};

bool has(const KernelContext& ctx, int i) { return i < ctx.num_inputs() && ctx.has_input(i); }

struct Heads {
  int64_t query = 0, kv = 0;
};

Heads heads_of(const Node& node) {
  const Heads heads = {node.at<int64_t>("num_heads"), node.at<int64_t>("kv_num_heads")};
  require(heads.query > 0 && heads.kv > 0 && heads.query % heads.kv == 0,
          ErrorCode::kInvalidArgument, heads.query, " heads are not a multiple of ", heads.kv,
          " kv heads");
  return heads;
}

// What one execution works on.
struct Problem {
  Heads heads;
  int64_t batch = 0, tokens = 0, size = 0;  // size of a head
  int64_t longest = 0;                      // keys of the longest row, new ones included
  int64_t past_room = 0, room = 0;          // positions of the cache before and after
  bool sliding = false;                     // a full cache drops its first tokens
  int64_t window = -1;                      // keys that a query sees, itself included; -1: all
  CacheCodes codes;
  Tensor past_keys, past_values;  // [batch, kv heads, past_room, size], where there is a past
  std::vector<int64_t> past;      // tokens before the new ones, by row

  int64_t kept(int64_t row) const {  // of those, how many the cache holds
    return std::min(past[static_cast<size_t>(row)], past_room);
  }
};

void require_shape(const KernelContext& ctx, int i, const Shape& wanted,
                   DType dtype = DType::kFloat32) {
  const Tensor& tensor = ctx.input(i);
  require(tensor.dtype() == dtype && tensor.shape() == wanted, ErrorCode::kInvalidArgument,
          "input ", i, " is ", describe(tensor), ", needed is ", dtype_name(dtype),
          wanted.to_string());
}

int64_t single_integer(const Tensor& tensor, const char* what) {
  require(tensor.size() == 1, ErrorCode::kInvalidArgument, what, " is ", describe(tensor));
  return to_int64s(tensor).front();
}

Problem problem_of(const KernelContext& ctx) {
  const Node& node = ctx.node();
  Problem p;
  p.codes = cache_codes(node);
  for (const int i : {kKeyScale, kValueScale}) {
    require(has(ctx, i) == (p.codes.bits > 0), ErrorCode::kInvalidData,
            "a quantized cache and its scales are given together");
  }
  p.heads = heads_of(node);
  const Tensor& query = ctx.input(kQuery);
  require(query.rank() == 3 && query.dtype() == DType::kFloat32, ErrorCode::kInvalidArgument,
          "the queries are ", describe(query));
  p.batch = query.shape()[0];
  p.tokens = query.shape()[1];
  const bool packed = !has(ctx, kKey);
  require(packed == !has(ctx, kValue), ErrorCode::kInvalidData,
          "keys and values are given together");
  const int64_t parts = packed ? p.heads.query + 2 * p.heads.kv : p.heads.query;
  const int64_t width = query.shape()[2];
  require(width > 0 && width % parts == 0, ErrorCode::kInvalidArgument, width,
          " features cannot be cut into ", parts, " heads");
  p.size = width / parts;
  if (!packed) {
    for (const int i : {kKey, kValue}) {
      require_shape(ctx, i, {p.batch, p.tokens, p.heads.kv * p.size});
    }
  }
  require(has(ctx, kPastKey) == has(ctx, kPastValue), ErrorCode::kInvalidData,
          "past key and past value are given together");
  if (has(ctx, kPastKey)) {
    const Tensor& past = ctx.input(kPastKey);
    require(past.rank() == 4, ErrorCode::kInvalidArgument, "the past is ", describe(past));
    p.past_room = past.shape()[2];
    for (const int i : {kPastKey, kPastValue}) {
      require_shape(ctx, i, {p.batch, p.heads.kv, p.past_room, p.codes.width(p.size)},
                    p.codes.dtype());
      Tensor& numbers = i == kPastKey ? p.past_keys : p.past_values;
      numbers = p.codes.bits == 0
                    ? ctx.input(i)
                    : decode_cache(p.codes, ctx.input(i),
                                   ctx.input(i == kPastKey ? kKeyScale : kValueScale), p.size);
    }
  }
  p.longest = single_integer(ctx.input(kLongest), "the longest length");
  p.window = node.get<int64_t>("local_window_size", -1);
  require(p.window >= -1 && p.window != 0, ErrorCode::kInvalidArgument,
          "attribute local_window_size is ", p.window);
  p.sliding = node.get<int64_t>("sliding_window_cache", 0) != 0;
  const Tensor& last = ctx.input(kLastPositions);
  require(last.size() == p.batch, ErrorCode::kInvalidArgument, "lengths are ", describe(last),
          " for a batch of ", p.batch);
  const std::vector<int64_t> lengths = to_int64s(last);
  // Without a past a row may be shorter than the others: what is behind its end is padding.
  const bool prompt = p.tokens == p.longest;
  for (const int64_t length : lengths) {
    require(length >= (prompt ? -1 : p.tokens - 1) && length < p.longest,
            ErrorCode::kInvalidArgument, "a row of ", length + 1, " tokens, ", p.tokens,
            " of them new, where the longest has ", p.longest);
    p.past.push_back(prompt ? 0 : length + 1 - p.tokens);
    require(p.sliding || p.past.back() <= p.past_room, ErrorCode::kInvalidArgument, p.past.back(),
            " tokens are past, but the cache has ", p.past_room);
  }
  if (p.sliding) {
    require(p.window > 0 && p.past_room >= p.window, ErrorCode::kInvalidArgument,
            "a sliding cache of ", p.past_room, " positions for a window of ", p.window);
  }
  // A cache is no larger than the operands are.
  require(p.sliding || p.longest <= p.past_room + p.tokens, ErrorCode::kInvalidArgument,
          "the longest length is ", p.longest, ", but there are ", p.past_room, " positions and ",
          p.tokens, " new tokens");
  p.room = p.sliding ? p.past_room : std::max(p.past_room, p.longest);
  return p;
}

// Heads [first, first + heads) of rows with `all` heads, as a tensor [batch, tokens, heads, size].
Tensor take_heads(const Tensor& rows, const Problem& p, int64_t all, int64_t first, int64_t heads) {
  Tensor out(DType::kFloat32, {p.batch, p.tokens, heads, p.size});
  const float* from = rows.data<float>() + first * p.size;
  float* to = out.data<float>();
  for (int64_t i = 0; i < p.batch * p.tokens; ++i, from += all * p.size) {
    to = std::copy_n(from, heads * p.size, to);
  }
  return out;
}

// x / sqrt(mean(x^2) + epsilon) * weight for each head, in place.
void normalize(Tensor& x, const Tensor& weight, float epsilon) {
  const int64_t size = x.shape().back();
  require(weight.dtype() == DType::kFloat32 && weight.size() == size, ErrorCode::kInvalidArgument,
          "the weight of a norm is ", describe(weight), " for heads of ", size);
  const float* w = weight.data<float>();
  float* row = x.data<float>();
  for (int64_t i = 0; i < x.size() / size; ++i, row += size) {
    float squares = 0;
    for (int64_t j = 0; j < size; ++j) squares += row[j] * row[j];
    const float inverse = 1.0f / std::sqrt(squares / static_cast<float>(size) + epsilon);
    for (int64_t j = 0; j < size; ++j) row[j] = row[j] * inverse * w[j];
  }
}

// Positions [batch, tokens] of the new tokens.
Tensor positions_of(const KernelContext& ctx, const Problem& p) {
  Tensor positions(DType::kInt64, {p.batch, p.tokens});
  auto* to = positions.data<int64_t>();
  if (has(ctx, kPositions)) {
    const std::vector<int64_t> given = to_int64s(ctx.input(kPositions));
    require(std::ssize(given) == positions.size(), ErrorCode::kInvalidArgument, "positions are ",
            describe(ctx.input(kPositions)), ", needed are ", positions.size());
    std::copy(given.begin(), given.end(), to);
    return positions;
  }
  for (const int64_t past : p.past) {
    for (int64_t i = 0; i < p.tokens; ++i) *to++ = past + i;
  }
  return positions;
}

struct Fresh {
  Tensor q, k, v;  // [batch, tokens, heads, size]
};

Fresh fresh_of(const KernelContext& ctx, const Problem& p) {
  const Node& node = ctx.node();
  const bool packed = !has(ctx, kKey);
  const int64_t query = p.heads.query, kv = p.heads.kv, all = query + 2 * kv;
  const Tensor& joined = ctx.input(kQuery);
  Fresh fresh;
  fresh.q = take_heads(joined, p, packed ? all : query, 0, query);
  fresh.k =
      packed ? take_heads(joined, p, all, query, kv) : take_heads(ctx.input(kKey), p, kv, 0, kv);
  fresh.v = packed ? take_heads(joined, p, all, query + kv, kv)
                   : take_heads(ctx.input(kValue), p, kv, 0, kv);
  const auto epsilon = node.get<float>("qk_norm_epsilon", 1e-6f);
  if (has(ctx, kQueryNorm)) normalize(fresh.q, ctx.input(kQueryNorm), epsilon);
  if (has(ctx, kKeyNorm)) normalize(fresh.k, ctx.input(kKeyNorm), epsilon);
  if (node.get<int64_t>("do_rotary", 0) != 0) {
    require(has(ctx, kCos) && has(ctx, kSin), ErrorCode::kInvalidData, "a rotation without tables");
    const Tensor positions = positions_of(ctx, p);
    const bool interleaved = node.get<int64_t>("rotary_interleaved", 0) != 0;
    for (Tensor* x : {&fresh.q, &fresh.k}) {
      *x = rotary::turned(*x, ctx.input(kCos), ctx.input(kSin), positions, interleaved, ctx.pool());
    }
  }
  return fresh;
}

// Keys or values of one row and head: the past, as far as the cache has it, and the new ones.
// `count` rows of `size` numbers go to `to`, beginning with number `first`.
void copy_rows(const Problem& p, const Tensor& past, const Tensor& fresh, int64_t row, int64_t head,
               int64_t first, int64_t count, float* to) {
  const int64_t kept = p.kept(row);
  for (int64_t i = first; i < first + count; ++i, to += p.size) {
    const float* from;
    if (i < kept) {
      from = past.data<float>() + ((row * p.heads.kv + head) * p.past_room + i) * p.size;
    } else {
      from = fresh.data<float>() + ((row * p.tokens + i - kept) * p.heads.kv + head) * p.size;
    }
    std::copy_n(from, p.size, to);
  }
}

// Writes the cache as it is afterwards.
void write_cache(const KernelContext& ctx, const Problem& p, const Tensor& past,
                 const Tensor& fresh, float* out) {
  parallel_for(ctx.pool(), p.batch * p.heads.kv, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / p.heads.kv, head = i % p.heads.kv;
      float* to = out + i * p.room * p.size;
      const int64_t all = p.kept(row) + p.tokens, count = std::min(all, p.room);
      copy_rows(p, past, fresh, row, head, all - count, count, to);
      // What lies behind stays as it was.
      const int64_t before = std::max(std::min(p.past_room, p.room) - count, int64_t{0});
      if (before > 0) {
        std::copy_n(past.data<float>() + (i * p.past_room + count) * p.size, before * p.size,
                    to + count * p.size);
      }
      std::fill(to + (count + before) * p.size, to + p.room * p.size, 0.0f);
    }
  });
}

// The cache as numbers: output i, when that is what is wanted, otherwise memory of its own.
Tensor cache_memory(KernelContext& ctx, const Problem& p, int i) {
  const Shape shape = {p.batch, p.heads.kv, p.room, p.size};
  const bool wanted = i < ctx.num_outputs() && ctx.wants_output(i);
  return wanted && p.codes.bits == 0 ? ctx.output(i, DType::kFloat32, shape)
                                     : Tensor(DType::kFloat32, shape);
}

void store_codes(KernelContext& ctx, const Problem& p, int i, const Tensor& numbers,
                 const Tensor& scale) {
  if (i >= ctx.num_outputs() || !ctx.wants_output(i)) return;
  const Shape shape = {p.batch, p.heads.kv, p.room, p.codes.width(p.size)};
  encode_cache(p.codes, numbers, scale, ctx.output(i, p.codes.dtype(), shape));
}

// The scores of one query for all keys, or what the softmax makes of them; zeros for keys that it
// does not see.
void score_row(const cpu::AttentionArgs& args, int64_t head, int64_t query, bool probabilities,
               float* row) {
  const auto dot = cpu::active_kernels().dot;
  const float* q = args.q + query * args.q_stride + head * args.q_head_stride;
  const float* k = args.k + head / (args.heads / args.kv_heads) * args.k_head_stride;
  const int64_t at = query + args.query_offset;
  const int64_t first = args.window_left < 0 ? 0 : std::max<int64_t>(at - args.window_left, 0);
  const int64_t last = args.window_right < 0
                           ? args.key_length
                           : std::min(at + args.window_right + 1, args.key_length);
  float most = args.sinks != nullptr ? args.sinks[head] : -std::numeric_limits<float>::infinity();
  for (int64_t j = first; j < last; ++j) {
    float score = args.scale * dot(q, k + j * args.k_stride, args.head_dim);
    if (args.softcap > 0) score = args.softcap * std::tanh(score / args.softcap);
    if (args.bias != nullptr) {
      score += args.bias[head * args.bias_head_stride + query * args.bias_stride + j];
    }
    row[j] = score;
    most = std::max(most, score);
  }
  if (!probabilities) return;
  float sum = args.sinks != nullptr ? std::exp(args.sinks[head] - most) : 0.0f;
  for (int64_t j = first; j < last; ++j) sum += row[j] = std::exp(row[j] - most);
  for (int64_t j = first; j < last; ++j) row[j] = sum > 0 ? row[j] / sum : 0.0f;
}

// Output 3, [batch, heads, tokens, keys of the longest row].
void write_scores(KernelContext& ctx, const Problem& p,
                  const std::vector<cpu::AttentionArgs>& rows) {
  if (ctx.num_outputs() < 4 || !ctx.wants_output(3)) return;
  const auto kind = ctx.node().get<int64_t>("qk_output", 0);
  require(kind == 1 || kind == 2, ErrorCode::kInvalidData,
          "scores are wanted, but attribute qk_output is ", kind);
  require(!p.sliding, ErrorCode::kUnsupported, "scores with a sliding cache are not supported");
  Tensor& out = ctx.output(3, DType::kFloat32, {p.batch, p.heads.query, p.tokens, p.longest});
  std::fill_n(out.data<float>(), out.size(), 0.0f);
  parallel_for(ctx.pool(), p.batch * p.heads.query, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto row = static_cast<size_t>(i / p.heads.query);
      for (int64_t token = 0; token < p.tokens; ++token) {
        score_row(rows[row], i % p.heads.query, token, kind == 2,
                  out.data<float>() + (i * p.tokens + token) * p.longest);
      }
    }
  });
}

void set_bias(const KernelContext& ctx, const Problem& p, int64_t row, cpu::AttentionArgs& args) {
  if (!has(ctx, kBias)) return;
  const Tensor& bias = ctx.input(kBias);
  const Shape& shape = bias.shape();
  require(bias.dtype() == DType::kFloat32 && shape.rank() == 4 &&
              (shape[0] == 1 || shape[0] == p.batch) &&
              (shape[1] == 1 || shape[1] == p.heads.query) && shape[2] == p.tokens &&
              shape[3] >= args.key_length && !p.sliding,
          ErrorCode::kInvalidArgument, "the bias ", describe(bias), " does not fit ", p.tokens,
          " queries and ", args.key_length, " keys");
  args.bias_stride = shape[3];
  args.bias_head_stride = shape[1] == 1 ? 0 : shape[2] * shape[3];
  args.bias = bias.data<float>() + (shape[0] == 1 ? 0 : row * shape[1] * shape[2] * shape[3]);
}

void grouped_query(KernelContext& ctx) {
  const Problem p = problem_of(ctx);
  const Node& node = ctx.node();
  Fresh fresh = fresh_of(ctx, p);
  if (p.codes.bits > 0) {
    round_as_cached(p.codes, ctx.input(kKeyScale), fresh.k);
    round_as_cached(p.codes, ctx.input(kValueScale), fresh.v);
  }
  Tensor key_cache = cache_memory(ctx, p, 1), value_cache = cache_memory(ctx, p, 2);
  float *keys = key_cache.data<float>(), *values = value_cache.data<float>();
  write_cache(ctx, p, p.past_keys, fresh.k, keys);
  write_cache(ctx, p, p.past_values, fresh.v, values);
  if (p.codes.bits > 0) {
    store_codes(ctx, p, 1, key_cache, ctx.input(kKeyScale));
    store_codes(ctx, p, 2, value_cache, ctx.input(kValueScale));
  }
  float* out =
      ctx.output(0, DType::kFloat32, {p.batch, p.tokens, p.heads.query * p.size}).data<float>();
  if (p.batch == 0 || p.tokens == 0) return write_scores(ctx, p, {});

  std::vector<float> sinks;
  if (has(ctx, kSinks)) {
    const Tensor& given = ctx.input(kSinks);
    require_shape(ctx, kSinks, {p.heads.query});
    sinks.assign(given.data<float>(), given.data<float>() + given.size());
  } else if (node.get<int64_t>("smooth_softmax", 0) > 0) {
    sinks.assign(static_cast<size_t>(p.heads.query), 0.0f);
  }
  cpu::AttentionArgs common;
  common.heads = p.heads.query;
  common.kv_heads = p.heads.kv;
  common.head_dim = common.value_dim = p.size;
  common.query_length = p.tokens;
  common.q_stride = common.out_stride = p.heads.query * p.size;
  common.q_head_stride = common.out_head_stride = p.size;
  common.k_stride = common.v_stride = p.size;
  const auto scale = node.get<float>("scale", 0.0f);
  common.scale =
      scale != 0 ? scale : static_cast<float>(1 / std::sqrt(static_cast<double>(p.size)));
  common.softcap = node.get<float>("softcap", 0.0f);
  common.sinks = sinks.empty() ? nullptr : sinks.data();
  if (p.window > 0) common.window_left = p.window - 1;
  if (node.get<int64_t>("causal", 1) != 0) common.window_right = 0;

  // A sliding cache may have dropped keys that this call still sees.
  std::vector<Tensor> joined;
  std::vector<cpu::AttentionArgs> rows;
  int64_t scratch = 0;
  for (int64_t row = 0; row < p.batch; ++row) {
    cpu::AttentionArgs args = common;
    args.key_length = p.kept(row) + p.tokens;
    args.query_offset = p.kept(row);
    args.q = fresh.q.data<float>() + row * p.tokens * args.q_stride;
    args.out = out + row * p.tokens * args.out_stride;
    args.k = keys + row * p.heads.kv * p.room * p.size;
    args.v = values + row * p.heads.kv * p.room * p.size;
    args.k_head_stride = args.v_head_stride = p.room * p.size;
    if (args.key_length > p.room) {
      args.k_head_stride = args.v_head_stride = args.key_length * p.size;
      for (const bool key : {true, false}) {
        Tensor& all =
            joined.emplace_back(DType::kFloat32, Shape{p.heads.kv, args.key_length, p.size});
        const Tensor& past = key ? p.past_keys : p.past_values;
        for (int64_t head = 0; head < p.heads.kv; ++head) {
          copy_rows(p, past, key ? fresh.k : fresh.v, row, head, 0, args.key_length,
                    all.data<float>() + head * args.k_head_stride);
        }
        (key ? args.k : args.v) = all.data<float>();
      }
    }
    set_bias(ctx, p, row, args);
    scratch = std::max(scratch, cpu::attention_scratch(args));
    rows.push_back(args);
  }
  write_scores(ctx, p, rows);
  scratch = (scratch + 15) / 16 * 16;  // every thread's part is aligned
  const int64_t group = p.heads.query / p.heads.kv;
  ThreadPool* pool = ctx.pool();
  float* memory = ctx.scratch_of<float>(scratch * (pool != nullptr ? pool->size() : 1));
  const auto work = [&](int64_t begin, int64_t end, int worker) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t head = task % p.heads.kv * group;
      cpu::attention(rows[static_cast<size_t>(task / p.heads.kv)], head, head + group,
                     memory + worker * scratch);
    }
  };
  const int64_t tasks = p.batch * p.heads.kv;
  if (pool == nullptr) return work(0, tasks, 0);
  pool->parallel_for_workers(tasks, 1, work);
}

void infer_grouped_query(InferContext& ctx) {
  const DType dtype = ctx.input(kQuery).dtype;
  const CacheCodes codes = cache_codes(ctx.node());
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    ctx.output(i).dtype = codes.bits > 0 && (i == 1 || i == 2) ? codes.dtype() : dtype;
  }
  const auto& query = ctx.input(kQuery).shape;
  if (!query) return;
  require(query->size() == 3, ErrorCode::kInvalidArgument, "the queries are ", to_string(*query));
  const Heads heads = heads_of(ctx.node());
  const bool packed = ctx.num_inputs() <= kKey || !ctx.has_input(kKey);
  const Dim size = Dim::divide((*query)[2], packed ? heads.query + 2 * heads.kv : heads.query);
  ctx.output(0).shape = Dims{(*query)[0], (*query)[1], size * heads.query};
  for (int i = 1; i < std::min(ctx.num_outputs(), 3); ++i) {
    Dim room = unknown_dim(ctx, i, 2);
    const std::optional<Dims> longest = ctx.num_inputs() > kLongest && ctx.has_input(kLongest)
                                            ? ctx.input(kLongest).dimensions()
                                            : std::nullopt;
    const Fact* past =
        ctx.num_inputs() > kPastKey && ctx.has_input(kPastKey) ? &ctx.input(kPastKey) : nullptr;
    if (past != nullptr && past->rank() == 4 &&
        ctx.node().get<int64_t>("sliding_window_cache", 0) != 0) {
      room = (*past->shape)[2];
    } else if (longest && longest->size() == 1) {
      if (past == nullptr) room = longest->front();
      if (past != nullptr && past->rank() == 4) {
        room = Dim::max(longest->front(), (*past->shape)[2]);
      }
    }
    const Dim width = codes.bits == 4 ? Dim::divide(size + 1, 2) : size;
    ctx.output(i).shape = Dims{(*query)[0], heads.kv, room, width};
  }
  if (ctx.num_outputs() > 3) {
    ctx.output(3).shape = Dims{(*query)[0], heads.query, (*query)[1], unknown_dim(ctx, 3, 3)};
  }
}

}  // namespace
}  // namespace hugot::attention

namespace hugot::ops {

OpDef ms_GroupQueryAttention(int) {
  return define({1, 16}, attention::infer_grouped_query, attention::grouped_query, nullptr, {1, 4});
}

}  // namespace hugot::ops
