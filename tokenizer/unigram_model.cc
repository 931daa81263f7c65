// Unigram: the sequence of tokens with the greatest sum of scores.
#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "tokenizer/byte_token.h"
#include "tokenizer/model.h"
#include "tokenizer/trie.h"
#include "tokenizer/word_cache.h"

namespace hugot {
namespace {

constexpr double kUnkPenalty = 10.0;

std::vector<Trie::Entry> entries_of(const Vocabulary& vocabulary, size_t count) {
  std::vector<Trie::Entry> out;
  for (size_t id = 0; id < count; ++id) {
    const auto token = vocabulary.token(static_cast<int64_t>(id));
    if (token) out.push_back({*token, static_cast<int32_t>(id)});
  }
  return out;
}

class UnigramModel final : public Model {
 public:
  UnigramModel(Vocabulary vocabulary, std::vector<double> scores, const UnigramOptions& options)
      : vocabulary_(std::move(vocabulary)),
        scores_(std::move(scores)),
        options_(options),
        trie_(entries_of(vocabulary_, scores_.size())) {
    require(!options_.unk_id ||
                (*options_.unk_id >= 0 && static_cast<size_t>(*options_.unk_id) < scores_.size()),
            ErrorCode::kInvalidData, "Unigram: unk_id is not in the vocabulary");
    double least = std::numeric_limits<double>::infinity();
    for (const double score : scores_) least = std::min(least, score);
    unk_score_ = least - kUnkPenalty;
    for (int byte = 0; byte < 256; ++byte) {
      byte_ids_[static_cast<size_t>(byte)] =
          vocabulary_.find(byte_token(static_cast<unsigned char>(byte)));
    }
  }

  void tokenize(std::string_view word, std::vector<ModelToken>& out) const override {
    segment(word, [&](int32_t id, size_t begin, size_t end) {
      const Span range{static_cast<uint32_t>(begin), static_cast<uint32_t>(end)};
      if (id >= 0) {
        out.push_back({id, range});
      } else if (splits_into_bytes(word.substr(begin, end - begin))) {
        for (const char byte : word.substr(begin, end - begin)) out.push_back({id_of(byte), range});
      } else {
        out.push_back({unk_id(), range, true});
      }
    });
  }

  void tokenize_ids(std::string_view word, std::vector<int32_t>& out) const override {
    WordCache& cache = WordCache::of_thread(serial_);
    if (cache.find(word, out)) return;
    const size_t first = out.size();
    segment(word, [&](int32_t id, size_t begin, size_t end) {
      if (id >= 0) {
        out.push_back(id);
      } else if (splits_into_bytes(word.substr(begin, end - begin))) {
        for (const char byte : word.substr(begin, end - begin)) out.push_back(id_of(byte));
      } else {
        out.push_back(unk_id());
      }
    });
    cache.put(word, {out.begin() + static_cast<ptrdiff_t>(first), out.end()});
  }

  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  // The best sequence that ends at a position of the word.
  struct Node {
    double score;
    uint32_t begin;  // of its last token
    int32_t id;
  };
  static constexpr uint32_t kUnset = 0xFFFFFFFF;

  int32_t id_of(char byte) const { return byte_ids_[static_cast<unsigned char>(byte)]; }
  bool splits_into_bytes(std::string_view text) const {
    return options_.byte_fallback &&
           std::all_of(text.begin(), text.end(), [this](char byte) { return id_of(byte) >= 0; });
  }
  int32_t unk_id() const {
    require(options_.unk_id.has_value(), ErrorCode::kInvalidData,
            "Unigram: a character is unknown and there is no unk_id");
    return *options_.unk_id;
  }

  // Calls use(id, begin, end) for the tokens; id -1: text that is none, joined to one piece.
  template <class Use>
  void segment(std::string_view word, Use&& use) const {
    static thread_local std::vector<Node> nodes;
    nodes.assign(word.size() + 1, Node{0, kUnset, 0});
    nodes[0].begin = 0;
    // Ties keep what was found first.
    const auto offer = [&](size_t begin, size_t end, int32_t id, double score) {
      Node& node = nodes[end];
      if (node.begin != kUnset && !(score > node.score)) return false;
      node = {score, static_cast<uint32_t>(begin), id};
      return true;
    };
    for (size_t begin = 0; begin < word.size();) {
      const double score = nodes[begin].score;
      const size_t length = utf8_length(word[begin]);
      bool single = false;
      uint32_t trie_node = Trie::kRoot;
      for (size_t pos = begin; pos < word.size();) {
        trie_node = trie_.next(trie_node, word[pos++]);
        if (trie_node == Trie::kRoot) break;
        const int32_t id = trie_.value(trie_node);
        if (id < 0) continue;
        offer(begin, pos, id, score + scores_[static_cast<size_t>(id)]);
        single |= pos == begin + length;
      }
      if (!single && offer(begin, begin + length, -1, score + unk_score_)) {
        nodes[begin + length].id = unk_id();
      }
      begin += length;
    }
    // Backwards along the best sequence, then forwards.
    static thread_local std::vector<Span> pieces;
    static thread_local std::vector<int32_t> ids;
    pieces.clear();
    ids.clear();
    for (auto end = static_cast<uint32_t>(word.size()); end > 0;) {
      const Node& node = nodes[end];
      const bool unknown = options_.unk_id && node.id == *options_.unk_id;
      if (unknown && !ids.empty() && ids.back() < 0) {
        pieces.back().begin = node.begin;
      } else {
        pieces.push_back({node.begin, end});
        ids.push_back(unknown ? -1 : node.id);
      }
      end = node.begin;
    }
    for (size_t i = pieces.size(); i-- > 0;) {
      int32_t id = ids[i];
      const Span piece = pieces[i];
      // The text decides, even of what was unknown: "<unk>" itself is a token.
      if (id < 0) id = vocabulary_.find(word.substr(piece.begin, piece.end - piece.begin));
      use(id, piece.begin, piece.end);
    }
    constexpr size_t kKeep = 1 << 16;
    if (nodes.capacity() > kKeep) nodes = std::vector<Node>();
  }

  Vocabulary vocabulary_;
  std::vector<double> scores_;
  UnigramOptions options_;
  Trie trie_;
  double unk_score_ = 0;
  std::array<int32_t, 256> byte_ids_{};
  uint64_t serial_ = WordCache::next_serial();  // of its cache
};

}  // namespace

ModelPtr make_unigram_model(Vocabulary vocabulary, std::vector<double> scores,
                            const UnigramOptions& options) {
  return std::make_unique<UnigramModel>(std::move(vocabulary), std::move(scores), options);
}

}  // namespace hugot
