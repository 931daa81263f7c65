// Resampling as in Pillow (src/libImaging/Resample.c describes the arithmetic): separable filters,
// weights as integers with kBits fractional bits, two passes that round to 8 bits each.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "images/image.h"

namespace hugot {
namespace {

constexpr int kBits = 22;  // 32, less 8 of a pixel, less two for sums beyond 0 .. 255 and the sign

double box(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }

double bilinear(double x) { return std::max(1.0 - std::abs(x), 0.0); }

double hamming(double x) {
  x = std::abs(x);
  if (x == 0) return 1;
  if (x >= 1) return 0;
  x *= std::numbers::pi;
  return std::sin(x) / x * (0.54 + 0.46 * std::cos(x));
}

double bicubic(double x) {
  constexpr double kA = -0.5;
  x = std::abs(x);
  if (x < 1) return ((kA + 2) * x - (kA + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * kA;
  return 0;
}

double sinc(double x) {
  if (x == 0) return 1;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double lanczos(double x) { return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0; }

struct Filter {
  double (*weight)(double);
  double support;  // the weight is 0 beyond
};

Filter filter_of(Resample resample) {
  switch (resample) {
    case Resample::kLanczos:
      return {lanczos, 3};
    case Resample::kBilinear:
      return {bilinear, 1};
    case Resample::kBicubic:
      return {bicubic, 2};
    case Resample::kBox:
      return {box, 0.5};
    case Resample::kHamming:
      return {hamming, 1};
    case Resample::kNearest:
      break;
  }
  fail(ErrorCode::kInvalidArgument, "no such filter: ", static_cast<int>(resample));
}

// For each element of a row or column of the result: where its operands begin, how many they are,
// and their weights.
struct Taps {
  struct Span {
    int64_t first;
    int64_t count;
  };
  std::vector<Span> spans;
  std::vector<int32_t> weights;  // `most` per span
  int64_t most = 0;

  const int32_t* of(int64_t i) const { return weights.data() + i * most; }
};

Taps make_taps(int64_t from, int64_t to, const Filter& filter) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double filter_scale = std::max(scale, 1.0);
  const double support = filter.support * filter_scale;
  Taps taps;
  taps.most = std::min(static_cast<int64_t>(std::ceil(support)) * 2 + 1, from);
  taps.spans.resize(static_cast<size_t>(to));
  taps.weights.resize(static_cast<size_t>(to * taps.most));
  std::vector<double> exact(static_cast<size_t>(taps.most));
  for (int64_t i = 0; i < to; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(static_cast<int64_t>(center - support + 0.5), 0);
    const int64_t end = std::min(static_cast<int64_t>(center + support + 0.5), from);
    const int64_t count = std::clamp<int64_t>(end - first, 0, taps.most);
    double sum = 0;
    for (int64_t k = 0; k < count; ++k) {
      const double weight =
          filter.weight((static_cast<double>(k + first) - center + 0.5) * (1.0 / filter_scale));
      exact[static_cast<size_t>(k)] = weight;
      sum += weight;
    }
    int32_t* const out = taps.weights.data() + i * taps.most;
    for (int64_t k = 0; k < count; ++k) {
      double weight = exact[static_cast<size_t>(k)];
      if (sum != 0) weight /= sum;
      out[k] = static_cast<int32_t>((weight < 0 ? -0.5 : 0.5) + weight * (1 << kBits));
    }
    taps.spans[static_cast<size_t>(i)] = {first, count};
  }
  return taps;
}

uint8_t to_byte(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kBits, 0, 255)); }

constexpr int32_t kHalf = 1 << (kBits - 1);

// Rows [first_row, first_row + rows) of the image, each scaled to the taps' length.
Image scale_rows(const Image& image, int64_t first_row, int64_t rows, const Taps& taps) {
  Image out = make_image(std::ssize(taps.spans), rows);
  for (int64_t y = 0; y < rows; ++y) {
    const uint8_t* const from = image.row(first_row + y);
    uint8_t* to = out.row(y);
    for (int64_t x = 0; x < out.width; ++x, to += Image::kChannels) {
      const auto [first, count] = taps.spans[static_cast<size_t>(x)];
      const int32_t* const weights = taps.of(x);
      const uint8_t* pixel = from + first * Image::kChannels;
      int32_t red = kHalf, green = kHalf, blue = kHalf;
      for (int64_t k = 0; k < count; ++k, pixel += Image::kChannels) {
        red += pixel[0] * weights[k];
        green += pixel[1] * weights[k];
        blue += pixel[2] * weights[k];
      }
      to[0] = to_byte(red);
      to[1] = to_byte(green);
      to[2] = to_byte(blue);
    }
  }
  return out;
}

// The columns of an image that begins with row `first_row` of the one that the taps are for.
Image scale_columns(const Image& image, int64_t first_row, const Taps& taps) {
  Image out = make_image(image.width, std::ssize(taps.spans));
  const int64_t length = image.row_bytes();
  std::vector<int32_t> sums(static_cast<size_t>(length));
  for (int64_t y = 0; y < out.height; ++y) {
    const auto [first, count] = taps.spans[static_cast<size_t>(y)];
    const int32_t* const weights = taps.of(y);
    std::fill(sums.begin(), sums.end(), kHalf);
    for (int64_t k = 0; k < count; ++k) {
      const uint8_t* const from = image.row(first + k - first_row);
      int32_t* const sum = sums.data();
      const int32_t weight = weights[k];
      for (int64_t x = 0; x < length; ++x) sum[x] += from[x] * weight;
    }
    std::transform(sums.begin(), sums.end(), out.row(y), to_byte);
  }
  return out;
}

// Which element each one of the result is; the position is a running sum as in Pillow.
std::vector<int64_t> nearest(int64_t from, int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  std::vector<int64_t> places(static_cast<size_t>(to));
  double position = scale * 0.5;
  for (int64_t& place : places) {
    place = std::min(static_cast<int64_t>(position), from - 1);
    position += scale;
  }
  return places;
}

Image resized_nearest(const Image& image, int64_t width, int64_t height) {
  Image out = make_image(width, height);
  const auto columns = nearest(image.width, width);
  const auto rows = nearest(image.height, height);
  for (int64_t y = 0; y < height; ++y) {
    const uint8_t* const from = image.row(rows[static_cast<size_t>(y)]);
    uint8_t* to = out.row(y);
    for (const int64_t x : columns) {
      to = std::copy_n(from + x * Image::kChannels, Image::kChannels, to);
    }
  }
  return out;
}

}  // namespace

Image resized(const Image& image, int64_t width, int64_t height, Resample filter) {
  if (width == image.width && height == image.height) return image;
  // Before weights are made for a size that cannot be.
  require(width > 0 && height > 0 && width <= kMaxPixels / height, ErrorCode::kInvalidData,
          "an image cannot be scaled to ", width, " x ", height, " pixels");
  if (filter == Resample::kNearest) return resized_nearest(image, width, height);
  const Filter shape = filter_of(filter);
  if (height == image.height) {
    return scale_rows(image, 0, image.height, make_taps(image.width, width, shape));
  }
  const Taps columns = make_taps(image.height, height, shape);
  if (width == image.width) return scale_columns(image, 0, columns);
  const Taps rows = make_taps(image.width, width, shape);
  // Where this makes the picture much lower, columns come first (since Pillow 13).
  if (height < image.height && image.height - height > 2 * (image.width - width)) {
    const Image low = scale_columns(image, 0, columns);
    return scale_rows(low, 0, height, rows);
  }
  // Rows that no column needs are left out.
  const int64_t first = columns.spans.front().first;
  const int64_t end = columns.spans.back().first + columns.spans.back().count;
  return scale_columns(scale_rows(image, first, end - first, rows), first, columns);
}

}  // namespace hugot
