#include "tests/harness.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "base/thread_pool.h"
#include "graph/exec/executor.h"
#include "graph/op.h"
#include "kernels/convert.h"
#include "kernels/cpu/isa.h"
#include "kernels/cuda/emulated_device.h"
#include "kernels/cuda/kernels.h"
#include "kernels/dispatch.h"
#include "kernels/registry.h"
#include "tests/gradient_check.h"

namespace hugot::test {
namespace {

const OpRegistry& registry() {
  static const OpRegistry ops = builtin_ops(cuda::kernel_table());
  return ops;
}

std::vector<Tensor> run(const Case& test, const std::vector<Tensor>& inputs,
                        ThreadPool* pool = nullptr) {
  return run_node(node_of(test), inputs, pool);
}

// The node as a graph of its own that runs on a device.
std::vector<Tensor> run_on_device(const Case& test, const std::shared_ptr<Device>& device) {
  Graph graph;
  Node node = node_of(test);
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < test.inputs.size(); ++i) {
    const Tensor& input = test.inputs[i];
    if (!input.defined()) continue;
    const Dims dims(input.shape().begin(), input.shape().end());
    node.inputs[i] = graph.add_input("input", Fact::of(input.dtype(), dims));
    inputs.push_back(input);
  }
  for (ValueId& output : node.outputs) graph.outputs.push_back(output = graph.add_value("output"));
  graph.add_node(std::move(node));
  return Executor(Plan::compile(std::move(graph), device)).run(inputs);
}

std::vector<Tensor> oracle(const Case& test) {
  const cpu::ScopedIsa scalar(cpu::find_isa("scalar"));
  return run(test, in_float64(test).inputs);
}

// ---------------------------------------------------------------------------------------------
// Inference: every statement has to be true of the actual result.

// Dimensions and elements stand for themselves: the symbol "n7" is 7.
Dim symbol_for(int64_t value) { return Dim::symbol("n" + std::to_string(value)); }

std::optional<int64_t> evaluate_symbols(const Dim& dim) {
  try {
    return dim.evaluate([](std::string_view symbol) -> std::optional<int64_t> {
      const std::string digits(symbol.substr(1));
      const bool ours = symbol.front() == 'n' && !digits.empty() &&
                        digits.find_first_not_of("0123456789") == std::string::npos;
      if (!ours) return std::nullopt;
      return std::stoll(digits);
    });
  } catch (const Error&) {
    return std::nullopt;  // an expression that only has a name
  }
}

bool all_equal(const Tensor& tensor) {
  if (tensor.size() == 0 || tensor.dtype() == DType::kString) return false;
  const size_t width = static_cast<size_t>(dtype_bits(tensor.dtype())) / 8;
  const auto* bytes = static_cast<const std::byte*>(tensor.raw());
  return width > 0 && std::equal(bytes + width, bytes + tensor.bytes(), bytes);
}

void check_fact(const Fact& fact, const Tensor& actual) {
  CHECK(dtype_name(fact.dtype) == dtype_name(actual.dtype()));
  if (fact.shape) {
    REQUIRE(fact.rank() == actual.rank());
    for (int axis = 0; axis < actual.rank(); ++axis) {
      const auto dim = evaluate_symbols((*fact.shape)[static_cast<size_t>(axis)]);
      if (dim) CHECK(*dim == actual.shape()[axis]);
    }
  }
  if (fact.constant) CHECK(identical(*fact.constant, actual));
  if (fact.symbolic) {
    const std::vector<int64_t> elements = to_int64s(actual);
    REQUIRE(fact.symbolic->size() == elements.size());
    for (size_t i = 0; i < elements.size(); ++i) {
      const auto element = evaluate_symbols((*fact.symbolic)[i]);
      if (element) CHECK(*element == elements[i]);
    }
  }
  if (fact.uniform && actual.size() > 0) {
    CHECK(all_equal(actual));
    const Tensor first(actual.dtype(), {}, actual.raw());
    CHECK(identical(*fact.uniform, first));
  }
}

enum class Knowledge {
  kConstants,        // operands are initializers
  kShapes,           // operands have fixed shapes
  kSymbolicShapes,   // dimensions are symbols
  kSymbolicNumbers,  // dimensions are symbols, integer operands are initializers
  kElements,         // integers have symbolic elements, equal elements are known to be so
};

Fact fact_of(const Tensor& tensor, Knowledge knowledge) {
  const bool integers = is_integer(tensor.dtype());
  if (knowledge == Knowledge::kConstants ||
      (knowledge == Knowledge::kSymbolicNumbers && integers)) {
    return Fact::of(tensor);
  }
  Fact fact = Fact::of(tensor.dtype(), {});
  const bool fixed = knowledge == Knowledge::kShapes || knowledge == Knowledge::kElements;
  for (const int64_t dim : tensor.shape()) {
    fact.shape->push_back(fixed || dim < 2 ? Dim(dim) : symbol_for(dim));
  }
  if (knowledge != Knowledge::kElements) return fact;
  if (all_equal(tensor)) fact.uniform = Tensor(tensor.dtype(), {}, tensor.raw()).clone();
  if ((integers && dtype_bits(tensor.dtype()) >= 32) || tensor.dtype() == DType::kBool) {
    fact.symbolic.emplace();
    for (const int64_t element : to_int64s(tensor)) {
      fact.symbolic->push_back(integers && element >= 0 ? symbol_for(element) : Dim(element));
    }
  }
  return fact;
}

void check_inference(const Case& test, Knowledge knowledge, const std::vector<Tensor>& actual) {
  CAPTURE(static_cast<int>(knowledge));
  Graph graph;
  Node node = node_of(test);
  for (size_t i = 0; i < test.inputs.size(); ++i) {
    const Tensor& input = test.inputs[i];
    if (!input.defined()) continue;
    Fact fact = fact_of(input, knowledge);
    node.inputs[i] = fact.constant ? graph.add_initializer("constant", input)
                                   : graph.add_input("input", std::move(fact));
  }
  for (ValueId& output : node.outputs) output = graph.add_value("output");
  const std::vector<ValueId> outputs = node.outputs;
  infer_node(graph, graph.add_node(std::move(node)));
  for (size_t i = 0; i < actual.size(); ++i) check_fact(graph.fact(outputs[i]), actual[i]);
}

// ---------------------------------------------------------------------------------------------

void check_outputs(const Case& test, const std::vector<Tensor>& actual,
                   const std::vector<Tensor>& expected) {
  REQUIRE(actual.size() == expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    CAPTURE(i);
    const Tolerance tolerance = test.tolerance.value_or(default_tolerance(actual[i].dtype()));
    CHECK(difference(actual[i], expected[i], tolerance) == "");
    if (!test.expected.empty()) {
      CHECK(dtype_name(actual[i].dtype()) == dtype_name(expected[i].dtype()));
    }
  }
}

template <class Run>
void check_error(const Case& test, const Run& run_case) {
  bool failed = false;
  try {
    run_case();
  } catch (const Error& error) {
    failed = true;
    CHECK_MESSAGE(error.code() == *test.error, error.what());
  }
  CHECK(failed);
}

// The device kernel, on the emulated device with its threads in two orders.
void check_device(const Case& test, const std::vector<Tensor>& expected) {
  static const std::shared_ptr<Device> ascending = cuda::emulated_device();
  static const std::shared_ptr<Device> shuffled = cuda::emulated_device({.thread_order = 1});
  if (node_of(test).op->cuda == nullptr) return;
  INFO("on the emulated device");
  if (test.error) return check_error(test, [&] { run_on_device(test, ascending); });
  const std::vector<Tensor> actual = run_on_device(test, ascending);
  check_outputs(test, actual, expected);
  const std::vector<Tensor> again = run_on_device(test, shuffled);
  for (size_t i = 0; i < actual.size(); ++i) CHECK(identical(actual[i], again[i]));
}

// Each element costs several runs of the whole case.
int64_t gradient_samples(const Case& test) {
  constexpr int64_t kLarge = 4096;
  int64_t elements = 0;
  for (const Tensor& input : test.inputs) elements += input.size();
  return elements > kLarge ? 2 : 6;
}

void run_case(const Case& test) {
  INFO("case: ", test.op_type, " ", test.name);
  if (test.error) {
    check_error(test, [&] { run(test, test.inputs); });
    return check_device(test, {});
  }
  try {
    const std::vector<Tensor> expected = test.expected.empty() ? oracle(test) : test.expected;
    ThreadPool pool(2);
    for (const cpu::Isa& isa : cpu::all_isas()) {
      if (!isa.supported()) continue;
      INFO("instruction set: ", std::string(isa.name));
      const cpu::ScopedIsa scoped(isa);
      const std::vector<Tensor> actual = run(test, test.inputs);
      check_outputs(test, actual, expected);
      const std::vector<Tensor> threaded = run(test, test.inputs, &pool);
      for (size_t i = 0; i < actual.size(); ++i) CHECK(identical(actual[i], threaded[i]));
    }
    const std::vector<Tensor> actual = run(test, test.inputs);
    for (const Knowledge knowledge :
         {Knowledge::kConstants, Knowledge::kShapes, Knowledge::kSymbolicShapes,
          Knowledge::kSymbolicNumbers, Knowledge::kElements}) {
      check_inference(test, knowledge, actual);
    }
    if (test.gradients) check_gradients(test, gradient_samples(test));
    check_device(test, expected);
  } catch (const Error& error) {
    FAIL_CHECK(std::string(error.what()));
  }
}

}  // namespace

Tensor as_type(const Tensor& x, DType dtype) {
  Tensor y(dtype, x.shape());
  dispatch(NumberAndBoolTypes{}, x.dtype(), [&]<class From>() {
    dispatch(NumberAndBoolTypes{}, dtype,
             [&]<class To>() { convert_all(x.data<From>(), y.data<To>(), x.size()); });
  });
  return y;
}

Tolerance default_tolerance(DType dtype) {
  switch (dtype) {
    case DType::kFloat64:
      return {1e-12, 1e-12};
    case DType::kFloat32:
      return {2e-6, 1e-6};
    case DType::kFloat16:
      return {2e-3, 1e-4};
    case DType::kBFloat16:
      return {1.6e-2, 1e-3};
    default:
      return {0, 0};
  }
}

Node node_of(const Case& test) {
  Node node;
  node.name = test.name;
  node.op_type = test.op_type;
  node.domain = test.domain;
  node.opset = test.opset;
  node.op = &registry().get(test.domain, test.op_type, test.opset);
  node.attributes = test.attributes;
  for (size_t i = 0; i < test.inputs.size(); ++i) {
    node.inputs.push_back(test.inputs[i].defined() ? static_cast<ValueId>(i) : kNoValue);
  }
  const size_t outputs =
      test.expected.empty() ? static_cast<size_t>(test.outputs) : test.expected.size();
  for (size_t i = 0; i < outputs; ++i) node.outputs.push_back(static_cast<ValueId>(i));
  return node;
}

std::vector<Tensor> run_node(const Node& node, const std::vector<Tensor>& inputs,
                             ThreadPool* pool) {
  std::vector<const Tensor*> pointers;
  for (const Tensor& input : inputs) pointers.push_back(input.defined() ? &input : nullptr);
  return evaluate(node, pointers, pool);
}

Case in_float64(Case test) {
  const auto widen = [](Tensor& tensor) {
    if (tensor.defined() && is_float(tensor.dtype())) tensor = as_type(tensor, DType::kFloat64);
  };
  for (size_t i = 0; i < test.inputs.size(); ++i) {
    const auto& kept = test.parameters;
    if (std::find(kept.begin(), kept.end(), i) == kept.end()) widen(test.inputs[i]);
  }
  for (Tensor& tensor : test.expected) widen(tensor);
  test.name += " in float64";
  test.gradients = false;
  return test;
}

void run_cases(std::span<const Case> cases) {
  for (const Case& test : cases) run_case(test);
}

void run_cases(std::initializer_list<Case> cases) {
  run_cases(std::span<const Case>(cases.begin(), cases.size()));
}

Tensor random_tensor(DType dtype, const Shape& shape, double low, double high, uint64_t seed) {
  Tensor values(DType::kFloat64, shape);
  for (int64_t i = 0; i < values.size(); ++i) {
    seed += 0x9e3779b97f4a7c15u;  // splitmix64
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    values.data<double>()[i] = low + (high - low) * std::ldexp(static_cast<double>(z >> 11), -53);
  }
  return as_type(values, dtype);
}

Tensor numbers(DType dtype, const Shape& shape, std::initializer_list<double> values) {
  return as_type(Tensor::from<double>(shape, values), dtype);
}

std::vector<double> as_doubles(const Tensor& tensor) {
  const Tensor values = as_type(tensor, DType::kFloat64);
  return {values.data<double>(), values.data<double>() + values.size()};
}

Tensor mapped(const Tensor& x, const std::function<double(double)>& f) {
  Tensor y = as_type(x, DType::kFloat64).clone();
  std::transform(y.data<double>(), y.data<double>() + y.size(), y.data<double>(), f);
  return y;
}

std::string difference(const Tensor& actual, const Tensor& expected, const Tolerance& tolerance) {
  if (!(actual.shape() == expected.shape())) {
    return str("shape is ", actual.shape().to_string(), ", expected ",
               expected.shape().to_string());
  }
  if (actual.dtype() == expected.dtype() && identical(actual, expected)) return "";
  if (actual.dtype() == DType::kString) return "strings differ";
  if (dtype_bits(actual.dtype()) < 8 ||
      !(is_float(actual.dtype()) || is_integer(actual.dtype()) || actual.dtype() == DType::kBool)) {
    return "bits differ";
  }
  const std::vector<double> a = as_doubles(actual), e = as_doubles(expected);
  for (size_t i = 0; i < a.size(); ++i) {
    const double limit = tolerance.absolute + tolerance.relative * std::abs(e[i]);
    const bool same = a[i] == e[i] || (std::isnan(a[i]) && std::isnan(e[i])) ||
                      (std::isfinite(e[i]) && std::abs(a[i] - e[i]) <= limit);
    if (!same) return str("element ", i, " is ", a[i], ", expected ", e[i]);
  }
  return "";
}

Tensor run_exact(Graph graph, const Tensor& input) {
  infer(graph);
  Executor executor(Plan::compile(std::move(graph)));
  return executor.run(std::span(&input, 1))[0];
}

double largest_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  double worst = 0;
  for (int64_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(a.data<float>()[i]) -
                                     static_cast<double>(b.data<float>()[i])));
  }
  return worst;
}

int count(const Graph& graph, std::string_view op_type) {
  int found = 0;
  for (NodeId id = 0; id < static_cast<NodeId>(graph.node_count()); ++id) {
    found += !graph.removed(id) && graph.node(id).op_type == op_type;
  }
  return found;
}

}  // namespace hugot::test
