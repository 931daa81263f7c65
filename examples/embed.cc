// Embeds texts and prints how similar they are to the first one.
#include <cstdio>
#include <hugot/hugot.hpp>
#include <numeric>

int main(int argc, char** argv) try {
  hugot::Session session;
  const auto embed = session.feature_extraction(argc > 1 ? argv[1] : "models/all-MiniLM-L6-v2",
                                                {.normalize = true});
  const auto result = embed.run(
      {"A cat sleeps on the sofa.", "A kitten naps on the couch.", "Interest rates were raised."});
  for (size_t i = 1; i < result.rows; ++i) {
    const auto a = result[0], b = result[i];
    std::printf("%.4f\n", std::inner_product(a.begin(), a.end(), b.begin(), 0.0));
  }
} catch (const hugot::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
