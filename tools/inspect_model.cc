// hugot inspect: what is in the file.
#include <algorithm>
#include <iomanip>
#include <ostream>
#include <set>
#include <sstream>
#include <tuple>

#include "kernels/registry.h"
#include "tools/inspect.h"

namespace hugot::tools {
namespace {

constexpr size_t kLargest = 5;  // parameters that are named

// Calls function(graph, depth) for the graph and everything below it.
template <class Function>
void for_each_graph(const Graph& graph, const Function& function, int depth = 0) {
  function(graph, depth);
  for (const NodeId id : graph.order()) {
    for (const auto& [name, attribute] : graph.node(id).attributes) {
      const auto* body = std::get_if<std::shared_ptr<const Graph>>(&attribute);
      if (body != nullptr && *body != nullptr) for_each_graph(**body, function, depth + 1);
    }
  }
}

void print_ports(std::ostream& out, const char* title, const std::vector<ModelPort>& ports) {
  out << title << ":\n";
  TextTable table;
  for (const ModelPort& port : ports) {
    const bool tensor = port.fact.dtype != DType::kUndefined;
    table.add({"", port.name, tensor ? port.fact.to_string() : port.type});
  }
  table.print(out);
}

bool is_number(const std::string& cell) {
  return !cell.empty() && cell.find_first_not_of("0123456789") == std::string::npos;
}

// Domain, operator, version of the domain.
using OperatorKey = std::tuple<std::string, std::string, int>;
struct Usage {
  size_t nodes = 0;
  const OpDef* op = nullptr;
  bool implemented() const { return op != nullptr && op->cpu != nullptr; }
};

}  // namespace

std::string bytes_text(int64_t bytes) {
  constexpr int64_t kExact = 10000;
  if (bytes < kExact) return str(bytes, " bytes");
  double number = static_cast<double>(bytes) / 1000;
  const char* unit = "kB";
  for (const char* larger : {"MB", "GB", "TB"}) {
    if (number < 1000) break;
    number /= 1000;
    unit = larger;
  }
  std::ostringstream text;
  text << std::fixed << std::setprecision(1) << number << " " << unit;
  return text.str();
}

void TextTable::print(std::ostream& out) const {
  std::vector<size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()), 0);
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - row[i].size(), ' ');
      line += (i == 0 ? "" : "  ") + (is_number(row[i]) ? padding + row[i] : row[i] + padding);
    }
    out << line.substr(0, line.find_last_not_of(' ') + 1) << "\n";
  }
}

void print_header(std::ostream& out, const LoadedModel& model) {
  out << "model: " << model.path.string() << "\n";
  out << "producer: " << model.producer_name << " " << model.producer_version << ", IR version "
      << model.ir_version << "\n";
  if (!model.graph_name.empty()) out << "graph: " << model.graph_name << "\n";
  out << "opsets:";
  const char* separator = " ";
  for (const auto& [domain, version] : model.graph.opsets) {
    out << separator << (domain.empty() ? "ai.onnx" : domain) << " " << version;
    separator = ", ";
  }
  out << "\n";
  print_ports(out, "inputs", model.inputs);
  print_ports(out, "outputs", model.outputs);
}

void print_parameters(std::ostream& out, const Graph& graph) {
  struct Parameter {
    std::string name;
    const Tensor* data;
  };
  std::vector<Parameter> all;
  std::set<const void*> seen;  // subgraphs share the constants of the graph around them
  for_each_graph(graph, [&](const Graph& part, int) {
    for (ValueId id = 0; id < static_cast<ValueId>(part.value_count()); ++id) {
      const Value& value = part.value(id);
      if (!value.initializer || !value.fact.constant) continue;
      if (seen.insert(value.fact.constant->raw()).second) {
        all.push_back({value.name, &*value.fact.constant});
      }
    }
  });
  struct Sum {
    int64_t tensors = 0, elements = 0, bytes = 0;
    void add(const Tensor& tensor) {
      ++tensors;
      elements += tensor.size();
      bytes += static_cast<int64_t>(tensor.bytes());
    }
  };
  Sum total;
  std::map<std::string_view, Sum> by_type;
  for (const Parameter& parameter : all) {
    total.add(*parameter.data);
    by_type[dtype_name(parameter.data->dtype())].add(*parameter.data);
  }
  out << "parameters: " << total.elements << " in " << total.tensors << " tensors, "
      << bytes_text(total.bytes) << "\n";
  TextTable table;
  for (const auto& [type, sum] : by_type) {
    table.add({"", std::string(type), std::to_string(sum.elements), "elements in",
               std::to_string(sum.tensors), "tensors,", bytes_text(sum.bytes)});
  }
  table.print(out);
  std::stable_sort(all.begin(), all.end(), [](const Parameter& a, const Parameter& b) {
    return a.data->bytes() > b.data->bytes();
  });
  all.resize(std::min(all.size(), kLargest));
  if (!all.empty()) out << "largest parameters:\n";
  TextTable largest;
  for (const Parameter& parameter : all) {
    largest.add({"", parameter.name, describe(*parameter.data),
                 bytes_text(static_cast<int64_t>(parameter.data->bytes()))});
  }
  largest.print(out);
}

void print_operators(std::ostream& out, const Graph& graph) {
  std::map<OperatorKey, Usage> usages;
  size_t nodes = 0, covered = 0, subgraphs = 0, inner_nodes = 0;
  int depth = 0;
  for_each_graph(graph, [&](const Graph& part, int level) {
    depth = std::max(depth, level);
    subgraphs += level > 0 ? 1 : 0;
    for (const NodeId id : part.order()) {
      const Node& node = part.node(id);
      Usage& usage = usages[{node.domain, node.op_type, node.opset}];
      ++usage.nodes;
      usage.op = node.op;
      ++nodes;
      if (level > 0) ++inner_nodes;
      if (usage.implemented()) ++covered;
    }
  });
  std::map<std::pair<std::string, std::string>, const ManifestEntry*> entries;
  const std::vector<ManifestEntry> known = manifest();
  for (const ManifestEntry& entry : known) {
    entries[{std::string(entry.domain), std::string(entry.name)}] = &entry;
  }

  std::vector<std::pair<OperatorKey, Usage>> sorted(usages.begin(), usages.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    return std::tuple(a.second.implemented(), b.second.nodes) <
           std::tuple(b.second.implemented(), a.second.nodes);
  });
  out << "operators: " << sorted.size() << " kinds in " << nodes << " nodes, " << covered
      << " of them can run here\n";
  TextTable table;
  table.add({"", "nodes", "operator", "version", "cpu", "cuda", "gradient"});
  for (const auto& [key, usage] : sorted) {
    const auto& [domain, type, opset] = key;
    const std::string name = domain.empty() ? type : domain + "." + type;
    if (!usage.implemented()) {
      table.add({"", std::to_string(usage.nodes), name, str("opset ", opset), "-", "-", "-",
                 "NOT IMPLEMENTED"});
      continue;
    }
    const auto entry = entries.find({domain, type});
    const bool listed = entry != entries.end();
    const auto mark = [](bool has) { return std::string(has ? "yes" : "-"); };
    table.add({"", std::to_string(usage.nodes), name, std::to_string(usage.op->since_version),
               "yes", mark(listed && entry->second->cuda),
               mark(listed && entry->second->gradient)});
  }
  table.print(out);
  if (subgraphs > 0) {
    out << "subgraphs: " << subgraphs << " with " << inner_nodes << " of the nodes, nested up to "
        << depth << " deep\n";
  }
}

void print_values(std::ostream& out, const Graph& graph) {
  size_t fixed = 0, symbolic = 0, unknown = 0;
  std::vector<std::string> first_unknown;
  for (const NodeId id : graph.order()) {
    for (const ValueId output : graph.node(id).outputs) {
      if (output == kNoValue) continue;
      const Fact& fact = graph.fact(output);
      if (fact.fixed_shape()) {
        ++fixed;
      } else if (fact.shape) {
        ++symbolic;
      } else {
        ++unknown;
        if (first_unknown.size() < kLargest) {
          first_unknown.push_back(
              str("'", graph.value(output).name, "' (", graph.node(id).op_type, ")"));
        }
      }
    }
  }
  out << "values: " << fixed + symbolic + unknown << "; shapes: " << fixed << " known, " << symbolic
      << " symbolic, " << unknown << " unknown\n";
  if (unknown > 0) {
    out << "  without shape:";
    for (const std::string& name : first_unknown) out << " " << name;
    out << (unknown > first_unknown.size() ? " ..\n" : "\n");
  }
}

}  // namespace hugot::tools
