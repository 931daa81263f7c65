// The models are described in tests/data/make_image_models.py.
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <cmath>
#include <thread>

#include "base/file.h"
#include "base/testing.h"
#include "hugot/hugot.hpp"

namespace hugot {
namespace {

const std::filesystem::path kModels = "tests/data/image-models";

// A picture of one colour.
class Plain {
 public:
  Plain(size_t width, size_t height, std::array<uint8_t, 3> colour)
      : width_(width), height_(height) {
    for (size_t i = 0; i < width * height; ++i) {
      pixels_.insert(pixels_.end(), colour.begin(), colour.end());
    }
  }
  ImageInput input() const { return RgbPixels{pixels_.data(), width_, height_}; }
  // The same as the bytes of a file.
  std::string file() const {
    std::string text = "P6 " + std::to_string(width_) + " " + std::to_string(height_) + " 255\n";
    return text.append(pixels_.begin(), pixels_.end());
  }

 private:
  size_t width_, height_;
  std::vector<uint8_t> pixels_;
};

const Plain kRed(40, 20, {255, 0, 0});
const Plain kGreen(11, 33, {0, 255, 0});

double softmax_of_ten() { return std::exp(10.0) / (std::exp(10.0) + 2); }

}  // namespace

TEST_CASE("images get labels, wherever they come from") {
  Session session({.threads = 2});
  const auto classify = session.image_classification(kModels / "classifier");
  const TemporaryDirectory folder;
  const std::filesystem::path file = folder / "red.ppm";
  const std::string bytes = kRed.file();
  write_file_atomically(file, bytes);
  const auto results = classify.run(
      {file, EncodedImage{std::as_bytes(std::span(bytes))}, kRed.input(), kGreen.input()});
  REQUIRE(results.size() == 4);
  for (size_t i = 0; i < results.size(); ++i) {
    CAPTURE(i);
    REQUIRE(results[i].error == "");
    REQUIRE(results[i].value.size() == 3);
    CHECK(results[i].value[0].label == (i < 3 ? "red" : "green"));
    CHECK(results[i].value[0].id == (i < 3 ? 0 : 1));
    CHECK(results[i].value[0].score == doctest::Approx(softmax_of_ten()).epsilon(1e-5));
  }
  CHECK(classify.statistics().texts == 4);
}

TEST_CASE("scores are what is asked for") {
  Session session({.threads = 1});
  const auto score = [&](ScoreFunction function) {
    const auto classify =
        session.image_classification(kModels / "classifier", {.function = function, .top_k = 1});
    const auto results = classify.run({kGreen.input()});
    REQUIRE(results[0].value.size() == 1);
    return results[0].value[0].score;
  };
  CHECK(score(ScoreFunction::kNone) == doctest::Approx(10));
  CHECK(score(ScoreFunction::kSigmoid) == doctest::Approx(1 / (1 + std::exp(-10.0))));
  CHECK_THROWS_AS(session.image_classification(kModels / "classifier", {.top_k = -1}), Error);
}

TEST_CASE("an image that cannot be read spoils no other") {
  Session session({.threads = 2});
  const auto classify = session.image_classification(kModels / "classifier");
  const std::string junk = "no picture at all";
  std::vector<ImageInput> images(20, kRed.input());
  images[3] = std::filesystem::path("there/is/no/such.png");
  images[7] = EncodedImage{std::as_bytes(std::span(junk))};
  images[11] = RgbPixels{nullptr, 3, 3};
  const auto results = classify.run(images);
  for (size_t i = 0; i < images.size(); ++i) {
    CAPTURE(i);
    CHECK(results[i].error.empty() == (i != 3 && i != 7 && i != 11));
  }
  CHECK(results[3].error.find("such.png") != std::string::npos);
  CHECK(classify.statistics().failed_texts == 3);
}

TEST_CASE("boxes are in pixels of the image") {
  Session session({.threads = 1});
  const auto detect = session.object_detection(kModels / "detector");
  const auto results = detect.run({kRed.input(), kGreen.input()});
  REQUIRE(results[0].error == "");
  REQUIRE(results[0].value.size() == 2);
  const Detection& second = results[0].value[1];
  CHECK(second.label.label == "red");
  CHECK(second.label.score ==
        doctest::Approx(std::exp(10.0) / (std::exp(10.0) + 2 + std::exp(5.0))).epsilon(1e-5));
  CHECK(second.box.xmin == doctest::Approx(0));
  CHECK(second.box.ymin == doctest::Approx(8));
  CHECK(second.box.xmax == doctest::Approx(20));
  CHECK(second.box.ymax == doctest::Approx(12));
  REQUIRE(results[1].value.size() == 2);
  CHECK(results[1].value[0].label.label == "green");
  CHECK(results[1].value[0].box.xmax == doctest::Approx(11));
  CHECK(results[1].value[0].box.ymax == doctest::Approx(33));

  const auto some = session.object_detection(kModels / "detector", {.threshold = 0.3, .top_k = 1});
  CHECK(some.run({kRed.input()})[0].value.size() == 1);
  const auto all = session.object_detection(kModels / "detector", {.threshold = 0.3});
  CHECK(all.run({kRed.input()})[0].value.size() == 3);
}

TEST_CASE("detectors without a class of nothing judge every class by itself") {
  Session session({.threads = 1});
  const auto detect = session.object_detection(kModels / "sigmoid");
  const auto results = detect.run({kRed.input()});
  REQUIRE(results[0].error == "");
  REQUIRE(results[0].value.size() == 3);
  CHECK(results[0].value[0].label.score == doctest::Approx(1 / (1 + std::exp(-5.0))));
  CHECK(results[0].value[2].label.score == doctest::Approx(1 / (1 + std::exp(-0.5))));
  CHECK(results[0].value[2].box.xmin == doctest::Approx(-10));
}

TEST_CASE("labels that the model has never seen") {
  Session session({.threads = 2});
  const auto classify = session.zero_shot_image_classification(
      kModels / "clip", {.labels = {"blue", "red"}, .hypothesis_template = "a photo of {}"});
  const std::vector<std::string> own = {"green", "red", "blue"};
  const ZeroShotImage images[] = {{kRed.input()}, {kGreen.input(), own}, {kRed.input(), own, "x"}};
  for (int again = 0; again < 2; ++again) {
    const auto results = classify.run(images);
    REQUIRE(results[0].error == "");
    REQUIRE(results[0].value.size() == 2);
    CHECK(results[0].value[0].label == "red");
    CHECK(results[0].value[0].id == 1);
    CHECK(results[0].value[0].score == doctest::Approx(1 / (1 + std::exp(-8.0))).epsilon(1e-5));
    REQUIRE(results[1].value.size() == 3);
    CHECK(results[1].value[0].label == "green");
    CHECK(results[1].value[1].label == "red");  // of equal ones the earlier
    CHECK(results[2].error.find("has no {}") != std::string::npos);
  }
  const auto without = session.zero_shot_image_classification(kModels / "clip");
  const ZeroShotImage image{kRed.input()};
  CHECK(without.run({&image, 1})[0].error.find("no labels") != std::string::npos);
}

TEST_CASE("images become vectors") {
  Session session({.threads = 2});
  const auto first = session.image_feature_extraction(kModels / "vit");
  EmbeddingResult result = first.run({kRed.input(), kGreen.input()});
  REQUIRE(result.dim == 3);
  CHECK(result.errors.empty());
  CHECK(result[0][0] == doctest::Approx(1));
  CHECK(result[1][1] == doctest::Approx(1));
  const auto mean = session.image_feature_extraction(kModels / "vit", {.pooling = Pooling::kMean});
  CHECK(mean.run({kRed.input()})[0][0] == doctest::Approx(1.5));
  const auto cut =
      session.image_feature_extraction(kModels / "clip", {.normalize = true, .truncate_dim = 2});
  result = cut.run({kGreen.input(), std::filesystem::path("nowhere")});
  REQUIRE(result.dim == 2);
  CHECK(result[0][1] == doctest::Approx(1));
  CHECK(result.errors[1] != "");
  CHECK_THROWS_AS(session.image_feature_extraction(kModels / "clip", {.pooling = Pooling::kMean}),
                  Error);
}

TEST_CASE("results do not depend on the batch, and pipelines may be called from many threads") {
  Session session({.threads = 3});
  const auto classify = session.image_classification(kModels / "classifier");
  std::vector<Plain> pictures;
  for (size_t i = 0; i < 30; ++i) {
    const auto shade = static_cast<uint8_t>(8 * i);
    pictures.emplace_back(3 + i, 40 - i, std::array<uint8_t, 3>{shade, 100, uint8_t(255 - shade)});
  }
  std::vector<ImageInput> images;
  for (const Plain& picture : pictures) images.push_back(picture.input());
  std::vector<double> alone;
  for (const ImageInput& image : images) alone.push_back(classify.run({image})[0].value[0].score);
  std::vector<std::jthread> threads;
  std::atomic<int> differ = 0;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      const auto results = classify.run(images);
      for (size_t i = 0; i < images.size(); ++i) differ += results[i].value[0].score != alone[i];
    });
  }
  threads.clear();
  CHECK(differ == 0);
}

TEST_CASE("work on images can be stopped") {
  Session session({.threads = 2});
  const auto classify = session.image_classification(kModels / "classifier");
  std::stop_source source;
  source.request_stop();
  CHECK(error_of([&] { classify.run({kRed.input()}, source.get_token()); }) ==
        ErrorCode::kCancelled);
}

TEST_CASE("models that take no images are errors that say so") {
  Session session({.threads = 1});
  CHECK(error_of([&] { session.image_classification("tests/data/tiny-bert"); }) ==
        ErrorCode::kNotFound);
  CHECK(error_of([&] { session.object_detection(kModels / "classifier"); }) ==
        ErrorCode::kUnsupported);
  CHECK(error_of([&] { session.zero_shot_image_classification(kModels / "vit"); }).has_value());
  CHECK(error_of([&] {
          session.image_feature_extraction(kModels / "vit", {.output_name = "nothing"});
        }) == ErrorCode::kInvalidArgument);
}

}  // namespace hugot
