// The first picture of a GIF file.
#include <algorithm>
#include <array>

#include "images/codecs.h"

namespace hugot::codecs {
namespace {

using Palette = std::array<uint8_t, 256 * 3>;

constexpr uint8_t kHasPalette = 0x80, kInterlaced = 0x40, kTransparent = 1;
constexpr uint8_t kExtension = 0x21, kPicture = 0x2c, kGraphicControl = 0xf9;

Palette gray_palette() {
  Palette palette;
  for (size_t i = 0; i < 256; ++i) put_gray(palette.data() + i * 3, static_cast<uint8_t>(i));
  return palette;
}

Palette read_palette(ByteReader& reader, uint8_t flags) {
  Palette palette = {};
  const Bytes bytes = reader.take(size_t{6} << (flags & 7));
  for (size_t i = 0; i < bytes.size(); ++i) palette[i] = at(bytes, i);
  return palette;
}

// Blocks of up to 255 bytes as one stream of codes.
class Codes {
 public:
  explicit Codes(ByteReader& reader) : reader_(reader) {}

  uint32_t next(int bits) {
    while (held_ < bits) {
      if (block_.empty()) {
        block_ = reader_.take(reader_.byte());
        require(!block_.empty(), ErrorCode::kInvalidData, "the picture ends too early");
      }
      buffer_ |= static_cast<uint32_t>(at(block_, 0)) << held_;
      block_ = block_.subspan(1);
      held_ += 8;
    }
    const uint32_t code = buffer_ & ((1u << bits) - 1);
    buffer_ >>= bits;
    held_ -= bits;
    return code;
  }

 private:
  ByteReader& reader_;
  Bytes block_;
  uint32_t buffer_ = 0;
  int held_ = 0;
};

// LZW with codes of `first_bits` + 1 to 12 bits.
std::vector<uint8_t> decompress(ByteReader& reader, int first_bits, size_t count) {
  constexpr int kMostBits = 12;
  const uint32_t clear = 1u << first_bits, end = clear + 1;
  std::vector<uint16_t> before(1 << kMostBits);
  std::vector<uint8_t> last(1 << kMostBits);
  std::array<uint8_t, (1 << kMostBits) + 1> stack;
  for (uint32_t i = 0; i < clear; ++i) last[i] = static_cast<uint8_t>(i);
  constexpr uint32_t kNone = ~0u;
  uint32_t free = end + 1, previous = kNone;
  uint8_t first = 0;  // of the string before
  int bits = first_bits + 1;
  Codes codes(reader);
  std::vector<uint8_t> out;
  while (out.size() < count) {
    uint32_t code = codes.next(bits);
    if (code == clear) {
      free = end + 1;
      bits = first_bits + 1;
      previous = kNone;
      continue;
    }
    require(code != end, ErrorCode::kInvalidData, "the picture ends too early");
    require(code < free || (code == free && previous != kNone), ErrorCode::kInvalidData,
            "the compressed data are damaged");
    const uint32_t current = code;
    size_t depth = 0;
    if (code == free) {  // the string before and its own first element
      stack[depth++] = first;
      code = previous;
    }
    for (; code >= clear; code = before[code]) stack[depth++] = last[code];
    first = last[code];
    stack[depth++] = first;
    while (depth > 0 && out.size() < count) out.push_back(stack[--depth]);
    if (previous != kNone && free < (1u << kMostBits)) {
      before[free] = static_cast<uint16_t>(previous);
      last[free++] = first;
      if (free == (1u << bits) && bits < kMostBits) ++bits;
    }
    previous = current;
  }
  return out;
}

// The rows of a picture in the order in which they are stored.
std::vector<int64_t> row_order(int64_t height, bool interlaced) {
  std::vector<int64_t> rows;
  const std::pair<int64_t, int64_t> passes[] = {{0, 8}, {4, 8}, {2, 4}, {1, 2}};
  for (const auto& [first, step] : passes) {
    for (int64_t y = interlaced ? first : 0; y < height; y += interlaced ? step : 1) {
      rows.push_back(y);
    }
    if (!interlaced) break;
  }
  return rows;
}

void skip_blocks(ByteReader& reader) {
  while (reader.take(reader.byte()).size() > 0) {
  }
}

}  // namespace

Decoded decode_gif(Bytes bytes, int64_t max_pixels) {
  ByteReader reader(bytes);
  reader.seek(6);
  const int64_t width = reader.little(2), height = reader.little(2);
  const uint8_t flags = reader.byte();
  reader.take(2);
  Palette palette = (flags & kHasPalette) != 0 ? read_palette(reader, flags) : gray_palette();
  uint8_t background = 0;
  for (uint8_t what = reader.byte(); what != kPicture; what = reader.byte()) {
    require(what == kExtension, ErrorCode::kInvalidData, "there is no picture");
    if (reader.byte() == kGraphicControl) {
      const Bytes control = reader.take(reader.byte());
      if (control.size() >= 4 && (at(control, 0) & kTransparent) != 0) background = at(control, 3);
    }
    skip_blocks(reader);
  }
  const int64_t left = reader.little(2), top = reader.little(2);
  const int64_t columns = reader.little(2), rows = reader.little(2);
  const uint8_t local = reader.byte();
  if ((local & kHasPalette) != 0) palette = read_palette(reader, local);
  const int bits = reader.byte();
  require(bits >= 1 && bits <= 8, ErrorCode::kInvalidData, bits, " bits per pixel");
  require(columns > 0 && rows > 0, ErrorCode::kInvalidData, "the picture is empty");
  // A picture that sticks out makes the canvas larger, as in Pillow.
  Decoded decoded{
      make_image(std::max(width, left + columns), std::max(height, top + rows), max_pixels), 1};
  Image& image = decoded.image;
  for (int64_t i = 0; i < image.width * image.height; ++i) {
    std::copy_n(palette.data() + background * 3, 3, image.rgb.data() + i * 3);
  }
  const auto pixels =
      decompress(reader, bits, static_cast<size_t>(columns) * static_cast<size_t>(rows));
  const uint8_t* from = pixels.data();
  for (const int64_t y : row_order(rows, (local & kInterlaced) != 0)) {
    uint8_t* to = image.row(top + y) + left * Image::kChannels;
    for (int64_t x = 0; x < columns; ++x, to += Image::kChannels) {
      std::copy_n(palette.data() + *from++ * 3, 3, to);
    }
  }
  return decoded;
}

}  // namespace hugot::codecs
