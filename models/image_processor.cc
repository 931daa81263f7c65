#include "models/image_processor.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/allocate.h"
#include "base/error.h"

namespace hugot {
namespace {

// As Python's int(float).
int64_t truncated(double value) {
  require(value >= 0 && value < 1e9, ErrorCode::kInvalidData, "an image cannot be scaled to ",
          value, " pixels");
  return static_cast<int64_t>(value);
}

// The size with which the shorter side is `edge`.
ImageSize by_shorter_side(const ImageSize& image, int64_t edge) {
  const int64_t shorter = std::min(image.height, image.width);
  const int64_t longer = std::max(image.height, image.width);
  const int64_t other = truncated(static_cast<double>(edge) * static_cast<double>(longer) /
                                  static_cast<double>(shorter));
  return image.width <= image.height ? ImageSize{other, edge} : ImageSize{edge, other};
}

// The same with a limit for the longer side, where the exact limit decides about the other side.
ImageSize by_shorter_side(const ImageSize& image, int64_t edge, int64_t longest) {
  const auto shorter = static_cast<double>(std::min(image.height, image.width));
  const auto longer = static_cast<double>(std::max(image.height, image.width));
  double exact = static_cast<double>(edge);
  if (longer / shorter * exact > static_cast<double>(longest)) {
    exact = static_cast<double>(longest) * shorter / longer;
    edge = static_cast<int64_t>(std::nearbyint(exact));
  }
  if (std::min(image.height, image.width) == edge) return image;
  const auto height = static_cast<double>(image.height), width = static_cast<double>(image.width);
  if (image.width < image.height) return {truncated(exact * height / width), edge};
  return {edge, truncated(exact * width / height)};
}

ImageSize inside(const ImageSize& image, const ImageSize& most) {
  const auto height = static_cast<double>(image.height), width = static_cast<double>(image.width);
  const double scale =
      std::min(static_cast<double>(most.height) / height, static_cast<double>(most.width) / width);
  return {truncated(height * scale), truncated(width * scale)};
}

// Rounds towards minus infinity.
int64_t half(int64_t value) { return value >= 0 ? value / 2 : -((1 - value) / 2); }

// The middle of the picture, black where there is none.
Image cropped(const Image& image, const ImageSize& size) {
  if (size == ImageSize{image.height, image.width}) return image;
  Image out = make_image(size.width, size.height);
  const int64_t top = half(image.height - size.height), left = half(image.width - size.width);
  const int64_t first = std::max<int64_t>(-left, 0);
  const int64_t count = std::min(size.width, image.width - left) - first;
  for (int64_t y = 0; y < size.height; ++y) {
    const int64_t from = y + top;
    if (from < 0 || from >= image.height || count <= 0) continue;
    std::copy_n(image.row(from) + (left + first) * Image::kChannels, count * Image::kChannels,
                out.row(y) + first * Image::kChannels);
  }
  return out;
}

}  // namespace

std::optional<ImageSize> ImageProcessor::fixed_size() const {
  if (steps_.pad) return steps_.pad;
  if (steps_.crop) return steps_.crop;
  if (steps_.resize == Resize::kExact) return size_of({1, 1});
  return std::nullopt;
}

ImageSize ImageProcessor::size_of(const ImageSize& image) const {
  ImageSize size = image;
  switch (steps_.resize) {
    case Resize::kNone:
      return image;
    case Resize::kExact:
      size = steps_.size;
      break;
    case Resize::kShortest:
      size = by_shorter_side(image, steps_.edge);
      break;
    case Resize::kLimited:
      size = by_shorter_side(image, steps_.edge, steps_.longest);
      break;
    case Resize::kInside:
      size = inside(image, steps_.size);
      break;
  }
  size.height -= size.height % steps_.multiple;
  size.width -= size.width % steps_.multiple;
  return size;
}

ImagePixels ImageProcessor::apply(Image image) const {
  if (steps_.crop_first) {
    const auto side = static_cast<double>(std::min(image.height, image.width));
    const auto share = [&](int64_t part, int64_t whole) {
      return truncated(static_cast<double>(part) / static_cast<double>(whole) * side);
    };
    image = cropped(image, {share(steps_.size.height, steps_.crop_of.height),
                            share(steps_.size.width, steps_.crop_of.width)});
  }
  const ImageSize size = size_of({image.height, image.width});
  if (size != ImageSize{image.height, image.width}) {
    image = resized(image, size.width, size.height, steps_.resample);
  }
  if (steps_.crop) image = cropped(image, *steps_.crop);

  ImagePixels out;
  out.valid = {image.height, image.width};
  out.size = steps_.pad.value_or(out.valid);
  require(out.size.height >= image.height && out.size.width >= image.width, ErrorCode::kInvalidData,
          "an image of ", image.height, " x ", image.width,
          " pixels is larger than what it has to be padded to: ", out.size.height, " x ",
          out.size.width);
  const int64_t plane = out.size.height * out.size.width;
  require_memory(static_cast<size_t>(plane) * Image::kChannels * sizeof(float));
  out.values.resize(static_cast<size_t>(plane * Image::kChannels));
  for (int c = 0; c < Image::kChannels; ++c) {
    const int channel = steps_.flip_channels ? Image::kChannels - 1 - c : c;
    const auto& values = steps_.values[static_cast<size_t>(channel)];
    for (int64_t y = 0; y < image.height; ++y) {
      const uint8_t* const from = image.row(y) + channel;
      float* const to = out.values.data() + c * plane + y * out.size.width;
      for (int64_t x = 0; x < image.width; ++x) to[x] = values[from[x * Image::kChannels]];
    }
  }
  return out;
}

}  // namespace hugot
