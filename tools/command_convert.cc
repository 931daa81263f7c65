// hugot convert: safetensors weights of a model family that hugot knows to a model directory.
#include <iostream>

#include "kernels/registry.h"
#include "models/convert.h"
#include "tools/command.h"

namespace hugot::tools {
namespace {

struct Options {
  std::string source;
  std::string output;
  bool force = false;
};

int convert(const Options& options) {
  convert_model(options.source, options.output, options.force, builtin_ops());
  std::cerr << "wrote " << options.output << std::endl;
  return kDone;
}

}  // namespace

void add_convert(CLI::App& app, Action& action) {
  CLI::App* command = nullptr;
  Options& options = add_command<Options>(
      app, action, "convert",
      "Make a model directory with an ONNX graph from config.json and model.safetensors (BERT)",
      convert, command);
  command
      ->add_option("source", options.source,
                   "directory with config.json, model.safetensors and tokenizer.json")
      ->required();
  command->add_option("output", options.output, "directory to make")->required();
  command->add_flag("--force", options.force, "replace the directory when it is there");
}

}  // namespace hugot::tools
