#include <tiffio.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "images/codecs.h"

namespace hugot::codecs {
namespace {

struct Memory {
  Bytes bytes;
  size_t position = 0;
  char message[256] = "";

  static Memory& of(thandle_t handle) { return *static_cast<Memory*>(handle); }
};

tmsize_t read_some(thandle_t handle, void* to, tmsize_t count) {
  Memory& memory = Memory::of(handle);
  if (count < 0 || memory.position >= memory.bytes.size()) return 0;
  const size_t size = std::min(static_cast<size_t>(count), memory.bytes.size() - memory.position);
  std::memcpy(to, memory.bytes.data() + memory.position, size);
  memory.position += size;
  return static_cast<tmsize_t>(size);
}

toff_t seek(thandle_t handle, toff_t offset, int whence) {
  Memory& memory = Memory::of(handle);
  const size_t base = whence == SEEK_SET   ? 0
                      : whence == SEEK_CUR ? memory.position
                                           : memory.bytes.size();
  memory.position = base + static_cast<size_t>(offset);
  return memory.position;
}

int remember(TIFF*, void* user, const char*, const char* format, va_list arguments) {
  char* const message = Memory::of(user).message;
  if (message[0] == '\0') std::vsnprintf(message, sizeof Memory::message, format, arguments);
  return 1;
}

int ignore(TIFF*, void*, const char*, const char*, va_list) { return 1; }

}  // namespace

Decoded decode_tiff(Bytes bytes, int64_t max_pixels) {
  Memory memory{bytes};
  const std::unique_ptr<TIFFOpenOptions, decltype(&TIFFOpenOptionsFree)> options(
      TIFFOpenOptionsAlloc(), TIFFOpenOptionsFree);
  if (!options) throw std::bad_alloc();
  TIFFOpenOptionsSetErrorHandlerExtR(options.get(), remember, &memory);
  TIFFOpenOptionsSetWarningHandlerExtR(options.get(), ignore, &memory);
  const tmsize_t most_at_once = (1 << 20) + 8 * max_pixels;  // a single allocation
  TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), most_at_once);
  const std::unique_ptr<TIFF, decltype(&TIFFClose)> tiff(
      TIFFClientOpenExt(
          "image", "rm", &memory, read_some, [](thandle_t, void*, tmsize_t) { return tmsize_t{0}; },
          seek, [](thandle_t) { return 0; },
          [](thandle_t handle) { return toff_t{Memory::of(handle).bytes.size()}; }, nullptr,
          nullptr, options.get()),
      TIFFClose);
  const auto check = [&](bool fine, const char* otherwise) {
    require(fine, ErrorCode::kInvalidData,
            memory.message[0] != '\0' ? static_cast<const char*>(memory.message) : otherwise);
  };
  check(tiff != nullptr, "the image file is damaged");
  uint32_t width = 0, height = 0;
  uint16_t orientation = ORIENTATION_TOPLEFT;
  check(TIFFGetField(tiff.get(), TIFFTAG_IMAGEWIDTH, &width) != 0 &&
            TIFFGetField(tiff.get(), TIFFTAG_IMAGELENGTH, &height) != 0,
        "the image has no size");
  TIFFGetFieldDefaulted(tiff.get(), TIFFTAG_ORIENTATION, &orientation);
  Decoded decoded{make_image(width, height, max_pixels), orientation};
  Image& image = decoded.image;
  std::vector<uint32_t> pixels(static_cast<size_t>(image.width * image.height));
  char why[1024] = "";
  require(TIFFRGBAImageOK(tiff.get(), why) != 0, ErrorCode::kUnsupported,
          static_cast<const char*>(why));
  // As stored: turning is done by who wants it.
  check(TIFFReadRGBAImageOriented(tiff.get(), width, height, pixels.data(), orientation, 1) != 0,
        "the image file is damaged or ends too early");
  uint8_t* to = image.rgb.data();
  for (const uint32_t pixel : pixels) {
    *to++ = static_cast<uint8_t>(TIFFGetR(pixel));
    *to++ = static_cast<uint8_t>(TIFFGetG(pixel));
    *to++ = static_cast<uint8_t>(TIFFGetB(pixel));
  }
  return decoded;
}

}  // namespace hugot::codecs
