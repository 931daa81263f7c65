#include <doctest/doctest.h>

#include <cstdlib>
#include <sstream>

#include "base/file.h"
#include "base/npz.h"
#include "base/testing.h"
#include "images/decode.h"

namespace hugot {
namespace {

std::filesystem::path cases() {
  const char* const other = std::getenv("HUGOT_IMAGE_CASES");
  return other != nullptr ? other : "tests/data/images";
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

Image decode(const std::string& file, const DecodeOptions& options = {}) {
  return decode_image(bytes_of(read_file(cases() / file)), options);
}

bool in_this_build(const std::string& file) {
  static const std::pair<const char*, const char*> kNames[] = {
      {".jpg", "JPEG,"},     {".png", "PNG"}, {".webp", "WebP"}, {".tif", "TIFF"},
      {".jp2", "JPEG 2000"}, {".gif", "GIF"}, {".bmp", "BMP"}};
  for (const auto& [ending, name] : kNames) {
    if (file.ends_with(ending)) return decodable_formats().find(name) != std::string::npos;
  }
  return true;
}

// Formats whose decoders may round differently from version to version.
bool is_lossy(const std::string& file) {
  return file.ends_with(".jpg") || file.find("lossy") != std::string::npos;
}

// The largest difference between two channels, and how many differ.
std::pair<int, int64_t> difference(const Image& image, const Tensor& want) {
  REQUIRE(want.shape() == Shape{image.height, image.width, Image::kChannels});
  int most = 0;
  int64_t count = 0;
  for (size_t i = 0; i < image.rgb.size(); ++i) {
    const int d = std::abs(image.rgb[i] - want.data<uint8_t>()[i]);
    most = std::max(most, d);
    count += d != 0;
  }
  return {most, count};
}

std::vector<std::string> parts_of(const std::string& name) {
  std::vector<std::string> parts;
  std::istringstream in(name);
  for (std::string part; std::getline(in, part, '/');) parts.push_back(part);
  return parts;
}

}  // namespace

TEST_CASE("pictures are decoded to the pixels of Pillow") {
  int seen = 0;
  for (const auto& golden : read_npz(cases() / "golden.npz")) {
    const auto& [name, want] = golden;
    const auto parts = parts_of(name);
    if (parts[0] == "resize" || !in_this_build(parts[1])) continue;
    CAPTURE(golden.first);
    const auto [most, count] = difference(decode(parts[1], {.orient = parts[0] == "decode"}), want);
    CHECK(most <= (is_lossy(parts[1]) ? 2 : 0));
    if (most > 0) MESSAGE(count << " channels differ by up to " << most);
    ++seen;
  }
  CHECK(seen >= 20);
}

TEST_CASE("pictures are scaled to the pixels of Pillow") {
  int seen = 0;
  for (const auto& golden : read_npz(cases() / "golden.npz")) {
    const auto& [name, want] = golden;
    const auto parts = parts_of(name);
    if (parts[0] != "resize" || !in_this_build(parts[1])) continue;
    CAPTURE(golden.first);
    const size_t times = parts[3].find('x');
    const Image scaled =
        resized(decode(parts[1]), std::stoll(parts[3].substr(0, times)),
                std::stoll(parts[3].substr(times + 1)), static_cast<Resample>(std::stoi(parts[2])));
    CHECK(difference(scaled, want).second == 0);
    ++seen;
  }
  if (in_this_build(".png")) CHECK(seen >= 40);
}

TEST_CASE("damaged pictures are errors or pictures, and nothing else") {
  for (const auto& entry : std::filesystem::directory_iterator(cases())) {
    const std::string name = entry.path().filename();
    if (name.ends_with(".npz") || name.starts_with("source") || !in_this_build(name)) continue;
    CAPTURE(name);
    const std::string original = read_file(entry.path());
    parse_damaged(original, 29, [](const std::string& bytes) {
      decode_image(bytes_of(bytes), {.max_pixels = 100'000});
    });
  }
}

TEST_CASE("truncated pictures are errors") {
  for (const char* name : {"rgb.jpg", "progressive.jpg", "rgb.png", "lossy.webp", "lossless.webp",
                           "palette.gif", "rgb.bmp", "rgb.ppm", "rgb.tif"}) {
    if (!in_this_build(name)) continue;
    CAPTURE(name);
    const std::string whole = read_file(cases() / name);
    for (const size_t length : {whole.size() / 4, whole.size() / 2, whole.size() * 3 / 4}) {
      const std::string part = whole.substr(0, length);
      CHECK(error_of([&] { decode_image(bytes_of(part)); }) == ErrorCode::kInvalidData);
    }
  }
}

TEST_CASE("what is no picture, too large or of another kind is an error that says so") {
  std::string message;
  CHECK(error_of([] { decode_image({}); }, &message) == ErrorCode::kInvalidData);
  CHECK(error_of([] { decode_image(bytes_of("hello, world")); }, &message) ==
        ErrorCode::kInvalidData);
  CHECK(message.find("this build reads BMP, GIF") != std::string::npos);
  const std::string huge = "P6 100000 100000 255\n";
  CHECK(error_of([&] { decode_image(bytes_of(huge)); }, &message) == ErrorCode::kInvalidData);
  CHECK(message.find("larger than the limit") != std::string::npos);
  const std::string negative = "P6 -1 3 255\n";
  CHECK(error_of([&] { decode_image(bytes_of(negative)); }) == ErrorCode::kInvalidData);
  CHECK(error_of([] { decode("rgb.ppm", {.max_pixels = 23 * 17 - 1}); }) ==
        ErrorCode::kInvalidData);
  CHECK(error_of([] { make_image(1, 0); }) == ErrorCode::kInvalidData);
  CHECK(error_of([] { resized(make_image(1, 1), INT64_MAX, 2, Resample::kBox); }) ==
        ErrorCode::kInvalidData);
}

}  // namespace hugot
