#include <doctest/doctest.h>

#include "graph/exec/ragged.h"
#include "tests/graph_builder.h"
#include "tests/harness.h"

namespace hugot::test {
namespace {

Tensor floats(const Shape& shape, uint64_t seed) {
  return random_tensor(DType::kFloat32, shape, -1, 1, seed);
}

Attributes rotation(int64_t dims, bool interleaved) {
  return {{"rotary_dim", dims}, {"interleaved", int64_t{interleaved}}};
}

// In float64, with every index spelt out; x [2, 3, 4, 6], tables [.., 4, entries] of rank 2 or 4.
Tensor reference(const Tensor& x, const Tensor& cos, const Tensor& sin, int64_t dims,
                 bool interleaved) {
  Tensor y(DType::kFloat32, x.shape());
  const int64_t width = x.shape().back(), entries = cos.shape().back(), half = dims / 2;
  for (int64_t i = 0; i < x.size(); ++i) {
    const int64_t feature = i % width, row = i / width;
    const float* xs = x.data<float>() + row * width;
    if (feature >= dims) {
      y.data<float>()[i] = xs[feature];
      continue;
    }
    const bool second = interleaved ? feature % 2 == 1 : feature >= half;
    const int64_t pair = interleaved ? feature / 2 : feature % half;
    const int64_t other = interleaved ? feature + (second ? -1 : 1) : (feature + half) % dims;
    // The table has a row for each row of x, or for each of its tokens.
    const int64_t table_rows = cos.size() / entries;
    const int64_t at = row % table_rows * entries + (entries == dims ? feature : pair);
    const double c = static_cast<double>(cos.data<float>()[at]);
    const double s = static_cast<double>(sin.data<float>()[at]);
    const double turned = static_cast<double>(second ? xs[other] : -xs[other]);
    y.data<float>()[i] = static_cast<float>(static_cast<double>(xs[feature]) * c + turned * s);
  }
  return y;
}

}  // namespace

TEST_CASE("rotary agrees with float64 in all its forms") {
  const Tensor x = floats({2, 3, 4, 6}, 1);
  for (const bool interleaved : {false, true}) {
    for (const int64_t dims : {6, 4, 2}) {
      for (const int64_t entries : {dims, dims / 2}) {
        for (const Shape& shape : {Shape{4, entries}, Shape{2, 3, 4, entries}}) {
          const Tensor cos = floats(shape, 2), sin = floats(shape, 3);
          const Case test = {
              .name = str(dims, interleaved ? " interleaved " : " halves ", shape.to_string()),
              .op_type = "Rotary",
              .inputs = {x, cos, sin},
              .attributes = rotation(dims, interleaved),
              .expected = {reference(x, cos, sin, dims, interleaved)},
              .domain = "hugot",
              .tolerance = Tolerance{1e-6, 1e-6}};
          run_cases({test, in_float64(test)});
        }
      }
    }
  }
  const Tensor table = floats({4, 6}, 1);
  run_cases({
      {.name = "large enough for threads",
       .op_type = "Rotary",
       .inputs = {floats({1, 5, 90, 64}, 1), floats({5, 1, 32}, 2), floats({5, 1, 32}, 3)},
       .domain = "hugot",
       .tolerance = Tolerance{1e-6, 1e-6}},
      {.name = "odd",
       .op_type = "Rotary",
       .inputs = {floats({2, 5}, 1), floats({5}, 1), floats({5}, 1)},
       .domain = "hugot",
       .error = ErrorCode::kInvalidArgument},
      {.name = "more than there are",
       .op_type = "Rotary",
       .inputs = {x, table, table},
       .attributes = rotation(8, false),
       .domain = "hugot",
       .error = ErrorCode::kInvalidArgument},
      {.name = "tables for other tokens",
       .op_type = "Rotary",
       .inputs = {x, floats({3, 6}, 1), floats({3, 6}, 1)},
       .domain = "hugot",
       .error = ErrorCode::kInvalidArgument},
      {.name = "tables that differ",
       .op_type = "Rotary",
       .inputs = {x, table, floats({1, 6}, 1)},
       .domain = "hugot",
       .error = ErrorCode::kInvalidArgument},
      {.name = "integers",
       .op_type = "Rotary",
       .inputs = {Tensor(DType::kInt32, {2, 6}), table, table},
       .domain = "hugot",
       .error = ErrorCode::kUnsupported},
  });
}

TEST_CASE("RotaryEmbedding takes heads first or packed, with tables by token or by position") {
  const int64_t batch = 2, heads = 3, tokens = 4, size = 6;
  const auto embedding = [](int64_t dims, bool interleaved, int64_t num_heads = 0) {
    return Attributes{{"rotary_embedding_dim", dims},
                      {"interleaved", int64_t{interleaved}},
                      {"num_heads", num_heads}};
  };
  const Tensor first = floats({batch, heads, tokens, size}, 1);
  Tensor packed(DType::kFloat32, {batch, tokens, heads * size});
  // The same numbers with tokens first.
  const auto pack = [&](const Tensor& from, Tensor& to) {
    for (int64_t i = 0; i < from.size(); ++i) {
      const int64_t d = i % size, t = i / size % tokens, h = i / (size * tokens) % heads;
      const int64_t b = i / (size * tokens * heads);
      to.data<float>()[((b * tokens + t) * heads + h) * size + d] = from.data<float>()[i];
    }
  };
  pack(first, packed);
  const Tensor positions = numbers(DType::kInt64, {batch, tokens}, {0, 2, 4, 1, 3, 3, 0, 1});
  for (const bool interleaved : {false, true}) {
    for (const int64_t dims : {int64_t{0}, int64_t{4}}) {
      const int64_t rotated = dims == 0 ? size : dims, half = rotated / 2;
      const Tensor cos = floats({5, half}, 2), sin = floats({5, half}, 3);
      const auto rows = [&](const Tensor& table, bool per_head) {
        const int64_t times = per_head ? heads : 1;
        Tensor result(DType::kFloat32,
                      per_head ? Shape{batch, heads, tokens, half} : Shape{batch, tokens, half});
        for (int64_t i = 0; i < result.size(); ++i) {
          const int64_t t = i / half % tokens, b = i / (half * tokens * times);
          const int64_t at = positions.data<int64_t>()[b * tokens + t];
          result.data<float>()[i] = table.data<float>()[at * half + i % half];
        }
        return result;
      };
      const Tensor y = reference(first, rows(cos, true), rows(sin, true), rotated, interleaved);
      Tensor packed_y(DType::kFloat32, packed.shape());
      pack(y, packed_y);
      const Tolerance tolerance{1e-6, 1e-6};
      run_cases({
          {.name = "heads first, by position",
           .op_type = "RotaryEmbedding",
           .inputs = {first, cos, sin, positions},
           .attributes = embedding(dims, interleaved),
           .expected = {y},
           .tolerance = tolerance},
          {.name = "heads first, by token",
           .op_type = "RotaryEmbedding",
           .inputs = {first, rows(cos, false), rows(sin, false)},
           .attributes = embedding(dims, interleaved),
           .expected = {y},
           .tolerance = tolerance},
          {.name = "packed, by position",
           .op_type = "RotaryEmbedding",
           .inputs = {packed, cos, sin, positions},
           .attributes = embedding(dims, interleaved, heads),
           .expected = {packed_y},
           .tolerance = tolerance},
          {.name = "packed, by token",
           .op_type = "RotaryEmbedding",
           .inputs = {packed, rows(cos, false), rows(sin, false)},
           .attributes = embedding(dims, interleaved, heads),
           .expected = {packed_y},
           .tolerance = tolerance},
      });
    }
  }
  const Tensor table = floats({5, 3}, 1);
  const Tensor beyond = numbers(DType::kInt64, {batch, tokens}, {0, 2, 5, 1, 3, 3, 0, 1});
  run_cases({
      {.name = "position beyond the table",
       .op_type = "RotaryEmbedding",
       .inputs = {first, table, table, beyond},
       .error = ErrorCode::kInvalidArgument},
      {.name = "heads are missing",
       .op_type = "RotaryEmbedding",
       .inputs = {packed, table, table, positions},
       .error = ErrorCode::kInvalidArgument},
      {.name = "tables without positions",
       .op_type = "RotaryEmbedding",
       .inputs = {first, table, table},
       .error = ErrorCode::kInvalidArgument},
  });
}

TEST_CASE("a segment is rotated as the text alone") {
  GraphBuilder b(21);
  const ValueId ids = b.graph.add_input("ids", Fact::of(DType::kInt64, {1, Dim::symbol("S")}));
  const ValueId places =
      b.graph.add_input("places", Fact::of(DType::kInt64, {1, Dim::symbol("S")}));
  const ValueId words = b.op("Gather", {b.weights({50, 24}, 1), ids});
  const ValueId heads = b.op("Reshape", {words, b.integers({1, -1, 3, 8})});
  // By length, and as data of the text.
  const auto table = [&](ValueId positions, uint64_t seed) {
    return b.op("Unsqueeze",
                {b.op("Gather", {b.weights({50, 8}, seed), positions}), b.integers({2})});
  };
  const ValueId first = b.fused("Rotary", {heads, table(places, 2), table(places, 3)}, {});
  const ValueId second = b.fused("Rotary", {first, table(ids, 4), table(ids, 5)}, {});
  b.graph.outputs.push_back(second);
  infer(b.graph);
  const RaggedInput inputs[] = {
      {.name = "ids"}, {.name = "places", .kind = RaggedInput::Kind::kPositions, .value = 2}};
  const auto plan = RaggedPlan::compile(b.graph, {inputs[0], inputs[1]});
  for (NodeId id = 0; id < static_cast<NodeId>(plan->graph().node_count()); ++id) {
    if (plan->graph().node(id).op_type != "Rotary") continue;
    CHECK(static_cast<int>(plan->batching(id)) == static_cast<int>(Batching::kSegments));
  }
  const std::vector<int64_t> lengths = {5, 1, 33, 1, 8};
  const Tensor tokens = random_tensor(DType::kInt64, {48}, 0, 50, 9);
  RaggedExecutor together(plan), single(plan);
  const std::span<const int64_t> all[] = {tokens.values<int64_t>()};
  together.run(lengths, all);
  int64_t begin = 0;
  for (const int64_t length : lengths) {
    const std::span<const int64_t> own[] = {
        tokens.values<int64_t>().subspan(static_cast<size_t>(begin), static_cast<size_t>(length))};
    single.run({&length, 1}, own);
    const Tensor& alone = single.output(0);
    CHECK(identical(Tensor(alone.dtype(), alone.shape(),
                           together.output(0).data<float>() + begin * alone.size() / length),
                    alone));
    begin += length;
  }
}

}  // namespace hugot::test
