// Kernel of TfIdfVectorizer.
#include <algorithm>
#include <limits>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "kernels/prepared.h"
#include "kernels/text/text.h"

namespace hugot::text {
namespace {

// The n-grams of the pool that count, as a trie over numbered items.
class Pool : public Prepared {
 public:
  explicit Pool(const Node& node)
      : min_length(node.at<int64_t>("min_gram_length")),
        max_length(node.at<int64_t>("max_gram_length")),
        max_skip(node.at<int64_t>("max_skip_count")),
        row_length(tf_idf_length(node)),
        places_(node.at<std::vector<int64_t>>("ngram_indexes")) {
    require(min_length >= 1 && max_length >= min_length && max_skip >= 0, ErrorCode::kInvalidData,
            "n-grams of ", min_length, " to ", max_length, " items that skip up to ", max_skip);
    const bool strings = node.has("pool_strings");
    require(strings != node.has("pool_int64s"), ErrorCode::kInvalidData,
            "exactly one of pool_strings and pool_int64s is needed");
    if (strings) {
      is_text_ = true;
      build(node, node.at<std::vector<std::string>>("pool_strings"), texts_);
    } else {
      build(node, node.at<std::vector<int64_t>>("pool_int64s"), integers_);
    }
    const auto mode = node.at<std::string>("mode");
    require(mode == "TF" || mode == "IDF" || mode == "TFIDF", ErrorCode::kInvalidData, "mode ",
            mode, " is not TF, IDF or TFIDF");
    once_ = mode == "IDF";
    const auto weights = node.get<std::vector<float>>("weights", {});
    require(weights.empty() || weights.size() == places_.size(), ErrorCode::kInvalidData,
            weights.size(), " weights for ", places_.size(), " n-grams");
    if (mode == "TF" || weights.empty()) return;
    weights_.assign(static_cast<size_t>(row_length), 1.0f);
    for (size_t i = 0; i < weights.size(); ++i) {
      weights_[static_cast<size_t>(places_[i])] = weights[i];
    }
  }

  size_t bytes() const override {
    return (children_.size() + nodes_.size() + places_.size()) * 2 * sizeof(int64_t);
  }

  static constexpr int32_t kUnknown = -1;

  int32_t number(const std::string& item) const { return find(texts_, item); }
  int32_t number(int64_t item) const { return find(integers_, item); }
  bool is_text() const { return is_text_; }

  // Adds up the n-grams of `items` in row[0..row_length).
  void count(const std::vector<int32_t>& items, float* row) const {
    const auto n = static_cast<int64_t>(items.size());
    int64_t shortest = min_length;
    for (int64_t step = 1; step <= std::min(max_skip, n) + 1 && shortest <= max_length; ++step) {
      for (int64_t begin = 0; begin < n; ++begin) {
        if (shortest > 1 && (n - 1 - begin) / step < shortest - 1) break;
        int32_t node = 0;
        int64_t length = 1;
        for (int64_t i = begin; i < n && length <= max_length; i += step, ++length) {
          node = child(node, items[static_cast<size_t>(i)]);
          if (node < 0) break;
          const int64_t place = nodes_[static_cast<size_t>(node)];
          if (length >= shortest && place >= 0) row[place] += 1;
        }
      }
      // Skipping makes no difference to single items.
      if (shortest == 1) ++shortest;
    }
    for (int64_t i = 0; i < row_length; ++i) {
      if (once_) row[i] = std::min(row[i], 1.0f);
      if (!weights_.empty()) row[i] *= weights_[static_cast<size_t>(i)];
    }
  }

  const int64_t min_length, max_length, max_skip, row_length;

 private:
  template <class T>
  using Numbers = std::unordered_map<T, int32_t>;

  template <class T>
  static int32_t find(const Numbers<T>& numbers, const T& item) {
    const auto entry = numbers.find(item);
    return entry == numbers.end() ? kUnknown : entry->second;
  }

  static uint64_t edge(int32_t node, int32_t item) {
    return uint64_t{static_cast<uint32_t>(node)} << 32 | static_cast<uint32_t>(item);
  }
  int32_t child(int32_t node, int32_t item) const {
    if (item == kUnknown) return -1;
    const auto entry = children_.find(edge(node, item));
    return entry == children_.end() ? -1 : entry->second;
  }

  // ngram_counts[k] is where the n-grams of k + 1 items begin.
  template <class T>
  void build(const Node& node, const std::vector<T>& pool, Numbers<T>& numbers) {
    const auto& starts = node.at<std::vector<int64_t>>("ngram_counts");
    require(pool.size() < size_t{1} << 30, ErrorCode::kUnsupported, "the pool is too large");
    nodes_.push_back(-1);
    size_t ngram = 0;
    for (size_t k = 0; k < starts.size(); ++k) {
      const auto total = static_cast<int64_t>(pool.size());
      const int64_t begin = starts[k], end = k + 1 < starts.size() ? starts[k + 1] : total;
      const auto length = static_cast<int64_t>(k) + 1;
      require(begin >= 0 && begin <= end && end <= total && (end - begin) % length == 0,
              ErrorCode::kInvalidData, "n-grams of ", length, " items from ", begin, " to ", end,
              " of a pool of ", total);
      for (int64_t at = begin; at < end; at += length, ++ngram) {
        require(ngram < places_.size(), ErrorCode::kInvalidData, "there are more n-grams than ",
                places_.size(), " indexes");
        if (length < min_length || length > max_length) continue;
        int32_t here = 0;
        for (int64_t i = at; i < at + length; ++i) {
          const auto [item, is_new] = numbers.try_emplace(pool[static_cast<size_t>(i)],
                                                          static_cast<int32_t>(numbers.size()));
          const auto [entry, added] =
              children_.try_emplace(edge(here, item->second), static_cast<int32_t>(nodes_.size()));
          if (added) nodes_.push_back(-1);
          here = entry->second;
        }
        nodes_[static_cast<size_t>(here)] = places_[ngram];
      }
    }
  }

  std::vector<int64_t> places_;  // in the row, of each n-gram
  bool is_text_ = false;
  Numbers<std::string> texts_;
  Numbers<int64_t> integers_;
  std::unordered_map<uint64_t, int32_t> children_;
  std::vector<int64_t> nodes_;  // place in the row of the n-gram that ends there, or -1
  bool once_ = false;
  std::vector<float> weights_;  // by place in the row; empty: all 1
};

std::vector<int32_t> numbered(const Pool& pool, const Tensor& in, int64_t begin, int64_t count) {
  std::vector<int32_t> items(static_cast<size_t>(count));
  const auto number_all = [&](const auto* from) {
    std::transform(from, from + count, items.begin(),
                   [&](const auto& item) { return pool.number(item); });
  };
  switch (in.dtype()) {
    case DType::kString:
      number_all(in.data<std::string>() + begin);
      break;
    case DType::kInt32:
      number_all(in.data<int32_t>() + begin);
      break;
    default:
      number_all(in.data<int64_t>() + begin);
      break;
  }
  return items;
}

}  // namespace

int64_t tf_idf_length(const Node& node) {
  const auto& indexes = node.at<std::vector<int64_t>>("ngram_indexes");
  require(!indexes.empty() && *std::min_element(indexes.begin(), indexes.end()) >= 0,
          ErrorCode::kInvalidData, "ngram_indexes have to be places in a row");
  const int64_t last = *std::max_element(indexes.begin(), indexes.end());
  require(last < std::numeric_limits<int32_t>::max(), ErrorCode::kUnsupported, "rows of ", last,
          " n-grams are too long");
  return last + 1;
}

std::shared_ptr<const Prepared> prepare_tf_idf(const Node& node,
                                               std::span<const Tensor* const> constants,
                                               BlockStore& store) {
  return prepare_from_node<Pool>(node, constants, store);
}

void tf_idf(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  std::optional<Pool> own;
  const Pool& pool = prepared_or(ctx, own);
  const bool text = in.dtype() == DType::kString;
  require(text == pool.is_text() &&
              (text || in.dtype() == DType::kInt32 || in.dtype() == DType::kInt64),
          ErrorCode::kInvalidArgument, "the pool holds no items like those of ", describe(in));
  require(in.rank() <= 2, ErrorCode::kInvalidArgument, "the input has to be one row or rows, not ",
          describe(in));
  const int64_t rows = in.rank() == 2 ? in.shape()[0] : 1;
  const int64_t length = in.rank() == 0 ? 1 : in.shape().back();
  const Shape shape = in.rank() == 2 ? Shape{rows, pool.row_length} : Shape{pool.row_length};
  float* y = ctx.output(0, DType::kFloat32, shape).data<float>();
  std::fill_n(y, shape.size(), 0.0f);
  parallel_for(ctx.pool(), rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      pool.count(numbered(pool, in, row * length, length), y + row * pool.row_length);
    }
  });
}

}  // namespace hugot::text
