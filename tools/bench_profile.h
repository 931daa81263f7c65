// Where the time of a model goes.
#ifndef HUGOT_TOOLS_BENCH_PROFILE_H_
#define HUGOT_TOOLS_BENCH_PROFILE_H_

#include <algorithm>
#include <atomic>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "graph/exec/executor.h"
#include "tools/bench.h"

namespace hugot::tools {

// Time by node, summed over the threads.
class Profile final : public NodeObserver {
 public:
  explicit Profile(const Graph& graph) : graph_(graph), nanoseconds_(graph.node_count()) {}

  void ran(NodeId node, std::chrono::nanoseconds time) override {
    nanoseconds_[static_cast<size_t>(node)] += time.count();
  }

  // `what` says what the times are summed over.
  std::string table(const std::string& what) const {
    struct Sum {
      int nodes = 0;
      double seconds = 0;
    };
    std::map<std::string, Sum> sums;
    double total = 0;
    for (size_t i = 0; i < nanoseconds_.size(); ++i) {
      Sum& sum = sums[graph_.node(static_cast<NodeId>(i)).op_type];
      ++sum.nodes;
      sum.seconds += 1e-9 * static_cast<double>(nanoseconds_[i]);
      total += 1e-9 * static_cast<double>(nanoseconds_[i]);
    }
    std::vector<std::pair<std::string, Sum>> rows(sums.begin(), sums.end());
    std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
      return a.second.seconds > b.second.seconds;
    });
    std::string out = "\noperator              nodes       ms   share\n";
    for (const auto& [name, sum] : rows) {
      const std::string nodes = std::to_string(sum.nodes);
      out += name + std::string(name.size() < 22 ? 22 - name.size() : 1, ' ');
      out += std::string(nodes.size() < 5 ? 5 - nodes.size() : 0, ' ') + nodes;
      out += format_number("%9.2f", 1e3 * sum.seconds);
      out += format_number("%7.1f%%\n", 100 * sum.seconds / total);
    }
    return out + "all operators" + format_number("%23.2f ms, ", 1e3 * total) + what + "\n";
  }

 private:
  const Graph& graph_;
  std::vector<std::atomic<int64_t>> nanoseconds_;
};

}  // namespace hugot::tools

#endif  // HUGOT_TOOLS_BENCH_PROFILE_H_
