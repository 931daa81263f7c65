// hugot inspect --dot: a graph as a picture.
#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#include <ostream>

#include "base/error.h"
#include "kernels/registry.h"
#include "tools/inspect.h"

namespace hugot::tools {
namespace {

constexpr size_t kMaxScopes = 6;  // of a name that are drawn as clusters in each other
constexpr int kMaxDepth = 8;      // of subgraphs in each other
constexpr std::string_view kUnknown = "#ff9999";

// Quoted for Graphviz, where a backslash escapes; control characters are replaced.
std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  }
  return result + '"';
}

// The scopes of a name as exporters write them, outermost first: "/encoder/layer.0/Add" has
// "encoder" and "layer.0".
std::vector<std::string_view> scopes_of(std::string_view name) {
  std::vector<std::string_view> scopes;
  while (scopes.size() < kMaxScopes) {
    const size_t slash = name.find('/');
    if (slash == std::string_view::npos) break;
    if (slash > 0) scopes.push_back(name.substr(0, slash));
    name.remove_prefix(slash + 1);
  }
  return scopes;
}

// Nodes by the scopes of their names.
struct Scope {
  std::vector<NodeId> nodes;
  std::map<std::string, Scope, std::less<>> inner;
};

class DotWriter {
 public:
  explicit DotWriter(std::ostream& out) : out_(out) {
    static constexpr std::array<const char*, 10> kColours = {
        "#cfe2f3", "#ead1dc", "#d9ead3", "#fff2cc", "#d9d2e9",
        "#eeeeee", "#f3f3f3", "#f9cb9c", "#b6d7a8", "#d0e0e3"};
    size_t rooms = 0;
    std::map<std::string, std::string> by_room;
    for (const ManifestEntry& entry : manifest()) {
      auto [it, fresh] = by_room.emplace(entry.room, "");
      if (fresh) it->second = kColours[rooms++ % kColours.size()];
      colours_[str(entry.domain, "/", entry.name)] = it->second;
    }
  }

  void write(const Graph& graph) {
    out_ << "digraph model {\n"
            "  compound=true;\n"
            "  node [shape=box, style=\"rounded,filled\", fillcolor=white, "
            "fontname=\"sans-serif\"];\n"
            "  edge [fontname=\"sans-serif\", fontsize=9];\n";
    write_graph(graph, "", "  ", 0);
    out_ << "}\n";
  }

 private:
  // Every name in the file begins with `prefix`, which tells the graphs apart.
  void write_graph(const Graph& graph, const std::string& prefix, const std::string& indent,
                   int depth) {
    const auto readers = graph.readers();
    for (const ValueId id : graph.inputs) {
      out_ << indent << source(graph, prefix, id) << " [shape=ellipse, label="
           << quoted(graph.value(id).name + "  " + graph.fact(id).to_string()) << "];\n";
    }
    Scope root;
    const std::vector<NodeId> order = graph.order();
    for (const NodeId id : order) {
      Scope* scope = &root;
      for (const std::string_view name : scopes_of(graph.node(id).name)) {
        scope = &scope->inner[std::string(name)];
      }
      scope->nodes.push_back(id);
    }
    int clusters = 0;
    write_scope(graph, root, prefix, indent, clusters);
    for (const NodeId id : order) write_edges(graph, id, prefix, indent, depth);
    for (size_t i = 0; i < graph.outputs.size(); ++i) {
      const ValueId id = graph.outputs[i];
      const std::string name = str(prefix, "o", i);
      out_ << indent << name << " [shape=ellipse, label=" << quoted(graph.value(id).name) << "];\n";
      if (graph.constant(id) == nullptr) write_edge(graph, id, prefix, name, indent);
    }
  }

  void write_scope(const Graph& graph, const Scope& scope, const std::string& prefix,
                   const std::string& indent, int& clusters) {
    for (const NodeId id : scope.nodes) write_node(graph.node(id), str(prefix, "n", id), indent);
    for (const auto& [name, inner] : scope.inner) {
      // Scopes that hold nothing but one other scope are drawn as one.
      const Scope* shown = &inner;
      std::string title = name;
      while (shown->nodes.empty() && shown->inner.size() == 1) {
        title += "/" + shown->inner.begin()->first;
        shown = &shown->inner.begin()->second;
      }
      out_ << indent << "subgraph cluster_" << prefix << "s" << clusters++ << " {\n"
           << indent << "  label=" << quoted(title) << ";\n"
           << indent << "  color=gray;\n";
      write_scope(graph, *shown, prefix, indent + "  ", clusters);
      out_ << indent << "}\n";
    }
  }

  void write_node(const Node& node, const std::string& name, const std::string& indent) {
    const auto colour = colours_.find(str(node.domain, "/", node.op_type));
    out_ << indent << name << " [label=" << quoted(node.op_type) << ", fillcolor="
         << quoted(colour != colours_.end() ? std::string_view(colour->second) : kUnknown)
         << ", tooltip=" << quoted(node.name) << "];\n";
  }

  void write_edges(const Graph& graph, NodeId id, const std::string& prefix,
                   const std::string& indent, int depth) {
    const Node& node = graph.node(id);
    const std::string name = str(prefix, "n", id);
    for (const ValueId input : node.inputs) {
      if (input != kNoValue && graph.constant(input) == nullptr) {
        write_edge(graph, input, prefix, name, indent);
      }
    }
    int bodies = 0;
    for (const auto& [attribute, content] : node.attributes) {
      const auto* body = std::get_if<std::shared_ptr<const Graph>>(&content);
      if (body == nullptr || *body == nullptr || depth >= kMaxDepth) continue;
      const std::string inner = str(name, "b", bodies++, "_");
      out_ << indent << "subgraph cluster_" << inner << " {\n"
           << indent << "  label=" << quoted(attribute) << ";\n"
           << indent << "  style=dashed;\n"
           << indent << "  " << inner << "head [shape=point];\n";
      write_graph(**body, inner, indent + "  ", depth + 1);
      out_ << indent << "}\n"
           << indent << name << " -> " << inner << "head [style=dashed, lhead=cluster_" << inner
           << "];\n";
    }
  }

  void write_edge(const Graph& graph, ValueId from, const std::string& prefix,
                  const std::string& to, const std::string& indent) {
    out_ << indent << source(graph, prefix, from) << " -> " << to
         << " [label=" << quoted(graph.fact(from).to_string()) << "];\n";
  }

  // What a value comes from: an input of the graph, or a node.
  static std::string source(const Graph& graph, const std::string& prefix, ValueId id) {
    const NodeId producer = graph.value(id).producer;
    return producer == kNoNode ? str(prefix, "v", id) : str(prefix, "n", producer);
  }

  std::ostream& out_;
  std::map<std::string, std::string> colours_;
};

}  // namespace

void write_dot(const Graph& graph, const std::string& file) {
  std::ofstream out(file);
  DotWriter(out).write(graph);
  out.close();
  require(!out.fail(), ErrorCode::kIo, "cannot write ", file);
}

}  // namespace hugot::tools
