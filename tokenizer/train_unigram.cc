#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/thread_pool.h"
#include "base/utf8.h"
#include "tokenizer/train.h"
#include "tokenizer/trie.h"
#include "tokenizer/unigram_seeds.h"

namespace hugot {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();
constexpr int32_t kUnknown = -1;

// The logarithm of the expected probability under a Dirichlet posterior needs it.
double digamma(double x) {
  double result = 0;
  for (; x < 7; ++x) result -= 1 / x;
  x -= 0.5;
  const double xx = 1 / x;
  const double xx2 = xx * xx;
  const double xx4 = xx2 * xx2;
  return result + std::log(x) + (1.0 / 24) * xx2 - (7.0 / 960) * xx4 + (31.0 / 8064) * xx4 * xx2 -
         (127.0 / 30720) * xx4 * xx4;
}

double log_sum_exp(double x, double y) {
  const double least = std::min(x, y);
  const double most = std::max(x, y);
  constexpr double kNegligible = 50;
  if (!(least > most - kNegligible)) return most;
  return most + std::log(std::exp(least - most) + 1);
}

// A piece at a place of a word; piece kUnknown: a character that is no piece.
struct Edge {
  uint32_t begin, end;
  int32_t piece;
  double score;
};

// All pieces in a word, by where they begin.
struct Lattice {
  std::vector<Edge> edges;
  std::vector<double> forward, backward;
  std::vector<uint32_t> best;  // the last edge of the best sequence that ends at a position
};

class UnigramTrainer {
 public:
  UnigramTrainer(std::span<const CountedWord> words, const UnigramTrainOptions& options,
                 const TrainControl& control)
      : words_(words),
        options_(options),
        control_(control),
        seeds_(unigram_seeds(words, options, control)),
        trie_(entries(seeds_)),
        index_(seeds_.size()) {
    double sum = 0;
    for (const UnigramSeed& seed : seeds_) sum += seed.weight;
    for (size_t i = 0; i < seeds_.size(); ++i) {
      pieces_.push_back({static_cast<uint32_t>(i), std::log(seeds_[i].weight) - std::log(sum)});
    }
    update();
  }

  TrainedUnigram run() {
    const std::vector<std::string> characters = required_characters();
    const size_t reserved = reserved_tokens();
    require(characters.size() + reserved <= options_.vocab_size, ErrorCode::kInvalidArgument,
            "the text has ", characters.size(), " different characters, and ", reserved,
            " tokens are special: more than a vocabulary of ", options_.vocab_size);
    // The last round leaves a tenth more than needed; the best of them are taken.
    const size_t desired = options_.vocab_size * 11 / 10;
    // An estimate, for those who wait.
    const double excess =
        static_cast<double>(pieces_.size() + 1) / static_cast<double>(desired + 1);
    const double rounds = 1 - std::log(std::max(1.0, excess)) / std::log(options_.shrinking_factor);
    const uint64_t steps = static_cast<uint64_t>(std::min(rounds, 1e6)) * options_.n_sub_iterations;
    for (uint64_t step = 0;;) {
      control_.check();
      for (size_t i = 0; i < options_.n_sub_iterations; ++i) {
        maximize(expected_counts());
        control_.report("estimations", ++step, std::max(step, steps));
      }
      // The unknown piece is one of the reference's pieces.
      const size_t size = pieces_.size();
      if (size + 1 <= desired) break;
      prune(desired);
      if (pieces_.size() == size) break;
    }
    return finish(characters, reserved);
  }

 private:
  struct Piece {
    uint32_t seed;
    double score;
  };
  // Sums are made of the sums of this many parts, so that they do not depend on the threads.
  static constexpr int64_t kParts = 8;

  static std::vector<Trie::Entry> entries(const std::vector<UnigramSeed>& seeds) {
    std::vector<Trie::Entry> out;
    for (size_t i = 0; i < seeds.size(); ++i) {
      out.push_back({seeds[i].text, static_cast<int32_t>(i)});
    }
    return out;
  }

  const std::string& text_of(const Piece& piece) const { return seeds_[piece.seed].text; }

  // Has to follow each change of the pieces.
  void update() {
    std::fill(index_.begin(), index_.end(), kUnknown);
    least_score_ = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < pieces_.size(); ++i) {
      index_[pieces_[i].seed] = static_cast<int32_t>(i);
      least_score_ = std::min(least_score_, pieces_[i].score);
    }
  }

  // Fills lattice.edges; piece `excluded` counts as none unless it is a single character.
  void find_edges(std::string_view word, Lattice& lattice, int32_t excluded = kUnknown) const {
    constexpr double kUnknownPenalty = 10;
    lattice.edges.clear();
    for (size_t begin = 0; begin < word.size();) {
      const size_t next = begin + utf8_length(word[begin]);
      bool single = false;
      uint32_t node = Trie::kRoot;
      for (size_t pos = begin; pos < word.size();) {
        node = trie_.next(node, word[pos++]);
        if (node == Trie::kRoot) break;
        const int32_t seed = trie_.value(node);
        const int32_t piece = seed < 0 ? kUnknown : index_[static_cast<size_t>(seed)];
        if (piece == kUnknown || piece == excluded) continue;
        lattice.edges.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(pos), piece,
                                 pieces_[static_cast<size_t>(piece)].score});
        single |= pos == next;
      }
      if (!single) {
        lattice.edges.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(next),
                                 kUnknown, least_score_ - kUnknownPenalty});
      }
      begin = next;
    }
  }

  // Adds how often each piece is expected in a word, over all its segmentations.
  void add_expected(const CountedWord& word, Lattice& lattice,
                    std::vector<double>& expected) const {
    find_edges(word.text, lattice);
    const size_t size = word.text.size();
    lattice.forward.assign(size + 1, kNever);
    lattice.backward.assign(size + 1, kNever);
    lattice.forward[0] = 0;
    lattice.backward[size] = 0;
    for (const Edge& edge : lattice.edges) {
      double& to = lattice.forward[edge.end];
      to = log_sum_exp(to, lattice.forward[edge.begin] + edge.score);
    }
    for (size_t i = lattice.edges.size(); i-- > 0;) {
      const Edge& edge = lattice.edges[i];
      double& to = lattice.backward[edge.begin];
      to = log_sum_exp(to, lattice.backward[edge.end] + edge.score);
    }
    const double all = lattice.forward[size];
    for (const Edge& edge : lattice.edges) {
      if (edge.piece == kUnknown) continue;
      expected[static_cast<size_t>(edge.piece)] +=
          static_cast<double>(word.count) *
          std::exp(lattice.forward[edge.begin] + edge.score + lattice.backward[edge.end] - all);
    }
  }

  // Calls use(edge) for the best segmentation of a word, from its end.
  template <class Use>
  void each_best(std::string_view word, Lattice& lattice, const Use& use) const {
    lattice.forward.assign(word.size() + 1, kNever);
    lattice.best.assign(word.size() + 1, 0);
    lattice.forward[0] = 0;
    for (uint32_t i = 0; i < lattice.edges.size(); ++i) {
      const Edge& edge = lattice.edges[i];
      const double score = lattice.forward[edge.begin] + edge.score;
      if (!(score > lattice.forward[edge.end])) continue;
      lattice.forward[edge.end] = score;
      lattice.best[edge.end] = i;
    }
    for (size_t end = word.size(); end > 0;) {
      const Edge& edge = lattice.edges[lattice.best[end]];
      use(edge);
      end = edge.begin;
    }
  }

  // Sum over all words of what add(word, lattice, sums) adds.
  template <class Add>
  std::vector<double> sum_over_words(const Add& add) const {
    std::vector<double> parts[kParts];
    const auto count = static_cast<int64_t>(words_.size());
    parallel_for(control_.pool, kParts, 1, [&](int64_t first, int64_t last) {
      for (int64_t part = first; part < last; ++part) {
        std::vector<double>& sums = parts[part];
        sums.assign(pieces_.size(), 0);
        Lattice lattice;
        constexpr int64_t kCheck = 4096;
        const int64_t end = count * (part + 1) / kParts;
        for (int64_t i = count * part / kParts; i < end; ++i) {
          if (i % kCheck == 0) control_.check();
          add(words_[static_cast<size_t>(i)], lattice, sums);
        }
      }
    });
    std::vector<double> out = std::move(parts[0]);
    for (int64_t part = 1; part < kParts; ++part) {
      for (size_t i = 0; i < out.size(); ++i) out[i] += parts[part][i];
    }
    return out;
  }

  std::vector<double> expected_counts() const {
    return sum_over_words([this](const CountedWord& word, Lattice& lattice,
                                 std::vector<double>& sums) { add_expected(word, lattice, sums); });
  }

  // New scores from expected counts; pieces that hardly come are dropped. The digamma function in
  // place of the logarithm favours sparse vocabularies.
  void maximize(const std::vector<double>& expected) {
    constexpr double kLeast = 0.5;
    double sum = 0;
    size_t kept = 0;
    for (size_t i = 0; i < pieces_.size(); ++i) {
      if (!(expected[i] >= kLeast)) continue;
      pieces_[kept++] = {pieces_[i].seed, expected[i]};
      sum += expected[i];
    }
    pieces_.resize(kept);
    const double log_sum = digamma(sum);
    for (Piece& piece : pieces_) piece.score = digamma(piece.score) - log_sum;
    update();
  }

  // Drops the pieces without which the text stays nearly as likely.
  void prune(size_t desired) {
    const std::vector<double> counts = sum_over_words(
        [this](const CountedWord& word, Lattice& lattice, std::vector<double>& sums) {
          find_edges(word.text, lattice);
          each_best(word.text, lattice, [&](const Edge& edge) {
            if (edge.piece == kUnknown) return;
            sums[static_cast<size_t>(edge.piece)] += static_cast<double>(word.count);
          });
        });
    double sum = 0;
    for (const double count : counts) sum += count;
    double word_count = 0;
    for (const CountedWord& word : words_) word_count += static_cast<double>(word.count);

    std::vector<Piece> kept;
    std::vector<std::pair<double, size_t>> candidates;  // what dropping one costs
    Lattice lattice;
    std::vector<int32_t> instead;
    for (size_t i = 0; i < pieces_.size(); ++i) {
      const Piece& piece = pieces_[i];
      const std::string& text = text_of(piece);
      const bool single = utf8_length(text[0]) == text.size();
      // The best segmentation of its text without the piece itself.
      instead.clear();
      double score = kNever;
      if (!single) {
        find_edges(text, lattice, static_cast<int32_t>(i));
        each_best(text, lattice, [&](const Edge& edge) { instead.push_back(edge.piece); });
        score = lattice.forward[text.size()];
      }
      const bool best = piece.score >= score;
      if (counts[i] == 0 && !best) continue;
      if (single || !best) {
        kept.push_back(piece);
        continue;
      }
      if (counts[i] == 0) continue;
      // Its occurrences go to the pieces that stand in for it. That all pieces, and not only those,
      // are thought to gain them is an approximation of SentencePiece that the reference shares.
      const double log_piece = std::log(counts[i]) - std::log(sum);
      const double log_sum = std::log(sum + counts[i] * static_cast<double>(pieces_.size()));
      double log_instead = 0;
      for (const int32_t other : instead) {
        const double count = other == kUnknown ? 0 : counts[static_cast<size_t>(other)];
        log_instead += std::log(count + counts[i]) - log_sum;
      }
      candidates.emplace_back(counts[i] / word_count * (log_piece - log_instead), i);
    }
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const auto& a, const auto& b) { return a.first > b.first; });
    const size_t size = std::max(
        desired,
        static_cast<size_t>(static_cast<double>(pieces_.size() + 1) * options_.shrinking_factor));
    for (const auto& [loss, i] : candidates) {
      if (kept.size() + 1 >= size) break;
      kept.push_back(pieces_[i]);
    }
    pieces_ = std::move(kept);
    update();
  }

  std::vector<std::string> required_characters() const {
    std::unordered_set<char32_t> found(options_.initial_alphabet.begin(),
                                       options_.initial_alphabet.end());
    for (const CountedWord& word : words_) {
      for (size_t pos = 0; pos < word.text.size();) found.insert(decode_utf8(word.text, pos));
    }
    std::vector<char32_t> sorted(found.begin(), found.end());
    std::sort(sorted.begin(), sorted.end());
    std::vector<std::string> out;
    for (const char32_t c : sorted) append_utf8(out.emplace_back(), c);
    return out;
  }

  bool adds_unk() const {
    const auto& special = options_.special_tokens;
    return !options_.unk_token.empty() &&
           std::find(special.begin(), special.end(), options_.unk_token) == special.end();
  }
  size_t reserved_tokens() const { return options_.special_tokens.size() + adds_unk(); }

  TrainedUnigram finish(const std::vector<std::string>& characters, size_t reserved) const {
    using Scored = std::pair<std::string, double>;
    std::unordered_map<std::string_view, double> scores;
    for (const Piece& piece : pieces_) scores.emplace(text_of(piece), piece.score);
    std::vector<Scored> chosen;
    std::unordered_set<std::string_view> inserted(options_.special_tokens.begin(),
                                                  options_.special_tokens.end());
    if (adds_unk()) inserted.insert(options_.unk_token);
    double penalty = 0;
    for (const std::string& c : characters) {
      if (!inserted.insert(c).second) continue;
      const auto found = scores.find(c);
      if (found != scores.end()) {
        chosen.emplace_back(c, found->second);
      } else {
        // Different scores keep the order of what no piece has.
        constexpr double kStep = 1e-4;
        chosen.emplace_back(c, least_score_ + penalty);
        penalty += kStep;
      }
    }
    for (const Piece& piece : pieces_) {
      if (chosen.size() + reserved >= options_.vocab_size) break;
      if (inserted.insert(text_of(piece)).second) chosen.emplace_back(text_of(piece), piece.score);
    }
    std::stable_sort(chosen.begin(), chosen.end(),
                     [](const Scored& a, const Scored& b) { return a.second > b.second; });

    TrainedUnigram out;
    if (adds_unk()) out.pieces.emplace_back(options_.unk_token, 0.0);
    for (const std::string& token : options_.special_tokens) out.pieces.emplace_back(token, 0.0);
    for (size_t i = 0; i < out.pieces.size(); ++i) {
      if (out.pieces[i].first == options_.unk_token && !out.unk_id) out.unk_id = i;
    }
    out.pieces.insert(out.pieces.end(), chosen.begin(), chosen.end());
    return out;
  }

  std::span<const CountedWord> words_;
  const UnigramTrainOptions& options_;
  const TrainControl& control_;
  std::vector<UnigramSeed> seeds_;
  Trie trie_;                   // of the seeds; the pieces are some of them
  std::vector<int32_t> index_;  // of the piece, by seed; kUnknown: dropped
  std::vector<Piece> pieces_;
  double least_score_ = 0;
};

}  // namespace

TrainedUnigram train_unigram(std::span<const CountedWord> words, const UnigramTrainOptions& options,
                             const TrainControl& control) {
  require(options.shrinking_factor > 0 && options.shrinking_factor < 1, ErrorCode::kInvalidArgument,
          "the shrinking factor is above 0 and below 1");
  require(options.n_sub_iterations > 0 && options.max_piece_length > 0, ErrorCode::kInvalidArgument,
          "the number of estimations and the length of pieces are at least 1");
  require(options.vocab_size <= size_t{1} << 31, ErrorCode::kInvalidArgument,
          "a vocabulary of more than 2^31 tokens");
  return UnigramTrainer(words, options, control).run();
}

}  // namespace hugot
