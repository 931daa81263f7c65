// Patch embeddings as matrix products.
//
// Vision transformers cut an image into patches with a convolution whose stride is its kernel, and
// then put channels last. Each pixel is seen by one window only, so the windows are the image in
// another order, and the patches of all images are rows of one product.
#include <algorithm>

#include "graph/passes/match.h"
#include "graph/passes/passes.h"

namespace hugot {
namespace {

struct Patches {
  ValueId image = kNoValue, weight = kNoValue, bias = kNoValue;
  int64_t channels = 0, filters = 0;
  int64_t rows = 0, columns = 0;  // how many patches
  int64_t height = 0, width = 0;  // of one
};

bool all_equal(const Node& node, std::string_view name, int64_t value) {
  const auto list = node.get<std::vector<int64_t>>(name, {});
  return std::all_of(list.begin(), list.end(), [&](int64_t number) { return number == value; });
}

std::optional<Patches> match_patches(const Graph& graph, const Node& conv) {
  const auto x = graph.fact(conv.inputs[0]).fixed_shape();
  const Tensor* weight = graph.constant(conv.inputs[1]);
  const std::string padding = conv.get<std::string>("auto_pad", "NOTSET");
  if (!x || x->rank() != 4 || (*x)[0] != 1 || weight == nullptr || weight->rank() != 4 ||
      weight->dtype() != DType::kFloat32 || conv.get<int64_t>("group", 1) != 1 ||
      (padding != "NOTSET" && padding != "VALID") || !all_equal(conv, "pads", 0) ||
      !all_equal(conv, "dilations", 1)) {
    return std::nullopt;
  }
  const Shape& w = weight->shape();
  if (conv.get<std::vector<int64_t>>("strides", {1, 1}) != std::vector<int64_t>{w[2], w[3]} ||
      w.size() == 0 || (*x)[1] != w[1] || (*x)[2] % w[2] != 0 || (*x)[3] % w[3] != 0) {
    return std::nullopt;
  }
  if (conv.input(2) != kNoValue && !is_weight_vector(graph, conv.input(2), w[0])) {
    return std::nullopt;
  }
  return Patches{conv.inputs[0], conv.inputs[1], conv.input(2), w[1], w[0],
                 (*x)[2] / w[2], (*x)[3] / w[3], w[2],          w[3]};
}

// The convolution whose channels `transpose` puts last, its places being one axis or two; null when
// it is something else or has other readers.
const Node* match_conv(const Graph& graph, const std::vector<std::vector<NodeId>>& readers,
                       const Node& transpose) {
  ValueId id = transpose.inputs[0];
  const auto sole = [&] { return readers[static_cast<size_t>(id)].size() == 1; };
  const auto perm = transpose.get<std::vector<int64_t>>("perm", {});
  if (perm != std::vector<int64_t>{0, 2, 1} && perm != std::vector<int64_t>{0, 2, 3, 1}) {
    return nullptr;
  }
  const Dims channels_first = graph.fact(id).shape.value_or(Dims{});
  const Node* node = graph.producer(id);
  if (node != nullptr && node->domain == "hugot" && node->op_type == "View" && sole()) {
    id = node->inputs[0];
  }
  const Node* conv = produced_by(graph, id, "Conv");
  const auto& y = graph.fact(id).shape;
  const bool kept = conv != nullptr && sole() && y && y->size() == 4 &&
                    channels_first.size() >= 3 && channels_first[0].is(1) &&
                    channels_first[1] == (*y)[1];
  return kept ? conv : nullptr;
}

ValueId append(Graph& graph, Node node) {
  const ValueId output = graph.add_value(node.name);
  node.outputs = {output};
  infer_node(graph, graph.add_node(std::move(node)));
  return output;
}

ValueId multiply_patches(Graph& graph, const OpRegistry& ops, const Patches& p,
                         const std::string& name) {
  constexpr int kTransposeVersion = 13;
  const ValueId split =
      view_as(graph, ops, p.image, {1, p.channels, p.rows, p.height, p.columns, p.width});
  Node transpose;
  transpose.name = name;
  rewrite(transpose, ops, "", "Transpose", kTransposeVersion, {split},
          {{"perm", std::vector<int64_t>{0, 2, 4, 1, 3, 5}}});
  const int64_t size = p.channels * p.height * p.width;
  const ValueId patches =
      view_as(graph, ops, append(graph, std::move(transpose)), {1, p.rows * p.columns, size});
  Node linear;
  linear.name = name;
  std::vector<ValueId> inputs = {
      patches, graph.add_initializer(graph.value(p.weight).name,
                                     graph.constant(p.weight)->reshaped({p.filters, size}))};
  if (p.bias != kNoValue) inputs.push_back(p.bias);
  rewrite(linear, ops, "hugot", "Linear", 1, std::move(inputs), {{"trans_w", int64_t{1}}});
  return append(graph, std::move(linear));
}

}  // namespace

size_t fuse_patches(Graph& graph, PassContext& context) {
  size_t changes = 0;
  auto readers = graph.readers();
  for (const ValueId output : graph.outputs) {
    readers[static_cast<size_t>(output)].push_back(kNoNode);  // somebody else reads it
  }
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    if (!node.domain.empty() || node.op_type != "Transpose") continue;
    const Node* conv = match_conv(graph, readers, node);
    const auto patches = conv != nullptr ? match_patches(graph, *conv) : std::nullopt;
    if (!patches) continue;
    context.log.push_back(str("patches: ", conv->label()));
    const std::string name = conv->name;
    const ValueId rows = multiply_patches(graph, context.ops, *patches, name);
    const auto shape = *graph.fact(graph.node(id).outputs[0]).fixed_shape();
    rewrite(graph.node(id), context.ops, "hugot", "View", 1, {rows},
            {{"shape", std::vector<int64_t>(shape.begin(), shape.end())}});
    ++changes;
  }
  return changes;
}

}  // namespace hugot
