// Prints which of two labels fits each image.
#include <cstdio>
#include <hugot/hugot.hpp>

int main(int argc, char** argv) try {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s MODEL_DIRECTORY IMAGE..\n", argv[0]);
    return 2;
  }
  hugot::Session session;
  const auto classify =
      session.zero_shot_image_classification(argv[1], {.labels = {"a red circle", "a ship"}});
  std::vector<hugot::ZeroShotImage> images;
  for (int i = 2; i < argc; ++i) images.push_back({argv[i]});
  for (const auto& [labels, error] : classify.run(images)) {
    if (!error.empty()) throw hugot::Error(hugot::ErrorCode::kInvalidData, error);
    std::printf("%s %.4f\n", labels[0].label.c_str(), labels[0].score);
  }
} catch (const hugot::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
