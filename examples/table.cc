// Prints what a classifier over tables makes of a row.
#include <cstdio>
#include <hugot/hugot.hpp>

int main(int argc, char** argv) try {
  if (argc != 2 && argc != 3) {
    std::fprintf(stderr, "usage: %s MODEL_DIRECTORY [ONNX_FILENAME]\n", argv[0]);
    return 2;
  }
  hugot::Session session;
  hugot::TabularOptions options;
  if (argc == 3) options.onnx_filename = argv[2];
  const auto classify = session.tabular(argv[1], options);
  const hugot::TabularRow rows[] = {{{6.1, 2.8, 4.7, 1.2}}};  // an iris
  for (const auto& [result, error] : classify.run(rows)) {
    if (!error.empty()) throw hugot::Error(hugot::ErrorCode::kInvalidData, error);
    std::printf("%s\n", result.predicted.c_str());
    for (const auto& label : result.labels)
      std::printf("%.3f %s\n", label.score, label.label.c_str());
  }
} catch (const hugot::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
