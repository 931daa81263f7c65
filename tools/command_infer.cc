// hugot infer: any graph, exactly as written, on arrays from an .npz file.
#include <map>

#include "base/npz.h"
#include "base/thread_pool.h"
#include "graph/exec/executor.h"
#include "kernels/registry.h"
#include "models/image_encoder.h"
#include "tools/command.h"
#include "tools/exact.h"

namespace hugot::tools {
namespace {

struct Options {
  std::string model;
  std::string inputs;
  std::string outputs;
  std::string device = "cpu";
  int threads = 0;
  std::string ragged_output;
  int batch_size = 0;
};

// Values that are no tensors are several arrays: items of sequences and optionals NAME.0, NAME.1,
// .., values of a map likewise with the keys in NAME.keys.
void add_arrays(const std::string& name, const Datum& value, NamedTensors& arrays) {
  if (value.is_tensor()) {
    arrays.emplace_back(name, value.tensor());
    return;
  }
  if (value.kind() == Kind::kMap) arrays.emplace_back(name + ".keys", value.keys());
  for (size_t i = 0; i < value.items().size(); ++i) {
    add_arrays(str(name, ".", i), value.items()[i], arrays);
  }
}

// Takes what belongs to an input out of `arrays`; undefined when there is no tensor of the name.
Datum take_datum(const std::string& name, const Fact& type, std::map<std::string, Tensor>& arrays) {
  if (type.is_tensor()) {
    const auto node = arrays.extract(name);
    return node.empty() ? Datum() : Datum(std::move(node.mapped()));
  }
  std::vector<Datum> items;
  for (bool more = true; more;) {
    Datum item = take_datum(str(name, ".", items.size()), type.item(), arrays);
    const bool found = item.is_tensor() ? item.defined() : !item.items().empty();
    if (found) items.push_back(std::move(item));
    more = found && type.kind != Kind::kOptional;
  }
  switch (type.kind) {
    case Kind::kOptional:
      return items.empty() ? Datum::empty_optional() : Datum::optional(std::move(items[0]));
    case Kind::kMap:
      return Datum::map(take_datum(name + ".keys", Fact(), arrays).tensor(), std::move(items));
    default:
      return Datum::sequence(std::move(items));
  }
}

// The images of an array [N, channels, height, width] in ragged mode, a batch at a time.
int infer_images(const Options& options) {
  std::map<std::string, Tensor> arrays;
  for (auto& [name, tensor] : read_npz(options.inputs)) arrays.emplace(name, std::move(tensor));
  const auto found = arrays.find("pixel_values");
  require(found != arrays.end() && found->second.rank() == 4 &&
              found->second.dtype() == DType::kFloat32,
          ErrorCode::kInvalidArgument,
          "ragged mode takes images: pixel_values, float32 [N, C, H, W]");
  const Tensor& pixels = found->second;
  const Shape& shape = pixels.shape();
  const OpRegistry ops = builtin_ops();
  const auto encoder = ImageEncoder::load(
      options.model, ops,
      {.output = options.ragged_output, .image = {shape[1], shape[2], shape[3]}});
  std::vector<std::span<const float>> images;
  for (int64_t i = 0, size = shape.product(1, 4); i < shape[0]; ++i) {
    images.push_back(
        pixels.values<float>().subspan(static_cast<size_t>(i * size), static_cast<size_t>(size)));
  }
  ThreadPool pool(options.threads);
  std::vector<std::vector<float>> results(images.size());
  int64_t columns = 0;
  const size_t step = options.batch_size > 0 ? static_cast<size_t>(options.batch_size)
                                             : std::max<size_t>(images.size(), 1);
  for (size_t first = 0; first < images.size(); first += step) {
    const size_t count = std::min(step, images.size() - first);
    encoder->run(std::span(images).subspan(first, count), pool,
                 [&](size_t i, const float* data, int64_t rows, int64_t width) {
                   results[first + i].assign(data, data + rows * width);
                   if (first + i == 0) columns = width;
                 });
  }
  const int64_t size = results.empty() ? 0 : std::ssize(results[0]);
  Tensor joined(DType::kFloat32, {std::ssize(results), columns > 0 ? size / columns : 0, columns});
  float* to = joined.data<float>();
  for (const auto& result : results) to = std::copy(result.begin(), result.end(), to);
  write_npz(options.outputs, {{options.ragged_output, joined}});
  return kDone;
}

int infer(const Options& options) {
  if (!options.ragged_output.empty()) return infer_images(options);
  const std::shared_ptr<Device> device = open_device(options.device);
  const OpRegistry ops = builtin_ops();
  const auto plan = load_exact(options.model, ops, device);
  std::map<std::string, Tensor> arrays_in;
  for (auto& [name, tensor] : read_npz(options.inputs)) arrays_in.emplace(name, std::move(tensor));
  const Graph& graph = plan->graph();
  std::map<std::string, Datum> inputs;
  for (const ValueId id : graph.inputs) {
    const std::string& name = graph.value(id).name;
    Datum value = take_datum(name, graph.fact(id), arrays_in);
    if (value.defined()) inputs.emplace(name, std::move(value));
  }
  for (auto& [name, tensor] : arrays_in) inputs.emplace(name, std::move(tensor));  // unknown ones

  ThreadPool pool(options.threads);
  Executor executor(plan);
  const auto results = executor.run(inputs, {.pool = &pool});

  NamedTensors arrays;
  for (const ValueId output : graph.outputs) {
    const std::string& name = graph.value(output).name;
    add_arrays(name, results.at(name), arrays);
  }
  write_npz(options.outputs, arrays);
  return kDone;
}

}  // namespace

void add_infer(CLI::App& app, Action& action) {
  CLI::App* command = nullptr;
  Options& options = add_command<Options>(
      app, action, "infer", "Run any ONNX graph exactly as written on arrays from an .npz file",
      infer, command);
  command->add_option("--model", options.model, "the .onnx file")->required();
  command->add_option("--inputs", options.inputs, ".npz with an array per graph input")->required();
  command->add_option("--outputs", options.outputs, ".npz to write, an array per graph output")
      ->required();
  command->add_option("--device", options.device, "cpu, or cuda:N in a build that has it")
      ->capture_default_str();
  command->add_option("--ragged", options.ragged_output,
                      "for graphs of images: this output in ragged mode, as pipelines run it");
  command->add_option("--batch-size", options.batch_size, "images at once; 0: all")
      ->check(CLI::Range(0, 1 << 30));
  command->add_option("--threads", options.threads, "threads; 0: all processors")
      ->check(CLI::Range(0, 4096));
}

}  // namespace hugot::tools
