// Prints the cosine of an image and each other one.
#include <cstdio>
#include <hugot/hugot.hpp>
#include <numeric>

int main(int argc, char** argv) try {
  if (argc < 4) {
    std::fprintf(stderr, "usage: %s MODEL_DIRECTORY IMAGE IMAGE..\n", argv[0]);
    return 2;
  }
  hugot::Session session;
  const auto embed = session.image_feature_extraction(argv[1], {.normalize = true});
  const std::vector<hugot::ImageInput> images(argv + 2, argv + argc);
  const auto result = embed.run(images);
  for (const std::string& error : result.errors) {
    if (!error.empty()) throw hugot::Error(hugot::ErrorCode::kInvalidData, error);
  }
  for (size_t i = 1; i < images.size(); ++i) {
    const auto a = result[0], b = result[i];
    std::printf("%s %.4f\n", argv[2 + i], std::inner_product(a.begin(), a.end(), b.begin(), 0.0f));
  }
} catch (const hugot::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
