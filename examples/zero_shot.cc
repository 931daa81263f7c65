// Labels a text with words that the model has not been trained for.
#include <cstdio>
#include <hugot/hugot.hpp>

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s MODEL_DIRECTORY\n", argv[0]);
    return 2;
  }
  hugot::Session session;
  const auto classify =
      session.zero_shot_classification(argv[1], {.labels = {"travel", "cooking", "sports"}});
  const hugot::ZeroShotText texts[] = {{"One day I will see the world."}};
  for (const auto& [labels, error] : classify.run(texts)) {
    if (!error.empty()) throw hugot::Error(hugot::ErrorCode::kInvalidData, error);
    for (const auto& label : labels) std::printf("%s %.4f\n", label.label.c_str(), label.score);
  }
} catch (const hugot::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
