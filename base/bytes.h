// Reading little-endian binary formats from memory that nobody has checked.
#ifndef HUGOT_BASE_BYTES_H_
#define HUGOT_BASE_BYTES_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/shape.h"

namespace hugot {

static_assert(std::endian::native == std::endian::little,
              "file formats are mapped and copied without swapping bytes");

// A cursor that throws kInvalidData instead of leaving its bytes.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  size_t position() const { return position_; }
  size_t remaining() const { return bytes_.size() - position_; }

  std::span<const std::byte> take(uint64_t count) {
    require(count <= remaining(), ErrorCode::kInvalidData, "truncated: ", count,
            " bytes wanted at offset ", position_, ", ", remaining(), " left");
    const auto result = bytes_.subspan(position_, static_cast<size_t>(count));
    position_ += static_cast<size_t>(count);
    return result;
  }

  // An unsigned or signed integer.
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }

  std::string_view text(uint64_t count) {
    const auto bytes = take(count);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

 private:
  std::span<const std::byte> bytes_;
  size_t position_ = 0;
};

// Appends the bytes of a number to `out`.
template <class T>
void append_number(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// A shape that a file states: what Shape refuses becomes kInvalidData.
inline Shape shape_from_file(std::span<const int64_t> dims) {
  try {
    return Shape(dims);
  } catch (const Error& error) {
    throw Error(
        error.code() == ErrorCode::kInvalidArgument ? ErrorCode::kInvalidData : error.code(),
        error.what());
  }
}

}  // namespace hugot

#endif  // HUGOT_BASE_BYTES_H_
