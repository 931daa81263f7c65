// Devices: memory, streams, and graphs that run on them.
#include "graph/exec/device.h"

#include <doctest/doctest.h>

#include "graph/exec/executor.h"
#include "graph/passes/passes.h"
#include "kernels/cuda/emulated_device.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/sanitizer.h"
#include "tests/harness.h"

namespace hugot {
namespace {

std::byte* bytes(void* memory) { return static_cast<std::byte*>(memory); }

const OpRegistry& ops() {
  static const OpRegistry registry = builtin_ops(cuda::kernel_table());
  return registry;
}

// A small graph in the making: nodes in order, results by name.
struct Builder {
  Graph graph;

  ValueId weight(const Shape& shape, uint64_t seed) {
    return graph.add_initializer("weight",
                                 test::random_tensor(DType::kFloat32, shape, -0.5, 0.5, seed));
  }
  ValueId integers(std::initializer_list<int64_t> values) {
    return graph.add_initializer(
        "integers", Tensor::from<int64_t>({static_cast<int64_t>(values.size())}, values));
  }
  ValueId op(const std::string& type, std::vector<ValueId> inputs, Attributes attributes = {}) {
    Node node;
    node.name = str(type, graph.node_count());
    node.op_type = type;
    node.opset = 20;
    node.op = &ops().get("", type, 20);
    node.attributes = std::move(attributes);
    node.inputs = std::move(inputs);
    node.outputs = {graph.add_value(node.name)};
    const ValueId output = node.outputs[0];
    graph.add_node(std::move(node));
    return output;
  }
};

// Attention and a feed-forward layer: operators with and without device kernels, views, a constant
// that two nodes read, and an input that is an output, too.
Graph small_graph() {
  Builder b;
  const ValueId x = b.graph.add_input(
      "x", Fact::of(DType::kFloat32, {Dim::symbol("batch"), Dim::symbol("length"), 12}));
  const ValueId w = b.weight({12, 12}, 1);
  const auto heads = [&](ValueId value, std::vector<int64_t> perm) {
    const ValueId split = b.op("Reshape", {value, b.integers({0, -1, 3, 4})});
    return b.op("Transpose", {split}, {{"perm", std::move(perm)}});
  };
  const ValueId q = heads(b.op("MatMul", {x, w}), {0, 2, 1, 3});
  const ValueId k = heads(b.op("Add", {b.op("MatMul", {x, w}), b.weight({12}, 2)}), {0, 2, 3, 1});
  const ValueId v = heads(b.op("MatMul", {x, b.weight({12, 12}, 3)}), {0, 2, 1, 3});
  const ValueId scores = b.op("Softmax", {b.op("Mul", {b.op("MatMul", {q, k}), b.weight({}, 4)})});
  const ValueId mixed = b.op("Transpose", {b.op("MatMul", {scores, v})},
                             {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
  const ValueId joined = b.op("Add", {b.op("Reshape", {mixed, b.integers({0, -1, 12})}), x});
  const ValueId inner = b.op("Gelu", {b.op("MatMul", {joined, b.weight({12, 20}, 5)})});
  const ValueId outer = b.op("Tanh", {b.op("MatMul", {inner, b.weight({20, 12}, 6)})});
  const ValueId mean = b.op("ReduceMean", {outer, b.integers({1})}, {{"keepdims", int64_t{0}}});
  b.graph.outputs = {outer, mean, x, b.op("Shape", {outer})};
  return std::move(b.graph);
}

}  // namespace

TEST_CASE("the host is a device") {
  Device& cpu = cpu_device();
  CHECK(cpu.name() == "cpu");
  CHECK(cpu.memory().total >= cpu.memory().free);
  std::byte* memory = cpu.allocate(100);
  CHECK(reinterpret_cast<uintptr_t>(memory) % Device::kAlignment == 0);
  int number = 7;
  const auto stream = cpu.new_stream();
  stream->copy_to_device(memory, bytes(&number), sizeof(number));
  stream->copy_on_device(memory + 8, memory, sizeof(number));
  number = 0;
  stream->copy_to_host(bytes(&number), memory + 8, sizeof(number));
  CHECK(number == 7);
  stream->wait(*stream->record());
  stream->synchronize();
  cpu.free(memory);
  cpu.free(nullptr);
}

TEST_CASE("emulated device memory is not host memory") {
  const auto device = cuda::emulated_device({.memory_bytes = 1000});
  CHECK(device->name() == "cuda-emulated");
  std::byte* memory = device->allocate(600);
  CHECK(reinterpret_cast<uintptr_t>(memory) % Device::kAlignment == 0);
  CHECK(device->memory().free == 400);
  CHECK_THROWS_WITH_AS(device->allocate(401),
                       "cannot allocate 401 bytes on the device, 400 are free", Error);
  const auto stream = device->new_stream();
  std::byte host[16] = {};
  CHECK_THROWS_AS(stream->copy_to_device(host, host, 16), Error);
  CHECK_THROWS_AS(stream->copy_to_device(memory + 590, host, 16), Error);
  CHECK_THROWS_AS(stream->copy_to_device(memory, memory + 16, 16), Error);
  CHECK_THROWS_AS(stream->copy_to_host(memory, memory + 16, 16), Error);
  CHECK_THROWS_AS(stream->copy_to_host(host, host, 16), Error);
  CHECK_THROWS_AS(stream->copy_on_device(memory, host, 16), Error);
  stream->copy_to_host(host, memory + 584, 16);
  stream->synchronize();
  CHECK(host[15] == std::byte{0xff});  // nobody has written it
#ifdef __SANITIZE_ADDRESS__
  CHECK(__asan_address_is_poisoned(memory) != 0);
#endif
  device->free(memory);
  CHECK(device->memory().free == 1000);
}

TEST_CASE("work is queued until somebody waits for it") {
  const auto device = cuda::emulated_device();
  std::byte* memory = device->allocate(4);
  const auto a = device->new_stream(), b = device->new_stream();
  int from = 1, to = 0;
  a->copy_to_device(memory, bytes(&from), 4);
  from = 2;  // too early: the copy has not been done
  const auto copied = a->record();
  from = 3;
  b->wait(*copied);
  b->copy_to_host(bytes(&to), memory, 4);
  CHECK(to == 0);
  b->synchronize();
  CHECK(to == 3);
  a->copy_to_device(memory, bytes(&to), 4);
  device->free(memory);  // waits for the copy into it
  a->synchronize();
}

TEST_CASE("a graph gives the same on the device as on the host, with fallbacks around it") {
  const auto device = cuda::emulated_device({.thread_order = 3});
  Executor on_host(Plan::compile(small_graph()));
  Executor on_device(Plan::compile(small_graph(), device));
  CHECK(on_host.device_counts() == nullptr);
  size_t left = 0;
  for (const int64_t length : {5, 1, 9, 2}) {
    const Tensor x = test::random_tensor(DType::kFloat32, {2, length, 12}, -2, 2, 7);
    const std::vector<Tensor> expected = on_host.run(std::span(&x, 1));
    const std::vector<Tensor> actual = on_device.run(std::span(&x, 1));
    REQUIRE(actual.size() == expected.size());
    for (size_t i = 0; i < actual.size(); ++i) {
      CHECK(test::difference(actual[i], expected[i], {1e-5, 1e-6}) == "");
    }
    const size_t now = device->memory().free;
    if (length == 2) CHECK(now == left);  // it has been longer before: nothing is allocated
    left = now;
  }
  const DeviceCounts& counts = *on_device.device_counts();
  CHECK(counts.device_nodes == 4 * 13);
  CHECK(counts.fallback_nodes == 4 * 10);
  CHECK(counts.bytes_to_device > 0);
  CHECK(counts.bytes_to_host > 0);
}

TEST_CASE("operands that a device kernel does not take run on the host") {
  Builder b;
  const ValueId x = b.graph.add_input("x", Fact::of(DType::kFloat16, {4}));
  b.graph.outputs = {b.op("Add", {x, x})};
  Executor executor(Plan::compile(std::move(b.graph), cuda::emulated_device()));
  const Tensor numbers = test::numbers(DType::kFloat16, {4}, {1, 2, 3, 4});
  CHECK(test::as_doubles(executor.run(std::span(&numbers, 1))[0]) ==
        std::vector<double>{2, 4, 6, 8});
  CHECK(executor.device_counts()->device_nodes == 0);
  CHECK(executor.device_counts()->fallback_nodes == 1);
}

TEST_CASE("an executor works again after a run that failed") {
  Builder b;
  const ValueId x = b.graph.add_input("x", Fact::of(DType::kFloat32, {Dim::symbol("n")}));
  const ValueId y = b.graph.add_input("y", Fact::of(DType::kFloat32, {Dim::symbol("m")}));
  b.graph.outputs = {b.op("Add", {b.op("Tanh", {x}), y})};
  Executor executor(Plan::compile(std::move(b.graph), cuda::emulated_device()));
  const auto run = [&](int64_t n, int64_t m) {
    const Tensor inputs[] = {test::random_tensor(DType::kFloat32, {n}, -1, 1, 1),
                             test::random_tensor(DType::kFloat32, {m}, -1, 1, 2)};
    return executor.run(inputs)[0].size();
  };
  CHECK(run(3, 3) == 3);
  CHECK_THROWS_AS(run(3, 4), Error);
  CHECK(run(4, 4) == 4);
}

}  // namespace hugot
