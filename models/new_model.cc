#include "models/new_model.h"

#include <array>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/safetensors.h"
#include "hugot/tokenizer.hpp"
#include "kernels/random/random.h"
#include "models/bert_graph.h"
#include "models/json_file.h"
#include "models/model_directory.h"
#include "models/staging_folder.h"
#include "onnx/exporter.h"

namespace hugot {
namespace {

namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;
using Weights = std::map<std::string, Tensor>;

constexpr double kDeviation = 0.02;
constexpr double kCut = 2;  // deviations

// What one number may be at most: a mistake is told before the memory is asked for.
constexpr int64_t kMostLayers = 1000;
constexpr int64_t kLargest = 1 << 20;

void check(const NewModelOptions& o) {
  require(o.architecture == "bert", ErrorCode::kInvalidArgument, "unknown architecture '",
          o.architecture, "'; this version makes: bert");
  const auto in_range = [](int64_t value, int64_t least, int64_t most, const char* name) {
    require(value >= least && value <= most, ErrorCode::kInvalidArgument, name, " ", value,
            ": a number from ", least, " to ", most, " is expected");
  };
  in_range(o.layers, 1, kMostLayers, "layers");
  in_range(o.hidden, 1, kLargest, "hidden");
  in_range(o.heads, 1, kLargest, "heads");
  in_range(o.intermediate, 1, kLargest, "intermediate");
  in_range(o.max_length, 1, kLargest, "max length");
  in_range(o.dim, 0, kLargest, "dim");
  require(o.hidden % o.heads == 0, ErrorCode::kInvalidArgument, "hidden ", o.hidden,
          " is no multiple of heads ", o.heads);
  require(o.pooling == Pooling::kMean || o.pooling == Pooling::kCls, ErrorCode::kInvalidArgument,
          "a new model pools by mean or cls");
}

// Draws weights, each tensor from a stream of its own.
class Initializer {
 public:
  explicit Initializer(uint64_t seed) : seeds_(seed) {}

  Tensor matrix(int64_t rows, int64_t columns) {
    Tensor tensor(DType::kFloat32, {rows, columns});
    const random::Stream stream(seeds_.bits(count_++));
    const auto size = static_cast<uint64_t>(tensor.size());
    for (uint64_t i = 0; i < size; ++i) {
      // Numbers beyond the cut are drawn again, from the next `size` numbers of the stream.
      uint64_t draw = i;
      double x = stream.normal(draw);
      while (std::abs(x) > kCut) x = stream.normal(draw += size);
      tensor.data<float>()[i] = static_cast<float>(kDeviation * x);
    }
    return tensor;
  }

  static Tensor vector(int64_t size, float value) {
    Tensor tensor(DType::kFloat32, {size});
    std::fill_n(tensor.data<float>(), size, value);
    return tensor;
  }

 private:
  random::Stream seeds_;
  uint64_t count_ = 0;
};

Weights draw_bert(const BertConfig& config, Initializer& draw) {
  Weights weights;
  const auto linear = [&](const std::string& name, int64_t in, int64_t out) {
    weights.emplace(name + ".weight", draw.matrix(out, in));
    weights.emplace(name + ".bias", Initializer::vector(out, 0));
  };
  const auto norm = [&](const std::string& name) {
    weights.emplace(name + ".weight", Initializer::vector(config.hidden, 1));
    weights.emplace(name + ".bias", Initializer::vector(config.hidden, 0));
  };
  const auto table = [&](const char* kind, int64_t rows) {
    weights.emplace(str("embeddings.", kind, "_embeddings.weight"),
                    draw.matrix(rows, config.hidden));
  };
  table("word", config.vocabulary);
  table("position", config.positions);
  table("token_type", config.token_types);
  norm("embeddings.LayerNorm");
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string layer = str("encoder.layer.", i);
    for (const char* part : {"query", "key", "value"}) {
      linear(layer + ".attention.self." + part, config.hidden, config.hidden);
    }
    linear(layer + ".attention.output.dense", config.hidden, config.hidden);
    norm(layer + ".attention.output.LayerNorm");
    linear(layer + ".intermediate.dense", config.hidden, config.intermediate);
    linear(layer + ".output.dense", config.intermediate, config.hidden);
    norm(layer + ".output.LayerNorm");
  }
  return weights;
}

void write_json(const fs::path& file, const OrderedJson& json) {
  write_file_atomically(file, json.dump(2) + "\n");
}

// Copies the files of the tokenizer, and returns its vocabulary's size.
int64_t copy_tokenizer(const NewModelOptions& options, const fs::path& target) {
  const fs::path& source = options.tokenizer;
  require(fs::exists(source), ErrorCode::kNotFound, "no such file or directory: ", source.string());
  const bool folder = fs::is_directory(source);
  const fs::path file = folder ? ModelDirectory::read(source).tokenizer_file() : source;
  const Tokenizer tokenizer = Tokenizer::from_file(file);
  const auto size = static_cast<int64_t>(tokenizer.vocab_size());
  for (int64_t id = 0; id < size; ++id) {
    require(tokenizer.id_to_token(static_cast<int32_t>(id)).has_value(), ErrorCode::kInvalidData,
            file.string(), ": there are ", size, " tokens, but none has id ", id,
            "; a model needs ids without gaps");
  }
  require(static_cast<size_t>(options.max_length) > tokenizer.added_tokens(false),
          ErrorCode::kInvalidArgument, "max length ", options.max_length,
          " leaves no room beside the ", tokenizer.added_tokens(false), " special tokens");

  // A lone file is called as directories have it.
  fs::copy_file(file, target / (folder ? file.filename() : fs::path("tokenizer.json")));
  OrderedJson config = OrderedJson::object();
  if (folder) {
    const fs::path home = file.parent_path();
    for (const char* name :
         {"merges.txt", "vocab.txt", "special_tokens_map.json", "added_tokens.json"}) {
      if (fs::exists(home / name) && !fs::exists(target / name)) {
        fs::copy_file(home / name, target / name);
      }
    }
    if (const fs::path old = home / "tokenizer_config.json"; fs::exists(old)) {
      with_json(old, [&](const nlohmann::json&) { config = OrderedJson::parse(read_file(old)); });
    }
  }
  config["model_max_length"] = options.max_length;
  write_json(target / "tokenizer_config.json", config);
  return size;
}

int64_t padding_id(const fs::path& folder) {
  const ModelDirectory directory = ModelDirectory::read(folder);
  const Tokenizer tokenizer = Tokenizer::from_file(directory.tokenizer_file());
  return tokenizer.token_to_id(directory.pad_token.empty() ? "[PAD]" : directory.pad_token)
      .value_or(0);
}

void write_config(const BertConfig& config, const fs::path& folder) {
  write_json(folder / "config.json", {{"architectures", {"BertModel"}},
                                      {"model_type", "bert"},
                                      {"hidden_act", config.activation},
                                      {"hidden_size", config.hidden},
                                      {"initializer_range", kDeviation},
                                      {"intermediate_size", config.intermediate},
                                      {"layer_norm_eps", 1e-12},
                                      {"max_position_embeddings", config.positions},
                                      {"num_attention_heads", config.heads},
                                      {"num_hidden_layers", config.layers},
                                      {"pad_token_id", padding_id(folder)},
                                      {"position_embedding_type", "absolute"},
                                      {"type_vocab_size", config.token_types},
                                      {"vocab_size", config.vocabulary}});
}

// The files of sentence-transformers.
void write_modules(const NewModelOptions& options, Initializer& draw, const fs::path& folder) {
  OrderedJson modules = OrderedJson::array();
  const auto add = [&](const std::string& kind, bool has_folder = true) {
    const std::string number = std::to_string(modules.size());
    const std::string path = modules.empty() ? "" : number + "_" + kind;
    modules.push_back({{"idx", modules.size()},
                       {"name", number},
                       {"path", path},
                       {"type", "sentence_transformers.models." + kind}});
    if (has_folder) fs::create_directories(folder / path);
    return folder / path;
  };
  add("Transformer");
  const fs::path pooling = add("Pooling");
  write_json(pooling / "config.json",
             {{"word_embedding_dimension", options.hidden},
              {"pooling_mode_cls_token", options.pooling == Pooling::kCls},
              {"pooling_mode_mean_tokens", options.pooling == Pooling::kMean},
              {"pooling_mode_max_tokens", false},
              {"pooling_mode_mean_sqrt_len_tokens", false}});
  if (options.dim > 0) {
    const fs::path dense = add("Dense");
    write_json(dense / "config.json",
               {{"in_features", options.hidden},
                {"out_features", options.dim},
                {"bias", true},
                {"activation_function", "torch.nn.modules.linear.Identity"}});
    write_safetensors(dense / "model.safetensors",
                      {{"linear.weight", draw.matrix(options.dim, options.hidden)},
                       {"linear.bias", Initializer::vector(options.dim, 0)}});
  }
  if (options.normalize) add("Normalize", false);
  write_json(folder / "modules.json", modules);
  write_json(folder / "sentence_bert_config.json",
             {{"max_seq_length", options.max_length}, {"do_lower_case", false}});
}

}  // namespace

void new_model(const NewModelOptions& options, const fs::path& output, const OpRegistry& ops) {
  check(options);
  const fs::path place = place_of_new_folder(output, options.force);
  require(!fs::exists(place) || !fs::exists(options.tokenizer) ||
              !fs::equivalent(place, options.tokenizer),
          ErrorCode::kInvalidArgument, "tokenizer and output are the same directory");
  StagingFolder staging(place);
  const fs::path& folder = staging.path();
  BertConfig config;
  config.layers = options.layers;
  config.heads = options.heads;
  config.hidden = options.hidden;
  config.intermediate = options.intermediate;
  config.positions = options.max_length;
  config.token_types = 2;
  config.vocabulary = copy_tokenizer(options, folder);
  write_config(config, folder);

  Initializer draw(options.seed);
  const Weights weights = draw_bert(config, draw);
  write_modules(options, draw, folder);
  fs::create_directories(folder / "onnx");
  ExportOptions exporting;
  exporting.graph_name = options.architecture;
  exporting.producer_version = HUGOT_VERSION;
  write_model(build_bert(config, weights, ops), folder / "onnx" / "model.onnx", exporting);
  write_safetensors(folder / "model.safetensors", weights);
  staging.move_into_place();
}

}  // namespace hugot
