#include "models/image_encoder.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "graph/exec/executor.h"
#include "graph/exec/state_pool.h"
#include "kernels/convert.h"
#include "models/compiled_model.h"
#include "models/encoder_output.h"

namespace hugot {
namespace {

constexpr std::string_view kPixels = "pixel_values";
constexpr std::string_view kMask = "pixel_mask";

// Elements of the largest value that the images of a micro-batch have together, so that activations
// stay in the second-level cache: small images run many at a time, large ones alone.
constexpr int64_t kElementBudget = 1 << 18;

// The size of an image: what the graph declares, with `given` for what it leaves open.
Shape image_shape(const Graph& graph, const Shape& given) {
  const ValueId id = graph.find(kPixels);
  require(id != kNoValue, ErrorCode::kUnsupported, "the model has no input '", kPixels, "'");
  const auto& declared = graph.fact(id).shape;
  if (!declared) {
    require(given.rank() > 0, ErrorCode::kInvalidArgument,
            "the model does not say the size of its images, so it has to be given");
    return given;
  }
  require(declared->size() == 4 && (!(*declared)[0].is_number() || (*declared)[0].is(1)),
          ErrorCode::kUnsupported, "input '", kPixels, "' ", to_string(*declared),
          " has no free batch axis in front of channels, height and width");
  require(given.rank() == 0 || given.rank() == 3, ErrorCode::kInvalidArgument, "an image is ",
          given.to_string(), " instead of channels, height and width");
  std::vector<int64_t> dims;
  for (int axis = 0; axis < 3; ++axis) {
    const auto number = (*declared)[static_cast<size_t>(axis) + 1].number();
    require(number || given.rank() == 3, ErrorCode::kInvalidArgument,
            "the model takes images of any size, so their size has to be given");
    require(!number || given.rank() == 0 || *number == given[axis], ErrorCode::kInvalidArgument,
            "the model takes images ", to_string(*declared), ", not ", given.to_string());
    dims.push_back(number ? *number : given[axis]);
    require(dims.back() > 0, ErrorCode::kInvalidArgument, "an image without pixels");
  }
  return Shape(std::span<const int64_t>(dims));
}

std::vector<RaggedInput> describe_inputs(const Graph& graph, const Shape& image) {
  using Kind = RaggedInput::Kind;
  std::vector<RaggedInput> inputs;
  for (const ValueId id : graph.inputs) {
    const std::string& name = graph.value(id).name;
    if (name == kPixels) {
      inputs.push_back({.name = name, .kind = Kind::kTensor, .shape = image});
    } else if (name == kMask) {
      inputs.push_back(
          {.name = name, .kind = Kind::kUniform, .value = 1, .shape = {image[1], image[2]}});
    } else {
      fail(ErrorCode::kUnsupported, "the model needs input '", name, "' (",
           graph.fact(id).to_string(), "), which no image can give");
    }
  }
  return inputs;
}

// Images one after the other as a tensor of the graph's type.
Tensor join(std::span<const std::span<const float>> images, const Shape& image, DType dtype) {
  std::vector<int64_t> dims = {std::ssize(images)};
  dims.insert(dims.end(), image.begin(), image.end());
  Tensor joined(dtype, Shape(std::span<const int64_t>(dims)));
  const int64_t size = image.size();
  int64_t at = 0;
  for (const auto& pixels : images) {
    switch (dtype) {
      case DType::kFloat32:
        std::copy(pixels.begin(), pixels.end(), joined.data<float>() + at);
        break;
      case DType::kFloat16:
        convert_all(pixels.data(), joined.data<Float16>() + at, size);
        break;
      default:
        fail(ErrorCode::kUnsupported, "input '", kPixels, "' is ", dtype_name(dtype));
    }
    at += size;
  }
  return joined;
}

void check_images(std::span<const std::span<const float>> images, const Shape& image) {
  for (const auto& pixels : images) {
    require(std::ssize(pixels) == image.size(), ErrorCode::kInvalidArgument, "an image has ",
            pixels.size(), " numbers, ", image.to_string(), " are needed");
  }
}

// Gives image `index` what row `row` of an output with a batch axis holds.
void give(const EncoderSink& sink, const Tensor& output, int64_t row, size_t index,
          std::vector<float>& floats) {
  const int64_t size = output.size() / output.shape()[0];
  const int64_t width = output.rank() > 1 ? output.shape().back() : 1;
  sink(index, as_floats(output, row * size, size, floats), width > 0 ? size / width : 0, width);
}

// ---------------------------------------------------------------------------------------------

class RaggedImages final : public ImageEncoder {
 public:
  RaggedImages(std::shared_ptr<const RaggedPlan> plan, const Shape& image, PassContext context)
      : plan_(std::move(plan)) {
    image_ = image;
    fusions_ = std::move(context.log);
    int64_t largest = image.size();
    const Graph& graph = plan_->graph();
    for (NodeId id = 0; id < static_cast<NodeId>(graph.node_count()); ++id) {
      for (const ValueId output : graph.node(id).outputs) {
        const auto shape = output == kNoValue ? std::nullopt : graph.fact(output).fixed_shape();
        if (shape) largest = std::max(largest, shape->size());
      }
    }
    together_ = std::max<int64_t>(kElementBudget / largest, 1);
  }

  void run(std::span<const std::span<const float>> images, ThreadPool& pool,
           const EncoderSink& sink, std::stop_token stop, NodeObserver* observer) const override {
    check_images(images, image_);
    const int64_t count = std::ssize(images), threads = pool.size();
    if (count == 0) return;
    if (count < threads) {
      return run_batch(images, 0, sink, {.pool = &pool, .stop = stop, .observer = observer});
    }
    int64_t parts = (count + together_ - 1) / together_;
    parts = std::min((parts + threads - 1) / threads * threads, count);
    pool.parallel_for(parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const auto first = static_cast<size_t>(i * count / parts);
        const auto last = static_cast<size_t>((i + 1) * count / parts);
        run_batch(images.subspan(first, last - first), first, sink,
                  {.pool = nullptr, .stop = stop, .observer = observer});
      }
    });
  }

  const RaggedPlan* ragged_plan() const override { return plan_.get(); }
  const Graph& graph() const override { return plan_->graph(); }

 private:
  struct State {
    explicit State(std::shared_ptr<const RaggedPlan> plan) : executor(std::move(plan)) {}
    RaggedExecutor executor;
    std::vector<int64_t> lengths;
    std::vector<float> floats;
  };

  void run_batch(std::span<const std::span<const float>> images, size_t first,
                 const EncoderSink& sink, const RunOptions& options) const {
    std::unique_ptr<State> state = states_.take();
    if (state == nullptr) state = std::make_unique<State>(plan_);
    state->lengths.assign(images.size(), 1);
    const ValueId pixels = plan_->graph().find(kPixels);
    const Tensor joined = join(images, image_, plan_->graph().fact(pixels).dtype);
    state->executor.run({.lengths = state->lengths, .tensors = std::span(&joined, 1)}, options);
    for (size_t i = 0; i < images.size(); ++i) {
      give(sink, state->executor.output(0), static_cast<int64_t>(i), first + i, state->floats);
    }
    states_.give(std::move(state));
  }

  std::shared_ptr<const RaggedPlan> plan_;
  int64_t together_;  // images in a micro-batch
  mutable StatePool<State> states_;
};

// ---------------------------------------------------------------------------------------------

// For graphs that do not qualify for ragged mode: every image is a run of its own, exactly as
// written.
class OneByOneImages final : public ImageEncoder {
 public:
  OneByOneImages(std::shared_ptr<const Plan> plan, const Shape& image, std::string why_not)
      : plan_(std::move(plan)) {
    image_ = image;
    why_not_ragged_ = std::move(why_not);
  }

  void run(std::span<const std::span<const float>> images, ThreadPool& pool,
           const EncoderSink& sink, std::stop_token stop, NodeObserver* observer) const override {
    check_images(images, image_);
    const bool split = std::ssize(images) < pool.size();
    const auto run_all = [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        run_image(images.subspan(static_cast<size_t>(i), 1), static_cast<size_t>(i), sink,
                  {.pool = split ? &pool : nullptr, .stop = stop, .observer = observer});
      }
    };
    if (split) return run_all(0, std::ssize(images));
    pool.parallel_for(std::ssize(images), 1, run_all);
  }

  const RaggedPlan* ragged_plan() const override { return nullptr; }
  const Graph& graph() const override { return plan_->graph(); }

 private:
  void run_image(std::span<const std::span<const float>> image, size_t index,
                 const EncoderSink& sink, const RunOptions& options) const {
    std::unique_ptr<Executor> executor = executors_.take();
    if (executor == nullptr) executor = std::make_unique<Executor>(plan_);
    const Graph& graph = plan_->graph();
    std::vector<Tensor> inputs;
    for (const ValueId id : graph.inputs) {
      const DType dtype = graph.fact(id).dtype;
      if (graph.value(id).name == kPixels) {
        inputs.push_back(join(image, image_, dtype));
      } else {
        inputs.emplace_back(dtype, Shape{1, image_[1], image_[2]});
        fill_ones(inputs.back());
      }
    }
    const Tensor output = executor->run(inputs, options)[0];
    require(output.rank() > 0 && output.shape()[0] == 1, ErrorCode::kInvalidData, "the output is ",
            describe(output), " for one image");
    std::vector<float> floats;
    give(sink, output, 0, index, floats);
    executors_.give(std::move(executor));
  }

  static void fill_ones(Tensor& mask) {
    switch (mask.dtype()) {
      case DType::kInt64:
        return fill(mask, Tensor::scalar<int64_t>(1), mask.size());
      case DType::kBool:
        return fill(mask, Tensor::scalar<bool>(true), mask.size());
      default:
        fail(ErrorCode::kUnsupported, "input '", kMask, "' is ", dtype_name(mask.dtype()));
    }
  }

  std::shared_ptr<const Plan> plan_;
  mutable StatePool<Executor> executors_;
};

}  // namespace

bool takes_images(const Graph& graph, const std::string& output) {
  const int index = find_output(graph, output);
  Graph tower = graph;
  keep_outputs(tower, std::span(&index, 1));
  const auto has = [&](std::string_view name) {
    return std::any_of(tower.inputs.begin(), tower.inputs.end(),
                       [&](ValueId id) { return tower.value(id).name == name; });
  };
  return has(kPixels) && !has("input_ids");
}

std::shared_ptr<const ImageEncoder> ImageEncoder::load(const std::filesystem::path& onnx_file,
                                                       const OpRegistry& ops,
                                                       const ImageEncoderOptions& options) {
  return load(load_model(onnx_file, ops), ops, options);
}

std::shared_ptr<const ImageEncoder> ImageEncoder::load(LoadedModel model, const OpRegistry& ops,
                                                       const ImageEncoderOptions& options) {
  return with_context([&] { return model.path.string(); },
                      [&]() -> std::shared_ptr<const ImageEncoder> {
                        const int output = find_output(model.graph, options.output);
                        keep_outputs(model.graph, std::span(&output, 1));
                        const Shape image = image_shape(model.graph, options.image);
                        const std::vector<RaggedInput> inputs = describe_inputs(model.graph, image);
                        PassContext context{ops, {}, options.observer};
                        CompiledModel compiled =
                            compile_model(model, std::span(&output, 1), inputs, context,
                                          {.precision = options.precision,
                                           .cache_directory = options.cache_directory,
                                           .how_packed = "image " + image.to_string()});
                        if (compiled.ragged != nullptr) {
                          return std::make_shared<RaggedImages>(std::move(compiled.ragged), image,
                                                                std::move(context));
                        }
                        return std::make_shared<OneByOneImages>(std::move(compiled.exact), image,
                                                                std::move(compiled.why_not_ragged));
                      });
}

}  // namespace hugot
