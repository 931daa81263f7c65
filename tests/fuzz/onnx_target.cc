// Hostile models: loaded, optimised, compiled, run on small inputs, and exported again.
#include <optional>
#include <utility>
#include <vector>

#include "graph/exec/executor.h"
#include "graph/passes/passes.h"
#include "kernels/registry.h"
#include "onnx/exporter.h"
#include "onnx/loader.h"
#include "tests/fuzz/fuzz.h"

namespace hugot::fuzz {
namespace {

using std::chrono::milliseconds;

constexpr int64_t kMaxInputElements = 1 << 12;
constexpr milliseconds kRunTime{300};

// Something small of an input's type; nothing when the declaration asks for more.
std::optional<Datum> small_value(const Fact& fact) {
  if (fact.kind == Kind::kOptional || fact.kind == Kind::kSequence) {
    auto item = small_value(fact.item());
    if (!item) return std::nullopt;
    return fact.kind == Kind::kOptional ? Datum::optional(std::move(*item))
                                        : Datum::sequence({*item, *item});
  }
  if (!fact.is_tensor()) return std::nullopt;
  std::vector<int64_t> dims(fact.shape ? fact.shape->size() : 1);
  for (size_t i = 0; i < dims.size(); ++i) {
    dims[i] = fact.shape ? (*fact.shape)[i].number().value_or(2) : 2;
  }
  const Shape shape(dims);
  if (shape.size() > kMaxInputElements) return std::nullopt;
  const DType dtype = fact.dtype == DType::kUndefined ? DType::kFloat32 : fact.dtype;
  Tensor tensor(dtype, shape);
  for (int64_t i = 0; i < shape.size(); ++i) {
    if (dtype == DType::kString) {
      tensor.data<std::string>()[i] = std::string(static_cast<size_t>(i % 3), 'a');
    } else if (dtype == DType::kFloat32) {
      tensor.data<float>()[i] = static_cast<float>(i % 5) - 1.5f;
    } else if (dtype == DType::kFloat64) {
      tensor.data<double>()[i] = static_cast<double>(i % 5) - 1.5;
    } else if (dtype == DType::kInt64) {
      tensor.data<int64_t>()[i] = i % 3;
    } else if (dtype == DType::kInt32) {
      tensor.data<int32_t>()[i] = static_cast<int32_t>(i % 3);
    } else if (dtype == DType::kBool) {
      tensor.data<bool>()[i] = i % 2 == 0;
    }
  }
  if (dtype_bits(dtype) > 0 && dtype != DType::kFloat32 && dtype != DType::kFloat64 &&
      dtype != DType::kInt64 && dtype != DType::kInt32 && dtype != DType::kBool &&
      dtype != DType::kString) {
    auto* bytes = static_cast<uint8_t*>(tensor.raw());
    for (size_t i = 0; i < tensor.bytes(); ++i) bytes[i] = static_cast<uint8_t>(i % 3);
  }
  return Datum(std::move(tensor));
}

void run(const std::shared_ptr<const Plan>& plan) {
  std::vector<Datum> inputs;
  for (const ValueId id : plan->graph().inputs) {
    auto value = small_value(plan->graph().fact(id));
    if (!value) return;
    inputs.push_back(std::move(*value));
  }
  const Deadline deadline(kRunTime);
  Executor executor(plan);
  std::vector<Datum> results;
  executor.run(inputs, results, {.stop = deadline.token()});
}

void export_again(const Graph& graph, const OpRegistry& ops) {
  const auto path = scratch_folder() / "again.onnx";
  write_model(graph, path);
  load_model(path, ops);
}

}  // namespace

InputKind input_kind() { return InputKind::kProtobuf; }

}  // namespace hugot::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hugot;
  static const OpRegistry ops = builtin_ops();
  return fuzz::only_errors([&] {
    const LoadedModel model = load_model(std::as_bytes(std::span(data, size)), nullptr, ops);
    fuzz::only_errors([&] { fuzz::export_again(model.graph, ops); });
    fuzz::only_errors(
        [&] { write_updated_model(model, {}, fuzz::scratch_folder() / "same.onnx"); });
    model.graph.dump();
    Graph graph = model.graph;
    PassContext context{ops};
    context.observer = [](std::string_view, size_t, const Graph&) {};  // verifies after each pass
    optimize_exact(graph, context);
    fuzz::only_errors([&] { fuzz::export_again(graph, ops); });
    fuzz::run(Plan::compile(std::move(graph)));
  });
}
