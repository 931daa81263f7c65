// hugot inspect: how a graph runs, and what memory it takes.
#include <algorithm>
#include <charconv>
#include <ostream>

#include "graph/op.h"
#include "graph/passes/passes.h"
#include "tools/command.h"
#include "tools/inspect.h"

namespace hugot::tools {
namespace {

constexpr int64_t kDefaultDim = 64;
constexpr int64_t kMaxDim = int64_t{1} << 40;
constexpr int64_t kMaxBytes = int64_t{1} << 46;  // of a value; beyond it is not worth counting

std::string rule_name(const RaggedPlan& plan, NodeId id) {
  const Node& node = plan.graph().node(id);
  const auto extent = node.outputs.empty() || node.outputs[0] == kNoValue
                          ? Extent::kText
                          : plan.extent(node.outputs[0]);
  if (extent == Extent::kShared) return "shared";
  if (extent == Extent::kLength) return "by length";
  switch (plan.batching(id)) {
    case Batching::kPacked:
      return "packed";
    case Batching::kRows:
      return "rows";
    case Batching::kSegments:
      return "segments";
    case Batching::kSum:
      return "sum";
    case Batching::kLoop:
      return "loop";
  }
  return "?";
}

std::string result_of(const Graph& graph, const Node& node) {
  return node.output(0) == kNoValue ? "" : graph.fact(node.outputs[0]).to_string();
}

// The bytes of a value of known shape, -1 for others.
int64_t bytes_of(const Fact& fact) {
  if (fact.dtype == DType::kUndefined || !fact.shape) return -1;
  try {
    const auto shape = fact.fixed_shape();
    return shape ? static_cast<int64_t>(Tensor::byte_size(fact.dtype, *shape)) : -1;
  } catch (const Error&) {
    return -1;  // too large to be a tensor
  }
}

void substitute(Fact& fact, const DimValues& dims) {
  for (const auto& [name, number] : dims) {
    for (std::optional<Dims>* list : {&fact.shape, &fact.symbolic}) {
      if (!*list) continue;
      for (Dim& dim : **list) dim = dim.substitute(name, number);
    }
  }
}

// Inputs get these dimensions, and everything is inferred anew.
void set_dims(Graph& graph, const DimValues& dims) {
  for (const ValueId id : graph.inputs) substitute(graph.value(id).fact, dims);
  for (ValueId id = 0; id < static_cast<ValueId>(graph.value_count()); ++id) {
    const Node* producer = graph.producer(id);
    if (producer != nullptr && producer->op != nullptr) graph.value(id).fact = {};
  }
  infer(graph);
}

}  // namespace

DimValues parse_dims(std::string_view text) {
  DimValues dims;
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(item.size() + 1, text.size()));
    const size_t equals = item.rfind('=');
    require(equals != std::string_view::npos && equals > 0, ErrorCode::kInvalidArgument,
            "--dims: expected NAME=NUMBER, got '", item, "'");
    const std::string_view digits = item.substr(equals + 1);
    int64_t number = 0;
    const auto [end, error] = std::from_chars(digits.begin(), digits.end(), number);
    require(error == std::errc() && end == digits.end() && number >= 0 && number <= kMaxDim,
            ErrorCode::kInvalidArgument, "--dims: '", digits, "' is no dimension");
    dims[std::string(item.substr(0, equals))] = number;
  }
  return dims;
}

DimValues bind_dims(const Graph& graph, const DimValues& given) {
  DimValues dims;
  std::vector<std::string> names;
  for (const ValueId id : graph.inputs) {
    const Fact& fact = graph.fact(id);
    if (!fact.shape) continue;
    for (const Dim& dim : *fact.shape) {
      for (const std::string& name : dim.symbols()) {
        const auto it = given.find(name);
        if (dims.emplace(name, it != given.end() ? it->second : kDefaultDim).second) {
          names.push_back("'" + name + "'");
        }
      }
    }
  }
  for (const auto& [name, number] : given) {
    require(dims.contains(name), ErrorCode::kInvalidArgument, "--dims: no input has a dimension '",
            name, "'", names.empty() ? "" : "; there are ", list_of(names));
  }
  return dims;
}

void print_memory(std::ostream& out, const MemoryPlan& plan, Graph graph, const DimValues& dims,
                  const std::function<int64_t(ValueId)>& times) {
  try {
    set_dims(graph, dims);
  } catch (const Error& error) {
    out << "  activations: unknown, these dimensions do not fit: " << error.what() << "\n";
    return;
  }
  const auto bytes = [&](ValueId id) -> int64_t {
    const int64_t one = bytes_of(graph.fact(id)), count = times(id);
    return one < 0 || (count > 0 && one > kMaxBytes / count) ? -1 : one * count;
  };
  const MemoryUse use = measure(plan, graph, graph.order(), bytes);
  out << "  activations: " << use.values << " values in " << plan.slot_count << " slots, "
      << bytes_text(use.slots) << "; at most " << bytes_text(use.peak)
      << " live at once; results beside them " << bytes_text(use.unslotted) << "\n";
  if (use.unknown > 0) out << "  " << use.unknown << " values of unknown size are not counted\n";
}

void print_ragged(std::ostream& out, const RaggedPlan& plan, const std::vector<std::string>& log) {
  std::map<std::string, size_t> fusions;
  std::vector<std::string> missed;
  for (const std::string& line : log) {
    if (line.starts_with(kNotFused)) {
      missed.push_back(line);
    } else {
      ++fusions[line.substr(0, line.find(':'))];
    }
  }
  std::map<std::string, size_t> rules;
  const Graph& graph = plan.graph();
  size_t nodes = 0;
  for (const NodeId id : graph.order()) {
    ++rules[rule_name(plan, id)];
    ++nodes;
  }
  const auto list = [&](const char* title, const std::map<std::string, size_t>& counts) {
    out << "  " << title << ":";
    const char* separator = " ";
    for (const auto& [name, count] : counts) {
      out << separator << name << " " << count;
      separator = ", ";
    }
    out << (counts.empty() ? " none\n" : "\n");
  };
  out << "ragged mode: yes, " << nodes << " nodes\n";
  list("fusions", fusions);
  for (const std::string& line : missed) out << "  " << line << "\n";
  list("batching rules", rules);
  out << "  packed weights: " << bytes_text(static_cast<int64_t>(plan.prepared_bytes())) << "\n";
}

void print_fusions(std::ostream& out, const std::vector<std::string>& log) {
  out << "fused:\n";
  for (const std::string& line : log) {
    if (!line.starts_with(kNotFused)) out << "  " << line << "\n";
  }
}

void print_nodes(std::ostream& out, const RaggedPlan& plan) {
  out << "nodes:\n";
  TextTable table;
  for (const NodeId id : plan.graph().order()) {
    const Node& node = plan.graph().node(id);
    table.add({"", rule_name(plan, id), node.label(), result_of(plan.graph(), node)});
  }
  table.print(out);
}

void print_nodes(std::ostream& out, const Graph& graph) {
  out << "nodes:\n";
  TextTable table;
  for (const NodeId id : graph.order()) {
    table.add({"", graph.node(id).label(), result_of(graph, graph.node(id))});
  }
  table.print(out);
}

}  // namespace hugot::tools
