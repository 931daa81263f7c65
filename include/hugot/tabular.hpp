// Rows of tables to labels or numbers.
#ifndef HUGOT_TABULAR_HPP_
#define HUGOT_TABULAR_HPP_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "hugot/common.hpp"

namespace hugot {

struct TabularOptions {
  // What turns the scores of a classifier into those of the result; default: they stay.
  std::optional<ScoreFunction> function = {};
  std::string onnx_filename = {};  // as in FeatureExtractionOptions
};

// An input of the model.
struct TabularInput {
  enum class Type { kNumber, kInteger, kText };

  std::string name;
  Type type = Type::kNumber;
  size_t columns = 1;  // 0: any number of them
};

// A number, an integer or a text. A number that is not a number (NaN) is a missing one.
using TabularValue = std::variant<double, int64_t, std::string>;

struct TabularRow {
  std::vector<TabularValue> values;
  // The input that each value belongs to, which is repeated for the columns of one. Empty: values
  // of all inputs in the order of inputs().
  std::vector<std::string> names = {};
};

struct TabularResult {
  // Of a classifier: its choice, and the scores of all labels in the order of the model. A model
  // that gives no scores has its choice alone, with score 1.
  std::string predicted = {};
  std::vector<ScoredLabel> labels = {};
  // Of a regressor: one number per target.
  std::vector<double> values = {};
};

// Classifiers and regressors over tables, as skl2onnx exports them: inputs [rows] or [rows,
// columns] of numbers or texts; outputs that are labels (integers or texts), scores (a matrix, a
// vector per class, or ZipMap's maps) or numbers. The names of classes are those of config.json
// (id2label), where there are as many as the model has classes, or else those of the graph.
//
// A model is a classifier when one of its outputs is a label, or when there are names for all
// columns of its only output; otherwise it is a regressor. As all pipelines: a handle that is cheap
// to copy; all functions may be called from several threads at the same time; the result of a row
// does not depend on the others; what is wrong with a row is in its Outcome; kCancelled is thrown
// soon after `stop` is requested.
class HUGOT_API Tabular {
 public:
  class Impl;

  std::vector<Outcome<TabularResult>> run(std::span<const TabularRow> rows,
                                          std::stop_token stop = {}) const;
  // Valid as long as this object or a copy of it.
  std::span<const TabularInput> inputs() const;
  PipelineStatistics statistics() const;
  std::vector<ModelOutput> outputs() const;

 private:
  friend class Session;
  explicit Tabular(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

}  // namespace hugot

#endif  // HUGOT_TABULAR_HPP_
