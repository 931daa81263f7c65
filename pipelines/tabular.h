// Rows of tables to labels or numbers.
#ifndef HUGOT_PIPELINES_TABULAR_H_
#define HUGOT_PIPELINES_TABULAR_H_

#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "graph/exec/executor.h"
#include "graph/exec/state_pool.h"
#include "hugot/hugot.hpp"
#include "onnx/loader.h"

namespace hugot {

// The labels of a classifier, in the order of its scores, from its graph: attributes of ZipMap or
// of the classifier, or the constant that its choice is picked from. Empty when there are none.
std::vector<std::string> graph_labels(const Graph& graph);

// Elements of a tensor as text: strings as they are, integers in decimal. Throws kUnsupported for
// other types.
std::vector<std::string> label_texts(const Tensor& tensor);

class HUGOT_LOCAL Tabular::Impl {
 public:
  Impl(std::shared_ptr<Session::Impl> session, const std::filesystem::path& directory,
       const TabularOptions& options);
  std::vector<Outcome<TabularResult>> run(std::span<const TabularRow> rows,
                                          const std::stop_token& stop) const;
  std::span<const TabularInput> inputs() const { return inputs_; }
  PipelineStatistics statistics() const;
  const std::vector<ModelOutput>& outputs() const { return outputs_; }

 private:
  // The values of a row by input.
  using Cells = std::vector<std::vector<const TabularValue*>>;

  void read_inputs(const Graph& graph);
  void read_outputs(const LoadedModel& model);
  Cells cells_of(const TabularRow& row) const;
  void check(size_t input, const TabularValue& value) const;
  Tensor column_tensor(size_t input, std::span<const Cells> rows,
                       std::span<const size_t> which) const;
  // Runs rows whose inputs have the same numbers of columns.
  void run_some(std::span<const Cells> rows, std::span<const size_t> which,
                std::span<Outcome<TabularResult>> out, const std::stop_token& stop) const;
  // Its scores by class and, unless there is none, the model's choice.
  TabularResult classified(std::vector<float> scores, const std::string* choice,
                           const std::vector<std::string>& keys) const;

  std::shared_ptr<Session::Impl> session_;
  std::vector<std::string> config_labels_;
  std::vector<std::string> graph_labels_;
  std::optional<ScoreFunction> function_;
  std::shared_ptr<const Plan> plan_;
  std::vector<TabularInput> inputs_;
  std::vector<ModelOutput> outputs_;
  bool row_by_row_ = false;     // the graph takes one row at a time
  int choice_ = -1;             // output with the label
  std::vector<size_t> scores_;  // outputs with scores or values
  std::vector<std::string> score_names_;
  bool classifier_ = false;
  mutable StatePool<Executor> executors_;
  mutable std::mutex statistics_mutex_;
  mutable PipelineStatistics statistics_;
};

}  // namespace hugot

#endif  // HUGOT_PIPELINES_TABULAR_H_
