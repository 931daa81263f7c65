#include "images/decode.h"

#include <array>
#include <utility>

#include "images/codecs.h"

namespace hugot {
namespace {

using codecs::Bytes;
using codecs::starts_with;

struct Format {
  const char* name;
  bool (*matches)(Bytes bytes);
  codecs::Decoded (*decode)(Bytes bytes, int64_t max_pixels);  // null: not in this build
};

bool is_pnm(Bytes bytes) {
  return bytes.size() > 2 && codecs::at(bytes, 0) == 'P' && codecs::at(bytes, 1) >= '1' &&
         codecs::at(bytes, 1) <= '6';
}

// The build says which libraries there are.
#ifdef HUGOT_HAVE_JPEG
constexpr auto kJpeg = codecs::decode_jpeg;
#else
constexpr decltype(&codecs::decode_jpeg) kJpeg = nullptr;
#endif
#ifdef HUGOT_HAVE_PNG
constexpr auto kPng = codecs::decode_png;
#else
constexpr decltype(&codecs::decode_png) kPng = nullptr;
#endif
#ifdef HUGOT_HAVE_WEBP
constexpr auto kWebp = codecs::decode_webp;
#else
constexpr decltype(&codecs::decode_webp) kWebp = nullptr;
#endif
#ifdef HUGOT_HAVE_TIFF
constexpr auto kTiff = codecs::decode_tiff;
#else
constexpr decltype(&codecs::decode_tiff) kTiff = nullptr;
#endif
#ifdef HUGOT_HAVE_JPEG2000
constexpr auto kJpeg2000 = codecs::decode_jpeg2000;
#else
constexpr decltype(&codecs::decode_jpeg2000) kJpeg2000 = nullptr;
#endif

constexpr std::array<Format, 8> kFormats = {{
    {"BMP", [](Bytes b) { return starts_with(b, "BM"); }, codecs::decode_bmp},
    {"GIF", [](Bytes b) { return starts_with(b, "GIF87a") || starts_with(b, "GIF89a"); },
     codecs::decode_gif},
    {"JPEG", [](Bytes b) { return starts_with(b, "\xff\xd8\xff"); }, kJpeg},
    {"JPEG 2000",
     [](Bytes b) {
       return starts_with(b, "\xff\x4f\xff\x51") ||
              starts_with(b, std::string_view("\0\0\0\x0cjP  \r\n\x87\n", 12));
     },
     kJpeg2000},
    {"PNG", [](Bytes b) { return starts_with(b, "\x89PNG\r\n\x1a\n"); }, kPng},
    {"PNM", is_pnm, codecs::decode_pnm},
    {"TIFF",
     [](Bytes b) {
       return starts_with(b, std::string_view("II*\0", 4)) ||
              starts_with(b, std::string_view("MM\0*", 4));
     },
     kTiff},
    {"WebP",
     [](Bytes b) {
       return starts_with(b, "RIFF") && b.size() > 12 && starts_with(b.subspan(8), "WEBP");
     },
     kWebp},
}};

}  // namespace

Image decode_image(std::span<const std::byte> bytes, const DecodeOptions& options) {
  require(!bytes.empty(), ErrorCode::kInvalidData, "the image file is empty");
  for (const Format& format : kFormats) {
    if (!format.matches(bytes)) continue;
    require(format.decode != nullptr, ErrorCode::kUnsupported, "this build cannot read ",
            format.name, " images; it reads ", decodable_formats());
    return with_context([&] { return str("as ", format.name); },
                        [&] {
                          codecs::Decoded decoded = format.decode(bytes, options.max_pixels);
                          if (!options.orient) return std::move(decoded.image);
                          return oriented(std::move(decoded.image), decoded.orientation);
                        });
  }
  fail(ErrorCode::kInvalidData, "not an image in a known format; this build reads ",
       decodable_formats());
}

std::string decodable_formats() {
  std::string text, last;
  for (const Format& format : kFormats) {
    if (format.decode == nullptr) continue;
    if (!last.empty()) text += (text.empty() ? "" : ", ") + last;
    last = format.name;
  }
  return text + " and " + last;
}

}  // namespace hugot
