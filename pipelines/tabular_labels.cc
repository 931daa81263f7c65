#include <deque>
#include <set>

#include "base/error.h"
#include "pipelines/tabular.h"

namespace hugot {
namespace {

constexpr std::string_view kLabelAttributes[] = {"classlabels_strings", "classlabels_int64s",
                                                 "classlabels_ints"};

std::vector<std::string> attribute_labels(const Node& node) {
  for (const std::string_view name : kLabelAttributes) {
    const auto it = node.attributes.find(name);
    if (it == node.attributes.end()) continue;
    if (const auto* texts = std::get_if<std::vector<std::string>>(&it->second)) {
      if (!texts->empty()) return *texts;
    }
    if (const auto* numbers = std::get_if<std::vector<int64_t>>(&it->second)) {
      std::vector<std::string> out;
      for (const int64_t number : *numbers) out.push_back(std::to_string(number));
      if (!out.empty()) return out;
    }
  }
  return {};
}

// labels[argmax(scores)] is an ArrayFeatureExtractor of a constant.
std::vector<std::string> picked_labels(const Graph& graph, const Node& node) {
  if (node.op_type != "ArrayFeatureExtractor" || node.input(0) == kNoValue) return {};
  const Tensor* constant = graph.constant(node.input(0));
  if (constant == nullptr || constant->size() < 2) return {};
  const bool labels = constant->dtype() == DType::kString || constant->dtype() == DType::kInt64 ||
                      constant->dtype() == DType::kInt32;
  return labels ? label_texts(*constant) : std::vector<std::string>();
}

}  // namespace

std::vector<std::string> label_texts(const Tensor& tensor) {
  std::vector<std::string> out;
  if (tensor.dtype() == DType::kString) {
    const auto texts = tensor.values<std::string>();
    out.assign(texts.begin(), texts.end());
    return out;
  }
  require(tensor.dtype() == DType::kInt64 || tensor.dtype() == DType::kInt32 ||
              tensor.dtype() == DType::kBool,
          ErrorCode::kUnsupported, "labels of type ", dtype_name(tensor.dtype()));
  for (const int64_t number : to_int64s(tensor)) out.push_back(std::to_string(number));
  return out;
}

std::vector<std::string> graph_labels(const Graph& graph) {
  // The nearest to the outputs, because features may come from classifiers, too.
  std::deque<ValueId> queue(graph.outputs.begin(), graph.outputs.end());
  std::set<NodeId> seen;
  while (!queue.empty()) {
    const NodeId id = graph.value(queue.front()).producer;
    queue.pop_front();
    if (id == kNoNode || !seen.insert(id).second) continue;
    const Node& node = graph.node(id);
    auto labels = attribute_labels(node);
    if (labels.empty()) labels = picked_labels(graph, node);
    if (!labels.empty()) return labels;
    for (const ValueId input : node.inputs) {
      if (input != kNoValue) queue.push_back(input);
    }
  }
  return {};
}

}  // namespace hugot
