#include <openjpeg.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "images/codecs.h"

namespace hugot::codecs {
namespace {

struct Memory {
  Bytes bytes;
  size_t position = 0;

  static Memory& of(void* user) { return *static_cast<Memory*>(user); }
};

OPJ_SIZE_T read_some(void* to, OPJ_SIZE_T count, void* user) {
  Memory& memory = Memory::of(user);
  const size_t size = std::min<size_t>(count, memory.bytes.size() - memory.position);
  if (size == 0) return static_cast<OPJ_SIZE_T>(-1);
  std::memcpy(to, memory.bytes.data() + memory.position, size);
  memory.position += size;
  return size;
}

OPJ_OFF_T skip(OPJ_OFF_T count, void* user) {
  Memory& memory = Memory::of(user);
  if (count < 0) return -1;
  const size_t size = std::min(static_cast<size_t>(count), memory.bytes.size() - memory.position);
  memory.position += size;
  return static_cast<OPJ_OFF_T>(size);
}

OPJ_BOOL seek(OPJ_OFF_T position, void* user) {
  Memory& memory = Memory::of(user);
  if (position < 0 || static_cast<size_t>(position) > memory.bytes.size()) return OPJ_FALSE;
  memory.position = static_cast<size_t>(position);
  return OPJ_TRUE;
}

// Tiles and components are what the library makes room for as soon as it has read the header, so
// they are checked before. Position of fields: ISO/IEC 15444-1, A.5.1.
void check_header(Bytes bytes) {
  constexpr std::string_view kStart = "\xff\x4f\xff\x51";
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const size_t start = text.find(kStart);
  constexpr size_t kFields = 8;  // behind the length and the capabilities
  require(start != text.npos && bytes.size() - start >= kFields + 34, ErrorCode::kInvalidData,
          "the image file is damaged or ends too early");
  const auto field = [&](size_t i) {
    uint64_t value = 0;
    for (size_t k = 0; k < 4; ++k) value = value << 8 | at(bytes, start + kFields + 4 * i + k);
    return value;
  };
  const auto tiles = [&](size_t axis) {
    const uint64_t end = field(axis), tile = field(axis + 4), origin = field(axis + 6);
    require(tile > 0 && origin < end, ErrorCode::kInvalidData, "the header is damaged");
    return (end - origin + tile - 1) / tile;
  };
  constexpr uint64_t kSmallestTile = 14;  // bytes
  require(tiles(0) * tiles(1) <= bytes.size() / kSmallestTile + 1, ErrorCode::kInvalidData,
          "the image file ends too early: it has ", bytes.size(), " bytes for ",
          tiles(0) * tiles(1), " tiles");
  const int components = at(bytes, start + kFields + 32) << 8 | at(bytes, start + kFields + 33);
  require(components >= 1 && components <= 4, ErrorCode::kUnsupported, components,
          " colour components");
}

// A component's number at a pixel of the whole image as 8 bits.
uint8_t sample(const opj_image_comp_t& component, int64_t x, int64_t y) {
  const int64_t column = std::min<int64_t>(x / component.dx, component.w - 1);
  const int64_t row = std::min<int64_t>(y / component.dy, component.h - 1);
  int64_t value = component.data[row * component.w + column];
  const int precision = static_cast<int>(component.prec);
  if (component.sgnd != 0) value += int64_t{1} << (precision - 1);
  if (precision > 8) {
    value = (value + (int64_t{1} << (precision - 9))) >> (precision - 8);
  } else {
    value <<= 8 - precision;
  }
  return static_cast<uint8_t>(std::clamp<int64_t>(value, 0, 255));
}

// ITU-R BT.601 with all 8 bits, as in JFIF.
void put_ycc(uint8_t* to, int y, int cb, int cr) {
  const auto clip = [](double value) {
    return static_cast<uint8_t>(std::clamp(static_cast<int>(value + 0.5), 0, 255));
  };
  to[0] = clip(y + 1.402 * (cr - 128));
  to[1] = clip(y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128));
  to[2] = clip(y + 1.772 * (cb - 128));
}

}  // namespace

Decoded decode_jpeg2000(Bytes bytes, int64_t max_pixels) {
  check_header(bytes);
  Memory memory{bytes};
  const bool boxes = at(bytes, 0) == 0;  // a .jp2 file, not a bare codestream
  // Both are void* in the library's terms.
  struct CodecEnd {
    using pointer = opj_codec_t*;
    void operator()(opj_codec_t* codec) const { opj_destroy_codec(codec); }
  };
  struct StreamEnd {
    using pointer = opj_stream_t*;
    void operator()(opj_stream_t* stream) const { opj_stream_destroy(stream); }
  };
  const std::unique_ptr<opj_codec_t, CodecEnd> codec(
      opj_create_decompress(boxes ? OPJ_CODEC_JP2 : OPJ_CODEC_J2K));
  const std::unique_ptr<opj_stream_t, StreamEnd> stream(opj_stream_default_create(OPJ_TRUE));
  if (!codec || !stream) throw std::bad_alloc();
  opj_stream_set_user_data(stream.get(), &memory, nullptr);
  opj_stream_set_user_data_length(stream.get(), bytes.size());
  opj_stream_set_read_function(stream.get(), read_some);
  opj_stream_set_skip_function(stream.get(), skip);
  opj_stream_set_seek_function(stream.get(), seek);
  opj_dparameters_t parameters;
  opj_set_default_decoder_parameters(&parameters);
  constexpr const char* kDamaged = "the image file is damaged or ends too early";
  opj_image_t* read = nullptr;
  const bool header = opj_setup_decoder(codec.get(), &parameters) != 0 &&
                      opj_read_header(stream.get(), codec.get(), &read) != 0;
  const std::unique_ptr<opj_image_t, void (*)(opj_image_t*)> image(read, opj_image_destroy);
  require(header && image, ErrorCode::kInvalidData, kDamaged);
  Decoded decoded{
      make_image(int64_t{image->x1} - image->x0, int64_t{image->y1} - image->y0, max_pixels), 1};
  require(opj_decode(codec.get(), stream.get(), image.get()) != 0, ErrorCode::kInvalidData,
          kDamaged);
  const auto* const parts = image->comps;
  for (uint32_t i = 0; i < image->numcomps; ++i) {
    require(parts[i].data != nullptr && parts[i].w > 0 && parts[i].h > 0 && parts[i].dx > 0 &&
                parts[i].dy > 0 && parts[i].prec >= 1 && parts[i].prec <= 31,
            ErrorCode::kInvalidData, kDamaged);
  }
  const bool gray = image->numcomps < 3;
  const bool ycc = !gray && image->color_space == OPJ_CLRSPC_SYCC;
  uint8_t* to = decoded.image.rgb.data();
  for (int64_t y = 0; y < decoded.image.height; ++y) {
    for (int64_t x = 0; x < decoded.image.width; ++x, to += Image::kChannels) {
      if (gray) {
        put_gray(to, sample(parts[0], x, y));
      } else if (ycc) {
        put_ycc(to, sample(parts[0], x, y), sample(parts[1], x, y), sample(parts[2], x, y));
      } else {
        for (int c = 0; c < Image::kChannels; ++c) to[c] = sample(parts[c], x, y);
      }
    }
  }
  return decoded;
}

}  // namespace hugot::codecs
