// WordPiece and WordLevel.
#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "tokenizer/model.h"

namespace hugot {
namespace {

class WordLevelModel final : public Model {
 public:
  WordLevelModel(Vocabulary vocabulary, std::string unk_token)
      : vocabulary_(std::move(vocabulary)),
        unk_token_(std::move(unk_token)),
        unk_id_(vocabulary_.find(unk_token_)) {}

  void tokenize(std::string_view word, std::vector<ModelToken>& out) const override {
    int32_t id = vocabulary_.find(word);
    if (id < 0) id = unk_id_;
    require(id >= 0, ErrorCode::kInvalidData, "WordLevel: a word is unknown and the unknown token ",
            unk_token_, " is not in the vocabulary");
    out.push_back({id, {0, static_cast<uint32_t>(word.size())}});
  }
  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  Vocabulary vocabulary_;
  std::string unk_token_;
  int32_t unk_id_;
};

}  // namespace

void Model::tokenize_ids(std::string_view word, std::vector<int32_t>& out) const {
  std::vector<ModelToken> tokens;
  tokenize(word, tokens);
  for (const ModelToken& token : tokens) out.push_back(token.id);
}

WordPieceModel::WordPieceModel(Vocabulary vocabulary, Options options)
    : vocabulary_(std::move(vocabulary)),
      options_(std::move(options)),
      unk_id_(vocabulary_.find(options_.unk_token)) {
  prefix_hash_.add(options_.continuing_subword_prefix);
}

int32_t WordPieceModel::unk_id() const {
  require(unk_id_ >= 0, ErrorCode::kInvalidData,
          "WordPiece: a word is unknown and the unknown token ", options_.unk_token,
          " is not in the vocabulary");
  return unk_id_;
}

WordPieceModel::Match WordPieceModel::longest_match(std::string_view word, size_t begin) const {
  std::string_view prefix;
  Vocabulary::Hash hash;
  if (begin > 0) {
    prefix = options_.continuing_subword_prefix;
    hash = prefix_hash_;
  }
  // One pass that hashes every prefix; a match that cuts a character is impossible, tokens being
  // valid UTF-8.
  const size_t room = vocabulary_.max_length() - std::min(vocabulary_.max_length(), prefix.size());
  const size_t end = begin + std::min(word.size() - begin, room);
  Match best;
  for (size_t pos = begin; pos < end;) {
    hash.add(word[pos++]);
    const int32_t id = vocabulary_.find(hash, prefix, word.substr(begin, pos - begin));
    if (id >= 0) best = {id, pos};
  }
  return best;
}

void WordPieceModel::tokenize(std::string_view word, std::vector<ModelToken>& out) const {
  const size_t first = out.size();
  const auto unknown = [&] {
    out.resize(first);
    out.push_back({unk_id(), {0, static_cast<uint32_t>(word.size())}});
  };
  if (count_utf8(word) > options_.max_input_chars_per_word) return unknown();
  for (size_t begin = 0; begin < word.size();) {
    const Match match = longest_match(word, begin);
    if (match.id < 0) return unknown();
    out.push_back({match.id, {static_cast<uint32_t>(begin), static_cast<uint32_t>(match.end)}});
    begin = match.end;
  }
}

void WordPieceModel::tokenize_parts(std::string_view word, size_t characters,
                                    std::vector<int32_t>& out) const {
  const size_t first = out.size();
  bool known = characters <= options_.max_input_chars_per_word;
  for (size_t begin = 0; known && begin < word.size();) {
    const Match match = longest_match(word, begin);
    known = match.id >= 0;
    out.push_back(match.id);
    begin = match.end;
  }
  if (!known) {
    out.resize(first);
    out.push_back(unk_id());
  }
}

void WordPieceModel::tokenize_ids(std::string_view word, std::vector<int32_t>& out) const {
  Vocabulary::Hash hash;
  hash.add(word);
  tokenize_ids(word, count_utf8(word), hash, out);
}

ModelPtr make_word_level_model(Vocabulary vocabulary, std::string unk_token) {
  return std::make_unique<WordLevelModel>(std::move(vocabulary), std::move(unk_token));
}

}  // namespace hugot
