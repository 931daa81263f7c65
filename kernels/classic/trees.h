// Ensembles of decision trees, laid out for fast traversal.
#ifndef HUGOT_KERNELS_CLASSIC_TREES_H_
#define HUGOT_KERNELS_CLASSIC_TREES_H_

#include <cstdint>
#include <span>
#include <vector>

#include "graph/op.h"
#include "kernels/classic/scores.h"

namespace hugot::classic {

enum class Compare : uint8_t {
  kLessEqual,
  kLess,
  kGreaterEqual,
  kGreater,
  kEqual,
  kNotEqual,
  kMember,
  kLeaf
};

// Immutable once built, so threads may share it.
class Trees : public Prepared {
 public:
  enum class Aggregate { kAverage, kSum, kMin, kMax };

  // Reads the attributes of TreeEnsemble, TreeEnsembleClassifier or TreeEnsembleRegressor. Throws
  // kInvalidData unless they describe trees: every node is reached from one root and on one way.
  explicit Trees(const Node& node);

  size_t bytes() const override;

  int64_t targets() const { return targets_; }
  Transform transform() const { return transform_; }
  std::span<const double> base_values() const { return base_values_; }
  const Tensor& labels() const { return labels_; }

  // The largest number of rows that one call of run() takes.
  static constexpr int64_t kBlock = 64;

  // Adds up the leaves of samples x [rows, columns], without base values and transform:
  // scores [rows, targets] and whether there is one. Throws kInvalidArgument when the trees ask for
  // more columns.
  void run(const double* x, int64_t rows, int64_t columns, double* scores, uint8_t* has) const;

  // Of a classifier of two classes whose leaves all vote for one of them: what decides for the
  // second class. The specification is silent; these are the rules of onnxruntime.
  enum class Binary { kNo, kAboveHalf, kAboveZero };
  Binary binary() const { return binary_; }
  // The class that all leaves vote for.
  size_t voted() const { return voted_; }

 private:
  class Builder;

  // In the order of a walk that takes true branches first: the true child of a node is the next
  // one.
  struct TreeNode {
    double split;     // threshold; of kMember: unused
    int32_t feature;  // of a leaf: its first vote
    int32_t other;    // the false child; of a leaf: behind its last vote
    Compare compare;
    uint8_t missing_true;  // NaN goes to the true child
    int32_t members;       // of kMember: number of a set
  };
  struct Vote {
    int32_t target;
    double weight;
  };

  bool test(const TreeNode& node, double value) const;
  const TreeNode& leaf_of(const TreeNode* node, const double* x) const;

  std::vector<TreeNode> nodes_;
  std::vector<int32_t> roots_;
  std::vector<Vote> votes_;
  std::vector<std::vector<double>> members_;  // sorted
  bool only_less_equal_ = true;
  int64_t targets_ = 0;
  int64_t features_ = 0;  // columns that a sample has to have
  Aggregate aggregate_ = Aggregate::kSum;
  Transform transform_ = Transform::kNone;
  std::vector<double> base_values_;
  Tensor labels_;
  Binary binary_ = Binary::kNo;
  size_t voted_ = 0;
};

}  // namespace hugot::classic

#endif  // HUGOT_KERNELS_CLASSIC_TREES_H_
