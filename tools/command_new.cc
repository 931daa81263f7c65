// hugot new: a model directory with random weights.
#include <iostream>

#include "kernels/registry.h"
#include "models/new_model.h"
#include "models/pooling.h"
#include "tools/command.h"

namespace hugot::tools {
namespace {

struct Options {
  NewModelOptions model;
  std::string pooling = "mean";
  std::string output;
};

int make(const Options& options) {
  NewModelOptions model = options.model;
  model.pooling = pooling_from_name(options.pooling);
  new_model(model, options.output, builtin_ops());
  std::cerr << "wrote " << options.output << std::endl;
  return kDone;
}

}  // namespace

void add_new(CLI::App& app, Action& action) {
  CLI::App* command = nullptr;
  Options& given = add_command<Options>(
      app, action, "new",
      "Make a sentence-embedding model with random weights, as a model directory for `hugot train`",
      make, command);
  NewModelOptions& options = given.model;
  const auto option = [&](std::string_view names, auto& value, const std::string& text) {
    return command->add_option(both_spellings(names), value, text);
  };
  option("--architecture", options.architecture, "bert")->capture_default_str();
  option("--layers", options.layers, "layers of the encoder")->required();
  option("--hidden", options.hidden, "size of a token's vector")->required();
  option("--heads", options.heads, "attention heads; their number divides --hidden")->required();
  option("--intermediate", options.intermediate, "size between the two feed-forward matrices")
      ->required();
  option("--max-length", options.max_length,
         "most tokens of a text, which is how many positions the model has")
      ->capture_default_str();
  option("--pooling", given.pooling, "from vectors of tokens to that of the text")
      ->check(CLI::IsMember({"mean", "cls"}))
      ->capture_default_str();
  option("--dim", options.dim, "size of the text's vector, by a Dense layer (default: --hidden)")
      ->check(CLI::Range(1, 1 << 20));
  command->add_flag("--normalize", options.normalize, "vectors of length 1");
  option("--seed", options.seed, "of the weights")->capture_default_str();
  option("--tokenizer", options.tokenizer,
         "directory with a tokenizer, as `hugot tokenizer-train` makes it, or a tokenizer.json")
      ->required();
  option("--output,-o", given.output, "directory to make")->required();
  command->add_flag("--force", options.force, "replace the directory when it is there");
}

}  // namespace hugot::tools
