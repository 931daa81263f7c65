#include "pipelines/answer_spans.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "base/error.h"

namespace hugot {
namespace {

// Where spans have equal scores (all those that do not count have 0) the reference lists what two
// functions of numpy 1.26 happen to leave in front: argpartition and argsort. The two classes below
// give the same permutations.

// Positions of keys, partially ordered by introselect (D. Musser, 1997) with the median of three.
class Partition {
 public:
  explicit Partition(std::span<const double> keys) : keys_(keys), order_(keys.size()) {
    std::iota(order_.begin(), order_.end(), size_t{0});
  }

  // The first `kth` positions are those of the smallest keys. REQUIRES: 0 < kth < keys.size()
  std::vector<size_t> first(size_t kth) {
    const size_t last = keys_.size() - 1;
    if (kth < 3) {
      select_smallest(kth + 1);
    } else if (kth == last) {
      size_t most = 0;
      for (size_t i = 1; i <= last; ++i) {
        if (key(i) >= key(most)) most = i;
      }
      swap(kth, most);
    } else {
      select(kth, last);
    }
    order_.resize(kth);
    return std::move(order_);
  }

 private:
  double key(size_t i) const { return keys_[order_[i]]; }
  void swap(size_t i, size_t k) { std::swap(order_[i], order_[k]); }
  void swap_unless_ordered(size_t less, size_t more) {
    if (key(more) < key(less)) swap(less, more);
  }

  void select_smallest(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      size_t least = i;
      for (size_t k = i + 1; k < order_.size(); ++k) {
        if (key(k) < key(least)) least = k;
      }
      swap(i, least);
    }
  }

  void select(size_t kth, size_t high) {
    size_t low = 0;
    // Where the medians are of no use, which takes scores that were made for it, any order does.
    size_t steps = 2 * static_cast<size_t>(std::log2(static_cast<double>(order_.size())));
    for (; low + 1 < high; --steps) {
      if (steps == 0) {
        std::stable_sort(order_.begin() + static_cast<ptrdiff_t>(low),
                         order_.begin() + static_cast<ptrdiff_t>(high + 1),
                         [&](size_t a, size_t b) { return keys_[a] < keys_[b]; });
        return;
      }
      const auto [left, right] = partition(low, high);
      if (right >= kth) high = right - 1;
      if (right <= kth) low = left;
    }
    if (high == low + 1) swap_unless_ordered(low, high);
  }

  // The median of three comes between the smaller and the greater keys. Returns where the greater
  // ones begin and where the median is.
  std::pair<size_t, size_t> partition(size_t low, size_t high) {
    const size_t middle = low + (high - low) / 2;
    swap_unless_ordered(middle, high);
    swap_unless_ordered(low, high);
    swap_unless_ordered(middle, low);
    swap(middle, low + 1);
    const double pivot = key(low);
    size_t left = low + 1, right = high;
    for (;;) {
      do ++left;
      while (key(left) < pivot);
      do --right;
      while (pivot < key(right));
      if (right < left) break;
      swap(left, right);
    }
    swap(low, right);
    return {left, right};
  }

  std::span<const double> keys_;
  std::vector<size_t> order_;
};

// Sorts positions of keys: up to 64 by a bitonic network (K. Batcher, 1968) that begins each merge
// with a reversal and swaps no equal keys, which is how processors with AVX-512 do it; more of them
// stably.
void sort_positions(std::span<const double> keys, std::vector<size_t>& positions) {
  constexpr size_t kNetwork = 64;
  const size_t count = positions.size();
  if (count > kNetwork) {
    std::stable_sort(positions.begin(), positions.end(),
                     [&](size_t a, size_t b) { return keys[a] < keys[b]; });
    return;
  }
  size_t size = 8;
  while (size < count) size *= 2;
  std::vector<std::pair<double, size_t>> lanes(size, {std::numeric_limits<double>::infinity(), 0});
  for (size_t i = 0; i < count; ++i) lanes[i] = {keys[positions[i]], positions[i]};
  const auto exchange = [&](size_t i, size_t k) {
    if (i < k && lanes[k].first < lanes[i].first) std::swap(lanes[i], lanes[k]);
  };
  for (size_t block = 2; block <= size; block *= 2) {
    for (size_t i = 0; i < size; ++i) exchange(i, i ^ (block - 1));
    for (size_t distance = block / 4; distance > 0; distance /= 2) {
      for (size_t i = 0; i < size; ++i) exchange(i, i ^ distance);
    }
  }
  for (size_t i = 0; i < count; ++i) positions[i] = lanes[i].second;
}

// Softmax over what is allowed. What is not keeps a logit that is hopeless but finite, so that
// windows without anything allowed have scores, too.
std::vector<double> masked_softmax(std::span<const float> logits, size_t column,
                                   std::span<const uint8_t> allowed) {
  constexpr double kMasked = -10000;
  std::vector<double> out(allowed.size());
  double most = -std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < out.size(); ++i) {
    const float logit = logits[2 * i + column];
    require(std::isfinite(logit), ErrorCode::kInvalidData,
            "the model's output has infinite or undefined numbers");
    out[i] = allowed[i] != 0 ? double{logit} : kMasked;
    most = std::max(most, out[i]);
  }
  double sum = 0;
  for (double& x : out) sum += x = std::exp(x - most);
  for (double& x : out) x /= sum;
  return out;
}

}  // namespace

AnswerScores answer_scores(std::span<const float> logits, std::span<const uint8_t> allowed) {
  AnswerScores out{masked_softmax(logits, 0, allowed), masked_softmax(logits, 1, allowed)};
  if (allowed.empty()) return out;
  out.impossible = out.starts[0] * out.ends[0];
  out.starts[0] = out.ends[0] = 0;
  return out;
}

std::vector<AnswerSpan> best_spans(const AnswerScores& scores, std::span<const uint8_t> allowed,
                                   size_t top_k, size_t max_length) {
  const size_t tokens = allowed.size();
  std::vector<AnswerSpan> spans;
  for (size_t first = 0; first < tokens; ++first) {
    if (scores.starts[first] == 0) continue;
    const size_t end = std::min(tokens, first + std::min(max_length, tokens));
    for (size_t last = first; last < end; ++last) {
      const double score = scores.starts[first] * scores.ends[last];
      if (score > 0) spans.push_back({first, last, score});
    }
  }
  if (spans.size() >= top_k) {
    const auto better = [](const AnswerSpan& a, const AnswerSpan& b) {
      if (a.score != b.score) return a.score > b.score;
      return a.first != b.first ? a.first < b.first : a.last < b.last;
    };
    const auto end = spans.begin() + static_cast<ptrdiff_t>(top_k);
    std::partial_sort(spans.begin(), end, spans.end(), better);
    spans.resize(top_k);
  } else if (tokens > 0) {
    // Too few: the rest has score 0, of all pairs of tokens.
    std::vector<double> keys(tokens * tokens);
    for (const AnswerSpan& span : spans) keys[span.first * tokens + span.last] = -span.score;
    std::vector<size_t> order;
    if (top_k == 1) {
      order = {0};
    } else if (top_k < keys.size()) {
      order = Partition(keys).first(top_k);
      sort_positions(keys, order);
    } else {
      order.resize(keys.size());
      std::iota(order.begin(), order.end(), size_t{0});
      sort_positions(keys, order);
    }
    spans.clear();
    for (const size_t i : order) spans.push_back({i / tokens, i % tokens, -keys[i]});
  }
  // Token 0 counts as allowed in the reference.
  std::erase_if(spans, [&](const AnswerSpan& span) {
    return (span.first != 0 && allowed[span.first] == 0) ||
           (span.last != 0 && allowed[span.last] == 0);
  });
  return spans;
}

}  // namespace hugot
