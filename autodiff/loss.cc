#include "autodiff/loss.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "autodiff/backward.h"
#include "autodiff/float_type.h"
#include "autodiff/loss_formulas.h"
#include "base/error.h"
#include "graph/passes/passes.h"
#include "kernels/random/random.h"

namespace hugot {
namespace {

constexpr const char* kGraphLoss = "graph";

void check_matryoshka(const LossOptions& options) {
  require(options.inner != nullptr, ErrorCode::kInvalidArgument,
          "matryoshka needs the name of an inner loss");
  const std::string& inner = options.inner->name;
  const LossFormula* formula = find_loss_formula(inner);
  require(formula != nullptr && inner != "matryoshka" && inner != "softmax" &&
              inner != "cross_entropy" && inner != "bce" && inner != "mse",
          ErrorCode::kInvalidArgument, "'", inner, "' is no loss that matryoshka can repeat");
  require(!options.dims.empty() && options.dims.size() == options.weights.size(),
          ErrorCode::kInvalidArgument, "matryoshka needs dims, and as many weights; there are ",
          options.dims.size(), " and ", options.weights.size());
  for (const int64_t dim : options.dims) {
    require(dim > 0, ErrorCode::kInvalidArgument, "matryoshka: ", dim, " is no length");
  }
}

// numpy's "float32[2,3]" of all tensors: the key of what is built for them.
std::string signature(std::span<const Tensor> columns, const Tensor& labels, bool gradients) {
  std::string text = gradients ? "d " : "";
  for (const Tensor& column : columns) text += str(describe(column), ' ');
  return labels.defined() ? text + std::string(describe(labels)) : text;
}

Fact fact_of(const Tensor& tensor) {
  return Fact::of(tensor.dtype(), Dims(tensor.shape().begin(), tensor.shape().end()));
}

double scalar(const Tensor& tensor) {
  return tensor.dtype() == DType::kFloat64 ? *tensor.data<double>()
                                           : static_cast<double>(*tensor.data<float>());
}

template <class T>
void add_to(Tensor& sum, const Tensor& x) {
  for (int64_t i = 0; i < x.size(); ++i) sum.data<T>()[i] += x.data<T>()[i];
}

// torch.nn.Linear: evenly from [-1, 1) / sqrt(inputs).
Parameter linear_parameter(const char* name, const Shape& shape, int64_t inputs, DType dtype,
                           uint64_t key) {
  Parameter parameter{name, Tensor(DType::kFloat64, shape), Tensor(dtype, shape)};
  const random::Stream stream(key);
  const double limit = 1 / std::sqrt(static_cast<double>(inputs));
  for (int64_t i = 0; i < parameter.value.size(); ++i) {
    // Rounded, because a head is stored in float32.
    parameter.value.data<double>()[i] = static_cast<double>(
        static_cast<float>(limit * (2 * stream.uniform(static_cast<uint64_t>(i)) - 1)));
  }
  parameter.value = convert_float(parameter.value, dtype);
  std::memset(parameter.gradient.raw(), 0, parameter.gradient.bytes());
  return parameter;
}

}  // namespace

Distance distance_from_name(std::string_view name) {
  if (name == "cosine") return Distance::kCosine;
  if (name == "euclidean") return Distance::kEuclidean;
  require(name == "manhattan", ErrorCode::kInvalidArgument, "unknown distance '", name,
          "'; known are cosine, euclidean and manhattan");
  return Distance::kManhattan;
}

std::vector<std::string> loss_names() {
  std::vector<std::string> names = loss_formula_names();
  names.emplace_back(kGraphLoss);
  return names;
}

LossNeeds loss_needs(const LossOptions& options) {
  if (options.name == kGraphLoss) {
    require(options.graph != nullptr && options.graph->outputs.size() == 1,
            ErrorCode::kInvalidArgument, "a loss graph has one output");
    return {1, 1 << 10, LabelKind::kNone};
  }
  const LossFormula* formula = find_loss_formula(options.name);
  if (formula == nullptr) {
    std::string known;
    for (const std::string& name : loss_names()) known += (known.empty() ? "" : ", ") + name;
    fail(ErrorCode::kInvalidArgument, "unknown loss '", options.name, "'; known are ", known);
  }
  if (options.name == "matryoshka") {
    check_matryoshka(options);
    return loss_needs(*options.inner);
  }
  require(options.name != "softmax" || options.num_labels >= 2, ErrorCode::kInvalidArgument,
          "softmax needs num_labels, 2 at least");
  require(std::isfinite(options.scale) && std::isfinite(options.margin) &&
              options.label_smoothing >= 0 && options.label_smoothing < 1,
          ErrorCode::kInvalidArgument, "scale, margin or label_smoothing make no sense");
  return formula->needs;
}

Loss::Loss(LossOptions options, const OpRegistry& ops, DType dtype,
           std::vector<std::string> column_names, int64_t dim, uint64_t seed)
    : options_(std::move(options)),
      ops_(ops),
      dtype_(dtype),
      column_names_(std::move(column_names)) {
  loss_needs(options_);
  for (const int64_t length : options_.dims) {
    require(length <= dim, ErrorCode::kInvalidArgument, "matryoshka: the vectors have ", dim,
            " elements, not ", length);
  }
  const bool angle =
      options_.name == "angle" || (options_.inner && options_.inner->name == "angle");
  const bool even = dim % 2 == 0 && std::all_of(options_.dims.begin(), options_.dims.end(),
                                                [](int64_t length) { return length % 2 == 0; });
  require(!angle || even, ErrorCode::kInvalidArgument,
          "angle needs vectors with an even number of elements");
  if (options_.name == "softmax") {
    const int64_t inputs = dim * (options_.multiply ? 4 : 3), outputs = options_.num_labels;
    parameters_.push_back(
        linear_parameter("head.weight", {outputs, inputs}, inputs, dtype, 2 * seed + 1));
    parameters_.push_back(linear_parameter("head.bias", {outputs}, inputs, dtype, 2 * seed + 2));
  }
}

Graph Loss::build(std::span<const Tensor> columns, const Tensor& labels, bool gradients) const {
  Graph graph;
  if (options_.graph) {
    graph = *options_.graph;
    convert_floats(graph, dtype_);
  }
  std::vector<ValueId> wanted;
  const std::vector<ValueId> given = std::exchange(graph.inputs, {});
  const auto add = [&](const std::string& name, const std::string& other, const Tensor& tensor) {
    for (const ValueId id : given) {
      const Value& value = graph.value(id);
      if (value.name != name && value.name != other) continue;
      Fact fact = fact_of(tensor);
      require(value.fact.admits(tensor), ErrorCode::kInvalidArgument, "loss graph: input '",
              value.name, "' is declared as ", value.fact.to_string(), ", but is ",
              describe(tensor));
      graph.value(id).fact = std::move(fact);
      graph.inputs.push_back(id);
      return id;
    }
    return graph.add_input(name, fact_of(tensor));
  };
  LossTerms terms;
  GraphWriter writer(graph, ops_);
  writer.set_scope("loss");
  for (size_t i = 0; i < columns.size(); ++i) {
    wanted.push_back(add(column_names_.at(i), str("column_", i), columns[i]));
    terms.columns.push_back(writer.value(wanted.back()));
  }
  if (labels.defined()) terms.labels = writer.value(add("labels", "label", labels));
  for (const Parameter& parameter : parameters_) {
    wanted.push_back(graph.add_input(parameter.name, fact_of(parameter.value)));
    terms.parameters.push_back(writer.value(wanted.back()));
  }
  terms.rows = columns[0].shape()[0];
  ValueId loss = kNoValue;
  if (options_.graph) {
    for (const ValueId id : given) {
      require(std::find(graph.inputs.begin(), graph.inputs.end(), id) != graph.inputs.end(),
              ErrorCode::kInvalidArgument, "loss graph: input '", graph.value(id).name,
              "' is neither a column of the data nor their labels");
    }
    infer(graph);
    loss = graph.outputs.at(0);
  } else {
    loss = find_loss_formula(options_.name)->term(options_, terms).id();
  }
  graph.declared_outputs.clear();
  graph.outputs = {loss};
  if (gradients) {
    const std::vector<ValueId> found = build_backward(graph, loss, wanted, ops_);
    graph.outputs.insert(graph.outputs.end(), found.begin(), found.end());
  }
  graph.remove_dead();
  PassContext context{ops_};
  optimize_exact(graph, context);
  return graph;
}

Executor& Loss::executor(std::span<const Tensor> columns, const Tensor& labels, bool gradients) {
  require(!columns.empty() && columns[0].rank() == 2, ErrorCode::kInvalidArgument,
          "a loss needs vectors");
  auto& executor = executors_[signature(columns, labels, gradients)];
  if (executor == nullptr) {
    executor = std::make_unique<Executor>(Plan::compile(build(columns, labels, gradients)));
  }
  return *executor;
}

std::vector<Tensor> Loss::arguments(std::span<const Tensor> columns, const Tensor& labels) const {
  std::vector<Tensor> result(columns.begin(), columns.end());
  if (labels.defined()) result.push_back(labels);
  for (const Parameter& parameter : parameters_) result.push_back(parameter.value);
  return result;
}

Loss::Result Loss::run(std::span<const Tensor> columns, const Tensor& labels, const TrainRun& run) {
  const std::vector<Tensor> outputs =
      executor(columns, labels, true)
          .run(arguments(columns, labels), {.pool = run.pool, .stop = run.stop});
  Result result;
  result.value = scalar(outputs[0]);
  result.gradients.assign(outputs.begin() + 1,
                          outputs.begin() + 1 + static_cast<std::ptrdiff_t>(columns.size()));
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor& gradient = outputs[1 + columns.size() + i];
    if (dtype_ == DType::kFloat64) {
      add_to<double>(parameters_[i].gradient, gradient);
    } else {
      add_to<float>(parameters_[i].gradient, gradient);
    }
  }
  return result;
}

double Loss::value(std::span<const Tensor> columns, const Tensor& labels, const TrainRun& run) {
  return scalar(executor(columns, labels, false)
                    .run(arguments(columns, labels), {.pool = run.pool, .stop = run.stop})
                    .at(0));
}

}  // namespace hugot
