#include "models/image_graph.h"

#include <algorithm>

#include "base/error.h"
#include "graph/passes/passes.h"
#include "kernels/convert.h"
#include "models/encoder_output.h"

namespace hugot {
namespace {

constexpr std::string_view kPixels = "pixel_values";
constexpr std::string_view kMask = "pixel_mask";

bool channels_last(const Graph& graph, ValueId pixels) {
  const auto& shape = graph.fact(pixels).shape;
  return shape && shape->size() == 4 && (*shape)[3].is(Image::kChannels) &&
         !(*shape)[1].is(Image::kChannels);
}

template <class T>
void fill_pixels(const ImagePixels& image, bool channels_last, T* to) {
  const int64_t plane = image.size.height * image.size.width;
  if (!channels_last) {
    if constexpr (std::is_same_v<T, float>) {
      std::copy(image.values.begin(), image.values.end(), to);
    } else {
      convert_all(image.values.data(), to, std::ssize(image.values));
    }
    return;
  }
  for (int64_t i = 0; i < plane; ++i) {
    for (int64_t c = 0; c < Image::kChannels; ++c) {
      *to++ = static_cast<T>(image.values[static_cast<size_t>(c * plane + i)]);
    }
  }
}

Tensor pixels_tensor(const ImagePixels& image, bool channels_last, DType dtype) {
  const auto [height, width] = image.size;
  Tensor pixels(dtype, channels_last ? Shape{1, height, width, Image::kChannels}
                                     : Shape{1, Image::kChannels, height, width});
  if (dtype == DType::kFloat16) {
    fill_pixels(image, channels_last, pixels.data<Float16>());
  } else {
    require(dtype == DType::kFloat32, ErrorCode::kUnsupported, "the input of images is ",
            dtype_name(dtype));
    fill_pixels(image, channels_last, pixels.data<float>());
  }
  return pixels;
}

template <class T>
Tensor mask_tensor(const ImagePixels& image) {
  const auto [height, width] = image.size;
  Tensor mask = Tensor(dtype_of<T>, Shape{1, height, width});
  T* to = mask.data<T>();
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      *to++ = static_cast<T>(y < image.valid.height && x < image.valid.width);
    }
  }
  return mask;
}

Tensor mask_tensor(const ImagePixels& image, DType dtype) {
  switch (dtype) {
    case DType::kInt64:
      return mask_tensor<int64_t>(image);
    case DType::kBool:
      return mask_tensor<bool>(image);
    case DType::kFloat32:
      return mask_tensor<float>(image);
    default:
      fail(ErrorCode::kUnsupported, "input '", kMask, "' is ", dtype_name(dtype));
  }
}

}  // namespace

ValueId image_input(const Graph& graph) {
  ValueId found = kNoValue;
  for (const ValueId id : graph.inputs) {
    if (graph.value(id).name == kPixels) return id;
    const DType dtype = graph.fact(id).dtype;
    if (graph.fact(id).rank() != 4 || (dtype != DType::kFloat32 && dtype != DType::kFloat16)) {
      continue;
    }
    if (found != kNoValue) return kNoValue;
    found = id;
  }
  return found;
}

bool suits_encoder(const Graph& graph) {
  const ValueId pixels = graph.find(kPixels);
  if (pixels == kNoValue || channels_last(graph, pixels)) return false;
  return std::all_of(graph.inputs.begin(), graph.inputs.end(), [&](ValueId id) {
    return graph.value(id).name == kPixels || graph.value(id).name == kMask;
  });
}

ImageGraph::ImageGraph(LoadedModel model, const OpRegistry& ops,
                       std::span<const std::string> outputs) {
  with_context([&] { return model.path.string(); },
               [&] {
                 Graph& graph = model.graph;
                 std::vector<int> kept;
                 for (const std::string& name : outputs) kept.push_back(find_output(graph, name));
                 keep_outputs(graph, kept);
                 PassContext context{ops, {}, {}};
                 optimize_exact(graph, context);
                 plan_ = Plan::compile(std::move(graph));
               });
  const Graph& graph = plan_->graph();
  pixels_ = image_input(graph);
  require(pixels_ != kNoValue, ErrorCode::kUnsupported, model.path.string(),
          ": the graph has no input of images");
  channels_last_ = channels_last(graph, pixels_);
  for (const ValueId id : graph.inputs) {
    require(id == pixels_ || graph.value(id).name == kMask, ErrorCode::kUnsupported,
            model.path.string(), ": the graph needs input '", graph.value(id).name, "' (",
            graph.fact(id).to_string(), "), which no image can give");
  }
}

std::vector<Tensor> ImageGraph::run(const ImagePixels& image, const RunOptions& options) const {
  std::unique_ptr<Executor> executor = executors_.take();
  if (executor == nullptr) executor = std::make_unique<Executor>(plan_);
  std::vector<Tensor> inputs;
  for (const ValueId id : graph().inputs) {
    const DType dtype = graph().fact(id).dtype;
    inputs.push_back(id == pixels_ ? pixels_tensor(image, channels_last_, dtype)
                                   : mask_tensor(image, dtype));
  }
  std::vector<Tensor> outputs = executor->run(inputs, options);
  executors_.give(std::move(executor));
  for (const Tensor& output : outputs) {
    require(output.rank() > 0 && output.shape()[0] == 1, ErrorCode::kInvalidData, "an output is ",
            describe(output), " for one image");
  }
  return outputs;
}

}  // namespace hugot
