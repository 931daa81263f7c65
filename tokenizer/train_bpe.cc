#include <algorithm>
#include <limits>
#include <unordered_map>

#include "base/error.h"
#include "base/utf8.h"
#include "tokenizer/train.h"

namespace hugot {

void TrainControl::check() const {
  require(!stop.stop_requested(), ErrorCode::kCancelled, "training was cancelled");
}

namespace {

// A token of a word and how many characters it covers.
struct Symbol {
  uint32_t id;
  uint32_t length;
};

// Where the symbols of a word lie in the one array of all words. Merges make it shorter.
struct Word {
  uint64_t begin;
  uint32_t size;
  uint64_t count;
};

using Pair = uint64_t;  // left id << 32 | right id
constexpr Pair make_pair(uint32_t left, uint32_t right) { return Pair{left} << 32 | right; }

struct PairHash {
  size_t operator()(Pair pair) const {
    pair *= 0x9E3779B97F4A7C15u;
    return pair ^ pair >> 32;
  }
};
template <class Value>
using PairMap = std::unordered_map<Pair, Value, PairHash>;

class BpeTrainer {
 public:
  BpeTrainer(std::span<const CountedWord> words, const BpeTrainOptions& options,
             const TrainControl& control)
      : options_(options), control_(control) {
    for (const std::string& token : options.special_tokens) add_token(token);
    add_alphabet(words);
    split(words);
  }

  TrainedBpe run() {
    count_pairs();
    while (out_.tokens.size() < options_.vocab_size && !queue_.empty()) {
      control_.check();
      std::pop_heap(queue_.begin(), queue_.end(), less_frequent);
      Candidate top = std::move(queue_.back());
      queue_.pop_back();
      const int64_t count = counts_[top.pair];
      if (count != top.count) {
        // Other merges took some of its occurrences since.
        top.count = count;
        push(std::move(top));
        continue;
      }
      if (count < 1 || static_cast<uint64_t>(count) < options_.min_frequency) break;
      merge(top);
      control_.report("merges", out_.tokens.size(), options_.vocab_size);
    }
    drop_repeated_merges();
    return std::move(out_);
  }

 private:
  // A pair that may become a token. One whose token came about in two ways is in the queue twice,
  // each time with the words that it was new in; this is how the reference counts.
  struct Candidate {
    int64_t count;
    Pair pair;
    std::vector<uint32_t> words;
  };
  static bool less_frequent(const Candidate& a, const Candidate& b) {
    if (a.count != b.count) return a.count < b.count;
    return a.pair != b.pair ? a.pair > b.pair : a.words.front() > b.words.front();
  }

  uint32_t add_token(const std::string& token) {
    const auto [place, added] = ids_.emplace(token, static_cast<uint32_t>(out_.tokens.size()));
    if (added) {
      require(out_.tokens.size() < std::numeric_limits<int32_t>::max(), ErrorCode::kUnsupported,
              "a vocabulary of more than 2^31 tokens");
      out_.tokens.push_back(token);
    }
    return place->second;
  }

  void add_alphabet(std::span<const CountedWord> words) {
    std::unordered_map<char32_t, uint64_t> counts;
    for (const CountedWord& word : words) {
      for (size_t pos = 0; pos < word.text.size();)
        counts[decode_utf8(word.text, pos)] += word.count;
    }
    for (const char32_t c : options_.initial_alphabet) {
      counts[c] = std::numeric_limits<uint64_t>::max();
    }
    std::vector<std::pair<char32_t, uint64_t>> kept(counts.begin(), counts.end());
    if (options_.limit_alphabet && kept.size() > *options_.limit_alphabet) {
      std::sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) {
        return a.second != b.second ? a.second > b.second : a.first < b.first;
      });
      kept.resize(*options_.limit_alphabet);
    }
    std::sort(kept.begin(), kept.end());
    for (const auto& [c, count] : kept) {
      std::string text;
      append_utf8(text, c);
      add_token(text);
    }
  }

  // The words as symbols; characters outside of the alphabet are left out.
  void split(std::span<const CountedWord> words) {
    require(words.size() < std::numeric_limits<uint32_t>::max(), ErrorCode::kUnsupported,
            "more than 2^32 words");
    const std::string& prefix = options_.continuing_subword_prefix;
    const std::string& suffix = options_.end_of_word_suffix;
    words_.reserve(words.size());
    for (const CountedWord& word : words) {
      const uint64_t begin = symbols_.size();
      for (size_t pos = 0; pos < word.text.size();) {
        const size_t first = pos;
        pos += utf8_length(word.text[pos]);
        std::string text = word.text.substr(first, pos - first);
        const auto known = ids_.find(text);
        if (known == ids_.end()) continue;
        uint32_t id = known->second;
        if ((first > 0 && !prefix.empty()) || (pos == word.text.size() && !suffix.empty())) {
          if (first > 0) text.insert(0, prefix);
          if (pos == word.text.size()) text += suffix;
          id = add_token(text);
        }
        symbols_.push_back({id, 1});
      }
      words_.push_back({begin, static_cast<uint32_t>(symbols_.size() - begin), word.count});
    }
  }

  void count_pairs() {
    for (uint32_t i = 0; i < words_.size(); ++i) {
      const Word& word = words_[i];
      const Symbol* symbols = symbols_.data() + word.begin;
      for (uint32_t at = 0; at + 1 < word.size; ++at) {
        change(make_pair(symbols[at].id, symbols[at + 1].id), 1, i);
      }
    }
    queue_fresh();
  }

  // Takes note that word `i` has a pair once more or once less.
  void change(Pair pair, int by, uint32_t i) {
    counts_[pair] += by * static_cast<int64_t>(words_[i].count);
    if (by < 0) return;
    std::vector<uint32_t>& words = fresh_[pair];
    if (words.empty() || words.back() != i) words.push_back(i);
  }

  void queue_fresh() {
    for (auto& [pair, words] : fresh_) {
      const int64_t count = counts_[pair];
      if (count > 0) push({count, pair, std::move(words)});
    }
    fresh_.clear();
  }

  void push(Candidate candidate) {
    queue_.push_back(std::move(candidate));
    std::push_heap(queue_.begin(), queue_.end(), less_frequent);
  }

  void merge(const Candidate& top) {
    const auto left = static_cast<uint32_t>(top.pair >> 32);
    const auto right = static_cast<uint32_t>(top.pair);
    std::string_view tail = out_.tokens[right];
    if (tail.starts_with(options_.continuing_subword_prefix)) {
      tail.remove_prefix(options_.continuing_subword_prefix.size());
    }
    const uint32_t id = add_token(out_.tokens[left] + std::string(tail));
    out_.merges.emplace_back(left, right);
    for (const uint32_t i : top.words) merge_in_word(i, left, right, id);
    queue_fresh();
  }

  void merge_in_word(uint32_t i, uint32_t left, uint32_t right, uint32_t id) {
    Word& word = words_[i];
    Symbol* symbols = symbols_.data() + word.begin;
    const uint64_t most = options_.max_token_length.value_or(std::numeric_limits<uint64_t>::max());
    uint32_t size = 0;  // of what is rewritten so far
    for (uint32_t at = 0; at < word.size; ++at, ++size) {
      symbols[size] = symbols[at];
      if (symbols[at].id != left || at + 1 == word.size || symbols[at + 1].id != right) continue;
      const Symbol joined{id, symbols[at].length + symbols[at + 1].length};
      const auto fits = [&](const Symbol& other) {
        return uint64_t{other.length} + joined.length < most;
      };
      if (size > 0) {
        const Symbol& previous = symbols[size - 1];
        change(make_pair(previous.id, left), -1, i);
        if (fits(previous)) change(make_pair(previous.id, id), 1, i);
      }
      symbols[size] = joined;
      ++at;
      if (at + 1 < word.size) {
        const Symbol& next = symbols[at + 1];
        change(make_pair(right, next.id), -1, i);
        if (fits(next)) change(make_pair(id, next.id), 1, i);
      }
    }
    word.size = size;
  }

  // Of equal merges the last one counts.
  void drop_repeated_merges() {
    PairMap<size_t> last;
    for (size_t i = 0; i < out_.merges.size(); ++i) {
      last[make_pair(out_.merges[i].first, out_.merges[i].second)] = i;
    }
    size_t kept = 0;
    for (size_t i = 0; i < out_.merges.size(); ++i) {
      const auto merge = out_.merges[i];
      if (last[make_pair(merge.first, merge.second)] == i) out_.merges[kept++] = merge;
    }
    out_.merges.resize(kept);
  }

  const BpeTrainOptions& options_;
  const TrainControl& control_;
  TrainedBpe out_;
  std::unordered_map<std::string, uint32_t> ids_;
  std::vector<Symbol> symbols_;
  std::vector<Word> words_;
  PairMap<int64_t> counts_;
  PairMap<std::vector<uint32_t>> fresh_;  // words with pairs that are not in the queue yet
  std::vector<Candidate> queue_;
};

}  // namespace

TrainedBpe train_bpe(std::span<const CountedWord> words, const BpeTrainOptions& options,
                     const TrainControl& control) {
  return BpeTrainer(words, options, control).run();
}

}  // namespace hugot
