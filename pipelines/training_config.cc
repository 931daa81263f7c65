#include "pipelines/training_config.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "base/error.h"

namespace hugot {
namespace {

using Json = nlohmann::json;

// An object whose members have to be asked for, each once.
class Members {
 public:
  Members(Json object, std::string what) : object_(std::move(object)), what_(std::move(what)) {
    require(object_.is_object(), ErrorCode::kInvalidArgument, what_,
            ": a JSON object is expected, like {\"scale\": 20}");
  }

  static Members parse(const std::string& text, std::string what) {
    try {
      return {text.empty() ? Json::object() : Json::parse(text), std::move(what)};
    } catch (const Json::exception& error) {
      fail(ErrorCode::kInvalidArgument, what, ": ", error.what());
    }
  }

  // The member, or null.
  const Json* find(const char* name) {
    known_.insert(name);
    const auto it = object_.find(name);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }

  template <class T>
  void read(const char* name, T& to) {
    const Json* value = find(name);
    if (value == nullptr) return;
    if constexpr (std::is_same_v<T, bool>) {
      check(value->is_boolean(), name, "true or false", *value);
    } else if constexpr (std::is_integral_v<T>) {
      check(value->is_number_integer(), name, "an integer", *value);
    } else if constexpr (std::is_floating_point_v<T>) {
      check(value->is_number(), name, "a number", *value);
    } else if constexpr (std::is_same_v<T, std::string>) {
      check(value->is_string(), name, "a text", *value);
    } else {
      check(value->is_array() && std::all_of(value->begin(), value->end(),
                                             [](const Json& x) { return x.is_number(); }),
            name, "a list of numbers", *value);
    }
    to = value->get<T>();
  }

  // To be called at the end.
  void no_others() const {
    for (const auto& [key, value] : object_.items()) {
      if (known_.contains(key)) continue;
      std::string names;
      for (const std::string& name : known_) names += (names.empty() ? "" : ", ") + name;
      fail(ErrorCode::kInvalidArgument, what_, ": unknown parameter '", key, "'",
           names.empty() ? "; there are none" : "; known are " + names);
    }
  }

  void check(bool right, const char* name, const char* wanted, const Json& value) const {
    require(right, ErrorCode::kInvalidArgument, what_, ": '", name, "' has to be ", wanted,
            ", not ", value.dump());
  }

 private:
  Json object_;
  std::string what_;
  std::set<std::string> known_;
};

// Other names of losses, those of sentence-transformers and of torch among them.
constexpr std::array<std::pair<std::string_view, std::string_view>, 19> kAliases = {{
    {"cosine", "cosine_similarity"},
    {"CosineSimilarityLoss", "cosine_similarity"},
    {"CoSENTLoss", "cosent"},
    {"AnglELoss", "angle"},
    {"angle_loss", "angle"},
    {"multiple_negatives_ranking", "mnrl"},
    {"MultipleNegativesRankingLoss", "mnrl"},
    {"cached_mnrl", "mnrl"},
    {"CachedMultipleNegativesRankingLoss", "mnrl"},
    {"MultipleNegativesSymmetricRankingLoss", "mnrl_symmetric"},
    {"cached_mnrl_symmetric", "mnrl_symmetric"},
    {"TripletLoss", "triplet"},
    {"ContrastiveLoss", "contrastive"},
    {"OnlineContrastiveLoss", "online_contrastive"},
    {"SoftmaxLoss", "softmax"},
    {"CrossEntropyLoss", "cross_entropy"},
    {"binary_cross_entropy", "bce"},
    {"MSELoss", "mse"},
    {"MatryoshkaLoss", "matryoshka"},
}};

std::string loss_name(const std::string& name) {
  for (const auto& [alias, own] : kAliases) {
    if (alias == name) return std::string(own);
  }
  return name;
}

LossOptions read_loss(const std::string& name, Members& members) {
  LossOptions options;
  options.name = loss_name(name);
  const auto is = [&](std::initializer_list<const char*> names) {
    return std::any_of(names.begin(), names.end(),
                       [&](const char* one) { return options.name == one; });
  };
  if (is({"triplet"})) {
    options.distance = Distance::kEuclidean;
    options.margin = 5;
  }
  if (is({"cosent", "angle", "mnrl", "mnrl_symmetric"})) members.read("scale", options.scale);
  if (is({"mnrl", "mnrl_symmetric"})) {
    std::string similarity = "cosine";
    members.read("similarity", similarity);
    require(similarity == "cosine" || similarity == "dot", ErrorCode::kInvalidArgument, "loss ",
            options.name, ": similarity '", similarity, "' is neither cosine nor dot");
    options.dot_product = similarity == "dot";
  }
  if (is({"triplet", "contrastive", "online_contrastive"})) {
    members.read("margin", options.margin);
    std::string distance;
    members.read("distance", distance);
    if (!distance.empty()) options.distance = distance_from_name(distance);
  }
  if (is({"softmax", "cross_entropy"})) members.read("num_labels", options.num_labels);
  if (is({"softmax"})) members.read("multiply", options.multiply);
  if (is({"cross_entropy"})) members.read("label_smoothing", options.label_smoothing);
  if (is({"matryoshka"})) {
    std::string inner = "mnrl";
    members.read("loss", inner);
    const Json* params = members.find("loss_params");
    Members inner_members(params == nullptr ? Json::object() : *params, "loss_params");
    options.inner = std::make_shared<const LossOptions>(read_loss(inner, inner_members));
    inner_members.no_others();
    members.read("dims", options.dims);
    options.weights.assign(options.dims.size(), 1.0);
    members.read("weights", options.weights);
  }
  return options;
}

// A list of two numbers, if there is one; `owner` stands behind its name in messages.
void read_pair(Members& members, const char* key, const char* owner, double& first,
               double& second) {
  std::vector<double> pair = {first, second};
  members.read(key, pair);
  require(pair.size() == 2, ErrorCode::kInvalidArgument, "optimizer parameters: '", key, "'", owner,
          " has to be a list of two numbers");
  first = pair[0];
  second = pair[1];
}

// A rate turns relative_step off.
void read_adafactor(Members& members, bool lr_given, AdafactorOptions& o) {
  o.relative_step = !lr_given && members.find("lr") == nullptr;
  const bool has_rate = !o.relative_step;
  members.read("relative_step", o.relative_step);
  require(!has_rate || !o.relative_step, ErrorCode::kInvalidArgument,
          "optimizer parameters: adafactor with relative_step takes no rate (lr)");
  members.read("scale_parameter", o.scale_parameter);
  members.read("warmup_init", o.warmup_init);
  members.read("clip_threshold", o.clip_threshold);
  members.read("decay_rate", o.decay_rate);
  double beta1 = -1;
  members.read("beta1", beta1);
  if (members.find("beta1") != nullptr) o.beta1 = beta1;
  read_pair(members, "eps", " of adafactor", o.eps_square, o.eps_scale);
}

}  // namespace

LossConfig parse_loss(const std::string& name, const std::string& params) {
  Members members = Members::parse(params, "loss parameters");
  LossConfig config;
  config.options = read_loss(name, members);
  if (name.starts_with("cached") || name.starts_with("Cached")) config.mini_batch_size = 32;
  members.read("mini_batch_size", config.mini_batch_size);
  require(config.mini_batch_size >= 0, ErrorCode::kInvalidArgument,
          "loss parameters: mini_batch_size is negative");
  members.no_others();
  loss_needs(config.options);
  return config;
}

OptimizerOptions parse_optimizer(const std::string& params, const OptimizerOptions& defaults,
                                 bool lr_given) {
  Members members = Members::parse(params, "optimizer parameters");
  OptimizerOptions o = defaults;
  std::string type, schedule;
  members.read("type", type);
  members.read("schedule", schedule);
  if (!type.empty()) o.type = optimizer_from_name(type);
  if (!schedule.empty()) o.schedule = schedule_from_name(schedule);
  members.read("lr", o.lr);
  members.read("momentum", o.momentum);
  members.read("dampening", o.dampening);
  members.read("nesterov", o.nesterov);
  read_pair(members, "betas", "", o.beta1, o.beta2);
  if (o.type == OptimizerType::kAdafactor) {
    read_adafactor(members, lr_given, o.adafactor);
  } else {
    members.read("eps", o.eps);
  }
  members.read("weight_decay", o.weight_decay);
  // A text that says which tensors are exempt: those of rank 1, or none.
  std::string no_decay;
  members.read("no_decay", no_decay);
  if (!no_decay.empty()) o.decay_vectors = no_decay == "none";
  members.read("warmup_steps", o.warmup_steps);
  members.read("warmup_ratio", o.warmup_ratio);
  members.read("clip_norm", o.clip_norm);
  members.read("layer_decay", o.layer_decay);
  members.no_others();
  check_optimizer(o);
  return o;
}

}  // namespace hugot
