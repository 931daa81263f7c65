#include "models/model_directory.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "models/default_model.h"
#include "models/json_file.h"

namespace hugot {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// transformers writes int(1e30) for "no limit"; anything this large is one.
constexpr double kNoLimit = 1e6;

// Families that number positions from pad_token_id + 1 on, so that many rows of the position table
// are never used.
constexpr std::array<std::string_view, 11> kOffsetPositions = {
    "roberta",  "xlm-roberta",   "xlm-roberta-xl",       "camembert", "mpnet", "longformer",
    "bertweet", "data2vec-text", "roberta-prelayernorm", "xmod",      "ibert"};

template <class T>
std::optional<T> first_member(const json& object, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (auto value = member<T>(object, name)) return value;
  }
  return std::nullopt;
}

void read_labels(const json& config, std::vector<std::string>& labels) {
  const auto it = config.find("id2label");
  if (it == config.end() || !it->is_object()) return;
  labels.resize(it->size());
  for (const auto& [key, value] : it->items()) {
    size_t used = 0;
    size_t id = labels.size();
    try {
      id = std::stoul(key, &used);
    } catch (const std::exception&) {
      used = 0;
    }
    require(used == key.size() && id < labels.size(), ErrorCode::kInvalidData,
            "id2label: ids have to be 0 .. ", labels.size() - 1, ", found '", key, "'");
    labels[id] = value.get<std::string>();
  }
}

void read_config(const fs::path& file, ModelDirectory& out) {
  if (!fs::exists(file)) return;
  with_json(file, [&](const json& top) {
    json config = top;
    if (const auto text = top.find("text_config"); text != top.end() && text->is_object()) {
      config.update(*text);  // the text part of a model with several
    }
    out.model_type = member<std::string>(config, "model_type").value_or("");
    out.sigmoid_pairs = out.model_type.starts_with("siglip");
    out.hidden_size = first_member<int64_t>(config, {"hidden_size", "dim", "d_model", "n_embd"});
    out.vocab_size = member<int64_t>(config, "vocab_size");
    out.positions = first_member<int64_t>(config, {"max_position_embeddings", "n_positions"});
    const auto family = std::find(kOffsetPositions.begin(), kOffsetPositions.end(), out.model_type);
    if (out.positions && family != kOffsetPositions.end()) {
      *out.positions -= member<int64_t>(config, "pad_token_id").value_or(1) + 1;
    }
    // DeBERTa without a table of absolute positions takes texts of any length.
    const bool table = member<bool>(config, "position_biased_input").value_or(true);
    if (!table || (out.positions && *out.positions < 1)) out.positions.reset();
    out.token_types = member<int64_t>(config, "type_vocab_size");
    out.problem_type = member<std::string>(config, "problem_type").value_or("");
    read_labels(config, out.labels);
    // The newer of two spellings wins.
    const auto nested = config.find("sentence_transformers");
    if (nested != config.end() && nested->is_object()) {
      out.cross_encoder_activation = member<std::string>(*nested, "activation_fn").value_or("");
    }
    if (out.cross_encoder_activation.empty()) {
      out.cross_encoder_activation =
          member<std::string>(config, "sbert_ce_default_activation_function").value_or("");
    }
  });
}

// A special token is written as a string or as an object with its "content". The first file that
// has it wins.
void read_special_tokens(const json& config, ModelDirectory& out) {
  for (const auto& [name, to] : {std::pair("unk_token", &out.unk_token),
                                 {"cls_token", &out.cls_token},
                                 {"mask_token", &out.mask_token},
                                 {"pad_token", &out.pad_token}}) {
    const auto token = config.find(name);
    if (!to->empty() || token == config.end()) continue;
    if (token->is_string()) *to = token->get<std::string>();
    if (token->is_object()) *to = member<std::string>(*token, "content").value_or("");
  }
}

void read_tokenizer_config(const fs::path& file, ModelDirectory& out) {
  if (!fs::exists(file)) return;
  with_json(file, [&](const json& config) {
    const auto limit = member<double>(config, "model_max_length");
    if (limit && *limit >= 1 && *limit < kNoLimit) {
      out.tokenizer_limit = static_cast<int64_t>(*limit);
    }
    out.truncate_left = member<std::string>(config, "truncation_side") == "left";
    out.pad_left = member<std::string>(config, "padding_side") == "left";
    read_special_tokens(config, out);
  });
}

// sentence-transformers knows this file under the name of every family it once had a class for.
void read_sentence_config(const fs::path& folder, ModelDirectory& out) {
  for (const char* family :
       {"bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"}) {
    const fs::path file = folder / ("sentence_" + std::string(family) + "_config.json");
    if (!fs::exists(file)) continue;
    with_json(file, [&](const json& config) {
      const auto limit = member<int64_t>(config, "max_seq_length");
      if (limit && *limit > 0) out.max_sequence_length = limit;
      out.lowercase = member<bool>(config, "do_lower_case").value_or(false);
    });
    return;
  }
}

void read_prompts(const fs::path& file, ModelDirectory& out) {
  if (!fs::exists(file)) return;
  with_json(file, [&](const json& config) {
    out.prompts = member<std::map<std::string, std::string>>(config, "prompts")
                      .value_or(std::map<std::string, std::string>());
    out.default_prompt = member<std::string>(config, "default_prompt_name").value_or("");
  });
}

// The flags of 1_Pooling/config.json, in the order in which the vectors are concatenated.
constexpr std::array<std::pair<const char*, Pooling>, 6> kPoolingFlags = {{
    {"pooling_mode_cls_token", Pooling::kCls},
    {"pooling_mode_max_tokens", Pooling::kMax},
    {"pooling_mode_mean_tokens", Pooling::kMean},
    {"pooling_mode_mean_sqrt_len_tokens", Pooling::kMeanSqrtLen},
    {"pooling_mode_weightedmean_tokens", Pooling::kWeightedMean},
    {"pooling_mode_lasttoken", Pooling::kLast},
}};

// The newer spelling: "pooling_mode": "mean", "cls+max" or a list.
constexpr std::array<std::pair<const char*, Pooling>, 6> kPoolingNames = {{
    {"cls", Pooling::kCls},
    {"max", Pooling::kMax},
    {"mean", Pooling::kMean},
    {"mean_sqrt_len_tokens", Pooling::kMeanSqrtLen},
    {"weightedmean", Pooling::kWeightedMean},
    {"lasttoken", Pooling::kLast},
}};

std::vector<std::string> pooling_names(const json& mode) {
  if (mode.is_array()) return mode.get<std::vector<std::string>>();
  std::vector<std::string> names(1);
  for (const char c : mode.get<std::string>()) {
    if (c == '+') {
      names.emplace_back();
    } else {
      names.back() += c;
    }
  }
  return names;
}

SentenceModule read_pooling(const fs::path& folder) {
  SentenceModule module{SentenceModule::Kind::kPooling, folder};
  with_json(folder / "config.json", [&](const json& config) {
    module.pool_prompt = member<bool>(config, "include_prompt").value_or(true);
    if (const auto mode = config.find("pooling_mode"); mode != config.end()) {
      const auto wanted = pooling_names(*mode);
      for (const auto& name : wanted) {
        require(std::any_of(kPoolingNames.begin(), kPoolingNames.end(),
                            [&](const auto& known) { return name == known.first; }),
                ErrorCode::kUnsupported, "pooling_mode '", name, "' is not known");
      }
      for (const auto& [name, pooling] : kPoolingNames) {
        if (std::find(wanted.begin(), wanted.end(), name) != wanted.end()) {
          module.pooling.push_back(pooling);
        }
      }
    } else {
      for (const auto& [flag, pooling] : kPoolingFlags) {
        if (member<bool>(config, flag).value_or(false)) module.pooling.push_back(pooling);
      }
    }
    require(!module.pooling.empty(), ErrorCode::kInvalidData, "no pooling mode is switched on");
  });
  return module;
}

// `type` is a Python class: "sentence_transformers.models.Pooling".
void add_module(const std::string& type, const fs::path& folder, ModelDirectory& out) {
  const std::string name = type.substr(type.rfind('.') + 1);
  if (name == "Transformer") {
    out.transformer = folder;
  } else if (name == "Pooling") {
    out.modules.push_back(read_pooling(folder));
  } else if (name == "Dense") {
    out.modules.push_back({SentenceModule::Kind::kDense, folder});
  } else if (name == "Normalize") {
    out.modules.push_back({SentenceModule::Kind::kNormalize, folder});
  } else {
    require(name == "Dropout", ErrorCode::kUnsupported, "module ", type,
            " is not implemented; known are Transformer, Pooling, Dense, Dropout and Normalize");
  }
}

void read_modules(ModelDirectory& out) {
  const fs::path file = out.root / "modules.json";
  if (fs::exists(file)) {
    with_json(file, [&](const json& modules) {
      for (const json& module : modules) {
        const auto path = member<std::string>(module, "path").value_or("");
        add_module(module.at("type").get<std::string>(), path.empty() ? out.root : out.root / path,
                   out);
      }
    });
  } else if (fs::exists(out.root / "1_Pooling" / "config.json")) {
    out.modules.push_back(read_pooling(out.root / "1_Pooling"));
  }
}

// All .onnx files below `root`, sorted.
std::vector<fs::path> find_onnx(const fs::path& root) {
  std::vector<fs::path> found;
  for (const auto& entry :
       fs::recursive_directory_iterator(root, fs::directory_options::skip_permission_denied)) {
    if (entry.is_regular_file() && entry.path().extension() == ".onnx") {
      found.push_back(entry.path());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::string listing(const fs::path& root, const std::vector<fs::path>& files) {
  if (files.empty()) return "there is no .onnx file below it";
  std::string text = "it has";
  for (const auto& file : files) text += " " + file.lexically_relative(root).generic_string();
  return text;
}

}  // namespace

ModelDirectory ModelDirectory::read(const fs::path& root) {
  require(fs::exists(root), ErrorCode::kNotFound, "no such directory: ", root.string());
  require(fs::is_directory(root), ErrorCode::kInvalidArgument, root.string(),
          " is a file; a model is a directory (name the graph inside it with --onnx-filename)");
  ModelDirectory out;
  out.root = root;
  out.transformer = root;
  read_modules(out);
  read_config(out.transformer / "config.json", out);
  read_tokenizer_config(out.transformer / "tokenizer_config.json", out);
  if (const fs::path file = out.transformer / "special_tokens_map.json"; fs::exists(file)) {
    with_json(file, [&](const json& map) { read_special_tokens(map, out); });
  }
  read_sentence_config(out.transformer, out);
  read_prompts(root / "config_sentence_transformers.json", out);
  return out;
}

fs::path ModelDirectory::onnx_file(const std::string& name) const {
  if (!name.empty()) {
    const fs::path file = root / name;
    if (fs::is_regular_file(file)) return file;
    fail(ErrorCode::kNotFound, "model directory ", root.string(), " has no file ", name, "; ",
         listing(root, find_onnx(root)));
  }
  for (const char* usual : {"onnx/model.onnx", "model.onnx"}) {
    if (fs::is_regular_file(root / usual)) return root / usual;
  }
  const auto found = find_onnx(root);
  require(!found.empty(), ErrorCode::kNotFound, "model directory ", root.string(),
          ": there is no .onnx file below it; `hugot convert` makes one from model.safetensors");
  require(found.size() == 1, ErrorCode::kInvalidArgument, "model directory ", root.string(), ": ",
          listing(root, found), "; choose one with --onnx-filename");
  return found.front();
}

fs::path ModelDirectory::tokenizer_file() const {
  for (const fs::path& folder : {transformer, root}) {
    // What the tokenizer reads, the most complete first.
    for (const char* name : {"tokenizer.json", "vocab.json", "vocab.txt", "sentencepiece.bpe.model",
                             "spiece.model", "spm.model", "tokenizer.model", "tiktoken.model"}) {
      if (std::string_view(name) == "vocab.json" && !fs::is_regular_file(folder / "merges.txt")) {
        continue;
      }
      if (fs::is_regular_file(folder / name)) return folder / name;
    }
  }
  fail(ErrorCode::kNotFound, "model directory ", root.string(),
       " has no tokenizer.json and no other vocabulary");
}

int64_t ModelDirectory::max_length(int64_t requested) const {
  require(requested >= 0, ErrorCode::kInvalidArgument, "max length ", requested,
          ": a positive number of tokens is expected");
  require(!positions || requested <= *positions, ErrorCode::kInvalidArgument, "max length ",
          requested, " is more than the ", positions.value_or(0),
          " positions of the model (config.json)");
  if (requested > 0) return requested;
  int64_t limit = max_sequence_length ? *max_sequence_length : tokenizer_limit.value_or(0);
  if (positions) limit = limit == 0 ? *positions : std::min(limit, *positions);
  return limit;
}

std::string ModelDirectory::label(size_t id) const {
  return id < labels.size() ? labels[id] : str("LABEL_", id);
}

std::string ModelDirectory::prompt(const std::string& name) const {
  const std::string& wanted = name.empty() ? default_prompt : name;
  if (wanted.empty()) return {};
  const auto it = prompts.find(wanted);
  if (it != prompts.end()) return it->second;
  std::string known;
  for (const auto& [key, value] : prompts) known += (known.empty() ? "" : ", ") + key;
  fail(ErrorCode::kInvalidArgument, "no prompt named '", wanted, "'; the model has ",
       known.empty() ? "none" : known);
}

fs::path find_model(const fs::path& model, const fs::path& folder) {
  require(!model.empty(), ErrorCode::kInvalidArgument, "the name of the model is empty");
  if (fs::exists(model)) return model;
  std::string name = model.string();
  std::replace(name.begin(), name.end(), '/', '_');
  std::vector<fs::path> folders;
  if (!folder.empty()) {
    folders.push_back(folder);
  } else if (const char* home = std::getenv("HOME")) {
    folders = {fs::path(home) / "hugot" / "models", fs::path(home) / "hugot"};
  }
  std::string places = model.string();
  for (const fs::path& place : folders) {
    if (fs::is_directory(place / name)) return place / name;
    places += ", " + (place / name).string();
  }
  if (model == kDefaultModel) return find_default_model();
  fail(ErrorCode::kNotFound, "model not found; looked for ", places,
       " (downloading is not in this build: put the model there yourself)");
}

}  // namespace hugot
