#include "tokenizer/unigram_seeds.h"

#include <algorithm>
#include <limits>
#include <unordered_map>

#include "base/error.h"
#include "base/thread_pool.h"
#include "base/utf8.h"

namespace hugot {
namespace {

constexpr char32_t kEnd = 0;  // behind each word

// A substring: `length` characters at `position` of the text of all words.
struct Substring {
  uint64_t weight;
  uint32_t position;
  uint32_t length;
};

// The sorted suffixes of all words. Order and common prefixes are those of the first `depth`
// characters up to the end of the word: longer substrings are of no use here, and so the time stays
// near linear, whatever the text.
class SuffixArray {
 public:
  SuffixArray(const std::u32string& text, size_t depth, ThreadPool* pool)
      : text_(text), depth_(depth), order_(text.size()) {
    for (size_t i = 0; i < order_.size(); ++i) order_[i] = static_cast<uint32_t>(i);
    sort(pool);
  }

  // Calls use(position, length, count) for the substrings of 2 to depth - 1 characters without kEnd
  // that come twice or more and are not always followed by the same character.
  template <class Use>
  void each_repeated(const Use& use) const {
    struct Open {
      uint32_t length;
      size_t begin;
    };
    std::vector<Open> open;  // intervals of suffixes with a common prefix, each within the previous
    for (size_t i = 1; i <= order_.size(); ++i) {
      const uint32_t common = i < order_.size() ? common_prefix(order_[i - 1], order_[i]) : 0;
      size_t begin = i - 1;
      while (!open.empty() && open.back().length > common) {
        begin = open.back().begin;
        const uint32_t length = open.back().length;
        const uint32_t position = order_[begin];
        if (length > 1 && length < depth_ && text_[position + length - 1] != kEnd) {
          use(position, length, i - begin);
        }
        open.pop_back();
      }
      if (common > 0 && (open.empty() || open.back().length < common)) {
        open.push_back({common, begin});
      }
    }
  }

 private:
  bool less(uint32_t a, uint32_t b) const {
    if (a == b) return false;
    for (size_t i = 0; i < depth_; ++i) {
      const char32_t x = text_[a + i];
      const char32_t y = text_[b + i];
      if (x != y) return x < y;
      if (x == kEnd) break;
    }
    return a < b;
  }

  uint32_t common_prefix(uint32_t a, uint32_t b) const {
    uint32_t length = 0;
    while (length < depth_ && text_[a + length] == text_[b + length]) {
      if (text_[a + length++] == kEnd) break;
    }
    return length;
  }

  // Sorts parts side by side and merges them; the order is total, so the parts do not show.
  void sort(ThreadPool* pool) {
    const auto compare = [this](uint32_t a, uint32_t b) { return less(a, b); };
    constexpr size_t kParts = 8;
    std::vector<size_t> borders;
    for (size_t i = 0; i <= kParts; ++i) borders.push_back(order_.size() * i / kParts);
    const auto at = [&](size_t part) {
      return order_.begin() + static_cast<ptrdiff_t>(borders[part]);
    };
    parallel_for(pool, kParts, 1, [&](int64_t begin, int64_t end) {
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
        std::sort(at(i), at(i + 1), compare);
      }
    });
    for (size_t step = 1; step < kParts; step *= 2) {
      const auto pairs = static_cast<int64_t>(kParts / (2 * step));
      parallel_for(pool, pairs, 1, [&](int64_t begin, int64_t end) {
        for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
          const size_t part = 2 * step * i;
          std::inplace_merge(at(part), at(part + step), at(part + 2 * step), compare);
        }
      });
    }
  }

  const std::u32string& text_;
  size_t depth_;
  std::vector<uint32_t> order_;
};

}  // namespace

std::vector<UnigramSeed> unigram_seeds(std::span<const CountedWord> words,
                                       const UnigramTrainOptions& options,
                                       const TrainControl& control) {
  std::u32string text;
  std::unordered_map<char32_t, uint64_t> characters;
  for (const CountedWord& word : words) {
    if (word.text.empty()) continue;
    for (size_t pos = 0; pos < word.text.size();) {
      const char32_t c = decode_utf8(word.text, pos);
      text += c;
      if (c != kEnd) characters[c] += word.count;
    }
    text += kEnd;
  }
  require(text.size() < std::numeric_limits<uint32_t>::max(), ErrorCode::kUnsupported,
          "the distinct words have more than 2^32 characters");
  control.check();

  std::vector<UnigramSeed> out;
  std::vector<std::pair<uint64_t, char32_t>> alphabet;
  for (const auto& [c, count] : characters) alphabet.emplace_back(count, c);
  std::sort(alphabet.rbegin(), alphabet.rend());
  for (const auto& [count, c] : alphabet) {
    out.push_back({{}, static_cast<double>(count)});
    append_utf8(out.back().text, c);
  }

  std::vector<Substring> found;
  const SuffixArray suffixes(text, options.max_piece_length + 1, control.pool);
  control.check();
  suffixes.each_repeated([&](uint32_t position, uint32_t length, size_t count) {
    found.push_back({count * length, position, length});
  });
  const size_t room =
      options.seed_size > out.size() ? std::min(options.seed_size - out.size(), found.size()) : 0;
  const auto better = [&](const Substring& a, const Substring& b) {
    if (a.weight != b.weight) return a.weight > b.weight;
    return std::u32string_view(text).substr(a.position, a.length) >
           std::u32string_view(text).substr(b.position, b.length);
  };
  std::partial_sort(found.begin(), found.begin() + static_cast<ptrdiff_t>(room), found.end(),
                    better);
  found.resize(room);
  for (const Substring& substring : found) {
    out.push_back({{}, static_cast<double>(substring.weight)});
    for (uint32_t i = 0; i < substring.length; ++i) {
      append_utf8(out.back().text, text[substring.position + i]);
    }
  }
  return out;
}

}  // namespace hugot
