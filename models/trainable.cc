#include "models/trainable.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <set>

#include "base/error.h"
#include "onnx/node_metadata.h"

namespace hugot {
namespace {

constexpr std::string_view kScopes = "pkg.torch.onnx.name_scopes";
constexpr int kMaxLayer = 100'000;

// Words in front of a layer's number.
constexpr std::array<std::string_view, 6> kLayerWords = {"layer", "layers", "h",
                                                         "block", "blocks", "layer_"};
constexpr std::array<std::string_view, 7> kEmbeddingWords = {
    "embeddings", "embed_tokens", "tok_embeddings", "wte", "wpe", "word_embedding", "shared"};
// Tables that are computed, not learned.
constexpr std::array<std::string_view, 5> kTables = {"inv_freq", "cos_cached", "sin_cached",
                                                     "rotary_emb", "rope_freqs"};

bool is_separator(char c) { return !(std::isalnum(static_cast<unsigned char>(c)) || c == '_'); }

// "/encoder/layer.0/Add" -> encoder, layer, 0, Add
std::vector<std::string_view> words(std::string_view name) {
  std::vector<std::string_view> result;
  for (size_t i = 0; i < name.size();) {
    size_t end = i;
    while (end < name.size() && !is_separator(name[end])) ++end;
    if (end > i) result.push_back(name.substr(i, end - i));
    i = end + 1;
  }
  return result;
}

template <size_t kCount>
bool is_one_of(std::string_view word, const std::array<std::string_view, kCount>& list) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

std::optional<int> number_of(std::string_view word) {
  int number = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (error != std::errc() || end != word.data() + word.size() || number < 0 ||
      number > kMaxLayer) {
    return std::nullopt;
  }
  return number;
}

bool names_embedding(std::string_view name) {
  const auto parts = words(name);
  return std::any_of(parts.begin(), parts.end(),
                     [](std::string_view word) { return is_one_of(word, kEmbeddingWords); });
}

bool is_computed_table(std::string_view name) {
  return std::any_of(kTables.begin(), kTables.end(), [&](std::string_view table) {
    return name.find(table) != std::string_view::npos;
  });
}

// Nodes that only show a tensor in another form.
bool passes_on(const Node& node) {
  constexpr std::array<std::string_view, 7> kViews = {"Transpose", "Identity", "Cast",   "Reshape",
                                                      "Unsqueeze", "Squeeze",  "Dropout"};
  return node.domain.empty() && is_one_of(node.op_type, kViews);
}

class Finder {
 public:
  Finder(const LoadedModel& model, const Graph& graph)
      : graph_(graph), readers_(graph.readers()), scopes_(node_metadata(model, kScopes)) {}

  // The nodes that compute with the value, behind those that only pass it on.
  std::vector<NodeId> users(ValueId id) const {
    std::vector<NodeId> result;
    std::vector<ValueId> work = {id};
    std::set<ValueId> seen;
    while (!work.empty()) {
      const ValueId value = work.back();
      work.pop_back();
      if (!seen.insert(value).second) continue;
      for (const NodeId reader : readers_[static_cast<size_t>(value)]) {
        const Node& node = graph_.node(reader);
        if (passes_on(node) && node.input(0) == value) {
          work.push_back(node.output(0));
        } else {
          result.push_back(reader);
        }
      }
    }
    return result;
  }

  // Numbers of one element are factors, unless they are the bias of a layer with one output.
  bool is_parameter(const Value& value, const std::vector<NodeId>& users) const {
    if (!value.initializer || !is_float(value.fact.dtype) || is_computed_table(value.name)) {
      return false;
    }
    const Tensor& data = *value.fact.constant;
    if (users.empty() || data.rank() == 0 || data.size() == 0) return false;
    if (data.size() > 1) return !becomes_angle(users);
    return std::all_of(users.begin(), users.end(), [&](NodeId user) { return is_bias(user); });
  }

  ModelParameter describe(const Value& value, const std::vector<NodeId>& users) const {
    ModelParameter parameter{value.name, {}, false};
    if (place(value.name, parameter)) return parameter;
    for (const NodeId user : users) place(graph_.node(user).name, parameter);
    if (!parameter.layers.empty() || parameter.embedding) return parameter;
    for (const NodeId user : users) {
      const auto scope = scopes_.find(graph_.value(graph_.node(user).output(0)).name);
      if (scope != scopes_.end()) place(scope->second, parameter);
    }
    return parameter;
  }

 private:
  // Whether what these nodes give ends in a sine or cosine: then the tensor holds the frequencies
  // of rotary positions, which are no parameters.
  bool becomes_angle(const std::vector<NodeId>& users) const {
    constexpr std::array<std::string_view, 11> kOnTheWay = {
        "MatMul", "Mul",     "Einsum",    "Transpose", "Concat",  "Cast",
        "Expand", "Reshape", "Unsqueeze", "Squeeze",   "Identity"};
    std::vector<NodeId> work = users;
    std::set<NodeId> seen(users.begin(), users.end());
    while (!work.empty()) {
      const Node& node = graph_.node(work.back());
      work.pop_back();
      if (node.op_type == "Sin" || node.op_type == "Cos") return true;
      if (!node.domain.empty() || !is_one_of(node.op_type, kOnTheWay)) continue;
      for (const NodeId next : readers_[static_cast<size_t>(node.output(0))]) {
        if (seen.insert(next).second) work.push_back(next);
      }
    }
    return false;
  }

  // Whether the node adds something to a product of matrices.
  bool is_bias(NodeId id) const {
    const Node& node = graph_.node(id);
    if (node.op_type == "Gemm") return true;
    return node.op_type == "Add" &&
           std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId input) {
             const Node* producer = graph_.producer(input);
             return producer != nullptr && producer->op_type == "MatMul";
           });
  }

  static bool place(std::string_view name, ModelParameter& parameter) {
    if (const auto layer = layer_number(name)) {
      auto& layers = parameter.layers;
      if (std::find(layers.begin(), layers.end(), *layer) == layers.end()) layers.push_back(*layer);
      return true;
    }
    if (!names_embedding(name)) return false;
    parameter.embedding = true;
    return true;
  }

  const Graph& graph_;
  std::vector<std::vector<NodeId>> readers_;
  std::map<std::string, std::string, std::less<>> scopes_;
};

// QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear, MatMulInteger, QLinearMatMul,
// MatMulNBits, QAttention, GatherBlockQuantized ..
bool is_quantized(const Node& node) {
  const std::string& name = node.op_type;
  const auto has = [&](std::string_view part) { return name.find(part) != std::string::npos; };
  if (has("uantize") || has("QLinear") || has("MatMulNBits") || has("MatMulBnb4")) return true;
  if (node.domain.empty()) return name == "MatMulInteger" || name == "ConvInteger";
  return (node.domain == "com.microsoft" &&
          (has("Integer") || name == "QAttention" || name == "QGemm" || name == "QMoE" ||
           has("QOrdered") || has("QEmbed"))) ||
         (node.domain == "hugot" && name == "DequantizeBlocks");
}

// What --freeze asks for.
struct Freeze {
  bool embeddings = false;
  bool all_layers = false;
  std::set<int> layers;
};

void add_range(std::string_view range, std::string_view whole, Freeze& freeze) {
  const size_t dash = range.find('-');
  const auto first = number_of(range.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : number_of(range.substr(dash + 1));
  require(first && last && *first <= *last, ErrorCode::kInvalidArgument, "freeze '", whole, "': '",
          range, "' is no range of layers; expected are 3, 0-3 or all");
  for (int i = *first; i <= *last; ++i) freeze.layers.insert(i);
}

Freeze parse_freeze(std::string_view text) {
  Freeze freeze;
  bool in_layers = false;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    std::string_view item = text.substr(begin, end - begin);
    begin = end + 1;
    constexpr std::string_view kLayers = "layers:";
    if (item == "embeddings") {
      freeze.embeddings = true;
      in_layers = false;
      continue;
    }
    const bool named = item.starts_with(kLayers);
    require(named || (in_layers && !item.empty()), ErrorCode::kInvalidArgument, "freeze '", text,
            "': '", item, "' is neither embeddings nor layers:A-B");
    in_layers = true;
    if (named) item.remove_prefix(kLayers.size());
    if (item == "all") {
      freeze.all_layers = true;
    } else {
      add_range(item, text, freeze);
    }
  }
  return freeze;
}

}  // namespace

std::optional<int> layer_number(std::string_view name) {
  const auto parts = words(name);
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    if (!is_one_of(parts[i], kLayerWords)) continue;
    if (const auto number = number_of(parts[i + 1])) return number;
  }
  return std::nullopt;
}

std::vector<ModelParameter> find_parameters(const LoadedModel& model, const Graph& graph) {
  const Finder finder(model, graph);
  std::vector<ModelParameter> result;
  for (size_t i = 0; i < graph.value_count(); ++i) {
    const auto id = static_cast<ValueId>(i);
    const Value& value = graph.value(id);
    if (!value.initializer) continue;
    const std::vector<NodeId> users = finder.users(id);
    if (finder.is_parameter(value, users)) result.push_back(finder.describe(value, users));
  }
  return result;
}

void refuse_quantized(const Graph& graph) {
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    require(!is_quantized(node), ErrorCode::kUnsupported, node.label(),
            ": the graph is quantized, which cannot be trained; train the model that it was made "
            "from, in float32 or half precision, and quantize the result");
  }
}

std::vector<bool> frozen_parameters(const std::vector<ModelParameter>& parameters,
                                    std::string_view text) {
  std::vector<bool> frozen(parameters.size(), false);
  if (text.empty()) return frozen;
  const Freeze freeze = parse_freeze(text);
  std::set<int> known;
  bool embeddings = false;
  for (const ModelParameter& parameter : parameters) {
    known.insert(parameter.layers.begin(), parameter.layers.end());
    embeddings = embeddings || parameter.embedding;
  }
  require(embeddings || !freeze.embeddings, ErrorCode::kInvalidArgument, "freeze '", text,
          "': no tensor of the model is named like an embedding");
  require(!known.empty() || !freeze.all_layers, ErrorCode::kInvalidArgument, "freeze '", text,
          "': the model's names tell no layers");
  for (const int layer : freeze.layers) {
    require(known.contains(layer), ErrorCode::kInvalidArgument, "freeze '", text,
            "': the model has no layer ", layer, known.empty() ? "" : "; it has ",
            known.empty() ? "" : str(*known.begin(), " to ", *known.rbegin()));
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    const ModelParameter& p = parameters[i];
    const bool layers =
        !p.layers.empty() &&
        (freeze.all_layers || std::all_of(p.layers.begin(), p.layers.end(), [&](int layer) {
           return freeze.layers.contains(layer);
         }));
    frozen[i] = layers || (p.layers.empty() && p.embedding && freeze.embeddings);
  }
  return frozen;
}

}  // namespace hugot
