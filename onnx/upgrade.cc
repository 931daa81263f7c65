#include "onnx/upgrade.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

namespace hugot {
namespace {

using Ints = std::vector<int64_t>;

// A node on its way from one version to the next, and the graph that takes new constants.
struct Upgrade {
  Graph& graph;
  Node node;

  // Input `i` becomes `value`, omitted ones between are empty.
  void set_input(size_t i, std::string_view name, Tensor value) {
    if (node.inputs.size() <= i) node.inputs.resize(i + 1, kNoValue);
    node.inputs[i] = graph.add_initializer(name, std::move(value));
  }
  // The list in attribute `name`, if there is one, becomes input `i`.
  void move_ints(std::string_view name, size_t i) {
    if (!node.has(name)) return;
    const Ints list = node.at<Ints>(name);
    const auto count = static_cast<int64_t>(list.size());
    set_input(i, name, Tensor::from<int64_t>({count}, std::span<const int64_t>(list)));
    erase(name);
  }
  // The number in attribute `name`, if there is one, becomes input `i`, a scalar of `dtype`. False
  // for types that no old version had.
  bool move_float(std::string_view name, size_t i, DType dtype) {
    if (!node.has(name)) return true;
    const float value = node.at<float>(name);
    if (dtype == DType::kFloat32) {
      set_input(i, name, Tensor::scalar<float>(value));
    } else if (dtype == DType::kFloat64) {
      set_input(i, name, Tensor::scalar<double>(static_cast<double>(value)));
    } else {
      return false;
    }
    erase(name);
    return true;
  }
  void erase(std::string_view name) {
    const auto it = node.attributes.find(name);
    if (it != node.attributes.end()) node.attributes.erase(it);
  }
  const Fact* input_fact(size_t i) const {
    return node.input(i) == kNoValue ? nullptr : &graph.fact(node.inputs[i]);
  }
  DType input_dtype(size_t i) const {
    const Fact* fact = input_fact(i);
    return fact == nullptr ? DType::kUndefined : fact->dtype;
  }
};

bool axes_to_input(Upgrade& u) {
  u.move_ints("axes", 1);
  return true;
}

bool clip(Upgrade& u) {
  return u.move_float("min", 1, u.input_dtype(0)) && u.move_float("max", 2, u.input_dtype(0));
}

bool slice(Upgrade& u) {
  u.move_ints("starts", 1);
  u.move_ints("ends", 2);
  u.move_ints("axes", 3);
  return u.node.inputs.size() >= 3;
}

bool pad(Upgrade& u) {
  u.move_ints("pads", 1);
  return u.node.inputs.size() >= 2 && u.move_float("value", 2, u.input_dtype(0));
}

bool top_k(Upgrade& u) {
  u.set_input(1, "k", Tensor::from<int64_t>({1}, {u.node.at<int64_t>("k")}));
  u.erase("k");
  return true;
}

bool dropout(Upgrade& u) {
  if (u.node.has("ratio")) {
    u.set_input(1, "ratio", Tensor::scalar<float>(u.node.at<float>("ratio")));
    u.erase("ratio");
  }
  return true;
}

bool split_sizes_to_input(Upgrade& u) {
  u.move_ints("split", 1);
  return true;
}

// Without sizes the parts were equal; version 18 wants to be told their number.
bool split_count(Upgrade& u) {
  if (u.node.input(1) == kNoValue && !u.node.has("num_outputs")) {
    u.node.attributes["num_outputs"] = static_cast<int64_t>(u.node.outputs.size());
  }
  return true;
}

// Up to version 12 all axes from `axis` on were one; the same when that is the last one.
bool softmax(Upgrade& u) {
  const auto axis = u.node.get<int64_t>("axis", 1);
  const Fact* fact = u.input_fact(0);
  const bool last = axis == -1 || (fact != nullptr && fact->shape && axis == fact->rank() - 1);
  u.node.attributes["axis"] = int64_t{-1};
  return last;
}

// Training became a matter of how many outputs there are.
bool batch_normalization_test(Upgrade& u) {
  const bool test = u.node.get<int64_t>("is_test", 0) != 0;
  u.erase("is_test");
  return test;
}

bool batch_normalization(Upgrade& u) {
  const bool plain = u.node.get<int64_t>("spatial", 1) == 1 && u.node.outputs.size() == 1;
  u.erase("spatial");
  return plain;
}

// Version 10 had one formula for coordinates.
bool resize(Upgrade& u) {
  if (u.node.inputs.size() != 2) return false;
  u.node.inputs = {u.node.inputs[0], kNoValue, u.node.inputs[1]};
  u.node.attributes["coordinate_transformation_mode"] = std::string("asymmetric");
  u.node.attributes["nearest_mode"] = std::string("floor");
  return true;
}

bool roi_align(Upgrade& u) {
  u.node.attributes["coordinate_transformation_mode"] = std::string("output_half_pixel");
  return true;
}

bool grid_sample(Upgrade& u) {
  const auto mode = u.node.get<std::string>("mode", "bilinear");
  if (mode == "bilinear") u.node.attributes["mode"] = std::string("linear");
  if (mode == "bicubic") u.node.attributes["mode"] = std::string("cubic");
  return true;
}

bool dft(Upgrade& u) {
  const auto axis = u.node.get<int64_t>("axis", 1);
  u.set_input(2, "axis", Tensor::scalar<int64_t>(axis));
  u.erase("axis");
  return true;
}

bool scatter(Upgrade& u) {
  u.node.op_type = "ScatterElements";
  return true;
}

bool never(Upgrade&) { return false; }

// Operators whose version `version` means something else than the one before.
struct Change {
  std::string_view name;
  int version;
  bool (*rewrite)(Upgrade&);  // false: cannot be rewritten
};
constexpr Change kChanges[] = {
    {"BatchNormalization", 7, batch_normalization_test},
    {"BatchNormalization", 9, batch_normalization},
    {"BatchNormalization", 14, batch_normalization},
    {"Clip", 11, clip},
    {"DFT", 20, dft},
    {"Dropout", 12, dropout},
    {"GridSample", 20, grid_sample},
    {"GroupNormalization", 21, never},
    {"Hardmax", 13, softmax},
    {"LogSoftmax", 13, softmax},
    {"Pad", 11, pad},
    {"ReduceL1", 18, axes_to_input},
    {"ReduceL2", 18, axes_to_input},
    {"ReduceLogSum", 18, axes_to_input},
    {"ReduceLogSumExp", 18, axes_to_input},
    {"ReduceMax", 18, axes_to_input},
    {"ReduceMean", 18, axes_to_input},
    {"ReduceMin", 18, axes_to_input},
    {"ReduceProd", 18, axes_to_input},
    {"ReduceSum", 13, axes_to_input},
    {"ReduceSumSquare", 18, axes_to_input},
    {"Resize", 11, resize},
    {"RoiAlign", 16, roi_align},
    {"Scan", 9, never},
    {"Scatter", 11, scatter},
    {"Slice", 10, slice},
    {"Softmax", 13, softmax},
    {"Split", 13, split_sizes_to_input},
    {"Split", 18, split_count},
    {"Squeeze", 13, axes_to_input},
    {"TopK", 10, top_k},
    {"Unsqueeze", 13, axes_to_input},
    {"Upsample", 10, never},
};

// Before this version broadcasting and many attributes were different.
constexpr int kOldest = 7;

bool upgrade_node(Graph& graph, NodeId id, const OpRegistry& ops, int opset) {
  const Node& node = graph.node(id);
  if (node.op == nullptr || node.op->until_version < std::min(kOldest, opset)) return false;
  Upgrade upgrade{graph, node};
  for (const Change& change : kChanges) {
    if (change.name != upgrade.node.op_type || change.version <= node.op->since_version ||
        change.version > opset) {
      continue;
    }
    if (!change.rewrite(upgrade)) return false;
  }
  const OpDef* op = ops.find("", upgrade.node.op_type, opset);
  if (op == nullptr) return false;
  upgrade.node.op = op;
  upgrade.node.opset = opset;
  graph.node(id) = std::move(upgrade.node);
  return true;
}

}  // namespace

size_t upgrade_opset(Graph& graph, const OpRegistry& ops, int opset) {
  using Body = std::shared_ptr<const Graph>;
  size_t behind = 0;
  for (const NodeId id : graph.order()) {
    for (auto& [name, attribute] : graph.node(id).attributes) {
      Body* body = std::get_if<Body>(&attribute);
      if (body == nullptr) continue;
      Graph copy = **body;
      behind += upgrade_opset(copy, ops, opset);
      *body = std::make_shared<const Graph>(std::move(copy));
    }
    const Node& node = graph.node(id);
    if (!node.domain.empty() || node.opset >= opset) continue;
    if (!upgrade_node(graph, id, ops, opset)) ++behind;
  }
  graph.opsets[""] = std::max(graph.opsets[""], opset);
  return behind;
}

}  // namespace hugot
