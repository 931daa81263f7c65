// Prints what is seen on each image, and where.
#include <cstdio>
#include <hugot/hugot.hpp>

int main(int argc, char** argv) try {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s MODEL_DIRECTORY IMAGE..\n", argv[0]);
    return 2;
  }
  hugot::Session session;
  const auto detect = session.object_detection(argv[1], {.threshold = 0.5});
  const std::vector<hugot::ImageInput> images(argv + 2, argv + argc);
  for (const auto& [found, error] : detect.run(images)) {
    if (!error.empty()) throw hugot::Error(hugot::ErrorCode::kInvalidData, error);
    for (const auto& [label, box] : found) {
      std::printf("%s %.4f from (%.0f, %.0f) to (%.0f, %.0f)\n", label.label.c_str(), label.score,
                  box.xmin, box.ymin, box.xmax, box.ymax);
    }
  }
} catch (const hugot::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
