// Runs operator cases that are written as data: node and operands in, checks out.
#ifndef HUGOT_TESTS_HARNESS_H_
#define HUGOT_TESTS_HARNESS_H_

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/tensor.h"
#include "base/thread_pool.h"
#include "graph/graph.h"

namespace hugot::test {

inline constexpr int kNewest = 1 << 20;  // an opset that selects the newest version

struct Tolerance {
  double relative, absolute;  // |actual - expected| <= absolute + relative * |expected|
};
// What a correct kernel reaches in this type: a few units in the last place; 0 for types that are
// exact.
Tolerance default_tolerance(DType dtype);

// One operator on given operands.
struct Case {
  std::string name;  // says what is special about it
  std::string op_type;
  std::vector<Tensor> inputs;  // an undefined tensor is an omitted input
  Attributes attributes = {};
  // The outputs. Empty: the oracle computes them, which is the same node under the scalar
  // instruction set with float32, float16 and bfloat16 operands widened to float64.
  std::vector<Tensor> expected = {};
  int opset = kNewest;
  std::string domain = "";
  int outputs = 1;  // ignored when `expected` is given
  std::optional<Tolerance> tolerance = {};
  std::optional<ErrorCode> error = {};  // instead of outputs: running the node has to fail so
  // Inputs of a floating-point type that say what to do (scales): they keep their type, and have no
  // gradient.
  std::vector<size_t> parameters = {};
  bool gradients = true;  // to be checked
};

// The node of a case; operands and outputs are the values 0, 1, .. in their order.
Node node_of(const Case& test);
// Its outputs for these operands.
std::vector<Tensor> run_node(const Node& node, const std::vector<Tensor>& inputs,
                             ThreadPool* pool = nullptr);

// The same case on float64 operands; what is expected is only as exact as it was. Its gradients are
// those of the original, which are checked in float64.
Case in_float64(Case test);

// For every case: runs it under every instruction set of this machine and compares with what is
// expected; requires the same bits from two threads as from one; and requires everything that
// inference says (of constant operands, of fixed and symbolic shapes, of symbolic and uniform
// elements) to be true of the result; and checks the gradient rule (gradient_check.h). An operator
// with a CUDA kernel runs on the emulated device as well. Failures are doctest checks that name the
// case.
void run_cases(std::span<const Case> cases);
void run_cases(std::initializer_list<Case> cases);

// Numbers drawn evenly from [low, high) by a generator that depends on `seed` alone; for integers
// cut to whole numbers.
Tensor random_tensor(DType dtype, const Shape& shape, double low, double high, uint64_t seed);

// The numbers given, converted to `dtype`.
Tensor numbers(DType dtype, const Shape& shape, std::initializer_list<double> values);

// The tensor in another type of numbers.
Tensor as_type(const Tensor& x, DType dtype);

// Elements as float64 (not for strings).
std::vector<double> as_doubles(const Tensor& tensor);

// y[i] = f(x[i]), in float64.
Tensor mapped(const Tensor& x, const std::function<double(double)>& f);

// Empty when equal within the tolerance, otherwise the first difference. NaN equals NaN.
std::string difference(const Tensor& actual, const Tensor& expected, const Tolerance& tolerance);

// The first output of a graph with one input, without any passes.
Tensor run_exact(Graph graph, const Tensor& input);

// The largest absolute difference of two float32 tensors of one shape, which is required.
double largest_difference(const Tensor& a, const Tensor& b);

// How many nodes of the graph are of this type.
int count(const Graph& graph, std::string_view op_type);

}  // namespace hugot::test

#endif  // HUGOT_TESTS_HARNESS_H_
