#include "kernels/attention/sequences.h"

#include "base/error.h"
#include "kernels/strided.h"

namespace hugot::attention {

Rows rows_of(const KernelContext& ctx, int i, int64_t index) {
  const auto segments = ctx.segments();
  if (segments.empty()) {
    const Tensor& tensor = ctx.input(i);
    const int64_t length = tensor.shape()[1];
    return {tensor.data<float>() + index * length * tensor.shape()[2], length};
  }
  const auto s = static_cast<size_t>(index);
  const int64_t length = segments[s + 1] - segments[s];
  // Either all segments joined, or this one alone.
  const Tensor& tensor = ctx.input_of_segment(i, s);
  if (i == 0 && ctx.node().has("query_row")) {
    const auto count = static_cast<int64_t>(segments.size()) - 1;
    require(tensor.shape()[1] == 1 && (tensor.shape()[0] == 1 || tensor.shape()[0] == count),
            ErrorCode::kInvalidArgument, "Q is ", describe(tensor), " instead of one row per text");
    const bool all = tensor.shape()[0] == count && count > 1;
    return {tensor.data<float>() + (all ? index * tensor.shape()[2] : 0), 1};
  }
  const bool joined = tensor.shape()[1] == segments.back();
  require(joined || tensor.shape()[1] == length, ErrorCode::kInvalidArgument, "input ", i, " is ",
          describe(tensor), " for ", segments.back(), " tokens");
  return {tensor.data<float>() + (joined ? segments[s] : 0) * tensor.shape()[2], length};
}

namespace {

// Repeats a bias whose last axis is 1 along the keys.
Tensor spread_keys(const Tensor& bias, int64_t keys) {
  Tensor result(bias.dtype(), bias.shape().with(bias.rank() - 1, keys));
  StridedView view;
  view.add(bias.size(), 1);
  view.add(keys, 0);
  copy_view(bias, view, result, nullptr);
  return result;
}

}  // namespace

void set_bias(const KernelContext& ctx, int64_t index, cpu::AttentionArgs& args, Tensor& spread) {
  if (ctx.num_inputs() < 4 || !ctx.has_input(3)) return;
  const bool segments = !ctx.segments().empty();
  Tensor bias = segments ? ctx.input_of_segment(3, static_cast<size_t>(index)) : ctx.input(3);
  const Shape wanted = {segments ? 1 : ctx.input(0).shape()[0], args.heads, args.query_length,
                        args.key_length};
  require(bias.dtype() == DType::kFloat32 && bias.rank() > 0 &&
              broadcast(bias.shape(), wanted) == wanted,
          ErrorCode::kInvalidArgument, "the bias is ", describe(bias), ", needed is float32",
          wanted.to_string());
  if (bias.shape().back() == 1 && args.key_length != 1) {
    bias = spread = spread_keys(bias, args.key_length);
  }
  const auto strides = row_major_strides(bias.shape());
  const auto stride = [&](int from_back) {  // 0 where the axis is missing or repeats
    const int axis = bias.rank() - from_back;
    return axis < 0 || bias.shape()[axis] == 1 ? 0 : strides[static_cast<size_t>(axis)];
  };
  args.bias = bias.data<float>() + (segments ? 0 : index * stride(4));
  args.bias_head_stride = stride(3);
  args.bias_stride = stride(2);
}

cpu::AttentionArgs common_args(const KernelContext& ctx) {
  const Node& node = ctx.node();
  for (int i = 0; i < 3; ++i) {
    require(ctx.input(i).dtype() == DType::kFloat32 && ctx.input(i).rank() == 3,
            ErrorCode::kUnsupported, "Q, K and V have to be float32 of rank 3, but input ", i,
            " is ", describe(ctx.input(i)));
  }
  const Shape &q = ctx.input(0).shape(), &k = ctx.input(1).shape(), &v = ctx.input(2).shape();
  cpu::AttentionArgs args;
  args.heads = node.at<int64_t>("num_heads");
  args.kv_heads = node.get<int64_t>("kv_num_heads", args.heads);
  const bool fits = args.heads > 0 && args.kv_heads > 0 && args.heads % args.kv_heads == 0 &&
                    q[2] % args.heads == 0 && k[2] % args.kv_heads == 0 &&
                    v[2] % args.kv_heads == 0 && q[2] / args.heads == k[2] / args.kv_heads &&
                    k[0] == v[0] &&
                    (q[0] == k[0] || (node.has("query_row") && !ctx.segments().empty()));
  require(fits, ErrorCode::kInvalidArgument, "Q ", describe(ctx.input(0)), ", K ",
          describe(ctx.input(1)), " and V ", describe(ctx.input(2)), " do not fit ", args.heads,
          " heads and ", args.kv_heads, " kv heads");
  args.head_dim = q[2] / args.heads;
  args.value_dim = v[2] / args.kv_heads;
  args.q_stride = q[2];
  args.k_stride = k[2];
  args.v_stride = v[2];
  args.out_stride = args.heads * args.value_dim;
  args.q_head_stride = args.k_head_stride = args.head_dim;
  args.v_head_stride = args.out_head_stride = args.value_dim;
  args.scale = node.at<float>("scale");
  args.window_left = node.get<int64_t>("left_window_size", -1);
  args.window_right = node.get<int64_t>("right_window_size", -1);
  if (node.get<int64_t>("causal", 0) != 0) args.window_right = 0;
  return args;
}

void place(const KernelContext& ctx, int64_t index, cpu::AttentionArgs& args) {
  const Rows query = rows_of(ctx, 0, index), keys = rows_of(ctx, 1, index),
             values = rows_of(ctx, 2, index);
  const bool one_query = ctx.node().has("query_row");
  const bool windowed = args.window_left >= 0 || args.window_right >= 0;
  require(keys.length == values.length &&
              (one_query ? query.length == 1 : !windowed || query.length == keys.length),
          ErrorCode::kInvalidArgument, query.length, " queries, ", keys.length, " keys and ",
          values.length, " values do not fit");
  args.query_length = query.length;
  args.key_length = keys.length;
  args.query_offset = one_query && ctx.node().at<int64_t>("query_row") < 0 ? keys.length - 1 : 0;
  args.q = query.data;
  args.k = keys.data;
  args.v = values.data;
}

}  // namespace hugot::attention
