#include "graph/graph.h"

#include <doctest/doctest.h>

#include "graph/dim.h"
#include "graph/exec/memory.h"
#include "graph/op.h"

namespace hugot {
namespace {

const Dim kBatch = Dim::symbol("B");
const Dim kLength = Dim::symbol("S");

// A definition that never runs: enough for graph surgery.
const OpDef& dummy() {
  static const OpDef op = [] {
    OpDef definition;
    definition.name = "Dummy";
    definition.max_inputs = 2;
    return definition;
  }();
  return op;
}

NodeId add_dummy(Graph& graph, std::string type, std::vector<ValueId> inputs,
                 std::vector<ValueId> outputs) {
  return graph.add_node({.name = "",
                         .op_type = std::move(type),
                         .domain = "",
                         .opset = 1,
                         .op = &dummy(),
                         .attributes = {},
                         .inputs = std::move(inputs),
                         .outputs = std::move(outputs)});
}

}  // namespace

TEST_CASE("dims are polynomials that compare by value") {
  CHECK((kBatch * kLength * 12 * 32 == kLength * 384 * kBatch));
  CHECK((kLength - kLength).is(0));
  CHECK((kLength + 3 - kLength).is(3));
  CHECK_FALSE(kLength.is_number());
  CHECK((kLength * 2 + 1).to_string() == "2*S+1");
  CHECK(Dim::divide(kLength * kBatch * 384, kBatch * 12) == kLength * 32);
  CHECK(Dim::divide(7, 2).is(3));
  CHECK(Dim::divide(kLength, kLength).is(1));
  CHECK(Dim::divide(kLength, 2) == Dim::divide(kLength, 2));
  CHECK_FALSE(Dim::divide(kLength, 2) == kLength);
}

TEST_CASE("dims prove what holds for all non-negative symbols") {
  CHECK(Dim::provably_different(kLength, -1));
  CHECK(Dim::provably_different(kLength + 1, kLength));
  CHECK_FALSE(Dim::provably_different(kLength, 5));
  CHECK(Dim::max(kLength + 2, kLength) == kLength + 2);
  CHECK(Dim::min(kLength + 2, kLength) == kLength);
  CHECK(Dim::max(kLength, 5) == Dim::max(5, kLength));
}

TEST_CASE("dims evaluate, substitute and give coefficients") {
  const Dim area = kLength * kLength * 3 + kLength + 7;
  CHECK(area.coefficients("S") == std::vector<int64_t>{7, 1, 3});
  CHECK(area.coefficients("B").empty());
  CHECK(area.evaluate([](std::string_view) { return 10; }) == 317);
  CHECK(area.substitute("S", 2).is(21));
  CHECK_THROWS_AS(kBatch.evaluate([](std::string_view) { return std::nullopt; }), Error);
  CHECK_THROWS_AS(Dim(INT64_MAX) * 2, Error);
}

TEST_CASE("dims of hostile graphs stay small") {
  Dim power = kLength;
  for (int i = 0; i < 100; ++i) power = power * power;
  CHECK(power.to_string().size() < 1000);
  CHECK(power == power * 1);
  Dims shape = {kLength};
  for (int i = 0; i < 100; ++i) shape = broadcast(shape, {shape[0] * 2});
  CHECK(shape[0].to_string().size() < 1000);
  CHECK_FALSE(shape == broadcast(shape, {shape[0] * 2}));
  Dim sum;
  const auto grow = [&sum] {
    for (int i = 0; i < 10000; ++i) sum = sum - Dim::symbol(str("x", i));
  };
  CHECK_THROWS_AS(grow(), Error);
  CHECK_FALSE(Dim::divide(kLength * INT64_MIN, kLength * -1) == kLength);
}

TEST_CASE("symbolic shapes broadcast") {
  CHECK(broadcast(Dims{kBatch, 1, kLength}, Dims{12, 1}) == Dims{kBatch, 12, kLength});
  CHECK(broadcast(Dims{kLength}, Dims{kLength}) == Dims{kLength});
  CHECK_THROWS_AS(broadcast(Dims{3}, Dims{4}), Error);
}

TEST_CASE("graphs order nodes, replace uses and sweep what nobody needs") {
  Graph graph;
  const ValueId x = graph.add_input("x", Fact::of(DType::kFloat32, {kLength}));
  const ValueId a = graph.add_value("a");
  const ValueId b = graph.add_value("b");
  const ValueId c = graph.add_value("c");
  add_dummy(graph, "Second", {a}, {b});
  add_dummy(graph, "First", {x}, {a});
  add_dummy(graph, "Dead", {a, x}, {c});
  graph.outputs = {b};
  CHECK(graph.order() == std::vector<NodeId>{1, 0, 2});
  CHECK(graph.remove_dead() == 1);
  graph.verify("the test");
  CHECK(graph.dump() ==
        "input x: float32[S]\n"
        "a = First(x) : undefined[..]\n"
        "b = Second(a) : undefined[..]\n"
        "output b\n");
  graph.replace_uses(a, x);
  CHECK(graph.remove_dead() == 1);
  CHECK(graph.node_count() == 1);
}

TEST_CASE("graphs refuse second producers and report cycles") {
  Graph graph;
  const ValueId a = graph.add_value("a");
  const ValueId b = graph.add_value("b");
  add_dummy(graph, "One", {b}, {a});
  CHECK_THROWS_WITH_AS(add_dummy(graph, "Two", {}, {a}), "Two: value 'a' is produced twice", Error);
  add_dummy(graph, "Two", {a}, {b});
  CHECK_THROWS_AS(graph.order(), Error);
}

TEST_CASE("names stay unique") {
  Graph graph;
  const ValueId first = graph.add_value("v");
  const ValueId second = graph.add_value("v");
  CHECK(graph.value(first).name == "v");
  CHECK(graph.value(second).name != "v");
  CHECK(graph.find("v") == first);
  CHECK(graph.find("nothing") == kNoValue);
}

TEST_CASE("attributes are typed") {
  Node node;
  node.op_type = "Op";
  node.attributes["axis"] = int64_t{2};
  CHECK(node.get<int64_t>("axis", 0) == 2);
  CHECK(node.get<int64_t>("other", 7) == 7);
  CHECK_THROWS_AS(node.get<float>("axis", 0.0f), Error);
  CHECK_THROWS_AS(node.at<int64_t>("other"), Error);
}

TEST_CASE("the memory plan reuses slots of the dead and keeps the living apart") {
  Graph graph;
  const ValueId x = graph.add_input("x", {});
  std::vector<ValueId> chain = {x};
  for (int i = 0; i < 6; ++i) {
    chain.push_back(graph.add_value(str("v", i)));
    add_dummy(graph, str("N", i), {chain[static_cast<size_t>(i)]}, {chain.back()});
  }
  graph.outputs = {chain.back()};
  const auto order = graph.order();
  const auto plan = MemoryPlan::make(
      graph, order, [](ValueId) { return 64; }, [](ValueId) { return false; });
  CHECK(plan.slot_count == 2);
  for (size_t i = 2; i < chain.size(); ++i) {
    CHECK(plan.slot[static_cast<size_t>(chain[i])] != plan.slot[static_cast<size_t>(chain[i - 1])]);
  }
}

TEST_CASE("a view keeps the memory of what it shows") {
  OpDef view = dummy();
  view.aliases = true;
  Graph graph;
  const ValueId x = graph.add_input("x", {});
  const ValueId a = graph.add_value("a");
  const ValueId v = graph.add_value("v");
  const ValueId b = graph.add_value("b");
  const ValueId c = graph.add_value("c");
  add_dummy(graph, "A", {x}, {a});
  graph.node(add_dummy(graph, "View", {a}, {v})).op = &view;
  add_dummy(graph, "B", {x}, {b});
  add_dummy(graph, "C", {v, b}, {c});
  graph.outputs = {c};
  const auto plan = MemoryPlan::make(
      graph, graph.order(), [](ValueId) { return 64; }, [](ValueId) { return false; });
  CHECK(plan.root[static_cast<size_t>(v)] == a);
  CHECK(plan.slot[static_cast<size_t>(a)] != plan.slot[static_cast<size_t>(b)]);
  CHECK(plan.slot[static_cast<size_t>(v)] == MemoryPlan::kNoSlot);
}

TEST_CASE("a workspace grows and then stays") {
  Workspace workspace(1);
  std::byte* first = workspace.slot(0, 1000);
  CHECK(workspace.slot(0, 500) == first);
  CHECK(workspace.bytes() >= 1000);
  CHECK(reinterpret_cast<uintptr_t>(workspace.scratch(10)) % 64 == 0);
}

}  // namespace hugot
