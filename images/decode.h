// Encoded pictures to pixels.
#ifndef HUGOT_IMAGES_DECODE_H_
#define HUGOT_IMAGES_DECODE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "images/image.h"

namespace hugot {

struct DecodeOptions {
  // Turns the picture as its EXIF or XMP orientation says.
  bool orient = true;
  int64_t max_pixels = kMaxPixels;
};

// The picture in a file's bytes, whose format is told by its first bytes: BMP, GIF and PNM always;
// JPEG, PNG, WebP, TIFF and JPEG 2000 where the build has their libraries. Pixels are those of
// Pillow's ImageOps.exif_transpose() and convert("RGB"): palettes are looked up, gray is repeated,
// alpha is dropped, of 16 bits per channel the upper 8 stay (16-bit gray is cut off at 255, as
// there), CMYK becomes RGB without a colour profile. Of an animation it is the first picture.
//
// Throws kInvalidData for bytes that are no picture, are damaged or end too early, or for more than
// `max_pixels`; kUnsupported for a format that this build cannot read; kOutOfMemory.
Image decode_image(std::span<const std::byte> bytes, const DecodeOptions& options = {});

// The formats that this build reads: "BMP, GIF, JPEG, PNG and PNM".
std::string decodable_formats();

}  // namespace hugot

#endif  // HUGOT_IMAGES_DECODE_H_
