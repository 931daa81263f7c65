#include <doctest/doctest.h>

#include "base/testing.h"
#include "tests/graph_builder.h"

namespace hugot {
namespace {

using test::ops;

Datum run(const char* op_type, std::vector<Datum> inputs, Attributes attributes = {}) {
  Node node;
  node.op_type = op_type;
  node.op = &ops().get("", op_type, test::kNewest);
  node.opset = node.op->since_version;
  node.attributes = std::move(attributes);
  for (size_t i = 0; i < inputs.size(); ++i) {
    node.inputs.push_back(inputs[i].defined() ? static_cast<ValueId>(i) : kNoValue);
  }
  node.outputs = {0};
  return evaluate_data(node, inputs)[0];
}

Datum at(const Datum& sequence, int64_t position) {
  return run("SequenceAt", {sequence, Tensor::scalar<int64_t>(position)});
}

}  // namespace

TEST_CASE("sequences are built, changed and read") {
  const Tensor a = Tensor::from<float>({2}, {1, 2});
  const Tensor b = Tensor::from<float>({1, 2}, {3, 4});
  Datum list = run("SequenceConstruct", {a, b});
  list = run("SequenceInsert", {list, b, Tensor::scalar<int32_t>(-2)});
  CHECK(*run("SequenceLength", {list}).tensor().data<int64_t>() == 3);
  CHECK(identical(at(list, 0).tensor(), b));
  CHECK(identical(at(list, -1).tensor(), b));
  list = run("SequenceErase", {list, Tensor::scalar<int64_t>(1)});
  list = run("SequenceErase", {list});
  CHECK(list.items().size() == 1);
  for (const int64_t outside : {int64_t{1}, int64_t{-2}, INT64_MAX, INT64_MIN}) {
    CHECK(error_of([&] { at(list, outside); }) == ErrorCode::kInvalidArgument);
  }
  CHECK(error_of([&] { run("SequenceErase", {run("SequenceEmpty", {})}); }) ==
        ErrorCode::kInvalidArgument);
  CHECK(error_of([&] {
          run("SequenceConstruct", {a, Tensor::scalar<int64_t>(1)});
        }) == ErrorCode::kInvalidArgument);
  CHECK(error_of([&] { run("SequenceLength", {a}); }) == ErrorCode::kInvalidArgument);
}

TEST_CASE("sequences in sequences end somewhere") {
  Datum deep = Tensor::scalar<float>(1);
  CHECK(error_of([&] {
          for (int i = 0; i < 1000; ++i) deep = run("SequenceConstruct", {deep});
        }) == ErrorCode::kUnsupported);
}

TEST_CASE("tensors are split into sequences and joined again") {
  const Tensor x = test::random_tensor(DType::kFloat32, {5, 3, 2}, -1, 1, 7);
  for (const int64_t axis : {0, 1, 2, -1}) {
    for (const int64_t part : {1, 2, 7}) {
      CAPTURE(axis);
      CAPTURE(part);
      const Datum parts =
          run("SplitToSequence", {x, Tensor::scalar<int64_t>(part)}, {{"axis", axis}});
      const Datum joined = run("ConcatFromSequence", {parts}, {{"axis", axis}});
      CHECK(identical(joined.tensor(), x));
    }
    const Datum rows = run("SplitToSequence", {x}, {{"axis", axis}, {"keepdims", int64_t{0}}});
    const Datum stacked =
        run("ConcatFromSequence", {rows}, {{"axis", axis}, {"new_axis", int64_t{1}}});
    CHECK(identical(stacked.tensor(), x));
  }
  CHECK(error_of([&] {
          run("SplitToSequence", {x, Tensor::from<int64_t>({2}, {2, 2})});
        }) == ErrorCode::kInvalidArgument);
  CHECK(error_of([&] {
          run("SplitToSequence", {x, Tensor::scalar<int64_t>(0)});
        }) == ErrorCode::kInvalidArgument);
  CHECK(error_of([&] {
          run("ConcatFromSequence", {run("SequenceEmpty", {})}, {{"axis", int64_t{0}}});
        }) == ErrorCode::kInvalidArgument);
}

TEST_CASE("optionals hold a value or none") {
  const Tensor x = Tensor::from<float>({2}, {1, 2});
  const auto has = [](std::vector<Datum> inputs) {
    return *run("OptionalHasElement", std::move(inputs)).tensor().data<bool>();
  };
  const Datum full = run("Optional", {x});
  const Datum none = run("Optional", {}, {{"type", Fact::of(DType::kFloat32, {2})}});
  CHECK(has({full}));
  CHECK(has({x}));
  CHECK_FALSE(has({none}));
  CHECK_FALSE(has({}));
  CHECK(identical(run("OptionalGetElement", {full}).tensor(), x));
  CHECK(identical(run("OptionalGetElement", {x}).tensor(), x));
  CHECK(error_of([&] { run("OptionalGetElement", {none}); }) == ErrorCode::kInvalidArgument);
}

}  // namespace hugot
