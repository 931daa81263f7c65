// The parts of what `hugot inspect` prints. All of it is the same for every run on the same file.
#ifndef HUGOT_TOOLS_INSPECT_H_
#define HUGOT_TOOLS_INSPECT_H_

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "graph/exec/memory.h"
#include "graph/exec/ragged.h"
#include "graph/graph.h"
#include "onnx/loader.h"

namespace hugot::tools {

// "1234 bytes", "90.2 MB"
std::string bytes_text(int64_t bytes);

// Rows of cells below each other; numbers stand right. Trailing blanks are cut.
class TextTable {
 public:
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  void print(std::ostream& out) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// -- inspect_model.cc: what is in the file

void print_header(std::ostream& out, const LoadedModel& model);
// Count, bytes by element type, and the largest few; those of subgraphs as well.
void print_parameters(std::ostream& out, const Graph& graph);
// A row per operator, with what this build has for it. Operators that are missing come first.
void print_operators(std::ostream& out, const Graph& graph);
// How many shapes inference knows.
void print_values(std::ostream& out, const Graph& graph);

// -- inspect_run.cc: how it runs

// Numbers for symbolic dimensions, by name.
using DimValues = std::map<std::string, int64_t, std::less<>>;
// "batch=32,sequence=256". Throws kInvalidArgument.
DimValues parse_dims(std::string_view text);
// The symbols in the shapes of the graph's inputs, each with its number: `given`, or 64. Throws
// kInvalidArgument for a given name that no input has.
DimValues bind_dims(const Graph& graph, const DimValues& given);
// The memory that `plan` takes when the inputs of its graph have these dimensions; `times` says how
// often a value is there. A line with the reason when the graph does not take them.
void print_memory(std::ostream& out, const MemoryPlan& plan, Graph graph, const DimValues& dims,
                  const std::function<int64_t(ValueId)>& times);
// Batching rules and fusions; `log` is Encoder::fusions().
void print_ragged(std::ostream& out, const RaggedPlan& plan, const std::vector<std::string>& log);
// A line per fusion, with the node that it began at.
void print_fusions(std::ostream& out, const std::vector<std::string>& log);
void print_nodes(std::ostream& out, const RaggedPlan& plan);
void print_nodes(std::ostream& out, const Graph& graph);

// -- inspect_dot.cc

// The graph as a Graphviz file: clusters by name scope, colours by family of operators, shapes on
// edges, subgraphs as clusters; constants are left out. Throws kIo.
void write_dot(const Graph& graph, const std::string& file);

}  // namespace hugot::tools

#endif  // HUGOT_TOOLS_INSPECT_H_
