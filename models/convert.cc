#include "models/convert.h"

#include "base/safetensors.h"
#include "models/bert_graph.h"
#include "models/directory_files.h"
#include "models/encoder_output.h"
#include "models/json_file.h"
#include "models/model_directory.h"
#include "models/narrow_weights.h"
#include "models/staging_folder.h"
#include "onnx/exporter.h"

namespace hugot {
namespace {

namespace fs = std::filesystem;

BertConfig read_bert_config(const fs::path& file) {
  return with_json(file, [](const nlohmann::json& json) {
    const auto family = member<std::string>(json, "model_type").value_or("");
    require(family == "bert", ErrorCode::kUnsupported, "model_type '", family,
            "' cannot be converted; this version converts: bert");
    const auto positions =
        member<std::string>(json, "position_embedding_type").value_or("absolute");
    require(positions == "absolute", ErrorCode::kUnsupported, "position_embedding_type '",
            positions, "' is not implemented");
    BertConfig config;
    config.layers = json.at("num_hidden_layers").get<int64_t>();
    config.heads = json.at("num_attention_heads").get<int64_t>();
    config.hidden = json.at("hidden_size").get<int64_t>();
    config.intermediate = json.at("intermediate_size").get<int64_t>();
    config.vocabulary = json.at("vocab_size").get<int64_t>();
    config.positions = json.at("max_position_embeddings").get<int64_t>();
    config.token_types = member<int64_t>(json, "type_vocab_size").value_or(2);
    config.layer_norm_epsilon = member<float>(json, "layer_norm_eps").value_or(1e-12f);
    config.activation = member<std::string>(json, "hidden_act").value_or("gelu");
    return config;
  });
}

fs::path weights_file(const fs::path& folder) {
  const fs::path file = folder / "model.safetensors";
  require(!fs::exists(folder / "model.safetensors.index.json") || fs::exists(file),
          ErrorCode::kUnsupported, folder.string(),
          ": weights in several safetensors files are not implemented");
  require(fs::exists(file), ErrorCode::kNotFound, "no such file: ", file.string(),
          " (weights are read from safetensors files only)");
  return file;
}

// A graph and what to write beside it.
struct Source {
  Graph graph;
  ExportOptions options;
};

bool has_graph(const ModelDirectory& directory, const std::string& onnx_filename) {
  if (!onnx_filename.empty()) return true;
  try {
    directory.onnx_file("");
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kNotFound) return false;
    throw;
  }
  return true;
}

Source read_graph(const fs::path& file, const OpRegistry& ops) {
  LoadedModel model = load_model(file, ops);
  infer(model.graph);
  Source source = {std::move(model.graph), {}};
  source.options.graph_name = model.graph_name;
  source.options.doc_string = model.doc_string;
  source.options.metadata = std::move(model.metadata);
  return source;
}

Source read_weights(const fs::path& folder, const OpRegistry& ops) {
  const BertConfig config = read_bert_config(folder / "config.json");
  const fs::path weights = weights_file(folder);
  Source source = {with_context([&] { return weights.string(); },
                                [&] { return build_bert(config, read_safetensors(weights), ops); }),
                   {}};
  source.options.graph_name = "bert";
  return source;
}

}  // namespace

void convert_model(const fs::path& source, const fs::path& output, const OpRegistry& ops,
                   const ConvertOptions& options) {
  const fs::path place = place_of_new_folder(output, options.force);
  require(!fs::exists(place) || !fs::equivalent(place, source), ErrorCode::kInvalidArgument,
          "source and output are the same directory");
  const ModelDirectory directory = ModelDirectory::read(source);
  directory.tokenizer_file();
  const bool narrow =
      options.precision != Precision::kModel && options.precision != Precision::kFloat32;
  require(narrow || !options.embeddings, ErrorCode::kInvalidArgument,
          "embeddings are narrowed with precision int8 or bf16 only");
  Source model = narrow && has_graph(directory, options.onnx_filename)
                     ? read_graph(directory.onnx_file(options.onnx_filename), ops)
                     : read_weights(directory.transformer, ops);
  if (narrow) {
    const size_t matrices = narrow_weights(model.graph, options.precision, ops);
    require(matrices > 0, ErrorCode::kUnsupported, source.string(),
            ": the graph has no linear layers with float32 weights");
    if (options.embeddings) narrow_embeddings(model.graph, options.precision, ops);
    model.options.metadata[kPrecisionKey] = precision_name(options.precision);
  }

  StagingFolder staging(place);
  copy_model_files(directory, staging.path());
  fs::create_directories(staging.path() / "onnx");
  model.options.producer_version = HUGOT_VERSION;
  write_model(model.graph, staging.path() / "onnx" / "model.onnx", model.options);
  staging.move_into_place();
}

}  // namespace hugot
