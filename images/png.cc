#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <string>

#include "images/codecs.h"

namespace hugot::codecs {
namespace {

// libpng reports errors through a function that must not return; see jpeg.cc.
struct Session {
  png_structp png = nullptr;
  png_infop info = nullptr;
  ByteReader* reader = nullptr;
  std::jmp_buf back;
  char message[128] = "";
};

[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  auto& session = *static_cast<Session*>(png_get_error_ptr(png));
  std::snprintf(session.message, sizeof session.message, "%s", message);
  std::longjmp(session.back, 1);
}

void read_bytes(png_structp png, png_bytep to, size_t count) {
  auto& session = *static_cast<Session*>(png_get_io_ptr(png));
  if (session.reader->left() < count) png_error(png, "the image file ends too early");
  const Bytes bytes = session.reader->take(count);
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<std::byte*>(to));
}

bool read_header(Session& session) {
  if (setjmp(session.back) != 0) return false;
  session.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &session, on_error,
                                       [](png_structp, png_const_charp) {});
  if (session.png == nullptr) return false;
  session.info = png_create_info_struct(session.png);
  if (session.info == nullptr) return false;
  png_set_read_fn(session.png, &session, read_bytes);
  png_set_benign_errors(session.png, 1);
  png_set_user_limits(session.png, 0x7fffffff, 0x7fffffff);
  png_read_info(session.png, session.info);
  return true;
}

// What the rows of the file become: 8 bits per channel, or 16 for gray without alpha; returns the
// bytes of a row, 0 after an error.
size_t choose_output(Session& session) {
  if (setjmp(session.back) != 0) return 0;
  const int type = png_get_color_type(session.png, session.info);
  const int depth = png_get_bit_depth(session.png, session.info);
  if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(session.png);
  if (type == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(session.png);
  if (type != PNG_COLOR_TYPE_GRAY) png_set_strip_16(session.png);
  // A transparent colour of a palette makes it one with alpha.
  const bool alpha = (type & PNG_COLOR_MASK_ALPHA) != 0 ||
                     (type == PNG_COLOR_TYPE_PALETTE &&
                      png_get_valid(session.png, session.info, PNG_INFO_tRNS) != 0);
  if (alpha) png_set_strip_alpha(session.png);
  png_set_interlace_handling(session.png);
  png_read_update_info(session.png, session.info);
  return png_get_rowbytes(session.png, session.info);
}

bool read_rows(Session& session, png_bytepp rows) {
  if (setjmp(session.back) != 0) return false;
  png_read_image(session.png, rows);
  return true;
}

// What stands behind the pixels, which may be missing.
void read_end(Session& session) {
  if (setjmp(session.back) == 0) png_read_end(session.png, session.info);
}

int orientation_of(const Session& session) {
  png_bytep exif = nullptr;
  png_uint_32 size = 0;
  if (png_get_eXIf_1(session.png, session.info, &size, &exif) != 0) {
    const int orientation = exif_orientation({reinterpret_cast<const std::byte*>(exif), size});
    if (orientation != 0) return orientation;
  }
  png_textp texts = nullptr;
  const int count = png_get_text(session.png, session.info, &texts, nullptr);
  for (int i = 0; i < count; ++i) {
    if (std::string_view(texts[i].key) != "XML:com.adobe.xmp") continue;
    const size_t length = std::max(texts[i].text_length, texts[i].itxt_length);
    return xmp_orientation({texts[i].text, length});
  }
  return 0;
}

// One row as libpng gives it to a row of RGB.
void widen(const uint8_t* from, uint8_t* to, int64_t width, int channels, int depth) {
  for (int64_t x = 0; x < width; ++x, to += Image::kChannels) {
    if (depth == 16) {
      // As Pillow does: cut off, not scaled.
      const int value = from[2 * x] << 8 | from[2 * x + 1];
      put_gray(to, static_cast<uint8_t>(std::min(value, 255)));
    } else if (channels == 1) {
      put_gray(to, from[x]);
    } else {
      std::copy_n(from + x * Image::kChannels, Image::kChannels, to);
    }
  }
}

}  // namespace

Decoded decode_png(Bytes bytes, int64_t max_pixels) {
  ByteReader reader(bytes);
  Session session;
  session.reader = &reader;
  struct Guard {
    Session& session;
    ~Guard() { png_destroy_read_struct(&session.png, &session.info, nullptr); }
  } guard{session};
  const auto check = [&](bool fine) {
    require(fine, ErrorCode::kInvalidData, static_cast<const char*>(session.message));
  };
  check(read_header(session));
  const size_t row_bytes = choose_output(session);
  check(row_bytes > 0);
  // Nothing is compressed to less than a thousandth.
  constexpr size_t kMostCompression = 1040;
  require(row_bytes <=
              bytes.size() * kMostCompression / png_get_image_height(session.png, session.info),
          ErrorCode::kInvalidData, "the image file ends too early");
  Decoded decoded{make_image(png_get_image_width(session.png, session.info),
                             png_get_image_height(session.png, session.info), max_pixels),
                  1};
  Image& image = decoded.image;
  const int channels = png_get_channels(session.png, session.info);
  const int depth = png_get_bit_depth(session.png, session.info);
  const bool direct = channels == Image::kChannels && depth == 8;
  require(direct || channels == 1, ErrorCode::kUnsupported, channels, " channels");
  std::vector<uint8_t> raw(direct ? 0 : row_bytes * static_cast<size_t>(image.height));
  std::vector<png_bytep> rows(static_cast<size_t>(image.height));
  for (size_t y = 0; y < rows.size(); ++y) {
    rows[y] = direct ? image.row(static_cast<int64_t>(y)) : raw.data() + y * row_bytes;
  }
  check(read_rows(session, rows.data()));
  read_end(session);
  if (!direct) {
    for (size_t y = 0; y < rows.size(); ++y) {
      widen(rows[y], image.row(static_cast<int64_t>(y)), image.width, channels, depth);
    }
  }
  decoded.orientation = orientation_of(session);
  return decoded;
}

}  // namespace hugot::codecs
