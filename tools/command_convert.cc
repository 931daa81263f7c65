// hugot convert: safetensors weights of a model family that hugot knows, or a model with a graph,
// to a model directory.
#include <iostream>

#include "kernels/registry.h"
#include "models/convert.h"
#include "tools/command.h"

namespace hugot::tools {
namespace {

struct Options {
  std::string source;
  std::string output;
  std::string precision = "fp32";
  std::string onnx_filename;
  bool embeddings = false;
  bool force = false;
};

int convert(const Options& options) {
  convert_model(options.source, options.output, builtin_ops(),
                {.force = options.force,
                 .precision = precision_from_name(options.precision),
                 .embeddings = options.embeddings,
                 .onnx_filename = options.onnx_filename});
  std::cerr << "wrote " << options.output << std::endl;
  return kDone;
}

}  // namespace

void add_convert(CLI::App& app, Action& action) {
  CLI::App* command = nullptr;
  Options& options = add_command<Options>(
      app, action, "convert",
      "Make a model directory with an ONNX graph from config.json and model.safetensors (BERT), or "
      "with weights in fewer bits from another model directory",
      convert, command);
  command
      ->add_option("source", options.source,
                   "directory with config.json, tokenizer.json, and model.safetensors or a graph")
      ->required();
  command->add_option("output", options.output, "directory to make")->required();
  command
      ->add_option("--precision", options.precision,
                   "weights of linear layers: fp32, bf16 or int8; the model then runs so")
      ->check(CLI::IsMember({"fp32", "bf16", "int8"}))
      ->capture_default_str();
  command->add_flag("--embeddings", options.embeddings, "tables of embeddings, too");
  command->add_option("-n,--onnx-filename,--onnxFilename", options.onnx_filename,
                      "the source's graph, relative to it");
  command->add_flag("--force", options.force, "replace the directory when it is there");
}

}  // namespace hugot::tools
