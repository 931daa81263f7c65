// Traversal of trees, and the kernels.
#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "base/error.h"
#include "kernels/classic/classic.h"
#include "kernels/classic/trees.h"
#include "kernels/convert.h"
#include "kernels/dispatch.h"
#include "kernels/prepared.h"
#include "kernels/running.h"

namespace hugot::classic {

size_t Trees::bytes() const {
  return nodes_.size() * sizeof(TreeNode) + votes_.size() * sizeof(Vote);
}

bool Trees::test(const TreeNode& node, double value) const {
  if (std::isnan(value)) return node.missing_true != 0;
  switch (node.compare) {
    case Compare::kLessEqual:
      return value <= node.split;
    case Compare::kLess:
      return value < node.split;
    case Compare::kGreaterEqual:
      return value >= node.split;
    case Compare::kGreater:
      return value > node.split;
    case Compare::kEqual:
      return value == node.split;
    case Compare::kNotEqual:
      return value != node.split;
    case Compare::kMember: {
      const std::vector<double>& set = members_[static_cast<size_t>(node.members)];
      return std::binary_search(set.begin(), set.end(), value);
    }
    case Compare::kLeaf:
      break;
  }
  return false;
}

const Trees::TreeNode& Trees::leaf_of(const TreeNode* node, const double* x) const {
  if (only_less_equal_) {
    while (node->compare != Compare::kLeaf) {
      const double value = x[node->feature];
      const bool yes = value <= node->split || (node->missing_true != 0 && std::isnan(value));
      node = yes ? node + 1 : nodes_.data() + node->other;
    }
    return *node;
  }
  while (node->compare != Compare::kLeaf) {
    node = test(*node, x[node->feature]) ? node + 1 : nodes_.data() + node->other;
  }
  return *node;
}

// Tree by tree, so that the nodes of a tree stay in the cache for all rows.
void Trees::run(const double* x, int64_t rows, int64_t columns, double* scores,
                uint8_t* has) const {
  require(features_ <= columns, ErrorCode::kInvalidArgument, "the trees ask for feature ",
          features_ - 1, " of samples with ", columns);
  std::fill_n(scores, rows * targets_, 0.0);
  std::fill_n(has, rows * targets_, uint8_t{0});
  for (const int32_t root : roots_) {
    for (int64_t row = 0; row < rows; ++row) {
      const TreeNode& leaf = leaf_of(nodes_.data() + root, x + row * columns);
      for (int32_t i = leaf.feature; i < leaf.other; ++i) {
        const Vote& vote = votes_[static_cast<size_t>(i)];
        const int64_t at = row * targets_ + vote.target;
        double& score = scores[at];
        if (aggregate_ == Aggregate::kSum || aggregate_ == Aggregate::kAverage) {
          score += vote.weight;
        } else if (has[at] == 0) {
          score = vote.weight;
        } else {
          score = aggregate_ == Aggregate::kMin ? std::min(score, vote.weight)
                                                : std::max(score, vote.weight);
        }
        has[at] = 1;
      }
    }
  }
  if (aggregate_ != Aggregate::kAverage || roots_.empty()) return;
  for (int64_t i = 0; i < rows * targets_; ++i) scores[i] /= static_cast<double>(roots_.size());
}

namespace {

// Runs the trees on blocks of rows and calls finish(row, scores, has) for each row.
template <class Finish>
void for_rows(KernelContext& ctx, const Trees& trees, const Samples& samples, Finish&& finish) {
  const int64_t blocks = (samples.rows + Trees::kBlock - 1) / Trees::kBlock;
  parallel_for(ctx.pool(), blocks, 1, [&](int64_t begin, int64_t end) {
    const auto targets = static_cast<size_t>(trees.targets());
    const auto rows = static_cast<size_t>(std::min(Trees::kBlock, samples.rows));
    std::vector<double> x(rows * static_cast<size_t>(samples.columns)), scores(rows * targets);
    std::vector<uint8_t> has(scores.size());
    for (int64_t block = begin; block < end; ++block) {
      check_running(ctx);
      const int64_t first = block * Trees::kBlock;
      const int64_t count = std::min(Trees::kBlock, samples.rows - first);
      for (int64_t i = 0; i < count; ++i) {
        samples.read(first + i, x.data() + i * samples.columns);
      }
      trees.run(x.data(), count, samples.columns, scores.data(), has.data());
      for (int64_t i = 0; i < count; ++i) {
        const auto at = static_cast<size_t>(i) * targets;
        finish(first + i, std::span(scores).subspan(at, targets), has.data() + at);
      }
    }
  });
}

}  // namespace

void tree_regressor(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  const Samples samples(x);
  std::optional<Trees> own;
  const Trees& trees = prepared_or(ctx, own);
  const DType dtype = ctx.node().op->name == "TreeEnsemble" ? x.dtype() : DType::kFloat32;
  const int64_t targets = trees.targets();
  Tensor& y = ctx.output(0, dtype, {samples.rows, targets});
  const std::span<const double> base = trees.base_values();
  dispatch(FloatTypes{}, dtype, [&]<class T>() {
    for_rows(ctx, trees, samples, [&](int64_t row, std::span<double> scores, const uint8_t*) {
      for (size_t i = 0; i < base.size(); ++i) scores[i] += base[i];
      transform(trees.transform(), scores);
      convert_all(scores.data(), y.data<T>() + row * targets, targets);
    });
  });
}

namespace {

// The class of one row; the scores become those of the output.
int64_t classify(const Trees& trees, std::span<double> scores, const uint8_t* has) {
  const std::span<const double> base = trees.base_values();
  if (trees.binary() == Trees::Binary::kNo) {
    for (size_t i = 0; i < base.size(); ++i) scores[i % scores.size()] += base[i];
    // A class without any vote is chosen only if there is no other.
    size_t best = 0;
    bool found = false;
    for (size_t i = 0; i < scores.size(); ++i) {
      if ((has[i] != 0 || !base.empty()) && (!found || scores[i] > scores[best])) {
        best = i;
        found = true;
      }
    }
    transform(trees.transform(), scores);
    return static_cast<int64_t>(best);
  }
  const bool above_half = trees.binary() == Trees::Binary::kAboveHalf;
  double& score = scores[trees.voted()];
  if (!base.empty()) score += base.front();
  const bool second = score > (above_half ? 0.5 : 0.0);
  if (trees.voted() == 0) {
    const auto both = shared_score(score, above_half, trees.transform());
    std::copy(both.begin(), both.end(), scores.begin());
  } else {
    transform(trees.transform(), scores);
  }
  return second ? 1 : 0;
}

}  // namespace

void tree_classifier(KernelContext& ctx) {
  const Samples samples(ctx.input(0));
  std::optional<Trees> own;
  const Trees& trees = prepared_or(ctx, own);
  const int64_t classes = trees.targets();
  const Tensor& labels = trees.labels();
  Tensor dropped_labels(labels.dtype(), {ctx.wants_output(0) ? 0 : samples.rows});
  Tensor& y = ctx.wants_output(0) ? ctx.output(0, labels.dtype(), {samples.rows}) : dropped_labels;
  float* z = nullptr;
  if (ctx.wants_output(1)) {
    z = ctx.output(1, DType::kFloat32, {samples.rows, classes}).data<float>();
  }
  for_rows(ctx, trees, samples, [&](int64_t row, std::span<double> scores, const uint8_t* has) {
    write_label(labels, classify(trees, scores, has), y, row);
    if (z != nullptr) convert_all(scores.data(), z + row * classes, classes);
  });
}

}  // namespace hugot::classic
