// Portable anymaps, plain and raw: PBM, PGM, PPM.
#include <algorithm>
#include <cmath>
#include <string>

#include "images/codecs.h"

namespace hugot::codecs {
namespace {

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

class Header {
 public:
  explicit Header(ByteReader& reader) : reader_(reader) {}

  // The next run of characters that are no blanks, and the blank behind it; comments are skipped.
  std::string token() {
    constexpr size_t kLongest = 10;
    std::string text;
    while (reader_.left() > 0) {
      const char c = static_cast<char>(reader_.byte());
      if (c == '#') {
        skip_line();
      } else if (!is_blank(c)) {
        text += c;
        require(text.size() <= kLongest, ErrorCode::kInvalidData, "a number has too many digits");
      } else if (!text.empty()) {
        break;
      }
    }
    require(!text.empty(), ErrorCode::kInvalidData, "the image file ends too early");
    return text;
  }

  int64_t number() {
    const std::string text = token();
    require(std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }),
            ErrorCode::kInvalidData, "'", text, "' is no number");
    return std::stoll(text);
  }

  // A digit that may touch its neighbours.
  bool bit() {
    while (reader_.left() > 0) {
      const char c = static_cast<char>(reader_.byte());
      if (c == '#') {
        skip_line();
      } else if (!is_blank(c)) {
        require(c == '0' || c == '1', ErrorCode::kInvalidData, "a pixel is neither 0 nor 1");
        return c == '1';
      }
    }
    fail(ErrorCode::kInvalidData, "the image file ends too early");
  }

 private:
  void skip_line() {
    while (reader_.left() > 0) {
      const uint8_t c = reader_.byte();
      if (c == '\n' || c == '\r') return;
    }
  }

  ByteReader& reader_;
};

// Numbers 0 .. largest as Pillow scales them: gray of more than 8 bits to 16 and then cut off.
class Scale {
 public:
  Scale(int64_t largest, bool gray)
      : largest_(largest), out_(gray && largest > 255 ? 65535.0 : 255.0) {}

  uint8_t operator()(int64_t value) const {
    const double scaled =
        std::nearbyint(static_cast<double>(value) / static_cast<double>(largest_) * out_);
    return static_cast<uint8_t>(std::min(scaled, 255.0));
  }

 private:
  int64_t largest_;
  double out_;
};

void read_bits(ByteReader& reader, Header& header, bool plain, Image& image) {
  for (int64_t y = 0; y < image.height; ++y) {
    uint8_t* const to = image.row(y);
    const Bytes bits = plain ? Bytes() : reader.take(static_cast<size_t>((image.width + 7) / 8));
    for (int64_t x = 0; x < image.width; ++x) {
      const bool black =
          plain ? header.bit() : (at(bits, static_cast<size_t>(x / 8)) >> (7 - x % 8) & 1) != 0;
      put_gray(to + x * Image::kChannels, black ? 0 : 255);
    }
  }
}

}  // namespace

Decoded decode_pnm(Bytes bytes, int64_t max_pixels) {
  ByteReader reader(bytes);
  reader.seek(1);
  const int kind = reader.byte() - '0';  // 1 .. 3 plain, 4 .. 6 raw; bits, gray, colour
  const bool plain = kind <= 3, gray = kind % 3 != 0;
  Header header(reader);
  const int64_t width = header.number(), height = header.number();
  Decoded decoded{make_image(width, height, max_pixels), 1};
  Image& image = decoded.image;
  if (kind == 1 || kind == 4) {
    read_bits(reader, header, plain, image);
    return decoded;
  }
  const int64_t largest = header.number();
  require(largest > 0 && largest < 65536, ErrorCode::kInvalidData, "the largest number ", largest,
          " is not between 1 and 65535");
  const Scale scale(largest, gray);
  const int64_t size = largest > 255 ? 2 : 1;
  const int64_t numbers = width * (gray ? 1 : Image::kChannels);
  for (int64_t y = 0; y < height; ++y) {
    uint8_t* to = image.row(y);
    const Bytes row = plain ? Bytes() : reader.take(static_cast<size_t>(numbers * size));
    for (int64_t i = 0; i < numbers; ++i) {
      const auto place = static_cast<size_t>(i * size);
      int64_t value = 0;
      if (plain) {
        value = header.number();
        require(value <= largest, ErrorCode::kInvalidData, "a pixel has ", value, ", more than ",
                largest);
      } else {
        value = size == 1 ? at(row, place) : at(row, place) << 8 | at(row, place + 1);
      }
      const uint8_t byte = largest == 255 ? static_cast<uint8_t>(value) : scale(value);
      if (gray) {
        put_gray(to, byte);
        to += Image::kChannels;
      } else {
        *to++ = byte;
      }
    }
  }
  return decoded;
}

}  // namespace hugot::codecs
