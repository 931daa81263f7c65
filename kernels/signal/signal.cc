// Signals: inference, gradients, definitions.
#include "kernels/signal/signal.h"

#include <optional>

#include "base/error.h"
#include "graph/gradient.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace signal {
namespace {

bool has(const InferContext& ctx, int i) { return i < ctx.num_inputs() && ctx.has_input(i); }

// The one number in a fact, which may have a name.
std::optional<Dim> single(const Fact& fact) {
  const auto elements = fact.dimensions();
  if (!elements || elements->size() != 1) return std::nullopt;
  return elements->front();
}

std::optional<Dim> single(const InferContext& ctx, int i) {
  return has(ctx, i) ? single(ctx.input(i)) : std::nullopt;
}

// Bins of a transform of a real signal that are not repeated.
Dim half_of(const Dim& length) { return Dim::divide(length, 2) + 1; }

// The axis as far as it is known; `constant`: the fact of the input, or null.
std::optional<int64_t> given_axis(const Node& node, const Fact* constant) {
  if (node.op->since_version < 20) return node.get<int64_t>("axis", 1);
  if (constant == nullptr) return -2;
  const auto values = constant->integers();
  if (!values || values->size() != 1) return std::nullopt;
  return values->front();
}

void infer_dft(InferContext& ctx) {
  const Fact& x = ctx.input(0);
  Fact& y = ctx.output(0);
  y.dtype = x.dtype;
  if (!x.shape) return;
  const bool onesided = ctx.node().get<int64_t>("onesided", 0) != 0;
  const bool inverse = ctx.node().get<int64_t>("inverse", 0) != 0;
  const auto given = given_axis(ctx.node(), has(ctx, 2) ? &ctx.input(2) : nullptr);
  const int rank = x.rank();
  y.shape = unknown_dims(ctx, 0, rank);
  if (given) {
    const auto axis = static_cast<size_t>(checked_axis(*given, rank));
    const Dim in = (*x.shape)[axis];
    y.shape = x.shape;
    const Dim unknown = unknown_dim(ctx, 0, static_cast<int>(axis));
    const bool halves = onesided && inverse;
    const auto length = has(ctx, 1) ? single(ctx, 1)
                        : halves    ? std::optional<Dim>((in - 1) * 2)
                                    : std::optional<Dim>(in);
    (*y.shape)[axis] = !length ? unknown : onesided && !inverse ? half_of(*length) : *length;
  }
  y.shape->back() = onesided && inverse ? 1 : 2;
}

Batching batch_dft(const BatchQuery& query) {
  const int rank = query.input_fact(0).rank();
  const auto given = given_axis(query.node(), query.has_input(2) ? &query.input_fact(2) : nullptr);
  if (rank < 2 || !given) return Batching::kLoop;
  const int64_t axes[] = {checked_axis(*given, rank), rank - 1};
  return batch_over_axes(query, axes);
}

void infer_stft(InferContext& ctx) {
  const Fact& x = ctx.input(0);
  Fact& y = ctx.output(0);
  y.dtype = x.dtype;
  y.shape = unknown_dims(ctx, 0, 4);
  y.shape->back() = 2;
  if (!x.shape) return;
  require(x.rank() == 3, ErrorCode::kInvalidArgument, "a signal ", to_string(*x.shape),
          " is not of rank 3");
  y.shape->front() = x.shape->front();
  std::optional<Dim> length = single(ctx, 3);
  if (!has(ctx, 3)) {
    length = (*x.shape)[1];
    if (has(ctx, 2)) {
      length =
          ctx.input(2).rank() == 1 ? std::optional<Dim>(ctx.input(2).shape->front()) : std::nullopt;
    }
  }
  if (!length) return;
  (*y.shape)[2] = ctx.node().get<int64_t>("onesided", 1) != 0 ? half_of(*length) : *length;
  const auto step = single(ctx, 1);
  if (!step || step->number().value_or(0) <= 0) return;
  const Dim rest = (*x.shape)[1] - *length;
  if (rest.provably_at_least(0)) (*y.shape)[1] = Dim::divide(rest, *step) + 1;
}

void infer_window(InferContext& ctx) {
  Fact& y = ctx.output(0);
  y.dtype = output_dtype(ctx.node());
  const auto size = single(ctx, 0);
  y.shape = Dims{size && size->provably_at_least(0) ? *size : unknown_dim(ctx, 0, 0)};
}

void infer_mel_weights(InferContext& ctx) {
  Fact& y = ctx.output(0);
  y.dtype = output_dtype(ctx.node());
  y.shape = unknown_dims(ctx, 0, 2);
  const auto bands = single(ctx, 0), length = single(ctx, 1);
  if (length && length->provably_at_least(0)) y.shape->front() = half_of(*length);
  if (bands && bands->provably_at_least(0)) y.shape->back() = *bands;
}

}  // namespace

int checked_axis(int64_t given, int rank) {
  const int axis = normalize_axis(given, rank);
  require(axis < rank - 1, ErrorCode::kInvalidArgument, "axis ", given,
          " holds real and imaginary parts");
  return axis;
}

DType output_dtype(const Node& node) {
  const auto number = node.get<int64_t>("output_datatype", 1);
  require(number > 0 && number < kDTypeCount, ErrorCode::kInvalidArgument,
          "attribute output_datatype is ", number);
  const auto dtype = static_cast<DType>(number);
  require(is_float(dtype) || is_integer(dtype), ErrorCode::kInvalidArgument,
          "attribute output_datatype is ", dtype_name(dtype));
  return dtype;
}

namespace rule {
namespace {

using G = GradientContext;

Term list_of(G& g, const Term& x) {
  return reshape(cast_to(x, DType::kInt64), g.writer().integers({1}));
}

}  // namespace

// The transform is linear. Its transposed map, of real and imaginary parts, is that of its
// conjugate: a transform of the other direction, with another factor. What was cut off or filled up
// on one side is filled up or cut off on the other.
void Dft(G& g) {
  const Term x = g.x(0), dy = g.dy();
  GraphWriter& w = g.writer();
  const bool onesided = g.node().get<int64_t>("onesided", 0) != 0;
  const bool inverse = g.node().get<int64_t>("inverse", 0) != 0;
  const bool old = g.since_version() < 20;
  const Term axis = old      ? w.integers({g.node().get<int64_t>("axis", 1)})
                    : g.x(2) ? list_of(g, g.x(2))
                             : w.integers({-2});
  const Term in = g.op("Gather", {shape_of(x), axis});
  Term length = in;
  if (g.x(1)) {
    length = list_of(g, g.x(1));
  } else if (onesided && inverse) {
    length = (in - 1) * 2;
  }
  const Term scalar_axis = reshape(axis, w.integers({}));
  const Term scalar_length = reshape(length, w.integers({}));
  const Term factor = cast_to(scalar_length, x.dtype());
  Term dx;
  if (inverse) {
    dx = g.op("DFT", {dy, scalar_length, scalar_axis}) / factor;
    if (onesided) {
      // Bins of which only one is kept stand for two, but for the first and the middle one.
      const Term bin = g.op("Range", {0, scalar_length, 1});
      const Term mirrored = g.op("Mod", {scalar_length - bin, scalar_length});
      const Term zero = w.number(0, x.dtype());
      const Term share =
          where(equal(mirrored, bin), zero + 1, where(bin < mirrored, zero + 2, zero));
      const auto known = axis.fact().integers();
      require(known.has_value(), ErrorCode::kUnsupported,
              "the gradient of a onesided inverse DFT needs an axis that is known");
      std::vector<int64_t> dims(static_cast<size_t>(x.rank()), 1);
      dims[static_cast<size_t>(normalize_axis(known->front(), x.rank()))] = -1;
      dx = dx * reshape(share, w.integers(dims));
    }
  } else {
    dx = g.op("DFT", {dy, scalar_length, scalar_axis}, {{"inverse", int64_t{1}}}) * factor;
  }
  const Term zero = w.integers({0});
  dx = g.op("Slice", {dx, zero, in, axis});
  const Term missing = g.op("Max", {in - length, zero});
  dx = g.op("Pad", {dx, w.concat({zero, missing}, 0), w.number(0, x.dtype()), axis});
  const int64_t last = x.rank() - 1;
  g.set(0, g.op("Slice", {dx, zero, dim_of(x, last), w.integers({last})}));
}

void Stft(G& g) {
  const Term x = g.x(0), window = g.x(2);
  GraphWriter& w = g.writer();
  const Term step = list_of(g, g.x(1));
  Term length = dim_of(x, 1);
  if (window) length = dim_of(window, 0);
  if (g.x(3)) length = list_of(g, g.x(3));
  const auto range = [&](const Term& count) {
    return g.op("Range", {0, reshape(count, w.integers({})), 1});
  };
  const Term starts = range((dim_of(x, 1) - length) / step + 1) * step;
  const Term samples =
      unsqueeze(starts, {1}) + unsqueeze(range(window ? dim_of(window, 0) : length), {0});
  Term frames = g.op("Gather", {x, samples}, {{"axis", int64_t{1}}});
  if (window) frames = frames * unsqueeze(window, {1});
  const Term y[] = {g.op("DFT", {frames, reshape(length, w.integers({}))},
                         {{"onesided", g.node().get<int64_t>("onesided", 1)}})};
  g.differentiate(y);
}

}  // namespace rule
}  // namespace signal

namespace ops {

OpDef onnx_DFT(int version) {
  return with_gradient(
      define({1, version < 20 ? 2 : 3}, signal::infer_dft, signal::dft, signal::batch_dft),
      signal::rule::Dft);
}

OpDef onnx_STFT(int) {
  return with_gradient(define({2, 4}, signal::infer_stft, signal::stft), signal::rule::Stft);
}

OpDef onnx_HannWindow(int) {
  return define({1, 1}, signal::infer_window, signal::make_window<signal::Window::kHann>);
}
OpDef onnx_HammingWindow(int) {
  return define({1, 1}, signal::infer_window, signal::make_window<signal::Window::kHamming>);
}
OpDef onnx_BlackmanWindow(int) {
  return define({1, 1}, signal::infer_window, signal::make_window<signal::Window::kBlackman>);
}

OpDef onnx_MelWeightMatrix(int) {
  return define({5, 5}, signal::infer_mel_weights, signal::mel_weights);
}

}  // namespace ops
}  // namespace hugot
