// Prints what a text names.
#include <cstdio>
#include <hugot/hugot.hpp>

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s MODEL_DIRECTORY\n", argv[0]);
    return 2;
  }
  hugot::Session session;
  const auto find = session.token_classification(argv[1]);
  const std::string_view texts[] = {"Ada Lovelace was born in London."};
  for (const auto& [entities, error] : find.run(texts)) {
    if (!error.empty()) throw hugot::Error(hugot::ErrorCode::kInvalidData, error);
    for (const auto& entity : entities) {
      std::printf("%s %s %zu-%zu\n", entity.label.c_str(), entity.word.c_str(), entity.start,
                  entity.end);
    }
  }
} catch (const hugot::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
