#include "pipelines/training_setup.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "autodiff/float_type.h"
#include "autodiff/parallel_model.h"
#include "base/error.h"
#include "base/file.h"
#include "graph/passes/passes.h"
#include "kernels/random/random.h"
#include "kernels/registry.h"
#include "models/encoder_output.h"
#include "models/sentence_graph.h"
#include "pipelines/feature_extraction.h"
#include "pipelines/text_model.h"

namespace hugot {
namespace {

namespace fs = std::filesystem;

// Losses whose input are the graph's own scores.
bool wants_logits(const LossOptions& loss) {
  return loss.name == "cross_entropy" || loss.name == "bce";
}

void check_numbers(const TrainingOptions& o) {
  const auto positive = [](int64_t x, const char* name) {
    require(x > 0, ErrorCode::kInvalidArgument, name, " ", x, ": a positive number is expected");
  };
  positive(o.epochs, "epochs");
  positive(o.batch_size, "batch_size");
  positive(o.accumulation, "accumulation");
  const auto natural = [](int64_t x, const char* name) {
    require(x >= 0, ErrorCode::kInvalidArgument, name, " ", x,
            ": a number of 0 or more is expected");
  };
  natural(o.save_steps, "save_steps");
  natural(o.patience, "patience");
  natural(o.lora_rank, "lora_rank");
  natural(o.head_classes, "head_classes");
  natural(o.threads, "threads");
  require(o.dropout >= 0 && o.dropout < 1, ErrorCode::kInvalidArgument, "dropout ", o.dropout,
          ": a probability below 1 is expected");
  require(o.ema >= 0 && o.ema < 1, ErrorCode::kInvalidArgument, "ema ", o.ema,
          ": a decay below 1 is expected");
  require(std::isfinite(o.tolerance), ErrorCode::kInvalidArgument, "tolerance is no number");
  require(!o.lr || (std::isfinite(*o.lr) && *o.lr >= 0), ErrorCode::kInvalidArgument,
          "lr has to be a number of 0 or more");
  require(o.train_file.empty() != o.train_rows.empty(), ErrorCode::kInvalidArgument,
          "training needs a file or rows, and not both");
  require(o.eval_file.empty() || o.eval_rows.empty(), ErrorCode::kInvalidArgument,
          "evaluation takes a file or rows, not both");
  require(o.patience == 0 || !o.eval_file.empty() || !o.eval_rows.empty(),
          ErrorCode::kInvalidArgument, "early stopping (patience) needs data for evaluation");
  require(!o.output.empty(), ErrorCode::kInvalidArgument, "training needs an output directory");
}

OptimizerOptions usual_optimizer() {
  OptimizerOptions o;
  o.weight_decay = 0.01;
  o.schedule = Schedule::kLinear;
  o.warmup_ratio = 0.1;
  o.clip_norm = 1;
  return o;
}

// The keys of the first row that is there, to choose a loss by.
nlohmann::json first_row(const TrainingOptions& options) {
  std::string text =
      options.train_rows.empty() ? read_file(options.train_file) : options.train_rows.front();
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return {};
  const auto row = nlohmann::json::parse(text.substr(begin, text.find('\n', begin) - begin),
                                         nullptr, /*allow_exceptions=*/false);
  return row.is_object() ? row : nlohmann::json::object();
}

std::string usual_loss(const TrainingOptions& options) {
  if (options.head_classes > 0) return "cross_entropy";
  const auto row = first_row(options);
  if (row.contains("anchor") && !row.contains("score") && !row.contains("label")) return "mnrl";
  if (row.contains("sentence1") && row.contains("score")) return "cosine_similarity";
  if (row.contains("embedding")) return "mse";
  if ((row.contains("text") || row.contains("input")) && row.contains("label")) {
    return row["label"].is_array() ? "bce" : "cross_entropy";
  }
  std::string known;
  for (const std::string& name : loss_names()) known += (known.empty() ? "" : ", ") + name;
  fail(ErrorCode::kInvalidArgument, "the rows do not tell which loss to use; name one of ", known);
}

const Tensor* find(const NamedTensors& tensors, std::string_view name) {
  const auto it = std::find_if(tensors.begin(), tensors.end(),
                               [&](const auto& entry) { return entry.first == name; });
  return it == tensors.end() ? nullptr : &it->second;
}

// head.weight and head.bias of a file, or nothing when there is no file. Throws kInvalidData for
// other shapes.
std::optional<Tensor> head_tensor(const NamedTensors& file, const char* name, const Shape& shape,
                                  DType dtype) {
  if (file.empty()) return std::nullopt;
  const Tensor* tensor = find(file, name);
  require(tensor != nullptr, ErrorCode::kInvalidData, "the head's file has no '", name, "'");
  require(is_float(tensor->dtype()) && tensor->shape() == shape, ErrorCode::kInvalidData,
          "the head's ", name, " is ", describe(*tensor), " instead of ",
          std::string(describe(Tensor(dtype, shape, nullptr))));
  return convert_float(*tensor, dtype);
}

}  // namespace

TrainingSetup::TrainingSetup(const TrainingOptions& options, ThreadPool& pool)
    : options_(options), pool_(pool), ops_(builtin_ops()) {
  check_numbers(options);
  const bool plain = options.optimizer_params.empty();
  OptimizerOptions defaults = plain ? usual_optimizer() : OptimizerOptions{};
  if (options.lr) defaults.lr = *options.lr;
  optimizer_ = parse_optimizer(options.optimizer_params, defaults, options.lr.has_value());
  directory_ = ModelDirectory::read(find_model(options.model, {}));
  choose_loss();
  if (!options.head_init.empty()) {
    require(has_head() || loss_config_.options.name == "softmax", ErrorCode::kInvalidArgument,
            "a file for the head needs a head: --head, or the loss softmax");
    head_init_ = read_npz(options.head_init);
  }
  load_model_graph();
  load_data();
  make_loss();
}

void TrainingSetup::choose_loss() {
  if (!options_.loss_graph.empty()) {
    require(options_.loss.empty() || options_.loss == "graph", ErrorCode::kInvalidArgument,
            "a loss has either a name or a graph");
    loss_config_.options.name = "graph";
    loss_config_.options.graph =
        std::make_shared<const Graph>(load_model(options_.loss_graph, ops_).graph);
    loss_needs(loss_config_.options);
    return;
  }
  std::string name = options_.loss.empty() ? usual_loss(options_) : options_.loss;
  std::string params = options_.loss_params;
  loss_config_ = parse_loss(name, params);
  require(!has_head() || wants_logits(loss_config_.options), ErrorCode::kInvalidArgument,
          "a new classifier is trained with the loss cross_entropy or bce, not ", name);
}

fs::path TrainingSetup::onnx_path() const {
  return directory_.onnx_file(options_.onnx_filename).lexically_relative(directory_.root);
}

void TrainingSetup::load_model_graph() {
  const fs::path path = directory_.onnx_file(options_.onnx_filename);
  file_ = std::make_unique<LoadedModel>(load_model(path, ops_));
  with_context([&] { return path.string(); },
               [&] {
                 const bool logits = wants_logits(loss_config_.options) && !has_head();
                 output_name_ = logits ? choose_logits(*file_)
                                       : choose_vectors(*file_, "", !directory_.modules.empty());
                 Graph graph = file_->graph;
                 const int output = find_output(graph, output_name_);
                 keep_outputs(graph, std::span(&output, 1));
                 refuse_quantized(graph);
                 if (options_.tie_weights) tied_ = tie_equal_weights(graph, ops_);
                 if (!logits) append_sentence_head(graph, ops_, directory_.modules);
                 if (has_head()) add_head(graph);

                 TrainableModelOptions trainable;
                 trainable.dtype = options_.double_precision ? DType::kFloat64 : DType::kFloat32;
                 trainable.dropout = options_.dropout;
                 trainable.trainable = choose_parameters(graph);
                 model_ = TrainableModel::create(std::move(graph), ops_, trainable);
               });
}

std::vector<std::string> TrainingSetup::choose_parameters(Graph& graph) {
  const std::vector<ModelParameter> all = find_parameters(*file_, graph);
  const std::vector<bool> frozen = frozen_parameters(all, options_.freeze);
  std::vector<std::string> names;
  const auto choose = [&](const std::string& name, const ModelParameter& like) {
    names.push_back(name);
    parameters_.push_back({name, like.layers, like.embedding});
  };
  for (size_t i = 0; i < all.size(); ++i) {
    const ModelParameter& parameter = all[i];
    for (const int layer : parameter.layers) layers_ = std::max(layers_, layer + 1);
    const bool is_head =
        std::find(head_names_.begin(), head_names_.end(), parameter.name) != head_names_.end();
    const Tensor& data = *graph.fact(graph.find(parameter.name)).constant;
    const bool adapts = options_.lora_rank > 0 && !frozen[i] && !parameter.layers.empty() &&
                        data.rank() == 2 &&
                        std::min(data.shape()[0], data.shape()[1]) > options_.lora_rank;
    if (adapts) {
      const Adapter& adapter = adapters_.emplace_back(
          add_adapter(graph, ops_, parameter.name, options_.lora_rank, options_.lora_alpha,
                      random::Stream(options_.seed).bits(i)));
      choose(adapter.a, parameter);
      choose(adapter.b, parameter);
    }
    if (!frozen[i] && (options_.lora_rank == 0 || is_head)) {
      choose(parameter.name, parameter);
    } else {
      ++frozen_;
    }
  }
  std::erase_if(tied_, [&](const TiedWeight& tied) {
    const bool adapted =
        std::any_of(adapters_.begin(), adapters_.end(),
                    [&](const Adapter& adapter) { return adapter.weight == tied.original; });
    return !adapted && std::find(names.begin(), names.end(), tied.original) == names.end();
  });
  require(!names.empty(), ErrorCode::kInvalidArgument, "there is nothing to train: ",
          all.empty()              ? "the graph has no floating-point weights"
          : options_.lora_rank > 0 ? "no layer has a matrix that a low rank could adapt"
                                   : "everything is frozen");
  return names;
}

// Initial weights as torch.nn.Linear has them.
void TrainingSetup::add_head(Graph& graph) {
  const Fact fact = graph.fact(graph.outputs.at(0));
  const auto dim = fact.rank() == 2 ? fact.shape->at(1).number() : directory_.hidden_size;
  require(dim.has_value(), ErrorCode::kUnsupported, "the graph does not say how long the vectors ",
          "are that a classifier would see");
  const int64_t classes = options_.head_classes;
  const auto weight_of = [&](const char* name, const Shape& shape, uint64_t key) {
    if (auto given = head_tensor(head_init_, name, shape, fact.dtype)) return *given;
    Tensor tensor(DType::kFloat32, shape);
    const random::Stream stream(key);
    const double limit = 1 / std::sqrt(static_cast<double>(*dim));
    for (int64_t i = 0; i < tensor.size(); ++i) {
      tensor.data<float>()[i] =
          static_cast<float>(limit * (2 * stream.uniform(static_cast<uint64_t>(i)) - 1));
    }
    return convert_float(tensor, fact.dtype);
  };
  const Tensor weight = weight_of("head.weight", {classes, *dim}, 2 * options_.seed + 1);
  const Tensor bias = weight_of("head.bias", {classes}, 2 * options_.seed + 2);
  const auto names = append_classifier(graph, ops_, weight, bias);
  head_names_ = {names.first, names.second};
}

DataNeeds TrainingSetup::train_needs() const {
  const LossNeeds needs = loss_needs(loss_config_.options);
  DataNeeds result;
  result.min_columns = needs.min_columns;
  result.max_columns = needs.max_columns;
  result.label = needs.label;
  result.anything = loss_config_.options.graph != nullptr;
  result.pairs = wants_logits(loss_config_.options);
  if (has_head()) {
    result.new_labels = true;
    result.classes = options_.head_classes;
  } else {
    result.labels = directory_.labels;
    if (loss_config_.options.name == "softmax") {
      result.labels.clear();
      result.new_labels = true;
      result.classes = loss_config_.options.num_labels;
    }
  }
  return result;
}

void TrainingSetup::load_data() {
  const Tokenizer tokenizer = Tokenizer::from_file(directory_.tokenizer_file());
  DataNeeds needs = train_needs();
  DataEncoding encoding;
  encoding.lowercase = directory_.lowercase;
  encoding.type_ids = needs.pairs && directory_.token_types.value_or(2) > 1;
  encoding.options.offsets = false;
  encoding.options.tokens = false;
  const int64_t limit = directory_.max_length(options_.max_length);
  if (limit > 0) {
    const size_t added = tokenizer.added_tokens(needs.pairs);
    require(static_cast<size_t>(limit) > added, ErrorCode::kInvalidArgument, "max length ", limit,
            " leaves no room beside the ", added, " special tokens");
    encoding.options.truncation.emplace();
    encoding.options.truncation->max_length = static_cast<size_t>(limit);
    if (directory_.truncate_left) encoding.options.truncation->side = Side::kLeft;
  }
  train_ = std::make_unique<TrainingData>(options_.train_file, options_.train_rows, needs,
                                          tokenizer, encoding, pool_);
  if (options_.eval_file.empty() && options_.eval_rows.empty()) return;
  DataNeeds eval = needs;
  eval.anything = !needs.pairs;
  if (eval.anything) eval.label = LabelKind::kNone;
  if (!train_->class_names().empty()) eval.labels = train_->class_names();
  eval.new_labels = false;
  eval_ = std::make_unique<TrainingData>(options_.eval_file, options_.eval_rows, eval, tokenizer,
                                         encoding, pool_);
}

void TrainingSetup::distribute(Communicator& ranks) {
  if (ranks.size() > 1) model_ = make_parallel_model(std::move(model_), ranks);
}

Tensor TrainingSetup::vectors(std::span<const TrainRow> rows, const TrainRun& run) {
  return model_->forward(rows, false, run);
}

// The shortest way to learn it is to ask the model.
int64_t TrainingSetup::vector_size() {
  const TrainRow row = train_->text(0, 0);
  return vectors({&row, 1}, {.pool = &pool_, .stop = {}}).shape()[1];
}

void TrainingSetup::make_loss() {
  const int64_t dim = vector_size();
  const LossOptions& loss = loss_config_.options;
  const auto check = [&](const TrainingData& data) {
    const std::vector<size_t> first = {0};
    const Tensor label = data.labels(first, DType::kFloat32);
    require((loss.name != "mse" && loss.name != "bce") || label.shape()[1] == dim,
            ErrorCode::kInvalidData, data.place(0), ": the label has ", label.shape()[1],
            " numbers, the model's vectors have ", dim);
    if (loss.name != "cross_entropy") return;
    for (size_t row = 0; row < data.rows(); ++row) {
      require(data.class_of(row) < dim, ErrorCode::kInvalidData, data.place(row), ": class ",
              data.class_of(row), " is none of the ", dim, " of the model");
    }
  };
  if (wants_logits(loss) || loss.name == "mse") {
    check(*train_);
    if (eval_ && eval_has_loss()) check(*eval_);
  }
  loss_ =
      std::make_unique<Loss>(loss, ops_, model_->dtype(), train_->columns(), dim, options_.seed);
  if (has_head()) return;
  for (Parameter& parameter : loss_->parameters()) {
    if (auto given = head_tensor(head_init_, parameter.name.c_str(), parameter.value.shape(),
                                 model_->dtype())) {
      parameter.value = std::move(*given);
    }
  }
}

bool TrainingSetup::eval_has_loss() const {
  const LossNeeds needs = loss_needs(loss_config_.options);
  const auto columns = static_cast<int>(eval_->columns().size());
  if (loss_config_.options.graph) {
    return eval_->columns() == train_->columns() && eval_->label_kind() == train_->label_kind();
  }
  return columns >= needs.min_columns && columns <= needs.max_columns &&
         (needs.label == LabelKind::kNone || eval_->label_kind() == needs.label);
}

std::vector<Parameter*> TrainingSetup::parameters() {
  std::vector<Parameter*> result;
  for (Parameter& parameter : model_->parameters()) result.push_back(&parameter);
  for (Parameter& parameter : loss_->parameters()) result.push_back(&parameter);
  return result;
}

// Embeddings count as the layer below the first; what is in no layer is on top.
std::vector<double> TrainingSetup::rates() const {
  std::vector<double> rates;
  for (const ModelParameter& parameter : parameters_) {
    int above = 0;
    if (!parameter.layers.empty()) {
      above = layers_ - 1 - *std::max_element(parameter.layers.begin(), parameter.layers.end());
    } else if (parameter.embedding) {
      above = layers_;
    }
    rates.push_back(std::pow(optimizer_.layer_decay, above));
  }
  rates.resize(rates.size() + loss_->parameters().size(), 1.0);
  return rates;
}

std::vector<std::string> TrainingSetup::class_names() const {
  std::vector<std::string> names = train_->class_names();
  for (size_t i = names.size(); i < static_cast<size_t>(options_.head_classes); ++i) {
    names.push_back(str("LABEL_", i));
  }
  return names;
}

}  // namespace hugot
