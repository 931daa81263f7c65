// Answers a question about a text, and says where the answer stands.
#include <cstdio>
#include <hugot/hugot.hpp>

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s MODEL_DIRECTORY\n", argv[0]);
    return 2;
  }
  hugot::Session session;
  const auto answer = session.question_answering(argv[1], {.top_k = 3});
  const hugot::Question questions[] = {
      {"Where do I live?", "My name is Sarah and I live in London."}};
  for (const auto& [answers, error] : answer.run(questions)) {
    if (!error.empty()) throw hugot::Error(hugot::ErrorCode::kInvalidData, error);
    for (const auto& [score, text, start, end] : answers) {
      std::printf("%.3f %s %zu-%zu\n", score, text.c_str(), start, end);
    }
  }
} catch (const hugot::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
