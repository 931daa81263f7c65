#include "models/compiled_model.h"

#include <numeric>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "models/encoder_output.h"
#include "models/narrow_weights.h"
#include "models/packed_cache.h"

namespace hugot {
namespace {

std::string join_numbers(std::span<const int> numbers) {
  std::string text;
  for (const int number : numbers) text += (text.empty() ? "" : ",") + std::to_string(number);
  return text;
}

std::shared_ptr<const RaggedPlan> compile_ragged(LoadedModel& model, std::span<const int> outputs,
                                                 const std::vector<RaggedInput>& inputs,
                                                 PassContext& context, Precision precision,
                                                 const CompileOptions& options) {
  // The graph is given away, so that weights can be released as soon as they are packed.
  Graph graph = std::exchange(model.graph, {});
  std::vector<int> kept(outputs.size());  // their numbers by now
  std::iota(kept.begin(), kept.end(), 0);
  optimize_for_ragged(graph, inputs, kept, context);
  const char* const name = precision_name(precision);
  if (precision != Precision::kFloat32) lower_precision(graph, context, name);
  std::optional<PackedCache> cache;
  if (!options.cache_directory.empty() && !model.files.empty()) {
    cache.emplace(options.cache_directory, model.files,
                  str(name, " output ", join_numbers(outputs), " ", options.how_packed));
  }
  auto plan = RaggedPlan::compile(std::move(graph), inputs, cache ? *cache : fresh_blocks());
  if (cache) cache->save();
  model.drop_pages();
  return plan;
}

}  // namespace

CompiledModel compile_model(LoadedModel& model, std::span<const int> outputs,
                            const std::vector<RaggedInput>& inputs, PassContext& context,
                            const CompileOptions& options) {
  std::string why_not;
  const Precision precision =
      options.precision == Precision::kModel ? stored_precision(model) : options.precision;
  try {
    return {.ragged = compile_ragged(model, outputs, inputs, context, precision, options),
            .exact = nullptr,
            .why_not_ragged = {},
            .precision = precision};
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUnsupported) throw;
    why_not = error.what();
  }
  require(options.precision == Precision::kModel || options.precision == Precision::kFloat32,
          ErrorCode::kUnsupported, "precision ", precision_name(options.precision),
          " needs a graph that runs without padding: ", why_not);
  const LoadOptions again{.external_data_directory = model.external_data_directory};
  Graph graph = model.path.empty() ? load_model(model.bytes, model.owner, context.ops, again).graph
                                   : load_model(model.path, context.ops, again).graph;
  keep_outputs(graph, outputs);
  optimize_exact(graph, context);
  return {.ragged = nullptr,
          .exact = Plan::compile(std::move(graph)),
          .why_not_ragged = std::move(why_not),
          .precision = Precision::kFloat32};
}

}  // namespace hugot
