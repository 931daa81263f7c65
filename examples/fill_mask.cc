// Prints what fits in the gap of a text.
#include <cstdio>
#include <hugot/hugot.hpp>

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s MODEL_DIRECTORY\n", argv[0]);
    return 2;
  }
  hugot::Session session;
  const auto fill = session.fill_mask(argv[1], {.top_k = 3});
  const std::string text = "Paris is the " + fill.mask_token() + " of France.";
  const std::string_view texts[] = {text};
  for (const auto& [masks, error] : fill.run(texts)) {
    if (!error.empty()) throw hugot::Error(hugot::ErrorCode::kInvalidData, error);
    for (const auto& filled : masks[0]) {
      std::printf("%.3f %s\n", filled.score, filled.sequence.c_str());
    }
  }
} catch (const hugot::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
