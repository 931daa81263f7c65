// The segmentation algorithms of SentencePiece.
#include <algorithm>
#include <array>
#include <cfloat>
#include <queue>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "tokenizer/byte_token.h"
#include "tokenizer/sentencepiece_file.h"
#include "tokenizer/trie.h"

namespace hugot {
namespace {

using File = SentencePieceFile;
using Type = File::Type;

constexpr std::string_view kSpace = "\u2581";

// A token of a text; the unknown token has the text for its string.
struct Piece {
  int32_t id;
  uint32_t begin, end;
};

class SentencePieceModel : public Model {
 public:
  explicit SentencePieceModel(const File& file)
      : vocabulary_(vocabulary_of(file)), byte_fallback_(file.byte_fallback) {
    for (size_t i = 0; i < file.pieces.size(); ++i) {
      const File::Piece& piece = file.pieces[i];
      const auto id = static_cast<int32_t>(i);
      scores_.push_back(piece.score);
      types_.push_back(piece.type);
      if (piece.type == Type::kUnknown) unk_id_ = id;
    }
    for (int byte = 0; byte < 256; ++byte) {
      byte_ids_[static_cast<size_t>(byte)] =
          vocabulary_.find(byte_token(static_cast<unsigned char>(byte)));
    }
    if (byte_fallback_) {
      require(std::all_of(byte_ids_.begin(), byte_ids_.end(), [](int32_t id) { return id >= 0; }),
              ErrorCode::kInvalidData, "SentencePiece model: byte_fallback without all bytes");
    }
    require(unk_id_ >= 0, ErrorCode::kInvalidData, "SentencePiece model without an unknown piece");
  }

  void tokenize(std::string_view text, std::vector<ModelToken>& out) const final {
    std::vector<Piece> pieces;
    segment(text, pieces);
    bool after_unknown = false;
    for (const Piece& piece : pieces) {
      const Span range{piece.begin, piece.end};
      const bool unknown = piece.id == unk_id_;
      if (unknown && byte_fallback_) {
        for (const char byte : text.substr(piece.begin, piece.end - piece.begin)) {
          out.push_back({byte_ids_[static_cast<unsigned char>(byte)], range});
        }
      } else if (unknown && after_unknown) {
        out.back().range.end = piece.end;
      } else {
        out.push_back({piece.id, range, unknown});
      }
      after_unknown = unknown;
    }
  }
  const Vocabulary& vocabulary() const final { return vocabulary_; }

 protected:
  virtual void segment(std::string_view text, std::vector<Piece>& out) const = 0;

  Type type(int32_t id) const { return types_[static_cast<size_t>(id)]; }
  float score(int32_t id) const { return scores_[static_cast<size_t>(id)]; }
  int32_t unk_id() const { return unk_id_; }
  size_t size() const { return types_.size(); }
  // Control symbols, bytes and the unknown piece are never found in a text.
  bool in_text(int32_t id) const {
    return type(id) == Type::kNormal || type(id) == Type::kUserDefined || type(id) == Type::kUnused;
  }
  // The piece with this text, or -1.
  int32_t find(std::string_view text) const {
    const int32_t id = vocabulary_.find(text);
    return id >= 0 && in_text(id) ? id : -1;
  }
  int32_t find_or_unknown(std::string_view text) const {
    const int32_t id = vocabulary_.find(text);
    return id >= 0 ? id : unk_id_;
  }
  // A trie of the pieces for which `takes` holds.
  template <class Takes>
  Trie make_trie(Takes&& takes) const {
    std::vector<Trie::Entry> entries;
    for (size_t i = 0; i < size(); ++i) {
      const auto id = static_cast<int32_t>(i);
      if (const auto text = vocabulary_.token(id); text && takes(id))
        entries.push_back({*text, id});
    }
    return Trie(std::move(entries));
  }
  // The length of the longest key that begins at text[pos], or 0.
  static size_t longest(const Trie& trie, std::string_view text, size_t pos) {
    size_t found = 0;
    uint32_t node = Trie::kRoot;
    for (size_t at = pos; at < text.size();) {
      node = trie.next(node, text[at++]);
      if (node == Trie::kRoot) break;
      if (trie.value(node) >= 0) found = at - pos;
    }
    return found;
  }

 private:
  static Vocabulary vocabulary_of(const File& file) {
    VocabularyBuilder builder;
    for (size_t i = 0; i < file.pieces.size(); ++i) {
      builder.add(file.pieces[i].text, static_cast<int32_t>(i));
    }
    return Vocabulary(std::move(builder), Vocabulary::OldIds::kKeep);
  }

  Vocabulary vocabulary_;
  std::vector<float> scores_;
  std::vector<Type> types_;
  int32_t unk_id_ = -1;
  bool byte_fallback_;
  std::array<int32_t, 256> byte_ids_{};
};

class SentencePieceUnigram final : public SentencePieceModel {
 public:
  explicit SentencePieceUnigram(const File& file)
      : SentencePieceModel(file), trie_(make_trie([this](int32_t id) { return in_text(id); })) {
    float least = FLT_MAX;
    for (const File::Piece& piece : file.pieces) {
      if (piece.type != Type::kNormal) continue;
      least = std::min(least, piece.score);
      greatest_ = std::max(greatest_, piece.score);
    }
    unk_score_ = least - 10.0f;
  }

 private:
  struct Node {
    float score = 0;
    uint32_t begin = kUnset;
    int32_t id = 0;
  };
  static constexpr uint32_t kUnset = 0xFFFFFFFF;

  void segment(std::string_view text, std::vector<Piece>& out) const override {
    std::vector<Node> nodes(text.size() + 1);
    const auto offer = [&](size_t begin, size_t end, int32_t id, float score) {
      Node& node = nodes[end];
      if (node.begin != kUnset && !(score > node.score)) return;
      node = {score, static_cast<uint32_t>(begin), id};
    };
    for (size_t begin = 0; begin < text.size();) {
      const float score_here = nodes[begin].score;
      const size_t length = utf8_length(text[begin]);
      bool single = false;
      uint32_t trie_node = Trie::kRoot;
      for (size_t pos = begin; pos < text.size();) {
        trie_node = trie_.next(trie_node, text[pos++]);
        if (trie_node == Trie::kRoot) break;
        const int32_t id = trie_.value(trie_node);
        if (id < 0 || type(id) == Type::kUnused) continue;
        // Pieces of the user win over others.
        const float own = type(id) == Type::kUserDefined
                              ? static_cast<float>(pos - begin) * greatest_ - 0.1f
                              : score(id);
        offer(begin, pos, id, own + score_here);
        single |= pos == begin + length;
      }
      if (!single) offer(begin, begin + length, unk_id(), unk_score_ + score_here);
      begin += length;
    }
    const size_t first = out.size();
    for (auto end = static_cast<uint32_t>(text.size()); end > 0; end = nodes[end].begin) {
      out.push_back({nodes[end].id, nodes[end].begin, end});
    }
    std::reverse(out.begin() + static_cast<ptrdiff_t>(first), out.end());
  }

  Trie trie_;
  float greatest_ = FLT_MIN;
  float unk_score_ = 0;
};

class SentencePieceBpe final : public SentencePieceModel {
 public:
  explicit SentencePieceBpe(const File& file)
      : SentencePieceModel(file),
        user_defined_(make_trie([this](int32_t id) { return type(id) == Type::kUserDefined; })) {}

 private:
  struct Symbol {
    int32_t previous, next;
    uint32_t begin, end;  // equal: merged into another one
    bool frozen;
  };
  struct Pair {
    float score;
    int32_t left, right;
    uint32_t size;
    friend bool operator<(const Pair& a, const Pair& b) {
      return a.score != b.score ? a.score < b.score : a.left > b.left;
    }
  };
  using Parts = std::unordered_map<std::string_view, std::pair<std::string_view, std::string_view>>;

  void segment(std::string_view text, std::vector<Piece>& out) const override {
    std::vector<Symbol> symbols;
    std::priority_queue<Pair> pairs;
    Parts parts;  // of unused pieces that came up
    for (size_t pos = 0; pos < text.size();) {
      const size_t frozen = longest(user_defined_, text, pos);
      const size_t end = pos + (frozen > 0 ? frozen : utf8_length(text[pos]));
      const auto index = static_cast<int32_t>(symbols.size());
      symbols.push_back({index - 1, end < text.size() ? index + 1 : -1, static_cast<uint32_t>(pos),
                         static_cast<uint32_t>(end), frozen > 0});
      pos = end;
    }
    const auto at = [&](int32_t index) -> Symbol& { return symbols[static_cast<size_t>(index)]; };
    const auto text_of = [&](uint32_t begin, uint32_t end) {
      return text.substr(begin, end - begin);
    };
    const auto add_pair = [&](int32_t left, int32_t right) {
      if (left < 0 || right < 0 || at(left).frozen || at(right).frozen) return;
      const std::string_view joined = text_of(at(left).begin, at(right).end);
      const int32_t id = find(joined);
      if (id < 0) return;
      pairs.push({score(id), left, right, static_cast<uint32_t>(joined.size())});
      if (type(id) == Type::kUnused) {
        parts[joined] = {text_of(at(left).begin, at(left).end),
                         text_of(at(right).begin, at(right).end)};
      }
    };
    for (int32_t i = 1; i < static_cast<int32_t>(symbols.size()); ++i) add_pair(i - 1, i);
    while (!pairs.empty()) {
      const Pair top = pairs.top();
      pairs.pop();
      Symbol& left = at(top.left);
      Symbol& right = at(top.right);
      if (left.begin == left.end || right.begin == right.end || left.end != right.begin ||
          right.end - left.begin != top.size) {
        continue;
      }
      left.end = right.end;
      left.next = right.next;
      if (right.next >= 0) at(right.next).previous = top.left;
      right.begin = right.end;
      add_pair(left.previous, top.left);
      add_pair(top.left, left.next);
    }
    for (const Symbol& symbol : symbols) {
      if (symbol.begin < symbol.end) add(text, symbol.begin, symbol.end, parts, out);
    }
  }

  // Adds a piece, or what an unused one was made of.
  void add(std::string_view text, uint32_t begin, uint32_t end, const Parts& parts,
           std::vector<Piece>& out) const {
    std::vector<std::pair<uint32_t, uint32_t>> open{{begin, end}};
    while (!open.empty()) {
      const auto [from, to] = open.back();
      open.pop_back();
      const int32_t id = find_or_unknown(text.substr(from, to - from));
      const auto found = parts.find(text.substr(from, to - from));
      if (type(id) == Type::kUnused && found != parts.end()) {
        const auto middle = from + static_cast<uint32_t>(found->second.first.size());
        open.push_back({middle, to});
        open.push_back({from, middle});
      } else {
        out.push_back({id, from, to});
      }
    }
  }

  Trie user_defined_;
};

// Words or characters, each of which is a piece or unknown.
class SentencePieceWords final : public SentencePieceModel {
 public:
  explicit SentencePieceWords(const File& file)
      : SentencePieceModel(file),
        characters_(file.algorithm == File::Algorithm::kChar),
        suffix_(file.whitespace_as_suffix),
        user_defined_(make_trie([this](int32_t id) { return type(id) == Type::kUserDefined; })) {}

 private:
  void segment(std::string_view text, std::vector<Piece>& out) const override {
    for (size_t pos = 0; pos < text.size();) {
      const size_t end = characters_ ? character_end(text, pos) : word_end(text, pos);
      out.push_back({find_or_unknown(text.substr(pos, end - pos)), static_cast<uint32_t>(pos),
                     static_cast<uint32_t>(end)});
      pos = end;
    }
  }
  size_t character_end(std::string_view text, size_t pos) const {
    const size_t length = longest(user_defined_, text, pos);
    return pos + (length > 0 ? length : utf8_length(text[pos]));
  }
  size_t word_end(std::string_view text, size_t pos) const {
    if (suffix_) {
      const size_t space = text.find(kSpace, pos);
      return space == text.npos ? text.size() : space + kSpace.size();
    }
    return std::min(text.find(kSpace, pos + 1), text.size());
  }

  bool characters_;
  bool suffix_;
  Trie user_defined_;
};

}  // namespace

ModelPtr make_sentencepiece_model(const SentencePieceFile& file) {
  switch (file.algorithm) {
    case File::Algorithm::kUnigram:
      return std::make_unique<SentencePieceUnigram>(file);
    case File::Algorithm::kBpe:
      return std::make_unique<SentencePieceBpe>(file);
    case File::Algorithm::kWord:
    case File::Algorithm::kChar:
      return std::make_unique<SentencePieceWords>(file);
  }
  fail(ErrorCode::kInternal, "unknown SentencePiece algorithm");
}

}  // namespace hugot
