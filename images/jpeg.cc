#include <csetjmp>
#include <cstdio>
// After stdio, which it needs.
#include <jpeglib.h>

#include <string>

#include "images/codecs.h"

namespace hugot::codecs {
namespace {

// libjpeg reports errors through a function that must not return: it jumps back to where the
// decoder was called. No object with a destructor lives in the functions in between.
struct Session {
  jpeg_decompress_struct info;
  jpeg_error_mgr errors;
  jpeg_source_mgr source;
  jpeg_progress_mgr progress;
  std::jmp_buf back;
  char message[JMSG_LENGTH_MAX];
  bool truncated;
};

Session& session_of(j_common_ptr info) { return *static_cast<Session*>(info->client_data); }

[[noreturn]] void on_error(j_common_ptr info) {
  Session& session = session_of(info);
  info->err->format_message(info, session.message);
  std::longjmp(session.back, 1);
}

// Called when the bytes are used up: an end of the image is put there, so that libjpeg stops.
boolean on_end(j_decompress_ptr info) {
  static const JOCTET kEnd[2] = {0xff, JPEG_EOI};
  session_of(reinterpret_cast<j_common_ptr>(info)).truncated = true;
  info->src->next_input_byte = kEnd;
  info->src->bytes_in_buffer = sizeof kEnd;
  return TRUE;
}

void skip(j_decompress_ptr info, long count) {
  auto& source = *info->src;
  while (count > static_cast<long>(source.bytes_in_buffer)) {
    count -= static_cast<long>(source.bytes_in_buffer);
    on_end(info);
    if (count > 2) return;  // nothing more will come
  }
  if (count <= 0) return;
  source.next_input_byte += count;
  source.bytes_in_buffer -= static_cast<size_t>(count);
}

// Called now and then. A progressive file may have any number of scans, each of which costs as much
// as a picture.
void check_scans(j_common_ptr info) {
  constexpr int kMostScans = 500;
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMostScans) return;
  Session& session = session_of(info);
  std::snprintf(session.message, sizeof session.message, "more than %d scans", kMostScans);
  std::longjmp(session.back, 1);
}

void start(Session& session, Bytes bytes) {
  session.info.err = jpeg_std_error(&session.errors);
  session.info.client_data = &session;
  session.errors.error_exit = on_error;
  session.errors.output_message = [](j_common_ptr) {};
  session.errors.emit_message = [](j_common_ptr, int) {};
  session.truncated = false;
  session.source.init_source = [](j_decompress_ptr) {};
  session.source.fill_input_buffer = on_end;
  session.source.skip_input_data = skip;
  session.source.resync_to_restart = jpeg_resync_to_restart;
  session.source.term_source = [](j_decompress_ptr) {};
  session.source.next_input_byte = reinterpret_cast<const JOCTET*>(bytes.data());
  session.source.bytes_in_buffer = bytes.size();
}

// False after an error.
bool read_header(Session& session) {
  if (setjmp(session.back) != 0) return false;
  jpeg_create_decompress(&session.info);
  session.info.src = &session.source;
  session.progress.progress_monitor = check_scans;
  session.info.progress = &session.progress;
  jpeg_save_markers(&session.info, JPEG_APP0 + 1, 0xffff);
  jpeg_read_header(&session.info, TRUE);
  return true;
}

// Rows of `channels` bytes per pixel to rows of RGB.
void widen(const uint8_t* from, uint8_t* to, int64_t width, int channels) {
  for (int64_t x = 0; x < width; ++x, from += channels, to += Image::kChannels) {
    if (channels == 1) {
      put_gray(to, from[0]);
    } else {
      // Every writer of CMYK follows Adobe, which stores how much light an ink lets through.
      put_cmyk(to, 255 - from[0], 255 - from[1], 255 - from[2], 255 - from[3]);
    }
  }
}

// `row` has room for a row as libjpeg gives it, unless that is RGB.
bool read_rows(Session& session, Image& image, uint8_t* row) {
  if (setjmp(session.back) != 0) return false;
  jpeg_start_decompress(&session.info);
  while (session.info.output_scanline < session.info.output_height && !session.truncated) {
    uint8_t* const to = image.row(session.info.output_scanline);
    JSAMPROW target = session.info.output_components == Image::kChannels ? to : row;
    jpeg_read_scanlines(&session.info, &target, 1);
    if (target == row) widen(row, to, image.width, session.info.output_components);
  }
  if (!session.truncated) jpeg_finish_decompress(&session.info);
  return true;
}

int orientation_of(const jpeg_decompress_struct& info) {
  constexpr std::string_view kXmp("http://ns.adobe.com/xap/1.0/\0", 29);
  int xmp = 0;
  for (const jpeg_marker_struct* marker = info.marker_list; marker != nullptr;
       marker = marker->next) {
    const Bytes data(reinterpret_cast<const std::byte*>(marker->data), marker->data_length);
    if (starts_with(data, std::string_view("Exif\0\0", 6))) {
      if (const int orientation = exif_orientation(data)) return orientation;
    } else if (starts_with(data, kXmp)) {
      const Bytes text = data.subspan(kXmp.size());
      xmp = xmp_orientation({reinterpret_cast<const char*>(text.data()), text.size()});
    }
  }
  return xmp;
}

}  // namespace

Decoded decode_jpeg(Bytes bytes, int64_t max_pixels) {
  Session session{};
  struct Guard {
    jpeg_decompress_struct& info;
    ~Guard() { jpeg_destroy_decompress(&info); }
  } guard{session.info};
  start(session, bytes);
  const auto check = [&](bool fine) {
    require(fine, ErrorCode::kInvalidData, static_cast<const char*>(session.message));
    require(!session.truncated, ErrorCode::kInvalidData, "the image file ends too early");
  };
  check(read_header(session));
  auto& info = session.info;
  require(info.num_components == 1 || info.num_components == 3 || info.num_components == 4,
          ErrorCode::kUnsupported, info.num_components, " colour components");
  // YCCK is turned into CMYK by the library.
  info.out_color_space = info.num_components == 1   ? JCS_GRAYSCALE
                         : info.num_components == 3 ? JCS_RGB
                                                    : JCS_CMYK;
  info.dct_method = JDCT_ISLOW;
  Decoded decoded{make_image(info.image_width, info.image_height, max_pixels),
                  orientation_of(info)};
  std::vector<uint8_t> row(static_cast<size_t>(info.image_width) * 4);
  check(read_rows(session, decoded.image, row.data()));
  return decoded;
}

}  // namespace hugot::codecs
