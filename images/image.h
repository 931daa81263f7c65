// Pictures in memory, and what moves their pixels.
#ifndef HUGOT_IMAGES_IMAGE_H_
#define HUGOT_IMAGES_IMAGE_H_

#include <cstdint>
#include <vector>

namespace hugot {

// Width times height pixels of red, green and blue, row by row from the top.
struct Image {
  int64_t width = 0;
  int64_t height = 0;
  std::vector<uint8_t> rgb;

  static constexpr int kChannels = 3;
  int64_t row_bytes() const { return width * kChannels; }
  const uint8_t* row(int64_t y) const { return rgb.data() + y * row_bytes(); }
  uint8_t* row(int64_t y) { return rgb.data() + y * row_bytes(); }
};

// The largest picture that is read or made unless somebody says otherwise: beyond it Pillow, too,
// takes a file for an attack.
inline constexpr int64_t kMaxPixels = 178'956'970;

// A black picture. Throws kInvalidData for a side that is not positive or more than `max_pixels`
// pixels, kOutOfMemory when there is no room for them.
Image make_image(int64_t width, int64_t height, int64_t max_pixels = kMaxPixels);

// The picture as a camera's orientation (tag 274 of EXIF: 1 .. 8) says that it should be seen;
// unchanged for other numbers.
Image oriented(Image image, int orientation);

// The filters of Pillow under their numbers there, which preprocessor_config.json has.
enum class Resample : int {
  kNearest = 0,
  kLanczos = 1,
  kBilinear = 2,
  kBicubic = 3,
  kBox = 4,
  kHamming = 5,
};

// The picture scaled to another size, bit by bit as Pillow's Image.resize() does it: every filter
// but kNearest widens with the scale when it makes a picture smaller, works along rows and columns
// one after the other, and rounds to 8 bits after each, in fixed point with 22 fractional bits.
// Throws as make_image().
Image resized(const Image& image, int64_t width, int64_t height, Resample filter);

}  // namespace hugot

#endif  // HUGOT_IMAGES_IMAGE_H_
