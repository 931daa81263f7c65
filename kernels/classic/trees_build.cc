// From the attributes of a node to trees, with every statement checked.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "kernels/classic/classic.h"
#include "kernels/classic/trees.h"
#include "kernels/convert.h"
#include "kernels/dispatch.h"

namespace hugot::classic {
namespace {

constexpr int64_t kMaxCount = int64_t{1} << 30;  // nodes, votes, targets, features

using Ints = std::vector<int64_t>;

Ints integers(const Node& node, const char* name) { return node.get<Ints>(name, {}); }

// A list of floats, or a tensor of float32 or float64 under the name with `_as_tensor`.
std::vector<double> numbers(const Node& node, const std::string& name) {
  const auto from_tensor = [&](const Tensor& tensor) {
    std::vector<double> values(static_cast<size_t>(tensor.size()));
    dispatch(JoinTypes<FloatTypes, Types<uint8_t>>{}, tensor.dtype(),
             [&]<class T>() { convert_all(tensor.data<T>(), values.data(), tensor.size()); });
    return values;
  };
  if (node.has(name + "_as_tensor")) return from_tensor(node.at<Tensor>(name + "_as_tensor"));
  if (!node.has(name)) return {};
  if (const auto* tensor = std::get_if<Tensor>(&node.attributes.find(name)->second)) {
    return from_tensor(*tensor);
  }
  const auto& list = node.at<std::vector<float>>(name);
  return {list.begin(), list.end()};
}

template <class List>
void require_length(const List& list, size_t length, std::string_view name) {
  require(list.size() == length, ErrorCode::kInvalidData, "attribute ", name, " has ", list.size(),
          " entries instead of ", length);
}

Compare compare_named(const std::string& name) {
  constexpr std::string_view kNames[] = {"BRANCH_LEQ", "BRANCH_LT",  "BRANCH_GTE",    "BRANCH_GT",
                                         "BRANCH_EQ",  "BRANCH_NEQ", "BRANCH_MEMBER", "LEAF"};
  const auto* found = std::find(std::begin(kNames), std::end(kNames), name);
  require(found != std::end(kNames) && name != "BRANCH_MEMBER", ErrorCode::kInvalidData,
          "there is no node mode ", name);
  return static_cast<Compare>(found - std::begin(kNames));
}

// An index into something of `count` entries.
int32_t index_in(int64_t index, size_t count, std::string_view what) {
  require(index >= 0 && static_cast<size_t>(index) < count, ErrorCode::kInvalidData, what, " ",
          index, " is outside of ", count);
  return static_cast<int32_t>(index);
}

}  // namespace

int64_t tree_targets(const Node& node) {
  int64_t targets = 1;
  if (node.has("n_targets")) {
    targets = node.at<int64_t>("n_targets");
  } else {
    const char* name = node.op->name == "TreeEnsemble" ? "leaf_targetids" : "target_ids";
    for (const int64_t id : integers(node, name)) targets = std::max(targets, id + 1);
  }
  require(targets > 0 && targets < kMaxCount, ErrorCode::kInvalidData, targets, " targets");
  return targets;
}

std::shared_ptr<const Prepared> prepare_trees(const Node& node, std::span<const Tensor* const>,
                                              BlockStore&) {
  return std::make_shared<Trees>(node);
}

// Nodes as the file has them, with children as places in `nodes`.
class Trees::Builder {
 public:
  explicit Builder(Trees& trees) : trees_(trees) {}

  struct Source {
    Compare compare = Compare::kLeaf;
    double split = 0;
    int64_t feature = 0;
    bool missing_true = false;
    int32_t members = 0;
    int32_t yes = 0, no = 0;  // children; of a leaf nothing
    std::vector<Vote> votes;  // of a leaf
  };
  std::vector<Source> nodes;

  // Version 1 and 3: nodes and leaves in one list, known by the numbers of tree and node.
  void read_by_id(const Node& node, const char* prefix, const char* ids);
  // Version 5: branches and leaves in lists of their own, known by place.
  void read_by_place(const Node& node);
  // Lays the trees out from these roots. Throws kInvalidData for a node that is reached twice, or
  // not at all.
  void lay_out(const std::vector<int32_t>& roots);

  std::vector<int32_t> roots;

 private:
  void place(int32_t root, std::vector<bool>& seen);

  Trees& trees_;
};

void Trees::Builder::read_by_id(const Node& node, const char* prefix, const char* ids) {
  const Ints tree_ids = integers(node, "nodes_treeids"), node_ids = integers(node, "nodes_nodeids");
  const Ints feature_ids = integers(node, "nodes_featureids");
  const Ints yes = integers(node, "nodes_truenodeids"), no = integers(node, "nodes_falsenodeids");
  const Ints missing = integers(node, "nodes_missing_value_tracks_true");
  const auto modes = node.get<std::vector<std::string>>("nodes_modes", {});
  const std::vector<double> splits = numbers(node, "nodes_values");
  const size_t count = modes.size();
  require(count > 0 && count < static_cast<size_t>(kMaxCount), ErrorCode::kInvalidData,
          "an ensemble of ", count, " nodes");
  require_length(tree_ids, count, "nodes_treeids");
  require_length(node_ids, count, "nodes_nodeids");
  require_length(feature_ids, count, "nodes_featureids");
  require_length(yes, count, "nodes_truenodeids");
  require_length(no, count, "nodes_falsenodeids");
  require_length(splits, count, "nodes_values");
  if (!missing.empty()) require_length(missing, count, "nodes_missing_value_tracks_true");

  std::map<std::pair<int64_t, int64_t>, int32_t> places;
  for (size_t i = 0; i < count; ++i) {
    require(places.emplace(std::pair(tree_ids[i], node_ids[i]), static_cast<int32_t>(i)).second,
            ErrorCode::kInvalidData, "tree ", tree_ids[i], " has two nodes ", node_ids[i]);
  }
  const auto find = [&](int64_t tree, int64_t id) {
    const auto found = places.find({tree, id});
    require(found != places.end(), ErrorCode::kInvalidData, "tree ", tree, " has no node ", id);
    return found->second;
  };
  nodes.resize(count);
  std::vector<bool> is_child(count, false);
  for (size_t i = 0; i < count; ++i) {
    Source& to = nodes[i];
    to.compare = compare_named(modes[i]);
    if (to.compare == Compare::kLeaf) continue;
    to.split = splits[i];
    to.feature = feature_ids[i];
    to.missing_true = !missing.empty() && missing[i] != 0;
    to.yes = find(tree_ids[i], yes[i]);
    to.no = find(tree_ids[i], no[i]);
    is_child[static_cast<size_t>(to.yes)] = is_child[static_cast<size_t>(to.no)] = true;
  }
  for (size_t i = 0; i < count; ++i) {
    if (!is_child[i]) roots.push_back(static_cast<int32_t>(i));
  }

  const std::string name = prefix;
  const Ints vote_trees = integers(node, (name + "_treeids").c_str());
  const Ints vote_nodes = integers(node, (name + "_nodeids").c_str());
  const Ints vote_targets = integers(node, ids);
  const std::vector<double> weights = numbers(node, name + "_weights");
  require_length(vote_nodes, vote_trees.size(), name + "_nodeids");
  require_length(vote_targets, vote_trees.size(), ids);
  require_length(weights, vote_trees.size(), name + "_weights");
  for (size_t i = 0; i < vote_trees.size(); ++i) {
    Source& leaf = nodes[static_cast<size_t>(find(vote_trees[i], vote_nodes[i]))];
    require(leaf.compare == Compare::kLeaf, ErrorCode::kInvalidData, "node ", vote_nodes[i],
            " of tree ", vote_trees[i], " has weights and is no leaf");
    const auto targets = static_cast<size_t>(trees_.targets_);
    leaf.votes.push_back({index_in(vote_targets[i], targets, "target"), weights[i]});
  }
}

void Trees::Builder::read_by_place(const Node& node) {
  const Ints feature_ids = integers(node, "nodes_featureids");
  const Ints yes = integers(node, "nodes_truenodeids"), no = integers(node, "nodes_falsenodeids");
  const Ints yes_leaf = integers(node, "nodes_trueleafs");
  const Ints no_leaf = integers(node, "nodes_falseleafs");
  const Ints missing = integers(node, "nodes_missing_value_tracks_true");
  const std::vector<double> modes = numbers(node, "nodes_modes");
  const std::vector<double> splits = numbers(node, "nodes_splits");
  const size_t branches = modes.size();
  require(branches > 0 && branches < static_cast<size_t>(kMaxCount), ErrorCode::kInvalidData,
          "an ensemble of ", branches, " nodes");
  require_length(feature_ids, branches, "nodes_featureids");
  require_length(yes, branches, "nodes_truenodeids");
  require_length(no, branches, "nodes_falsenodeids");
  require_length(yes_leaf, branches, "nodes_trueleafs");
  require_length(no_leaf, branches, "nodes_falseleafs");
  require_length(splits, branches, "nodes_splits");
  if (!missing.empty()) require_length(missing, branches, "nodes_missing_value_tracks_true");
  const Ints targets = integers(node, "leaf_targetids");
  const std::vector<double> weights = numbers(node, "leaf_weights");
  require_length(weights, targets.size(), "leaf_weights");

  // The sets of members, each behind a NaN but the first.
  const std::vector<double> values = numbers(node, "membership_values");
  auto value = values.begin();
  const auto next_set = [&] {
    std::vector<double> set;
    for (; value != values.end() && !std::isnan(*value); ++value) set.push_back(*value);
    if (value != values.end()) ++value;
    require(!set.empty(), ErrorCode::kInvalidData, "a node tests for membership in no set");
    std::sort(set.begin(), set.end());
    trees_.members_.push_back(std::move(set));
    return static_cast<int32_t>(trees_.members_.size() - 1);
  };

  nodes.resize(branches);
  for (size_t i = 0; i < branches; ++i) {
    const double mode = modes[i];
    require(mode >= 0 && mode <= static_cast<double>(Compare::kMember), ErrorCode::kInvalidData,
            "there is no node mode ", mode);
    // A leaf may end several branches; it has few votes, so each gets a copy.
    const auto child = [&](int64_t id, bool leaf) {
      if (!leaf) return index_in(id, branches, "node");
      const auto k = static_cast<size_t>(index_in(id, targets.size(), "leaf"));
      Source& copy = nodes.emplace_back();
      copy.votes.push_back(
          {index_in(targets[k], static_cast<size_t>(trees_.targets_), "target"), weights[k]});
      return static_cast<int32_t>(nodes.size() - 1);
    };
    const int32_t yes_child = child(yes[i], yes_leaf[i] != 0);
    const int32_t no_child = child(no[i], no_leaf[i] != 0);
    Source& to = nodes[i];
    to.compare = static_cast<Compare>(static_cast<int>(mode));
    to.split = splits[i];
    to.feature = feature_ids[i];
    to.missing_true = !missing.empty() && missing[i] != 0;
    to.yes = yes_child;
    to.no = no_child;
    if (to.compare == Compare::kMember) to.members = next_set();
  }
  for (const int64_t root : node.at<Ints>("tree_roots")) {
    roots.push_back(index_in(root, branches, "root"));
  }
}

// Depth first, true branches first, without recursion: a tree may be as deep as it has nodes.
void Trees::Builder::place(int32_t root, std::vector<bool>& seen) {
  constexpr int32_t kNoParent = -1;
  std::vector<std::pair<int32_t, int32_t>> pending = {{root, kNoParent}};  // with false parent
  while (!pending.empty()) {
    const auto [id, parent] = pending.back();
    pending.pop_back();
    require(!seen[static_cast<size_t>(id)], ErrorCode::kInvalidData, "node number ", id,
            " is reached twice");
    seen[static_cast<size_t>(id)] = true;
    const Source& from = nodes[static_cast<size_t>(id)];
    const auto here = static_cast<int32_t>(trees_.nodes_.size());
    if (parent != kNoParent) trees_.nodes_[static_cast<size_t>(parent)].other = here;
    TreeNode to{};
    to.compare = from.compare;
    if (from.compare == Compare::kLeaf) {
      to.feature = static_cast<int32_t>(trees_.votes_.size());
      trees_.votes_.insert(trees_.votes_.end(), from.votes.begin(), from.votes.end());
      to.other = static_cast<int32_t>(trees_.votes_.size());
    } else {
      require(from.feature >= 0 && from.feature < kMaxCount, ErrorCode::kInvalidData,
              "there is no feature ", from.feature);
      trees_.features_ = std::max(trees_.features_, from.feature + 1);
      to.split = from.split;
      to.feature = static_cast<int32_t>(from.feature);
      to.missing_true = from.missing_true ? 1 : 0;
      to.members = from.members;
      trees_.only_less_equal_ = trees_.only_less_equal_ && from.compare == Compare::kLessEqual;
      pending.emplace_back(from.no, here);
      pending.emplace_back(from.yes, kNoParent);
    }
    trees_.nodes_.push_back(to);
  }
}

void Trees::Builder::lay_out(const std::vector<int32_t>& roots_of_trees) {
  std::vector<bool> seen(nodes.size(), false);
  trees_.nodes_.reserve(nodes.size());
  for (const int32_t root : roots_of_trees) {
    trees_.roots_.push_back(static_cast<int32_t>(trees_.nodes_.size()));
    place(root, seen);
  }
  require(trees_.nodes_.size() == nodes.size(), ErrorCode::kInvalidData,
          nodes.size() - trees_.nodes_.size(), " nodes are reached from no root");
}

Trees::Trees(const Node& node) {
  Builder builder(*this);
  if (node.op->name == "TreeEnsemble") {
    targets_ = tree_targets(node);
    const auto aggregate = node.get<int64_t>("aggregate_function", 1);
    require(aggregate >= 0 && aggregate <= 3, ErrorCode::kInvalidData,
            "there is no aggregate function ", aggregate);
    aggregate_ = static_cast<Aggregate>(aggregate);
    transform_ = transform_numbered(node.get<int64_t>("post_transform", 0));
    builder.read_by_place(node);
    builder.lay_out(builder.roots);
    return;
  }
  transform_ = transform_of(node);
  base_values_ = numbers(node, "base_values");
  if (node.op->name == "TreeEnsembleRegressor") {
    targets_ = tree_targets(node);
    const std::string name = node.get<std::string>("aggregate_function", "SUM");
    constexpr std::string_view kNames[] = {"AVERAGE", "SUM", "MIN", "MAX"};
    const auto* found = std::find(std::begin(kNames), std::end(kNames), name);
    require(found != std::end(kNames), ErrorCode::kInvalidData, "there is no aggregate function ",
            name);
    aggregate_ = static_cast<Aggregate>(found - std::begin(kNames));
    require(base_values_.empty() || static_cast<int64_t>(base_values_.size()) == targets_,
            ErrorCode::kInvalidData, base_values_.size(), " base values for ", targets_,
            " targets");
    builder.read_by_id(node, "target", "target_ids");
  } else {
    labels_ = class_labels(node, "classlabels_strings", "classlabels_int64s");
    targets_ = labels_.size();
    require(targets_ > 0, ErrorCode::kInvalidData, "a classifier without labels");
    // Two classes may have one base value, for the score that they share.
    const auto given = static_cast<int64_t>(base_values_.size());
    require(given == 0 || given == targets_ || (given == 1 && targets_ == 2),
            ErrorCode::kInvalidData, given, " base values for ", targets_, " classes");
    builder.read_by_id(node, "class", "class_ids");
    const Ints ids = integers(node, "class_ids");
    const bool one = !ids.empty() && std::count(ids.begin(), ids.end(), ids.front()) ==
                                         static_cast<std::ptrdiff_t>(ids.size());
    // Base values for both make two scores of them.
    if (targets_ == 2 && one && given != 2) {
      voted_ = static_cast<size_t>(ids.front());
      const std::vector<double> weights = numbers(node, "class_weights");
      const bool positive =
          std::all_of(weights.begin(), weights.end(), [](double w) { return w >= 0; });
      binary_ = positive ? Binary::kAboveHalf : Binary::kAboveZero;
    }
  }
  builder.lay_out(builder.roots);
}

}  // namespace hugot::classic
