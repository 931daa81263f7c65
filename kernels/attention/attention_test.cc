#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "graph/op.h"
#include "kernels/registry.h"
#include "tests/harness.h"

namespace hugot::test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

Tensor floats(const Shape& shape, uint64_t seed) {
  return random_tensor(DType::kFloat32, shape, -1, 1, seed);
}

struct Heads {
  int64_t heads, kv_heads;
  float scale = 0.35f;
  bool causal = false;

  Attributes attributes() const {
    return {{"num_heads", heads},
            {"kv_num_heads", kv_heads},
            {"scale", scale},
            {"causal", int64_t{causal}}};
  }
};

// softmax(scale Q K^T + bias) V in float64; Q [B, S, heads * d] and so on, bias broadcast from
// [1 or B, 1 or heads, 1 or S, 1 or T] or undefined. A query without keys gives zeros.
Tensor reference(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias,
                 const Heads& h) {
  const int64_t batch = q.shape()[0], queries = q.shape()[1], keys = k.shape()[1];
  const int64_t d = q.shape()[2] / h.heads, dv = v.shape()[2] / h.kv_heads;
  Tensor y(DType::kFloat32, {batch, queries, h.heads * dv});
  const auto at = [](const Tensor& t, int64_t b, int64_t row, int64_t column) {
    return static_cast<double>(t.data<float>()[(b * t.shape()[1] + row) * t.shape()[2] + column]);
  };
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t head = 0; head < h.heads; ++head) {
      const int64_t group = head / (h.heads / h.kv_heads);
      for (int64_t i = 0; i < queries; ++i) {
        std::vector<double> weights;
        double sum = 0;
        for (int64_t j = 0; j < keys; ++j) {
          double score = 0;
          for (int64_t x = 0; x < d; ++x)
            score += at(q, b, i, head * d + x) * at(k, b, j, group * d + x);
          score *= static_cast<double>(h.scale);
          if (bias.defined()) {
            int64_t place = 0;
            const int64_t index[] = {b, head, i, j};
            for (int axis = 0; axis < 4; ++axis) {
              const int64_t dim = bias.shape()[axis];
              place = place * dim + (dim == 1 ? 0 : index[axis]);
            }
            score += static_cast<double>(bias.data<float>()[place]);
          }
          weights.push_back(h.causal && j > i ? 0 : std::exp(score));
          sum += weights.back();
        }
        for (int64_t x = 0; x < dv; ++x) {
          double value = 0;
          for (int64_t j = 0; j < keys; ++j)
            value += weights[static_cast<size_t>(j)] * at(v, b, j, group * dv + x);
          y.data<float>()[(b * queries + i) * h.heads * dv + head * dv + x] =
              static_cast<float>(sum > 0 ? value / sum : 0);
        }
      }
    }
  }
  return y;
}

// Runs a node over segments of a joined token axis, as the ragged executor does.
class SegmentContext final : public KernelContext {
 public:
  SegmentContext(const Node& node, std::vector<Tensor> inputs, std::vector<int64_t> segments,
                 std::vector<Tensor> biases, ThreadPool* pool)
      : node_(node),
        inputs_(std::move(inputs)),
        segments_(std::move(segments)),
        biases_(std::move(biases)),
        pool_(pool) {}

  const Node& node() const override { return node_; }
  bool has_input(int i) const override {
    return static_cast<size_t>(i) < inputs_.size() && inputs_[static_cast<size_t>(i)].defined();
  }
  const Tensor& input(int i) const override { return inputs_[static_cast<size_t>(i)]; }
  bool wants_output(int) const override { return true; }
  Tensor& output(int, DType dtype, const Shape& shape) override {
    return output_ = Tensor(dtype, shape);
  }
  void alias(int, int, const Shape&) override {}
  const Shape* planned_shape(int) const override { return nullptr; }
  std::span<std::byte> scratch(size_t bytes) override {
    scratch_ = Tensor(DType::kUInt8, {static_cast<int64_t>(bytes)});
    return {static_cast<std::byte*>(scratch_.raw()), bytes};
  }
  ThreadPool* pool() const override { return pool_; }
  const Prepared* prepared() const override { return nullptr; }
  std::span<const int64_t> segments() const override { return segments_; }
  const Tensor& input_of_segment(int i, size_t segment) const override {
    return i == 3 && !biases_.empty() ? reused_ = biases_[segment] : input(i);
  }
  const Tensor& result() const { return output_; }

 private:
  const Node& node_;
  std::vector<Tensor> inputs_;
  std::vector<int64_t> segments_;
  std::vector<Tensor> biases_;
  ThreadPool* pool_;
  Tensor output_, scratch_;
  mutable Tensor reused_;  // as the executor's: valid until the next call
};

Node fused_node(const Heads& heads, size_t inputs) {
  static const OpRegistry ops = builtin_ops();
  Node node;
  node.op_type = "Attention";
  node.domain = "hugot";
  node.op = &ops.get("hugot", "Attention", 1);
  node.attributes = heads.attributes();
  for (size_t i = 0; i < inputs; ++i) node.inputs.push_back(static_cast<ValueId>(i));
  node.outputs = {0};
  return node;
}

Tensor alone(const Node& node, const std::vector<Tensor>& inputs) {
  std::vector<const Tensor*> arguments;
  for (const Tensor& input : inputs) arguments.push_back(&input);
  return evaluate(node, arguments)[0];
}

}  // namespace

TEST_CASE("fused attention agrees with float64") {
  uint64_t seed = 1;
  for (const Heads& heads :
       {Heads{2, 2}, Heads{4, 2}, Heads{3, 1}, Heads{2, 2, 1.0f, true}, Heads{1, 1, 0.1f}}) {
    for (const int64_t length : {1, 2, 7, 33, 130}) {
      for (const auto& bias :
           std::vector<std::optional<Shape>>{std::nullopt, Shape{1, heads.heads, length, length},
                                             Shape{1, 1, 1, length}, Shape{2, 1, length, 1}}) {
        const Tensor q = floats({2, length, heads.heads * 16}, ++seed),
                     k = floats({2, length, heads.kv_heads * 16}, ++seed);
        const Tensor v = floats({2, length, heads.kv_heads * 8}, ++seed);
        const Tensor b = bias ? floats(*bias, ++seed) : Tensor();
        const Case test = {
            .name = str(heads.heads, "/", heads.kv_heads, heads.causal ? " causal " : " ", length,
                        " bias ", bias ? bias->to_string() : "none"),
            .op_type = "Attention",
            .inputs = {q, k, v, b},
            .attributes = heads.attributes(),
            .expected = {reference(q, k, v, b, heads)},
            .domain = "hugot",
            .tolerance = Tolerance{1e-5, 2e-6}};
        run_cases({test, in_float64(test)});
      }
    }
  }
  const Tensor q = floats({1, 3, 8}, 1), k = floats({1, 5, 8}, 2);
  run_cases({
      {.name = "more keys than queries",
       .op_type = "Attention",
       .inputs = {q, k, k},
       .attributes = Heads{2, 2}.attributes(),
       .expected = {reference(q, k, k, {}, {2, 2})},
       .domain = "hugot"},
      {.name = "heads do not divide",
       .op_type = "Attention",
       .inputs = {q, k, k},
       .attributes = Heads{3, 3}.attributes(),
       .domain = "hugot",
       .error = ErrorCode::kInvalidArgument},
      {.name = "bias does not fit",
       .op_type = "Attention",
       .inputs = {q, k, k, floats({1, 1, 4, 5}, 3)},
       .attributes = Heads{2, 2}.attributes(),
       .domain = "hugot",
       .error = ErrorCode::kInvalidArgument},
      {.name = "float64",
       .op_type = "Attention",
       .inputs = {random_tensor(DType::kFloat64, {1, 3, 8}, -1, 1, 1), k, k},
       .attributes = Heads{2, 2}.attributes(),
       .domain = "hugot",
       .error = ErrorCode::kUnsupported},
  });
}

TEST_CASE("a window hides the keys outside of it") {
  uint64_t seed = 50;
  for (const int64_t left : {-1, 0, 3, 200}) {
    for (const int64_t right : {-1, 0, 5}) {
      for (const int64_t length : {1, 6, 130}) {
        Tensor mask(DType::kFloat32, {1, 1, length, length});
        for (int64_t i = 0; i < length; ++i) {
          for (int64_t j = 0; j < length; ++j) {
            const bool seen = (left < 0 || j >= i - left) && (right < 0 || j <= i + right);
            mask.data<float>()[i * length + j] = seen ? 0 : -kInf;
          }
        }
        Attributes attributes = Heads{4, 2}.attributes();
        attributes["left_window_size"] = left;
        attributes["right_window_size"] = right;
        const Tensor q = floats({1, length, 64}, ++seed), k = floats({1, length, 32}, ++seed);
        const Tensor v = floats({1, length, 16}, ++seed);
        const Case test = {.name = str(left, " to ", right, " of ", length),
                           .op_type = "Attention",
                           .inputs = {q, k, v},
                           .attributes = attributes,
                           .expected = {reference(q, k, v, mask, {4, 2})},
                           .domain = "hugot",
                           .tolerance = Tolerance{1e-5, 2e-6}};
        run_cases({test, in_float64(test)});
      }
    }
  }
}

TEST_CASE("a masked query gives zeros") {
  const Tensor x = floats({1, 2, 4}, 1);
  const Tensor bias = Tensor::from<float>({1, 1, 2, 2}, {-kInf, -kInf, 0, -kInf});
  const Tensor y = alone(fused_node({1, 1}, 4), {x, x, x, bias});
  for (int i = 0; i < 4; ++i) CHECK(y.data<float>()[i] == 0);
  for (int i = 0; i < 4; ++i) CHECK(y.data<float>()[4 + i] == doctest::Approx(x.data<float>()[i]));
}

TEST_CASE("a segment has the bits of the text alone") {
  ThreadPool threads(2);
  const std::vector<int64_t> segments = {0, 1, 30, 33, 133, 140};
  for (const Heads& heads : {Heads{4, 4}, Heads{4, 2, 0.2f, true}}) {
    for (const int with_bias : {0, 1, 2}) {  // none, one for all, one per text
      const Node node = fused_node(heads, with_bias > 0 ? 4 : 3);
      const Tensor q = floats({1, 140, heads.heads * 32}, 1),
                   k = floats({1, 140, heads.kv_heads * 32}, 2),
                   v = floats({1, 140, heads.kv_heads * 32}, 3);
      std::vector<Tensor> inputs = {q, k, v};
      std::vector<Tensor> biases;
      if (with_bias == 1) inputs.push_back(floats({1, heads.heads, 1, 1}, 4));
      if (with_bias == 2) {
        for (size_t s = 0; s + 1 < segments.size(); ++s) {
          const int64_t length = segments[s + 1] - segments[s];
          biases.push_back(floats({1, heads.heads, length, length}, 10 + s));
        }
        inputs.push_back(biases[0]);
      }
      for (ThreadPool* pool : {static_cast<ThreadPool*>(nullptr), &threads}) {
        SegmentContext context(node, inputs, segments, biases, pool);
        node.op->cpu(context);
        for (size_t s = 0; s + 1 < segments.size(); ++s) {
          const int64_t length = segments[s + 1] - segments[s];
          const auto part = [&](const Tensor& t) {
            return Tensor(t.dtype(), {1, length, t.shape()[2]},
                          t.data<float>() + segments[s] * t.shape()[2]);
          };
          std::vector<Tensor> own = {part(q), part(k), part(v)};
          if (with_bias == 1) own.push_back(inputs[3]);
          if (with_bias == 2) own.push_back(biases[s]);
          CHECK(identical(part(context.result()), alone(node, own)));
        }
      }
    }
  }
}

TEST_CASE("ONNX Attention agrees with the fused form and refuses what does not fit") {
  const Tensor q = floats({2, 300, 32}, 1), k = floats({2, 300, 16}, 2), v = floats({2, 300, 8}, 3);
  const Attributes heads = {{"q_num_heads", int64_t{4}},
                            {"kv_num_heads", int64_t{2}},
                            {"scale", 0.3f},
                            {"is_causal", int64_t{1}}};
  const auto past = [](int64_t length) { return floats({2, 2, length, 8}, 4); };
  const Attributes strange = {{"q_num_heads", int64_t{4}},
                              {"kv_num_heads", int64_t{2}},
                              {"qk_matmul_output_mode", int64_t{7}}};
  const auto window = [&](int64_t left, int64_t right) {
    Attributes attributes = {
        {"q_num_heads", int64_t{4}}, {"kv_num_heads", int64_t{2}}, {"scale", 0.3f}};
    attributes["left_window_size"] = left;
    attributes["right_window_size"] = right;
    return attributes;
  };
  // Each query sees its own key only, so gets the value; two query heads share one.
  Tensor repeated(DType::kFloat32, {2, 300, 16});
  for (int64_t i = 0; i < repeated.size(); ++i) {
    repeated.data<float>()[i] = v.data<float>()[i / 16 * 8 + i % 16 / 8 * 4 + i % 4];
  }
  run_cases({
      {.name = "several blocks of queries",
       .op_type = "Attention",
       .inputs = {q, k, v},
       .attributes = heads,
       .expected = {reference(q, k, v, {}, {4, 2, 0.3f, true})},
       .tolerance = Tolerance{1e-5, 2e-6}},
      {.name = "window of one",
       .op_type = "Attention",
       .inputs = {q, k, v},
       .attributes = window(0, 0),
       .expected = {repeated},
       .tolerance = Tolerance{1e-5, 2e-6}},
      {.name = "window of everything",
       .op_type = "Attention",
       .inputs = {q, k, v},
       .attributes = window(INT64_MAX, 0),
       .expected = {reference(q, k, v, {}, {4, 2, 0.3f, true})},
       .tolerance = Tolerance{1e-5, 2e-6}},
      {.name = "no window",
       .op_type = "Attention",
       .inputs = {q, k, v},
       .attributes = window(-2, 0),
       .error = ErrorCode::kInvalidArgument},
      {.name = "no keys",
       .op_type = "Attention",
       .inputs = {q, floats({2, 0, 16}, 1), floats({2, 0, 8}, 1)},
       .attributes = heads,
       .expected = {reference(q, floats({2, 0, 16}, 1), floats({2, 0, 8}, 1), {}, {4, 2})}},
      {.name = "heads are missing",
       .op_type = "Attention",
       .inputs = {q, k, v},
       .error = ErrorCode::kInvalidData},
      {.name = "past without values",
       .op_type = "Attention",
       .inputs = {q, k, v, {}, past(3)},
       .attributes = heads,
       .error = ErrorCode::kInvalidData},
      {.name = "past of another batch",
       .op_type = "Attention",
       .inputs = {q, k, v, {}, floats({1, 2, 3, 8}, 1), floats({1, 2, 3, 4}, 1)},
       .attributes = heads,
       .error = ErrorCode::kInvalidArgument},
      {.name = "mask",
       .op_type = "Attention",
       .inputs = {q, k, v, floats({7, 300}, 1)},
       .attributes = heads,
       .error = ErrorCode::kInvalidArgument},
      {.name = "lengths out of range",
       .op_type = "Attention",
       .inputs = {q, k, v, {}, {}, {}, numbers(DType::kInt64, {2}, {1, 301})},
       .attributes = heads,
       .error = ErrorCode::kInvalidArgument},
      {.name = "mode",
       .op_type = "Attention",
       .inputs = {q, k, v},
       .attributes = strange,
       .error = ErrorCode::kUnsupported},
      {.name = "integers",
       .op_type = "Attention",
       .inputs = {Tensor(DType::kInt32, {1, 1, 1, 1}), Tensor(DType::kInt32, {1, 1, 1, 1}),
                  Tensor(DType::kInt32, {1, 1, 1, 1})},
       .error = ErrorCode::kUnsupported},
  });
}

}  // namespace hugot::test
