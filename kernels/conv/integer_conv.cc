// Convolutions of quantized operands: ConvInteger and QLinearConv.
#include <algorithm>
#include <memory>
#include <vector>

#include "base/error.h"
#include "kernels/conv/columns.h"
#include "kernels/convert.h"
#include "kernels/cpu/gemm_quantized.h"
#include "kernels/cpu/isa.h"
#include "kernels/define.h"
#include "kernels/dispatch.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace conv {
namespace {

// So many outputs at a time, at most, that their windows stay in the cache.
constexpr int64_t kMaxOutputs = 256, kWindowBytes = 512 * 1024;

bool is_byte(DType dtype) { return dtype == DType::kInt8 || dtype == DType::kUInt8; }

// Where a node has its operands.
struct Slots {
  int x, x_zero, w, w_zero;
};
constexpr Slots kConvInteger = {.x = 0, .x_zero = 2, .w = 1, .w_zero = 3};
constexpr Slots kQLinearConv = {.x = 0, .x_zero = 2, .w = 3, .w_zero = 5};

int32_t byte_at(const Tensor& tensor, int64_t i) {
  return tensor.dtype() == DType::kInt8 ? int32_t{tensor.data<int8_t>()[i]}
                                        : int32_t{tensor.data<uint8_t>()[i]};
}

using Matrices = std::vector<std::unique_ptr<const cpu::QuantizedMatrix>>;

// The filters of every group as a matrix [channels * taps, filters].
Matrices pack_filters(const Tensor& w, const Tensor* zero, int64_t groups,
                      BlockStore& store = fresh_blocks()) {
  require(is_byte(w.dtype()) && w.rank() >= 3, ErrorCode::kUnsupported, "the weight is ",
          describe(w));
  require(groups > 0 && w.shape()[0] % groups == 0, ErrorCode::kInvalidArgument, "a weight ",
          describe(w), " has no ", groups, " groups");
  const int64_t total = w.shape()[0], filters = total / groups;
  const int64_t depth = w.shape().product(1, w.rank());
  std::vector<int32_t> zeros;
  if (zero != nullptr) {
    require(zero->dtype() == w.dtype() && (zero->size() == 1 || zero->size() == total),
            ErrorCode::kInvalidArgument, "the zero point ", describe(*zero),
            " does not fit a weight ", describe(w));
    for (int64_t i = 0; i < zero->size(); ++i) zeros.push_back(byte_at(*zero, i));
  }
  Matrices matrices;
  for (int64_t group = 0; group < groups; ++group) {
    std::span<const int32_t> own(zeros);
    if (own.size() > 1)
      own = own.subspan(static_cast<size_t>(group * filters), static_cast<size_t>(filters));
    matrices.push_back(std::make_unique<const cpu::QuantizedMatrix>(w, group * filters * depth, own,
                                                                    std::span<const float>(), depth,
                                                                    filters, depth, true, store));
  }
  return matrices;
}

class PackedFilters final : public Prepared {
 public:
  PackedFilters(int input, Matrices groups) : input_(input), groups_(std::move(groups)) {}
  size_t bytes() const override {
    int64_t sum = 0;
    for (const auto& group : groups_) sum += group->bytes();
    return static_cast<size_t>(sum);
  }
  bool replaces_input(int i) const override { return i == input_; }
  const Matrices& groups() const { return groups_; }

 private:
  int input_;
  Matrices groups_;
};

std::shared_ptr<const Prepared> prepare(const Node& node, std::span<const Tensor* const> constants,
                                        const Slots& slots, BlockStore& store) {
  const auto w = static_cast<size_t>(slots.w), zero = static_cast<size_t>(slots.w_zero);
  const bool has_zero = zero < constants.size() && node.input(zero) != kNoValue;
  const Tensor* filters = w < constants.size() ? constants[w] : nullptr;
  const int64_t groups = node.get<int64_t>("group", 1);
  if (filters == nullptr || !is_byte(filters->dtype()) || filters->rank() < 3 ||
      filters->size() == 0 || groups < 1 || filters->shape()[0] % groups != 0 ||
      (has_zero && constants[zero] == nullptr)) {
    return {};  // the kernel says what is wrong
  }
  return std::make_shared<PackedFilters>(
      slots.w, pack_filters(*filters, has_zero ? constants[zero] : nullptr, groups, store));
}

// What the windows at outputs [begin, end) of an image see, a row for each. Padding is `zero`, the
// element that stands for 0.
void gather_rows(const Columns& columns, const Geometry& g, const uint8_t* x, uint8_t zero,
                 int64_t begin, int64_t end, uint8_t* to) {
  const int64_t depth = columns.rows(), taps = columns.taps(), inputs = g.in_size();
  std::fill(to, to + (end - begin) * depth, zero);
  columns.for_runs(begin, end, [&](const Run& run) {
    for (int64_t c = 0; c < g.channels; ++c) {
      const uint8_t* source = x + c * inputs + run.source;
      uint8_t* row = to + (run.column + run.first) * depth + c * taps + run.tap;
      for (int64_t i = run.first; i < run.last; ++i, source += run.step, row += depth) {
        *row = *source;
      }
    }
  });
}

// Calls store(part, begin, end, sums) for outputs [begin, end) of every image and group (`part`
// counts them), with sums[output][filter].
template <class Store>
void convolve(KernelContext& ctx, const Slots& slots, const Geometry& g, const Store& store) {
  const Tensor &x = ctx.input(slots.x), &w = ctx.input(slots.w);
  const auto operand = [&](int i) {
    return i < ctx.num_inputs() && ctx.has_input(i) ? &ctx.input(i) : nullptr;
  };
  const Tensor* x_zero = operand(slots.x_zero);
  require(is_byte(x.dtype()), ErrorCode::kUnsupported, "the input is ", describe(x));
  require(x_zero == nullptr || (x_zero->dtype() == x.dtype() && x_zero->size() == 1),
          ErrorCode::kInvalidArgument, "the input has one zero point of its own type");
  const int32_t zero[] = {x_zero == nullptr ? 0 : byte_at(*x_zero, 0)};
  Matrices own;
  const auto* packed = static_cast<const PackedFilters*>(ctx.prepared());
  if (packed == nullptr) own = pack_filters(w, operand(slots.w_zero), g.groups);
  const Matrices& groups = packed != nullptr ? packed->groups() : own;

  const Columns columns(g);
  const int64_t depth = columns.rows(), outputs = columns.outputs();
  const int64_t at_once =
      std::clamp<int64_t>(kWindowBytes / std::max<int64_t>(depth, 1), 1, kMaxOutputs);
  const int64_t blocks = (outputs + at_once - 1) / at_once;
  const auto align = [](int64_t bytes) { return (bytes + 63) / 64 * 64; };
  const int64_t rows_bytes = align(at_once * depth);
  const int64_t sums_bytes = align(at_once * g.filters * int64_t{sizeof(int32_t)});
  const int64_t bytes = rows_bytes + sums_bytes + align(groups[0]->workspace(at_once));
  ThreadPool* pool = ctx.pool();
  const int64_t items = g.batch * g.groups * blocks;
  const int64_t workers = pool == nullptr ? 1 : pool->size();
  std::byte* scratch = ctx.scratch_of<std::byte>(bytes * workers);
  const auto run = [&](int64_t item, std::byte* memory, ThreadPool* inner) {
    auto* rows = reinterpret_cast<uint8_t*>(memory);
    auto* sums = reinterpret_cast<int32_t*>(memory + rows_bytes);
    const int64_t part = item / blocks, begin = item % blocks * at_once;
    const int64_t end = std::min(begin + at_once, outputs);
    gather_rows(columns, g, static_cast<const uint8_t*>(x.raw()) + part * g.channels * g.in_size(),
                static_cast<uint8_t>(zero[0]), begin, end, rows);
    const cpu::QuantizedRows a = {rows, x.dtype() == DType::kInt8, depth, zero, {}};
    cpu::multiply_integers(end - begin, a, *groups[static_cast<size_t>(part % g.groups)], sums,
                           g.filters, memory + rows_bytes + sums_bytes, inner);
    store(part, begin, end, sums);
  };
  if (workers == 1 || items < 2) {
    for (int64_t item = 0; item < items; ++item) run(item, scratch, pool);
    return;
  }
  pool->parallel_for_workers(items, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t i = begin; i < end; ++i) run(i, scratch + worker * bytes, nullptr);
  });
}

void conv_integer(KernelContext& ctx) {
  const Slots& slots = kConvInteger;
  const Geometry g = geometry(ctx.node(), ctx.input(slots.x).shape(), ctx.input(slots.w).shape());
  Tensor& y = ctx.output(0, DType::kInt32, g.y);
  if (y.size() == 0) return;
  const int64_t outputs = g.out_size();
  convolve(ctx, slots, g, [&](int64_t part, int64_t begin, int64_t end, const int32_t* sums) {
    int32_t* to = y.data<int32_t>() + part * g.filters * outputs;
    for (int64_t filter = 0; filter < g.filters; ++filter) {
      for (int64_t i = begin; i < end; ++i) {
        to[filter * outputs + i] = sums[(i - begin) * g.filters + filter];
      }
    }
  });
}

float float_at(const Tensor& tensor, int64_t i) {
  require(tensor.dtype() == DType::kFloat32, ErrorCode::kUnsupported, "a scale is ",
          describe(tensor));
  return tensor.data<float>()[i];
}

// y = saturate(round((sum + bias) x_scale w_scale / y_scale) + y_zero)
void qlinear_conv(KernelContext& ctx) {
  const Slots& slots = kQLinearConv;
  const Geometry g = geometry(ctx.node(), ctx.input(slots.x).shape(), ctx.input(slots.w).shape());
  const int64_t total = g.filters * g.groups;
  const Tensor& w_scale = ctx.input(4);
  const Tensor& y_zero = ctx.input(7);
  require(ctx.input(1).size() == 1 && ctx.input(6).size() == 1 && y_zero.size() == 1 &&
              (w_scale.size() == 1 || w_scale.size() == total),
          ErrorCode::kInvalidArgument, "scales or zero points do not fit ", total, " filters");
  const Tensor* bias = ctx.num_inputs() > 8 && ctx.has_input(8) ? &ctx.input(8) : nullptr;
  require(bias == nullptr || (bias->dtype() == DType::kInt32 && bias->shape() == Shape{total}),
          ErrorCode::kInvalidArgument, "the bias has to be a number of int32 for each filter");
  require(is_byte(y_zero.dtype()), ErrorCode::kUnsupported, "the result cannot be ",
          dtype_name(y_zero.dtype()));
  Tensor& y = ctx.output(0, y_zero.dtype(), g.y);
  if (y.size() == 0) return;
  std::vector<float> factors;
  for (int64_t i = 0; i < total; ++i) {
    factors.push_back(float_at(ctx.input(1), 0) * float_at(w_scale, w_scale.size() == 1 ? 0 : i) /
                      float_at(ctx.input(6), 0));
  }
  const int32_t zero = byte_at(y_zero, 0);
  const int64_t outputs = g.out_size();
  const cpu::VectorKernels& kernels = cpu::active_kernels();
  convolve(ctx, slots, g, [&](int64_t part, int64_t begin, int64_t end, const int32_t* sums) {
    const int64_t first = part % g.groups * g.filters;
    for (int64_t filter = 0; filter < g.filters; ++filter) {
      const float factor = factors[static_cast<size_t>(first + filter)];
      const uint32_t offset =
          bias == nullptr ? 0 : static_cast<uint32_t>(bias->data<int32_t>()[first + filter]);
      float row[kMaxOutputs];
      for (int64_t i = 0; i < end - begin; ++i) {
        const uint32_t sum = static_cast<uint32_t>(sums[i * g.filters + filter]) + offset;
        row[i] = static_cast<float>(static_cast<int32_t>(sum)) * factor;
      }
      const int64_t at = (part * g.filters + filter) * outputs + begin;
      if (y.dtype() == DType::kUInt8) {
        kernels.quantize_uint8(row, end - begin, 1, zero, y.data<uint8_t>() + at);
      } else {
        kernels.quantize_int8(row, end - begin, 1, zero, y.data<int8_t>() + at);
      }
    }
  });
}

void infer_conv_integer(InferContext& ctx) {
  ctx.output(0).dtype = DType::kInt32;
  infer_result_shape(ctx, kConvInteger.x, kConvInteger.w);
}

void infer_qlinear_conv(InferContext& ctx) {
  ctx.output(0).dtype = ctx.input(7).dtype;
  infer_result_shape(ctx, kQLinearConv.x, kQLinearConv.w);
}

std::shared_ptr<const Prepared> prepare_conv_integer(const Node& node,
                                                     std::span<const Tensor* const> constants,
                                                     BlockStore& store) {
  return prepare(node, constants, kConvInteger, store);
}
std::shared_ptr<const Prepared> prepare_qlinear_conv(const Node& node,
                                                     std::span<const Tensor* const> constants,
                                                     BlockStore& store) {
  return prepare(node, constants, kQLinearConv, store);
}

}  // namespace
}  // namespace conv

namespace ops {

OpDef onnx_ConvInteger(int) {
  OpDef op = define({2, 4}, conv::infer_conv_integer, conv::conv_integer, batch_images);
  op.prepare = conv::prepare_conv_integer;
  return op;
}

OpDef onnx_QLinearConv(int) {
  OpDef op = define({8, 9}, conv::infer_qlinear_conv, conv::qlinear_conv, batch_images);
  op.prepare = conv::prepare_qlinear_conv;
  return op;
}

}  // namespace ops
}  // namespace hugot
