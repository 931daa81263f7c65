#include "images/image.h"

#include <algorithm>

#include "base/allocate.h"
#include "base/error.h"

namespace hugot {

Image make_image(int64_t width, int64_t height, int64_t max_pixels) {
  require(width > 0 && height > 0, ErrorCode::kInvalidData, "the image has ", width, " x ", height,
          " pixels");
  require(width <= max_pixels / height, ErrorCode::kInvalidData, "an image of ", width, " x ",
          height, " pixels is larger than the limit of ", max_pixels, " pixels");
  const auto bytes = static_cast<size_t>(width * height * Image::kChannels);
  require_memory(bytes);
  Image image;
  image.width = width;
  image.height = height;
  image.rgb.resize(bytes);
  return image;
}

Image oriented(Image image, int orientation) {
  if (orientation < 2 || orientation > 8) return image;
  const bool swap = orientation >= 5;
  Image out = make_image(swap ? image.height : image.width, swap ? image.width : image.height,
                         image.width * image.height);
  // Where the pixel in the upper left corner of the result comes from, and which way to go from
  // there along a row and along a column of the result.
  const int64_t right = image.width - 1, bottom = image.height - 1;
  const bool from_right =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_bottom =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const int64_t step_x = (from_right ? -1 : 1) * Image::kChannels;
  const int64_t step_y = (from_bottom ? -1 : 1) * image.row_bytes();
  const uint8_t* const corner =
      image.row(from_bottom ? bottom : 0) + (from_right ? right : 0) * Image::kChannels;
  const int64_t along_row = swap ? step_y : step_x, along_column = swap ? step_x : step_y;
  uint8_t* to = out.rgb.data();
  for (int64_t y = 0; y < out.height; ++y) {
    const uint8_t* from = corner + y * along_column;
    for (int64_t x = 0; x < out.width; ++x, to += Image::kChannels) {
      std::copy_n(from + x * along_row, Image::kChannels, to);
    }
  }
  return out;
}

}  // namespace hugot
