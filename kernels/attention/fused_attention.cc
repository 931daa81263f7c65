// Attention, MultiHeadAttention and QAttention of com.microsoft, written with hugot.Attention or,
// where keys and values of earlier tokens are kept, Attention of ONNX.
#include <cmath>

#include "base/error.h"
#include "kernels/composite.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot::attention {
namespace {

// ---------------------------------------------------------------------------------------------
// Pieces

Term slice(Expansion& e, const Term& x, int64_t begin, int64_t end, int64_t axis) {
  GraphWriter& w = e.writer();
  return e.op("Slice", {x, w.integers({begin}), w.integers({end}), w.integers({axis})});
}

// Lengths 0 stand for those of x.
Term with_shape(Expansion& e, const Term& x, const std::vector<int64_t>& shape) {
  return e.op("Reshape", {x, e.writer().integers(shape)});
}

// x[.., index, ..] along an axis, which goes.
Term pick(Expansion& e, const Term& x, int64_t index, int64_t axis) {
  const Term number = e.writer().constant(Tensor::scalar(index));
  return e.op("Gather", {x, number}, {{"axis", axis}});
}

Term scalar(Expansion& e, const Term& length) { return reshape(length, e.writer().integers({})); }

// Queries, keys and values [B, length, heads * size], and what is added to their scores.
struct Operands {
  Term q, k, v;
  Term bias;                    // [B | 1, heads | 1, queries | 1, keys], nothing for none
  Term past_key, past_value;    // [B, heads, past, size], nothing for none
  int64_t heads = 0, size = 0;  // of queries and keys
};

int64_t head_count(const Node& node) {
  const auto heads = node.at<int64_t>("num_heads");
  require(heads > 0, ErrorCode::kInvalidData, "attribute num_heads is ", heads);
  return heads;
}

int64_t head_size(int64_t width, int64_t heads) {
  require(width > 0 && width % heads == 0, ErrorCode::kInvalidArgument, width,
          " features cannot be cut into ", heads, " heads");
  return width / heads;
}

float scale_of(const Node& node, int64_t size) {
  const auto given = node.get<float>("scale", 0.0f);
  return given != 0.0f ? given : static_cast<float>(1 / std::sqrt(static_cast<double>(size)));
}

// The result and, where `with_present`, keys and values with those of the past in front; then,
// where `with_scores`, what the softmax is given.
std::vector<Term> attend(Expansion& e, const Operands& o, bool with_present,
                         bool with_scores = false) {
  const int64_t causal = e.node().get<int64_t>("unidirectional", 0) != 0 ? 1 : 0;
  const float scale = scale_of(e.node(), o.size);
  if (!with_present && !with_scores && !o.past_key) {
    return {e.op("Attention", {o.q, o.k, o.v, o.bias},
                 {{"num_heads", o.heads}, {"scale", scale}, {"causal", causal}}, "hugot")};
  }
  constexpr int64_t kMasked = 2;
  return e.writer().outputs("Attention", {o.q, o.k, o.v, o.bias, o.past_key, o.past_value},
                            {{"q_num_heads", o.heads},
                             {"kv_num_heads", o.heads},
                             {"scale", scale},
                             {"is_causal", causal},
                             {"qk_matmul_output_mode", kMasked}},
                            with_scores ? 4 : 3);
}

// ---------------------------------------------------------------------------------------------
// Masks

// The number of keys: those of the past included.
Term key_count(const Operands& o) {
  const Term fresh = dim_of(o.k, 1);
  return o.past_key ? dim_of(o.past_key, 2) + fresh : fresh;
}

// True when every row's end (a list of them) is the number of keys: nothing is hidden.
bool all_visible(Expansion& e, int mask, const Operands& o) {
  const std::optional<Dims> ends = e.fact(mask).dimensions();
  const Fact& keys = o.k.fact();
  if (!ends || keys.rank() < 2 || o.past_key) return false;
  for (const Dim& end : *ends) {
    if (end != (*keys.shape)[1]) return false;
  }
  return true;
}

// Ends [B], or ends and then starts [2 B], of the keys that each row sees, as a condition
// [B, 1, 1, keys]. Nothing is returned as long as it is not known which of the two it is.
std::optional<Term> between(Expansion& e, int mask, const Operands& o) {
  const Dim count = (*e.fact(mask).shape)[0];
  const Dim batch = (*o.q.fact().shape)[0];
  const bool both_ends = count == batch * 2;
  if (!both_ends && count != batch) {
    require(!count.is_number() || !batch.is_number(), ErrorCode::kUnsupported,
            "a mask with one axis of length ", to_string(Dims{count}), " for a batch of ",
            to_string(Dims{batch}));
    return std::nullopt;
  }
  const Term key = e.op("Range", {0, scalar(e, key_count(o)), 1});
  const Term limits = cast_to(e.x(mask), DType::kInt64);
  const auto column = [&](const Term& x) { return unsqueeze(x, {1, 2, 3}); };
  if (!both_ends) return key < column(limits);
  const auto halves =
      e.writer().outputs("Split", {limits}, {{"axis", int64_t{0}}, {"num_outputs", int64_t{2}}}, 2);
  return both(key < column(halves[0]), key >= column(halves[1]));
}

// Adds what hides keys to the bias: the mask in input `mask`, where one is, and the numbers in
// input `bias`. False when too little is known.
bool add_masks(Expansion& e, int mask, int bias, Operands& o) {
  const DType dtype = o.q.dtype();
  if (bias >= 0 && e.has(bias)) o.bias = cast_to(e.x(bias), dtype);
  if (!e.has(mask)) return true;
  const int rank = e.rank(mask);
  Term visible;
  if (rank == 1) {
    if (all_visible(e, mask, o)) return true;
    const auto condition = between(e, mask, o);
    if (!condition) return false;
    visible = *condition;
  } else if (rank == 2 || rank == 3) {
    const bool single = e.dim(mask, 1) == 1;
    const std::optional<int64_t> keys = (*o.k.fact().shape)[1].number();
    // A column stands for no mask.
    if (rank == 2 && single && !o.past_key && keys != 1) return true;
    visible = cast_to(e.x(mask), DType::kInt64) > 0;
    visible = unsqueeze(visible, rank == 2 ? std::vector<int64_t>{1, 2} : std::vector<int64_t>{1});
  } else {
    fail(ErrorCode::kUnsupported, "a mask with ", rank, " axes");
  }
  const double filter = e.node().get<float>("mask_filter_value", -10000.0f);
  const Term hidden = where(visible, e.writer().number(0, dtype), e.writer().number(filter, dtype));
  o.bias = o.bias ? o.bias + hidden : hidden;
  return true;
}

// ---------------------------------------------------------------------------------------------
// Attention and QAttention

// The sizes of queries, keys and values, from the columns of the joined weight or its bias.
std::vector<int64_t> projected_sizes(const Node& node, int64_t columns) {
  auto sizes = node.get<std::vector<int64_t>>("qkv_hidden_sizes", {});
  if (sizes.empty()) {
    require(columns % 3 == 0, ErrorCode::kInvalidArgument, columns,
            " columns are no queries, keys and values");
    sizes.assign(3, columns / 3);
  }
  bool fits = sizes.size() == 3 && sizes[0] == sizes[1];
  for (const int64_t size : sizes) fits = fits && size > 0 && size <= columns;
  require(fits && sizes[0] + sizes[1] + sizes[2] == columns, ErrorCode::kInvalidArgument,
          "qkv_hidden_sizes do not fit ", columns, " columns");
  return sizes;
}

// Sets what is common: the past in input `past` [2, B, heads, past, size], masks and outputs.
bool self_attention(Expansion& e, Operands& o, int mask, int past, int bias) {
  const Node& node = e.node();
  require(node.get<int64_t>("do_rotary", 0) == 0, ErrorCode::kUnsupported,
          "attribute do_rotary is not supported");
  o.heads = head_count(node);
  if (e.has(past)) {
    require(e.rank(past) == 5, ErrorCode::kInvalidArgument, "the past has ", e.rank(past),
            " axes instead of 5");
    o.past_key = pick(e, e.x(past), 0, 0);
    o.past_value = pick(e, e.x(past), 1, 0);
  }
  if (!add_masks(e, mask, bias, o)) return false;
  const std::vector<Term> y = attend(e, o, e.wants(1));
  e.set(0, y[0]);
  if (e.wants(1)) {
    e.set(1, e.writer().concat({unsqueeze(y[1], {0}), unsqueeze(y[2], {0})}, 0));
  }
  return true;
}

// Inputs: x, weight, bias, mask, past, attention bias, past length.
bool attention(Expansion& e) {
  require(!e.has(6), ErrorCode::kUnsupported, "a cache that past and present share");
  const auto columns = e.dim(1, 1);
  if (!e.ranks_known() || !columns) return false;
  const std::vector<int64_t> sizes = projected_sizes(e.node(), *columns);
  Operands o;
  o.size = head_size(sizes[0], head_count(e.node()));
  int64_t begin = 0;
  Term* const parts[] = {&o.q, &o.k, &o.v};
  for (size_t i = 0; i < 3; ++i) {
    // Of a constant weight the slices are constants, and the products those of three layers.
    const int64_t end = begin + sizes[i];
    *parts[i] = matrix_product(e.x(0), slice(e, e.x(1), begin, end, 1));
    if (e.has(2)) *parts[i] = *parts[i] + slice(e, e.x(2), begin, end, 0);
    begin = end;
  }
  return self_attention(e, o, 3, 4, 5);
}

// Inputs: x, weight, bias, x scale, weight scale, mask, x zero, weight zero, past.
bool quantized_attention(Expansion& e) {
  const auto columns = e.dim(1, 1);
  if (!e.ranks_known() || !columns) return false;
  const std::vector<int64_t> sizes = projected_sizes(e.node(), *columns);
  const Term joined =
      e.op("MatMulIntegerToFloat", {e.x(0), e.x(1), e.x(3), e.x(4), e.x(6), e.x(7), e.x(2)}, {},
           "com.microsoft");
  const auto parts =
      e.writer().outputs("Split", {joined, e.writer().integers(sizes)}, {{"axis", int64_t{-1}}}, 3);
  Operands o;
  o.q = parts[0];
  o.k = parts[1];
  o.v = parts[2];
  o.size = head_size(sizes[0], head_count(e.node()));
  return self_attention(e, o, 5, 8, -1);
}

void infer_self_attention(InferContext& ctx, DType dtype, int past) {
  ctx.output(0).dtype = dtype;
  if (ctx.num_outputs() > 1) ctx.output(1).dtype = dtype;
  const auto &x = ctx.input(0).shape, &weight = ctx.input(1).shape;
  if (!x || !weight) return;
  require(x->size() == 3 && weight->size() == 2, ErrorCode::kInvalidArgument, "input ",
          to_string(*x), " and weight ", to_string(*weight), " need three and two axes");
  const auto columns = (*weight)[1].number();
  if (!columns) return;
  const std::vector<int64_t> sizes = projected_sizes(ctx.node(), *columns);
  ctx.output(0).shape = Dims{(*x)[0], (*x)[1], sizes[2]};
  if (ctx.num_outputs() < 2) return;
  const auto heads = head_count(ctx.node());
  Dim total = (*x)[1];
  if (past < ctx.num_inputs() && ctx.has_input(past)) {
    if (ctx.input(past).rank() != 5) return;
    total = (*ctx.input(past).shape)[3] + total;
  }
  ctx.output(1).shape = Dims{2, (*x)[0], heads, total, head_size(sizes[0], heads)};
}

void infer_attention(InferContext& ctx) { infer_self_attention(ctx, ctx.input(0).dtype, 4); }
void infer_quantized_attention(InferContext& ctx) { infer_self_attention(ctx, DType::kFloat32, 8); }

// ---------------------------------------------------------------------------------------------
// MultiHeadAttention. Inputs: query, key, value, bias, padding mask, attention bias, past key, past
// value, past length, cache indirection.

// [B, heads, length, size] or [B, length, heads * size] as the latter.
Term merged(Expansion& e, const Term& x, int64_t heads) {
  if (x.rank() == 3) return x;
  const auto size = x.fact().shape->back().number();
  require(size.has_value(), ErrorCode::kUnsupported, "the size of a head is not known");
  return with_shape(e, transpose(x, {0, 2, 1, 3}), {0, 0, heads * *size});
}

bool known(const Fact& fact, int axis) {
  return fact.rank() > axis && (*fact.shape)[static_cast<size_t>(axis)].is_number();
}

bool multi_head_attention(Expansion& e) {
  if (!e.ranks_known()) return false;
  require(!e.has(8) && !e.has(9), ErrorCode::kUnsupported, "a cache that past and present share");
  Operands o;
  o.heads = head_count(e.node());
  const int query_rank = e.rank(0);
  bool cached = false;  // keys and values come with heads in front, and take no bias
  if (query_rank == 5) {
    if (!known(e.fact(0), 4)) return false;
    const int64_t width = o.heads * *e.dim(0, 4);
    Term* const parts[] = {&o.q, &o.k, &o.v};
    for (int64_t i = 0; i < 3; ++i) {
      *parts[i] = with_shape(e, pick(e, e.x(0), i, 3), {0, 0, width});
    }
  } else {
    require(query_rank == 3 && e.has(1), ErrorCode::kInvalidArgument, "a query with ", query_rank,
            " axes", e.has(1) ? "" : " without keys");
    o.q = e.x(0);
    if (e.rank(1) == 5) {
      if (!known(e.fact(1), 4)) return false;
      const int64_t width = o.heads * *e.dim(1, 4);
      o.k = with_shape(e, pick(e, e.x(1), 0, 3), {0, 0, width});
      o.v = with_shape(e, pick(e, e.x(1), 1, 3), {0, 0, width});
    } else {
      cached = e.rank(1) == 4;
      const int rank = e.rank(1);
      require((rank == 3 || rank == 4) && e.rank(2) == rank, ErrorCode::kInvalidArgument,
              "keys and values with ", rank, " and ", e.rank(2), " axes");
      if (cached && !(known(e.fact(1), 3) && known(e.fact(2), 3))) return false;
      o.k = merged(e, e.x(1), o.heads);
      o.v = merged(e, e.x(2), o.heads);
    }
  }
  if (!known(o.q.fact(), 2) || !known(o.v.fact(), 2)) return false;
  const int64_t width = *(*o.q.fact().shape)[2].number();
  const int64_t value_width = *(*o.v.fact().shape)[2].number();
  o.size = head_size(width, o.heads);
  head_size(value_width, o.heads);
  if (e.has(3)) {
    o.q = o.q + slice(e, e.x(3), 0, width, 0);
    if (!cached) {
      o.k = o.k + slice(e, e.x(3), width, 2 * width, 0);
      o.v = o.v + slice(e, e.x(3), 2 * width, 2 * width + value_width, 0);
    }
  }
  o.past_key = e.x(6);
  o.past_value = e.x(7);
  if (!add_masks(e, 4, 5, o)) return false;
  const std::vector<Term> y = attend(e, o, e.wants(1) || e.wants(2), e.wants(3));
  for (size_t i = 0; i < y.size(); ++i) e.set(static_cast<int>(i), y[i]);
  return true;
}

void infer_multi_head(InferContext& ctx) {
  const DType dtype = ctx.input(0).dtype;
  for (int i = 0; i < ctx.num_outputs(); ++i) ctx.output(i).dtype = dtype;
  const auto& q = ctx.input(0).shape;
  if (!q) return;
  const auto heads = head_count(ctx.node());
  const bool has_key = ctx.num_inputs() > 1 && ctx.has_input(1);
  const bool has_value = ctx.num_inputs() > 2 && ctx.has_input(2);
  std::optional<Dim> keys, size, value_size;
  if (q->size() == 5) {
    keys = (*q)[1];
    size = value_size = (*q)[4];
  } else if (has_key && ctx.input(1).rank() == 5) {
    keys = (*ctx.input(1).shape)[1];
    size = value_size = (*ctx.input(1).shape)[4];
  } else if (has_key && has_value && ctx.input(2).rank() == 4) {
    keys = (*ctx.input(2).shape)[2];
    size = value_size = (*ctx.input(2).shape)[3];
  } else if (has_key && has_value && ctx.input(2).rank() == 3) {
    keys = (*ctx.input(2).shape)[1];
    value_size = Dim::divide((*ctx.input(2).shape)[2], heads);
    if (q->size() == 3) size = Dim::divide((*q)[2], heads);
  }
  if (!keys || !value_size || q->size() < 3) return;
  ctx.output(0).shape = Dims{(*q)[0], (*q)[1], *value_size * heads};
  if (ctx.num_inputs() > 6 && ctx.has_input(6)) {
    if (ctx.input(6).rank() != 4) return;
    keys = (*ctx.input(6).shape)[2] + *keys;
  }
  if (ctx.num_outputs() > 1 && size) ctx.output(1).shape = Dims{(*q)[0], heads, *keys, *size};
  if (ctx.num_outputs() > 2) ctx.output(2).shape = Dims{(*q)[0], heads, *keys, *value_size};
  if (ctx.num_outputs() > 3) ctx.output(3).shape = Dims{(*q)[0], heads, (*q)[1], *keys};
}

}  // namespace
}  // namespace hugot::attention

namespace hugot::ops {

OpDef ms_Attention(int) {
  return composite({2, 7}, attention::infer_attention, attention::attention, {1, 2});
}
OpDef ms_QAttention(int) {
  return composite_of_integers({5, 9}, attention::infer_quantized_attention,
                               attention::quantized_attention, {1, 2});
}
OpDef ms_MultiHeadAttention(int) {
  return composite({1, 10}, attention::infer_multi_head, attention::multi_head_attention, {1, 4});
}

}  // namespace hugot::ops
