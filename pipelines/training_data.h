// Rows of texts and labels to ids: the data of a training or of an evaluation.
#ifndef HUGOT_PIPELINES_TRAINING_DATA_H_
#define HUGOT_PIPELINES_TRAINING_DATA_H_

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "autodiff/loss.h"
#include "autodiff/train_graph.h"
#include "base/thread_pool.h"
#include "hugot/tokenizer.hpp"

namespace hugot {

// What rows have to be like.
struct DataNeeds {
  int min_columns = 1;
  int max_columns = 1;
  LabelKind label = LabelKind::kNone;
  // Columns and label are whatever the first row has.
  bool anything = false;
  bool pairs = false;                    // the texts of a row go through the model together
  std::vector<std::string> labels = {};  // names of classes, which rows may use
  bool new_labels = false;  // names that are not among them are numbered in their order
  int64_t classes = 0;      // 0: any number
  int64_t label_size = 0;   // kNumbers: length of the lists; 0: that of the first row
};

struct DataEncoding {
  EncodeOptions options = {};
  bool type_ids = false;
  bool lowercase = false;
};

// All rows of a file, encoded. Immutable.
class TrainingData {
 public:
  // Reads a .jsonl file, or `rows` when `file` is empty. Columns are the first of these sets that
  // the first row has: anchor, positive, negative (or negatives, a list; or negative_1 ..);
  // sentence1, sentence2; text; input; sentence. Labels are score, label, labels or embedding.
  // Throws kInvalidData naming file and line of the first rows that are not as `needs` says.
  TrainingData(const std::filesystem::path& file, std::span<const std::string> rows,
               const DataNeeds& needs, const Tokenizer& tokenizer, const DataEncoding& encoding,
               ThreadPool& pool);

  size_t rows() const { return places_.size(); }
  const std::vector<std::string>& columns() const { return columns_; }
  LabelKind label_kind() const { return label_kind_; }
  // Names of the classes; empty when rows have numbers.
  const std::vector<std::string>& class_names() const { return class_names_; }

  TrainRow text(size_t row, size_t column) const;
  // Labels of rows, as Loss::run() has them; undefined when there are none.
  Tensor labels(std::span<const size_t> rows, DType dtype) const;
  double number(size_t row) const { return numbers_[row]; }
  int64_t class_of(size_t row) const { return classes_[row]; }
  // "train.jsonl:7"
  const std::string& place(size_t row) const { return places_[row]; }
  uint64_t tokens() const { return ids_.size(); }
  // Of ids and labels: tells whether data have changed.
  uint64_t hash() const;

 private:
  class Reader;

  std::vector<std::string> columns_;
  LabelKind label_kind_ = LabelKind::kNone;
  std::vector<std::string> class_names_;
  std::vector<std::string> places_;
  std::vector<double> numbers_;   // kNumber: by row; kNumbers: label_size_ by row
  std::vector<int64_t> classes_;  // kClass
  int64_t label_size_ = 0;
  std::vector<int32_t> ids_, type_ids_;  // of all texts, one after the other
  std::vector<size_t> ends_;             // of text row * columns + column
};

}  // namespace hugot

#endif  // HUGOT_PIPELINES_TRAINING_DATA_H_
