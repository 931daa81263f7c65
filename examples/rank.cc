// Sorts documents by how well they answer a query.
#include <cstdio>
#include <hugot/hugot.hpp>

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s MODEL_DIRECTORY\n", argv[0]);
    return 2;
  }
  hugot::Session session;
  const auto encoder = session.cross_encoder(argv[1]);
  const std::string documents[] = {"Berlin has many museums.", "Bread is baked from flour.",
                                   "About 3.5 million people live in Berlin."};
  const hugot::RankTask task[] = {{"How many people live in Berlin?", documents}};
  for (const auto& [ranked, error] : encoder.rank(task)) {
    if (!error.empty()) throw hugot::Error(hugot::ErrorCode::kInvalidData, error);
    for (const auto& [index, score] : ranked) {
      std::printf("%.4f %s\n", score, documents[index].c_str());
    }
  }
} catch (const hugot::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
