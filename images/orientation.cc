#include "images/codecs.h"

namespace hugot::codecs {
namespace {

// Numbers of a TIFF structure in its own byte order; bytes beyond the end are 0.
struct Tiff {
  Bytes bytes;
  bool big_endian;

  uint32_t number(uint64_t position, int size) const {
    uint32_t value = 0;
    for (int i = 0; i < size; ++i) {
      const uint64_t place = position + static_cast<uint64_t>(big_endian ? i : size - 1 - i);
      value = value << 8 | (place < bytes.size() ? at(bytes, place) : 0u);
    }
    return value;
  }
};

}  // namespace

int exif_orientation(Bytes exif) {
  if (starts_with(exif, std::string_view("Exif\0\0", 6))) exif = exif.subspan(6);
  const bool little = starts_with(exif, std::string_view("II*\0", 4));
  if (!little && !starts_with(exif, std::string_view("MM\0*", 4))) return 0;
  const Tiff tiff{exif, !little};
  constexpr uint32_t kOrientation = 0x0112;
  constexpr uint64_t kEntry = 12;  // bytes of one: tag, type, count, value
  const uint64_t directory = tiff.number(4, 4);
  const uint32_t entries = tiff.number(directory, 2);
  for (uint64_t i = 0; i < entries; ++i) {
    const uint64_t entry = directory + 2 + i * kEntry;
    if (entry + kEntry > exif.size()) break;
    if (tiff.number(entry, 2) != kOrientation || tiff.number(entry + 4, 4) != 1) continue;
    const uint32_t type = tiff.number(entry + 2, 2);
    const int size = type == 1 ? 1 : type == 3 ? 2 : type == 4 ? 4 : 0;  // BYTE, SHORT, LONG
    const uint32_t value = size == 0 ? 0 : tiff.number(entry + 8, size);
    if (value <= 8) return static_cast<int>(value);
  }
  return 0;
}

int xmp_orientation(std::string_view xmp) {
  constexpr std::string_view kName = "tiff:Orientation";
  for (size_t at = xmp.find(kName); at != xmp.npos; at = xmp.find(kName, at + 1)) {
    std::string_view rest = xmp.substr(at + kName.size());
    if (rest.starts_with("=\"")) {
      rest.remove_prefix(2);
    } else if (rest.starts_with('>')) {
      rest.remove_prefix(1);
    } else {
      continue;
    }
    if (!rest.empty() && rest[0] >= '0' && rest[0] <= '9') return rest[0] - '0';
  }
  return 0;
}

}  // namespace hugot::codecs
