// Kernels of DFT, STFT, windows and MelWeightMatrix.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "base/error.h"
#include "kernels/compute.h"
#include "kernels/running.h"
#include "kernels/signal/fourier.h"
#include "kernels/signal/signal.h"

namespace hugot::signal {
namespace {

bool has(const KernelContext& ctx, int i) { return i < ctx.num_inputs() && ctx.has_input(i); }

// Real and imaginary parts, or real ones alone.
int64_t parts_of(const Shape& shape) {
  require(shape.rank() >= 2 && (shape.back() == 1 || shape.back() == 2),
          ErrorCode::kInvalidArgument, "a signal ", shape.to_string(),
          " has neither one nor two parts along its last axis");
  return shape.back();
}

template <class C, class T>
Complex<C> element(const T* x, int64_t parts) {
  return {convert<C>(x[0]), parts == 2 ? convert<C>(x[1]) : C{0}};
}

// The transform of a real signal is its own mirror image; rounding shall not spoil that.
template <class C>
void mirror(Complex<C>* line, int64_t length) {
  line[0].im = 0;
  for (int64_t k = 1; 2 * k < length; ++k) line[length - k] = conj(line[k]);
  if (length % 2 == 0) line[length / 2].im = 0;
}

}  // namespace

int64_t single_integer(const Tensor& tensor, std::string_view what) {
  require(tensor.size() == 1 && is_integer(tensor.dtype()), ErrorCode::kInvalidArgument, what,
          " is ", describe(tensor), ", not one integer");
  return to_int64s(tensor)[0];
}

void dft(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  const Node& node = ctx.node();
  const Shape& shape = in.shape();
  const int64_t parts = parts_of(shape);
  const bool onesided = node.get<int64_t>("onesided", 0) != 0;
  const bool inverse = node.get<int64_t>("inverse", 0) != 0;
  int64_t given = node.op->since_version < 20 ? node.get<int64_t>("axis", 1) : -2;
  if (has(ctx, 2)) given = single_integer(ctx.input(2), "axis");
  const int axis = checked_axis(given, shape.rank());
  const int64_t count = shape[axis];
  const bool to_real = onesided && inverse;
  int64_t length = to_real ? 2 * (count - 1) : count;
  if (has(ctx, 1)) length = single_integer(ctx.input(1), "dft_length");
  require(length > 0, ErrorCode::kInvalidArgument, "a transform of length ", length);
  const int64_t bins = onesided && !inverse ? length / 2 + 1 : length;
  const int64_t out_parts = to_real ? 1 : 2;
  const Shape result = shape.with(axis, bins).with(shape.rank() - 1, out_parts);
  const int64_t inner = shape.product(axis + 1, shape.rank() - 1);
  const int64_t lines = shape.product(0, axis) * inner;
  const int64_t used = std::min(count, to_real ? length / 2 + 1 : length);
  dispatch(FloatTypes{}, in.dtype(), [&]<class T>() {
    Tensor& out = ctx.output(0, in.dtype(), result);
    if (out.size() == 0) return;
    using C = Compute<T>;
    const Fourier<C> fourier(length);
    const C factor = inverse ? C{1} / static_cast<C>(length) : C{1};
    for_items(ctx.pool(), lines, fourier.cost(), [&](int64_t begin, int64_t end, int) {
      auto workspace = fourier.workspace();
      std::vector<Complex<C>> memory(static_cast<size_t>(length));
      Complex<C>* line = memory.data();
      for (int64_t item = begin; item < end; ++item) {
        check_running(ctx);
        const int64_t outer = item / inner, rest = item % inner;
        const T* from = in.data<T>() + (outer * count * inner + rest) * parts;
        std::fill_n(line, length, Complex<C>{});
        for (int64_t i = 0; i < used; ++i) line[i] = element<C>(from + i * inner * parts, parts);
        if (to_real) mirror(line, length);
        for (int64_t i = 0; inverse && i < length; ++i) line[i] = conj(line[i]);
        fourier.transform(line, workspace);
        if (parts == 1) mirror(line, length);
        T* to = out.data<T>() + (outer * bins * inner + rest) * out_parts;
        for (int64_t k = 0; k < bins; ++k) {
          T* bin = to + k * inner * out_parts;
          bin[0] = convert<T>(line[k].re * factor);
          if (out_parts == 2) bin[1] = convert<T>(inverse ? -line[k].im * factor : line[k].im);
        }
      }
    });
  });
}

void stft(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  require(in.rank() == 3, ErrorCode::kInvalidArgument, "a signal ", describe(in),
          " is not of rank 3");
  const int64_t parts = parts_of(in.shape()), batch = in.shape()[0], samples = in.shape()[1];
  const int64_t step = single_integer(ctx.input(1), "frame_step");
  require(step > 0, ErrorCode::kInvalidArgument, "frame_step is ", step);
  const Tensor* window = has(ctx, 2) ? &ctx.input(2) : nullptr;
  require(window == nullptr || (window->rank() == 1 && window->dtype() == in.dtype()),
          ErrorCode::kInvalidArgument, "a window has to be a list of ", dtype_name(in.dtype()));
  int64_t length = window != nullptr ? window->size() : samples;
  if (has(ctx, 3)) length = single_integer(ctx.input(3), "frame_length");
  require(length > 0 && length <= samples, ErrorCode::kInvalidArgument, "frames of length ", length,
          " of a signal of ", samples);
  const int64_t frames = (samples - length) / step + 1;
  const int64_t bins = ctx.node().get<int64_t>("onesided", 1) != 0 ? length / 2 + 1 : length;
  const int64_t used = window != nullptr ? std::min(window->size(), length) : length;
  dispatch(FloatTypes{}, in.dtype(), [&]<class T>() {
    Tensor& out = ctx.output(0, in.dtype(), Shape{batch, frames, bins, 2});
    if (out.size() == 0) return;
    using C = Compute<T>;
    const Fourier<C> fourier(length);
    for_items(ctx.pool(), batch * frames, fourier.cost(), [&](int64_t begin, int64_t end, int) {
      auto workspace = fourier.workspace();
      std::vector<Complex<C>> memory(static_cast<size_t>(length));
      Complex<C>* line = memory.data();
      for (int64_t item = begin; item < end; ++item) {
        check_running(ctx);
        const int64_t first = item % frames * step;
        const T* from = in.data<T>() + (item / frames * samples + first) * parts;
        std::fill_n(line, length, Complex<C>{});
        for (int64_t i = 0; i < used; ++i) {
          const C weight = window != nullptr ? convert<C>(window->data<T>()[i]) : C{1};
          line[i] = weight * element<C>(from + i * parts, parts);
        }
        fourier.transform(line, workspace);
        if (parts == 1) mirror(line, length);
        T* to = out.data<T>() + item * bins * 2;
        for (int64_t k = 0; k < bins; ++k) {
          to[2 * k] = convert<T>(line[k].re);
          to[2 * k + 1] = convert<T>(line[k].im);
        }
      }
    });
  });
}

template <Window window>
void make_window(KernelContext& ctx) {
  const int64_t size = single_integer(ctx.input(0), "size");
  require(size >= 0, ErrorCode::kInvalidArgument, "a window of size ", size);
  const bool periodic = ctx.node().get<int64_t>("periodic", 1) != 0;
  const DType dtype = output_dtype(ctx.node());
  const auto period = static_cast<double>(periodic ? size : size - 1);
  dispatch(NumberTypes{}, dtype, [&]<class T>() {
    Tensor& y = ctx.output(0, dtype, Shape{size});
    for (int64_t i = 0; i < size; ++i) {
      // A window of one sample that is its own end is its middle.
      const double at = period > 0 ? static_cast<double>(i) / period : 0.5;
      const double angle = 2 * std::numbers::pi * at;
      double value = 0;
      if constexpr (window == Window::kHann) {
        const double root = std::sin(std::numbers::pi * at);
        value = root * root;
      } else if constexpr (window == Window::kHamming) {
        value = 25.0 / 46 - 21.0 / 46 * std::cos(angle);
      } else {
        value = 0.42 - 0.5 * std::cos(angle) + 0.08 * std::cos(2 * angle);
      }
      y.data<T>()[i] = convert<T>(value);
    }
  });
}
template void make_window<Window::kHann>(KernelContext&);
template void make_window<Window::kHamming>(KernelContext&);
template void make_window<Window::kBlackman>(KernelContext&);

namespace {

double single_real(const Tensor& tensor, std::string_view what) {
  require(tensor.size() == 1 && is_float(tensor.dtype()), ErrorCode::kInvalidArgument, what, " is ",
          describe(tensor), ", not one number");
  double result = 0;
  dispatch(FloatTypes{}, tensor.dtype(),
           [&]<class T>() { result = convert<double>(*tensor.data<T>()); });
  require(std::isfinite(result) && result > -700, ErrorCode::kInvalidArgument, what, " is ",
          result);
  return result;
}

}  // namespace

// A triangle for each band: from 0 at the centre of the band before to 1 at its own, and back to 0
// at that of the next. Centres are as far apart on the mel scale, and bins of the transform.
void mel_weights(KernelContext& ctx) {
  const int64_t bands = single_integer(ctx.input(0), "num_mel_bins");
  const int64_t length = single_integer(ctx.input(1), "dft_length");
  const int64_t rate = single_integer(ctx.input(2), "sample_rate");
  require(bands >= 0 && length >= 0 && rate > 0, ErrorCode::kInvalidArgument, bands,
          " bands of a transform of length ", length, " at a rate of ", rate);
  const auto mel = [](double hertz) { return 2595 * std::log10(1 + hertz / 700); };
  const double lowest = mel(single_real(ctx.input(3), "lower_edge_hertz"));
  const double step = (mel(single_real(ctx.input(4), "upper_edge_hertz")) - lowest) /
                      static_cast<double>(bands + 2);
  // The bin in which the n-th edge lies.
  const auto edge = [&](int64_t n) {
    const double hertz =
        700 * (std::pow(10.0, (static_cast<double>(n) * step + lowest) / 2595) - 1);
    return std::floor((static_cast<double>(length) + 1) * hertz / static_cast<double>(rate));
  };
  const int64_t bins = length / 2 + 1;
  const DType dtype = output_dtype(ctx.node());
  dispatch(NumberTypes{}, dtype, [&]<class T>() {
    Tensor& out = ctx.output(0, dtype, Shape{bins, bands});
    T* y = out.data<T>();
    std::fill_n(y, out.size(), T{});
    for (int64_t band = 0; band < bands; ++band) {
      const double left = edge(band), centre = edge(band + 1), right = edge(band + 2);
      const auto first =
          static_cast<int64_t>(std::clamp<double>(left, 0, static_cast<double>(bins)));
      const auto last =
          static_cast<int64_t>(std::clamp<double>(right, -1, static_cast<double>(bins - 1)));
      for (int64_t bin = first; bin <= last; ++bin) {
        const auto at = static_cast<double>(bin);
        double weight = 0;
        if (at < centre) {
          weight = (at - left) / (centre - left);
        } else if (at < right) {
          weight = (right - at) / (right - centre);
        } else if (at == centre) {
          weight = 1;
        }
        y[bin * bands + band] = convert<T>(weight);
      }
    }
  });
}

}  // namespace hugot::signal
