#include "models/joint_head.h"

#include <algorithm>

#include "base/error.h"
#include "graph/passes/passes.h"

namespace hugot {
namespace {

int output_of(const LoadedModel& model, const char* name) {
  const auto it = std::find_if(model.outputs.begin(), model.outputs.end(),
                               [&](const ModelPort& port) { return port.name == name; });
  require(it != model.outputs.end(), ErrorCode::kUnsupported, "the model has no output '", name,
          "'");
  require(it->fact.dtype == DType::kFloat32, ErrorCode::kUnsupported, "output '", name, "' is ",
          dtype_name(it->fact.dtype), ", not float32");
  return static_cast<int>(it - model.outputs.begin());
}

// The value becomes an input of the graph. Exporters may put an Identity behind it.
ValueId cut(Graph& graph, ValueId value, const char* name) {
  const ValueId input = graph.add_input(
      str(name, " given"), Fact::of(DType::kFloat32, {Dim::symbol(str(name, " rows")),
                                                      Dim::symbol("width of a vector")}));
  const Node* producer = graph.producer(value);
  while (producer != nullptr && producer->op_type == "Identity") {
    const ValueId before = producer->input(0);
    graph.replace_uses(before, input);
    producer = graph.producer(before);
  }
  graph.replace_uses(value, input);
  return input;
}

}  // namespace

JointHead::JointHead(LoadedModel model, const OpRegistry& ops) {
  with_context(
      [&] { return model.path.string(); },
      [&] {
        Graph& graph = model.graph;
        const int scores = output_of(model, kScores);
        const ValueId images = graph.outputs[static_cast<size_t>(output_of(model, kImages))];
        const ValueId texts = graph.outputs[static_cast<size_t>(output_of(model, kTexts))];
        images_ = cut(graph, images, kImages);
        const ValueId texts_given = cut(graph, texts, kTexts);
        keep_outputs(graph, std::span(&scores, 1));
        for (const ValueId id : graph.inputs) {
          require(id == images_ || id == texts_given, ErrorCode::kUnsupported, "output '", kScores,
                  "' needs input '", graph.value(id).name, "' besides the vectors");
        }
        require(graph.inputs.size() == 2, ErrorCode::kUnsupported, "output '", kScores,
                "' does not follow from '", kImages, "' and '", kTexts, "'");
        PassContext context{ops, {}, {}};
        optimize_exact(graph, context);
        plan_ = Plan::compile(std::move(graph));
      });
}

std::vector<float> JointHead::run(std::span<const float> image, std::span<const float> texts,
                                  const RunOptions& options) const {
  const int64_t width = std::ssize(image);
  require(width > 0 && std::ssize(texts) % width == 0, ErrorCode::kInvalidData,
          "vectors of texts are longer or shorter than the ", width, " numbers of an image");
  const int64_t count = std::ssize(texts) / width;
  std::unique_ptr<Executor> executor = executors_.take();
  if (executor == nullptr) executor = std::make_unique<Executor>(plan_);
  std::vector<Tensor> inputs;
  for (const ValueId id : plan_->graph().inputs) {
    inputs.push_back(id == images_ ? Tensor::from<float>({1, width}, image)
                                   : Tensor::from<float>({count, width}, texts));
  }
  const Tensor scores = executor->run(inputs, options)[0];
  executors_.give(std::move(executor));
  require(scores.dtype() == DType::kFloat32 && scores.size() == count, ErrorCode::kInvalidData,
          "the scores are ", describe(scores), " for one image and ", count, " texts");
  return {scores.data<float>(), scores.data<float>() + count};
}

}  // namespace hugot
