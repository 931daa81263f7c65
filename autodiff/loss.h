// Losses of embedding models and classifiers: functions of the vectors that a model gives for the
// columns of a batch, and of its labels.
//
// Formulas: the classes of sentence_transformers.losses and torch.nn that each entry names.
#ifndef HUGOT_AUTODIFF_LOSS_H_
#define HUGOT_AUTODIFF_LOSS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "autodiff/train_graph.h"
#include "base/tensor.h"
#include "graph/exec/executor.h"
#include "graph/graph.h"
#include "graph/op.h"

namespace hugot {

enum class Distance { kCosine, kEuclidean, kManhattan };
// "cosine", "euclidean", "manhattan". Throws kInvalidArgument listing them.
Distance distance_from_name(std::string_view name);

// What a loss compares with.
enum class LabelKind {
  kNone,
  kNumber,   // one number per row
  kClass,    // the number of a class per row
  kNumbers,  // a list of numbers per row, as long as the model's vectors
};

// A loss by name. Which members count depends on it: loss_names().
struct LossOptions {
  std::string name = "cosine_similarity";
  double scale = 20;    // of similarities in front of a softmax
  double margin = 0.5;  // of distances
  Distance distance = Distance::kCosine;
  bool dot_product = false;     // similarities of mnrl: of unit vectors otherwise
  int64_t num_labels = 0;       // softmax: classes of its own head
  bool multiply = false;        // softmax: the head sees u * v, too
  double label_smoothing = 0;   // cross_entropy: part of the target that all classes share
  std::vector<int64_t> dims;    // matryoshka: lengths of the vectors' beginnings
  std::vector<double> weights;  // of the dims
  std::shared_ptr<const LossOptions> inner;  // matryoshka
  // graph: a scalar from inputs named like columns, or column_0, column_1 .., and "labels".
  std::shared_ptr<const Graph> graph;
};

// What a loss needs of its data.
struct LossNeeds {
  int min_columns = 1;
  int max_columns = 1;
  LabelKind label = LabelKind::kNone;
};

// All losses:
//   cosine_similarity   mean (cos(u, v) - y)^2                          CosineSimilarityLoss
//   cosent              log(1 + sum over y_i < y_j of exp(scale (s_i - s_j))), s = cos(u, v)
//   angle               the same with the angle of complex vectors       AnglELoss
//   mnrl                cross entropy of scale cos(u_i, v_j) against j = i; further columns are
//                       candidates of every row, too MultipleNegativesRankingLoss
//   mnrl_symmetric      the mean of that and of its transposed           ..SymmetricRankingLoss
//   triplet             mean relu(d(a, p) - d(a, n) + margin)            TripletLoss
//   contrastive         mean (y d^2 + (1 - y) relu(margin - d)^2) / 2    ContrastiveLoss
//   online_contrastive  the sum over hard pairs only                     OnlineContrastiveLoss
//   softmax             cross entropy of a linear layer on u, v, |u - v| SoftmaxLoss
//   cross_entropy       of the model's logits                            CrossEntropyLoss
//   bce                 mean binary cross entropy of the logits          BCEWithLogitsLoss
//   mse                 mean (u - y)^2 over rows and elements            MSELoss
//   matryoshka          sum of weighted inner losses of unit vectors of the first `dims` elements
//   graph               LossOptions::graph
std::vector<std::string> loss_names();

// Throws kInvalidArgument for a name that is none, and for members that make no sense.
LossNeeds loss_needs(const LossOptions& options);

// A loss and its own parameters. One call at a time.
class Loss {
 public:
  // `column_names` name the columns for a graph of the user's. `dim`: elements of the model's
  // vectors. Parameters begin with random numbers as torch.nn.Linear has them, by `seed`. Throws
  // what loss_needs() throws.
  Loss(LossOptions options, const OpRegistry& ops, DType dtype,
       std::vector<std::string> column_names, int64_t dim, uint64_t seed);

  struct Result {
    double value = 0;
    std::vector<Tensor> gradients;  // of the columns
  };
  // `columns` are vectors [rows, dim] of the element type of the loss. `labels`: [rows] of that
  // type, int64 [rows] for classes, or [rows, n]; undefined where there are none. Adds the
  // gradients of the parameters to Parameter::gradient.
  Result run(std::span<const Tensor> columns, const Tensor& labels, const TrainRun& run);
  // The value alone.
  double value(std::span<const Tensor> columns, const Tensor& labels, const TrainRun& run);

  std::vector<Parameter>& parameters() { return parameters_; }
  const LossOptions& options() const { return options_; }

 private:
  Executor& executor(std::span<const Tensor> columns, const Tensor& labels, bool gradients);
  Graph build(std::span<const Tensor> columns, const Tensor& labels, bool gradients) const;
  std::vector<Tensor> arguments(std::span<const Tensor> columns, const Tensor& labels) const;

  LossOptions options_;
  const OpRegistry& ops_;
  DType dtype_;
  std::vector<std::string> column_names_;
  std::vector<Parameter> parameters_;
  std::map<std::string, std::unique_ptr<Executor>> executors_;  // by shapes
};

}  // namespace hugot

#endif  // HUGOT_AUTODIFF_LOSS_H_
