#include <doctest/doctest.h>

#include "tests/harness.h"

namespace hugot::test {
namespace {

Tensor bytes(std::string_view text) {
  Tensor out(DType::kUInt8, Shape{std::ssize(text)});
  std::copy(text.begin(), text.end(), out.data<uint8_t>());
  return out;
}

Attributes format(const char* name) { return {{"pixel_format", std::string(name)}}; }

}  // namespace

TEST_CASE("ImageDecoder") {
  // Two pixels.
  const Tensor file = bytes("P6 2 1 255\n\x01\x02\x03\xff\x80\x40");
  run_cases({
      {.name = "RGB without an attribute",
       .op_type = "ImageDecoder",
       .inputs = {file},
       .expected = {numbers(DType::kUInt8, {1, 2, 3}, {1, 2, 3, 255, 128, 64})}},
      {.name = "BGR",
       .op_type = "ImageDecoder",
       .inputs = {file},
       .attributes = format("BGR"),
       .expected = {numbers(DType::kUInt8, {1, 2, 3}, {3, 2, 1, 64, 128, 255})}},
      {.name = "Grayscale",
       .op_type = "ImageDecoder",
       .inputs = {file},
       .attributes = format("Grayscale"),
       .expected = {numbers(DType::kUInt8, {1, 2, 1}, {2, 159})}},
      {.name = "what is no picture",
       .op_type = "ImageDecoder",
       .inputs = {bytes("P6 2 1 255\n\x01\x02")},
       .expected = {Tensor(DType::kUInt8, Shape{0, 0, 3})}},
      {.name = "unknown format",
       .op_type = "ImageDecoder",
       .inputs = {file},
       .attributes = format("CMYK"),
       .error = ErrorCode::kInvalidData},
      {.name = "not bytes",
       .op_type = "ImageDecoder",
       .inputs = {numbers(DType::kFloat32, {2}, {1, 2})},
       .error = ErrorCode::kInvalidArgument},
  });
}

}  // namespace hugot::test
