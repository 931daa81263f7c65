// Prints the label of each text.
#include <cstdio>
#include <hugot/hugot.hpp>

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s MODEL_DIRECTORY\n", argv[0]);
    return 2;
  }
  hugot::Session session;
  const auto classify = session.text_classification(argv[1]);
  const hugot::TextPair texts[] = {{"A wonderful film."}, {"Two hours of boredom."}};
  for (const auto& [labels, error] : classify.run(texts)) {
    if (!error.empty()) throw hugot::Error(hugot::ErrorCode::kInvalidData, error);
    std::printf("%s %.4f\n", labels[0].label.c_str(), labels[0].score);
  }
} catch (const hugot::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
