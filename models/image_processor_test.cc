#include "models/image_processor.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <map>

#include "base/file.h"
#include "base/npz.h"
#include "base/testing.h"
#include "models/json_file.h"

namespace hugot {
namespace {

std::filesystem::path cases() {
  const char* const other = std::getenv("HUGOT_PROCESSOR_CASES");
  return other != nullptr ? other : "tests/data/image-processors";
}

ImageProcessor processor(const nlohmann::json& config) {
  const TemporaryDirectory folder;
  write_file_atomically(folder / "preprocessor_config.json", config.dump());
  return ImageProcessor::read(folder.path());
}

Image image_of(const Tensor& pixels) {
  Image image = make_image(pixels.shape()[1], pixels.shape()[0]);
  std::copy_n(pixels.data<uint8_t>(), image.rgb.size(), image.rgb.begin());
  return image;
}

}  // namespace

TEST_CASE("images are prepared as by the processors of transformers") {
  std::map<std::string, Tensor> golden;
  for (auto& [name, tensor] : read_npz(cases() / "golden.npz")) golden.emplace(name, tensor);
  with_json(cases() / "cases.json", [&](const nlohmann::json& configs) {
    for (size_t i = 0; i < configs.size(); ++i) {
      CAPTURE(configs[i].dump());
      const ImageProcessor made = processor(configs[i]);
      for (size_t k = 0; golden.contains(str("picture/", k)); ++k) {
        CAPTURE(k);
        const ImagePixels got = made.apply(image_of(golden.at(str("picture/", k))));
        const Tensor& want = golden.at(str("values/", i, "/", k));
        REQUIRE(want.shape() == Shape{3, got.size.height, got.size.width});
        if (made.fixed_size()) CHECK(*made.fixed_size() == got.size);
        double most = 0;
        for (size_t n = 0; n < got.values.size(); ++n) {
          most = std::max<double>(most, std::abs(got.values[n] - want.data<float>()[n]));
        }
        CHECK(most <= 1e-5);
        const auto mask = golden.find(str("mask/", i, "/", k));
        if (mask == golden.end()) continue;
        int64_t ones = 0;
        for (int64_t n = 0; n < mask->second.size(); ++n) ones += mask->second.data<int64_t>()[n];
        CHECK(ones == got.valid.height * got.valid.width);
      }
    }
  });
}

TEST_CASE("what cannot be prepared is an error that says so") {
  const nlohmann::json bad[] = {
      {{"size", -3}},
      {{"size", {{"shortest_edge", 0}}}},
      {{"size", {{"height", 10}}}},
      {{"size", {{"height", 10}, {"width", 1e9}}}},
      {{"size", {{"height", 10}, {"width", INT64_MAX}}}},
      {{"size", "large"}},
      {{"size", {1, 2, 3}}},
      {{"size", {{"longest_edge", 10}}}},
      {{"resample", 9}},
      {{"image_std", {1, 0, 1}}},
      {{"image_mean", {1, 2}}},
      {{"do_center_crop", true}},
      {{"do_resize", "yes"}},
      {{"do_grayscale", true}},
      {{"image_processor_type", "ConvNextImageProcessor"}, {"size", 32}, {"crop_pct", 0}},
      {{"image_processor_type", "ConvNextImageProcessor"}, {"size", 32}, {"crop_pct", -1}},
      {{"image_processor_type", 7}},
  };
  for (const auto& config : bad) {
    CAPTURE(config.dump());
    CHECK_THROWS_AS(processor(config), Error);
  }
  CHECK(error_of([] { ImageProcessor::read("tests/data/tiny-bert"); }) == ErrorCode::kNotFound);

  // A picture one pixel wide would become a strip of 13 million.
  const auto shortest = processor({{"size", {{"shortest_edge", 224}}}});
  CHECK(error_of([&] { shortest.apply(make_image(1, 60000)); }) == ErrorCode::kInvalidData);
  const auto flat = processor({{"size", {{"shortest_edge", 8}, {"longest_edge", 16}}}});
  CHECK(error_of([&] { flat.apply(make_image(1, 60000)); }) == ErrorCode::kInvalidData);
  const auto padded =
      processor({{"do_resize", false}, {"pad_size", {{"height", 4}, {"width", 4}}}});
  CHECK(error_of([&] { padded.apply(make_image(5, 4)); }) == ErrorCode::kInvalidData);
}

TEST_CASE("the processor may be part of a file for several") {
  const TemporaryDirectory folder;
  write_file_atomically(folder / "processor_config.json",
                        R"({"image_processor": {"size": {"height": 5, "width": 7}}})");
  CHECK(ImageProcessor::read(folder.path()).fixed_size() == ImageSize{5, 7});
}

}  // namespace hugot
