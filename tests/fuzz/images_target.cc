// Pictures: decoded, turned and scaled.
#include "images/decode.h"
#include "tests/fuzz/fuzz.h"

namespace hugot::fuzz {

InputKind input_kind() { return InputKind::kBinary; }

}  // namespace hugot::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hugot;
  return fuzz::only_errors([&] {
    constexpr int64_t kFewPixels = 1 << 18;
    const Image image =
        decode_image(std::as_bytes(std::span(data, size)), {.max_pixels = kFewPixels});
    const int64_t width = image.width % 40 + 1, height = image.height % 40 + 1;
    for (const Resample filter : {Resample::kNearest, Resample::kLanczos, Resample::kBox}) {
      require(resized(image, width, height, filter).height == height, ErrorCode::kInternal,
              "rows were lost");
    }
  });
}
