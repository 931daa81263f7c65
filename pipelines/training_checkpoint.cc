#include "pipelines/training_checkpoint.h"

#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/npz.h"

namespace hugot {
namespace {

using Json = nlohmann::json;

constexpr const char* kState = "state";

Json json_of(const TrainingEvaluation& evaluation) {
  return {{"epoch", evaluation.epoch},
          {"step", evaluation.step},
          {"metrics", evaluation.metrics},
          {"primary", evaluation.primary}};
}

TrainingEvaluation evaluation_of(const Json& json) {
  TrainingEvaluation evaluation;
  json.at("epoch").get_to(evaluation.epoch);
  json.at("step").get_to(evaluation.step);
  json.at("metrics").get_to(evaluation.metrics);
  json.at("primary").get_to(evaluation.primary);
  return evaluation;
}

Json optional_number(const std::optional<double>& number) {
  return number ? Json(*number) : Json(nullptr);
}

std::optional<double> number_of(const Json& json) {
  return json.is_null() ? std::nullopt : std::optional(json.get<double>());
}

std::string to_text(const TrainingState& state) {
  Json evaluations = Json::array();
  for (const auto& evaluation : state.evaluations) evaluations.push_back(json_of(evaluation));
  const Json json = {{"step", state.step},
                     {"metrics_bytes", state.metrics_bytes},
                     {"last_loss", state.last_loss},
                     {"evaluations", evaluations},
                     {"best", optional_number(state.best)},
                     {"best_step", state.best_step},
                     {"unimproved", state.unimproved},
                     {"reference", optional_number(state.reference)},
                     {"stopped_early", state.stopped_early},
                     {"settings", Json::parse(state.settings)}};
  return json.dump();
}

TrainingState from_text(std::string_view text) {
  const Json json = Json::parse(text);
  TrainingState state;
  json.at("step").get_to(state.step);
  json.at("metrics_bytes").get_to(state.metrics_bytes);
  json.at("last_loss").get_to(state.last_loss);
  for (const Json& entry : json.at("evaluations")) {
    state.evaluations.push_back(evaluation_of(entry));
  }
  state.best = number_of(json.at("best"));
  json.at("best_step").get_to(state.best_step);
  json.at("unimproved").get_to(state.unimproved);
  state.reference = number_of(json.at("reference"));
  json.at("stopped_early").get_to(state.stopped_early);
  state.settings = json.at("settings").dump();
  return state;
}

void check_settings(const std::string& then, const std::string& now) {
  const Json before = Json::parse(then), after = Json::parse(now);
  for (const auto& [key, value] : after.items()) {
    const Json old = before.value(key, Json(nullptr));
    require(old == value, ErrorCode::kInvalidArgument,
            "a resumed training has to be the same: ", key, " was ", old.dump(), " and is ",
            value.dump());
  }
}

NamedTensors read_arrays(const std::filesystem::path& path, Communicator& ranks) {
  std::shared_ptr<const MappedFile> file;
  if (ranks.leads()) file = MappedFile::open(path);
  if (ranks.size() == 1) return parse_npz(file->bytes());
  return parse_npz(ranks.broadcast(file ? file->bytes() : std::span<const std::byte>()));
}

}  // namespace

void write_checkpoint(const std::filesystem::path& path, std::span<Parameter* const> parameters,
                      const TrainingProcess* process, const TrainingState& state) {
  const std::string text = to_text(state);
  NamedTensors arrays;
  arrays.emplace_back(
      kState,
      Tensor::from<uint8_t>({static_cast<int64_t>(text.size())},
                            std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size())));
  for (size_t i = 0; i < parameters.size(); ++i) {
    arrays.emplace_back(str("value:", parameters[i]->name), parameters[i]->value);
    if (process == nullptr) continue;
    for (int k = 0; k < process->optimizer.states(); ++k) {
      arrays.emplace_back(str("state_", k, ":", parameters[i]->name),
                          process->optimizer.state(i, k));
    }
    if (!process->average.active()) continue;
    arrays.emplace_back(str("average:", parameters[i]->name), process->average.values()[i]);
  }
  write_npz(path, arrays);
}

TrainingState read_checkpoint(const std::filesystem::path& path,
                              std::span<Parameter* const> parameters,
                              const TrainingProcess* process, const std::string& settings,
                              Communicator& ranks) {
  return with_context(
      [&] { return path.string(); },
      [&] {
        std::map<std::string, Tensor> arrays;
        for (auto& [name, tensor] : read_arrays(path, ranks))
          arrays.emplace(name, std::move(tensor));
        const auto find = [&](const std::string& name) -> const Tensor& {
          const auto it = arrays.find(name);
          require(it != arrays.end(), ErrorCode::kInvalidData, "the checkpoint has no '", name,
                  "'");
          return it->second;
        };
        const Tensor& text = find(kState);
        require(text.dtype() == DType::kUInt8, ErrorCode::kInvalidData, "'state' is no text");
        TrainingState state;
        try {
          state = from_text({static_cast<const char*>(text.raw()), text.bytes()});
          check_settings(state.settings, settings);
        } catch (const Json::exception& error) {
          fail(ErrorCode::kInvalidData, error.what());
        }
        const auto read = [&](const std::string& name, Tensor& to) {
          const Tensor& from = find(name);
          require(from.dtype() == to.dtype() && from.shape() == to.shape(), ErrorCode::kInvalidData,
                  "'", name, "' is ", describe(from), " instead of ", describe(to));
          std::memcpy(to.raw(), from.raw(), to.bytes());
        };
        for (size_t i = 0; i < parameters.size(); ++i) {
          read(str("value:", parameters[i]->name), parameters[i]->value);
          if (process == nullptr) continue;
          for (int k = 0; k < process->optimizer.states(); ++k) {
            read(str("state_", k, ":", parameters[i]->name), process->optimizer.state(i, k));
          }
          if (!process->average.active()) continue;
          read(str("average:", parameters[i]->name), process->average.values()[i]);
        }
        if (process != nullptr) process->optimizer.set_steps(state.step);
        return state;
      });
}

}  // namespace hugot
