// Fine-tunes an embedding model on pairs of texts that belong together.
#include <cstdio>
#include <hugot/training.hpp>

int main(int argc, char** argv) try {
  hugot::TrainingOptions options;
  options.model = argc > 1 ? argv[1] : "models/all-MiniLM-L6-v2";
  options.train_file = argc > 2 ? argv[2] : "examples/pairs.jsonl";
  options.output = argc > 3 ? argv[3] : "tuned";
  options.epochs = 2;
  options.batch_size = 4;
  options.force = true;  // what an earlier run has written
  hugot::TrainingCallbacks callbacks;
  callbacks.step = [](const hugot::TrainingProgress& now) {
    std::printf("step %lld of %lld: loss %.4f\n", static_cast<long long>(now.step),
                static_cast<long long>(now.steps), now.loss);
  };
  hugot::train(options, callbacks);
} catch (const hugot::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
