// Prints the best labels of each image.
#include <cstdio>
#include <hugot/hugot.hpp>

int main(int argc, char** argv) try {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s MODEL_DIRECTORY IMAGE..\n", argv[0]);
    return 2;
  }
  hugot::Session session;
  const auto classify = session.image_classification(argv[1], {.top_k = 3});
  const std::vector<hugot::ImageInput> images(argv + 2, argv + argc);
  for (const auto& [labels, error] : classify.run(images)) {
    if (!error.empty()) throw hugot::Error(hugot::ErrorCode::kInvalidData, error);
    for (const auto& label : labels) std::printf("%s %.4f\n", label.label.c_str(), label.score);
  }
} catch (const hugot::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
