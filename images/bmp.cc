// Windows and OS/2 bitmaps: 1 to 32 bits per pixel, with palettes, masks and run lengths.
#include <algorithm>
#include <array>
#include <bit>

#include "images/codecs.h"

namespace hugot::codecs {
namespace {

enum Compression : uint32_t { kRaw = 0, kRle8 = 1, kRle4 = 2, kMasks = 3, kMasksWithAlpha = 6 };

struct Header {
  uint32_t pixels = 0;  // where they begin
  int64_t width = 0;
  int64_t height = 0;
  bool from_top = false;
  uint32_t bits = 0;
  uint32_t compression = kRaw;
  std::array<uint32_t, 3> masks = {};  // red, green, blue
  std::array<uint8_t, 256 * 3> palette = {};
};

void read_palette(ByteReader& reader, uint32_t colours, size_t entry, Header& header) {
  if (header.bits > 8) return;
  if (colours == 0) colours = 1u << header.bits;
  require(colours <= 256, ErrorCode::kInvalidData, "a palette of ", colours, " colours");
  for (uint32_t i = 0; i < colours; ++i) {
    const Bytes colour = reader.take(entry);  // blue, green, red
    for (size_t c = 0; c < 3; ++c) header.palette[i * 3 + c] = at(colour, 2 - c);
  }
}

Header read_header(ByteReader& reader) {
  Header header;
  reader.seek(10);
  header.pixels = reader.little(4);
  const uint32_t size = reader.little(4);
  if (size == 12) {
    header.width = reader.little(2);
    header.height = reader.little(2);
    reader.little(2);
    header.bits = reader.little(2);
    read_palette(reader, 0, 3, header);
    return header;
  }
  require(size >= 40 && size <= 124, ErrorCode::kUnsupported, "a header of ", size, " bytes");
  header.width = static_cast<int32_t>(reader.little(4));
  header.height = static_cast<int32_t>(reader.little(4));
  header.from_top = header.height < 0;
  if (header.from_top) header.height = -header.height;
  reader.little(2);
  header.bits = reader.little(2);
  header.compression = reader.little(4);
  reader.take(12);
  const uint32_t colours = reader.little(4);
  reader.little(4);
  const bool masks = header.compression == kMasks || header.compression == kMasksWithAlpha;
  if (masks) {
    for (uint32_t& mask : header.masks) mask = reader.little(4);
    header.compression = kRaw;
  } else if (header.bits == 16) {
    header.masks = {0x7c00, 0x03e0, 0x001f};
  } else {
    header.masks = {0xff0000, 0xff00, 0xff};
  }
  reader.seek(std::max(14 + size_t{size}, reader.position()));
  read_palette(reader, colours, 4, header);
  return header;
}

// A channel of a pixel, stretched to 8 bits.
uint8_t channel(uint32_t pixel, uint32_t mask) {
  if (mask == 0) return 0;
  const int shift = std::countr_zero(mask);
  const uint64_t largest = mask >> shift;
  const uint64_t value = (pixel & mask) >> shift;
  return static_cast<uint8_t>(largest == 255 ? value : value * 255 / largest);
}

class Canvas {
 public:
  Canvas(const Header& header, Image& image) : header_(header), image_(image) {}

  uint8_t* row(int64_t y) { return image_.row(header_.from_top ? y : image_.height - 1 - y); }
  void put(int64_t x, int64_t y, uint8_t index) {
    std::copy_n(header_.palette.data() + index * 3, 3, row(y) + x * Image::kChannels);
  }

 private:
  const Header& header_;
  Image& image_;
};

void read_raw(ByteReader& reader, const Header& header, Image& image) {
  Canvas canvas(header, image);
  const auto stride = static_cast<size_t>((image.width * header.bits + 31) / 32 * 4);
  const size_t needed = (static_cast<size_t>(image.width) * header.bits + 7) / 8;
  for (int64_t y = 0; y < image.height; ++y) {
    // The padding of the last row may be missing.
    const Bytes bytes = reader.take(std::min(stride, std::max(reader.left(), needed)));
    uint8_t* to = canvas.row(y);
    if (header.bits <= 8) {
      const uint32_t per_byte = 8 / header.bits, mask = (1u << header.bits) - 1;
      for (int64_t x = 0; x < image.width; ++x) {
        const auto place = static_cast<uint32_t>(x % per_byte);
        const uint32_t byte = at(bytes, static_cast<size_t>(x / per_byte));
        canvas.put(x, y, static_cast<uint8_t>(byte >> (8 - header.bits * (place + 1)) & mask));
      }
      continue;
    }
    const size_t size = header.bits / 8;
    for (size_t x = 0; x < static_cast<size_t>(image.width); ++x, to += Image::kChannels) {
      uint32_t pixel = 0;
      for (size_t i = size; i-- > 0;) pixel = pixel << 8 | at(bytes, x * size + i);
      for (size_t c = 0; c < 3; ++c) to[c] = channel(pixel, header.masks[c]);
    }
  }
}

// Runs and literal stretches of 8 or 4 bit indices; what they leave out has colour 0.
void read_runs(ByteReader& reader, const Header& header, Image& image) {
  Canvas canvas(header, image);
  for (int64_t y = 0; y < image.height; ++y) {
    for (int64_t x = 0; x < image.width; ++x) canvas.put(x, y, 0);
  }
  const bool nibbles = header.compression == kRle4;
  const auto index = [&](uint8_t byte, int64_t i) {
    if (!nibbles) return byte;
    return static_cast<uint8_t>(i % 2 == 0 ? byte >> 4 : byte & 15);
  };
  int64_t x = 0, y = 0;
  const auto put = [&](uint8_t value) {
    if (x < image.width) canvas.put(x++, y, value);
  };
  while (y < image.height) {
    const uint8_t count = reader.byte(), value = reader.byte();
    if (count > 0) {
      for (int64_t i = 0; i < count; ++i) put(index(value, i));
    } else if (value == 0) {  // end of the row
      x = 0;
      ++y;
    } else if (value == 1) {  // end of the picture
      return;
    } else if (value == 2) {  // a step right and up
      x = std::min<int64_t>(x + reader.byte(), image.width);
      y += reader.byte();
    } else {
      const Bytes bytes = reader.take(nibbles ? (value + 1u) / 2 : value);
      for (int64_t i = 0; i < value; ++i) {
        put(index(at(bytes, static_cast<size_t>(nibbles ? i / 2 : i)), i));
      }
      if (bytes.size() % 2 != 0) reader.byte();
    }
  }
}

}  // namespace

Decoded decode_bmp(Bytes bytes, int64_t max_pixels) {
  ByteReader reader(bytes);
  const Header header = read_header(reader);
  const auto& bits = header.bits;
  require(
      bits == 1 || bits == 2 || bits == 4 || bits == 8 || bits == 16 || bits == 24 || bits == 32,
      ErrorCode::kUnsupported, bits, " bits per pixel");
  const bool runs =
      (header.compression == kRle8 && bits == 8) || (header.compression == kRle4 && bits == 4);
  require(header.compression == kRaw || runs, ErrorCode::kUnsupported, "compression ",
          header.compression, " with ", bits, " bits per pixel");
  reader.seek(header.pixels);
  require(runs || header.height <= static_cast<int64_t>(reader.left()), ErrorCode::kInvalidData,
          "the image file ends too early");
  Decoded decoded{make_image(header.width, header.height, max_pixels), 1};
  (runs ? read_runs : read_raw)(reader, header, decoded.image);
  return decoded;
}

}  // namespace hugot::codecs
