// The decoders behind decode_image().
#ifndef HUGOT_IMAGES_CODECS_H_
#define HUGOT_IMAGES_CODECS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/error.h"
#include "images/image.h"

namespace hugot::codecs {

using Bytes = std::span<const std::byte>;

struct Decoded {
  Image image;
  int orientation = 1;  // 1 .. 8 as in EXIF
};

// Each throws as decode_image(). Which of them there are is decided in meson.build.
Decoded decode_bmp(Bytes bytes, int64_t max_pixels);
Decoded decode_gif(Bytes bytes, int64_t max_pixels);
Decoded decode_jpeg(Bytes bytes, int64_t max_pixels);
Decoded decode_jpeg2000(Bytes bytes, int64_t max_pixels);
Decoded decode_png(Bytes bytes, int64_t max_pixels);
Decoded decode_pnm(Bytes bytes, int64_t max_pixels);
Decoded decode_tiff(Bytes bytes, int64_t max_pixels);
Decoded decode_webp(Bytes bytes, int64_t max_pixels);

// The orientation in EXIF data ("II*\0" or "MM\0*", behind "Exif\0\0" or not), or in the XML text
// of XMP; 0 when they have none.
int exif_orientation(Bytes exif);
int xmp_orientation(std::string_view xmp);

// Reads numbers from bytes of a file front to back. Throws kInvalidData at the end.
class ByteReader {
 public:
  explicit ByteReader(Bytes bytes) : bytes_(bytes) {}

  size_t position() const { return position_; }
  size_t left() const { return bytes_.size() - position_; }
  void seek(size_t position) {
    require(position <= bytes_.size(), ErrorCode::kInvalidData, "the image file ends too early");
    position_ = position;
  }
  Bytes take(size_t count) {
    require(count <= left(), ErrorCode::kInvalidData, "the image file ends too early");
    position_ += count;
    return bytes_.subspan(position_ - count, count);
  }
  uint8_t byte() { return static_cast<uint8_t>(take(1)[0]); }
  uint32_t little(int size) {
    uint32_t value = 0;
    int shift = 0;
    for (const std::byte b : take(static_cast<size_t>(size))) {
      value |= static_cast<uint32_t>(b) << shift;
      shift += 8;
    }
    return value;
  }

 private:
  Bytes bytes_;
  size_t position_ = 0;
};

inline uint8_t at(Bytes bytes, size_t i) { return static_cast<uint8_t>(bytes[i]); }

inline bool starts_with(Bytes bytes, std::string_view prefix) {
  if (bytes.size() < prefix.size()) return false;
  for (size_t i = 0; i < prefix.size(); ++i) {
    if (at(bytes, i) != static_cast<uint8_t>(prefix[i])) return false;
  }
  return true;
}

inline void put_gray(uint8_t* to, uint8_t value) { to[0] = to[1] = to[2] = value; }

// Inks (0: none, 255: full) to red, green and blue.
inline void put_cmyk(uint8_t* to, int cyan, int magenta, int yellow, int black) {
  const int white = 255 - black;
  const auto less = [&](int ink) {
    const int product = ink * white + 128;  // / 255, rounded
    const int value = white - (((product >> 8) + product) >> 8);
    return static_cast<uint8_t>(value < 0 ? 0 : value);
  };
  to[0] = less(cyan);
  to[1] = less(magenta);
  to[2] = less(yellow);
}

}  // namespace hugot::codecs

#endif  // HUGOT_IMAGES_CODECS_H_
