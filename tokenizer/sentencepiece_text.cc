// What SentencePiece does to a text before and after the model.
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "tokenizer/byte_token.h"
#include "tokenizer/charsmap.h"
#include "tokenizer/sentencepiece_file.h"
#include "tokenizer/trie.h"

namespace hugot {
namespace {

using File = SentencePieceFile;
using Type = File::Type;

constexpr std::string_view kSpace = "\u2581";

Trie user_defined_trie(const File& file) {
  std::vector<Trie::Entry> entries;
  for (const File::Piece& piece : file.pieces) {
    if (piece.type == Type::kUserDefined) entries.push_back({piece.text, 0});
  }
  return Trie(std::move(entries));
}

class SentencePieceNormalizer final : public Normalizer {
 public:
  explicit SentencePieceNormalizer(const File& file)
      : charsmap_(file.charsmap),
        user_defined_(user_defined_trie(file)),
        space_(file.escape_whitespaces ? kSpace : " "),
        collapses_(file.remove_extra_whitespaces),
        prefix_(file.add_dummy_prefix && !file.whitespace_as_suffix),
        suffix_(file.add_dummy_prefix && file.whitespace_as_suffix) {}

  void normalize(NormalizedString& string) const override {
    const std::string_view input = string.text();
    std::string text;
    std::vector<uint32_t> places;  // in the input, one per byte of the text
    size_t pos = 0;
    const auto add = [&](std::string_view bytes) {
      text += bytes;
      places.insert(places.end(), bytes.size(), static_cast<uint32_t>(pos));
    };
    if (collapses_) {
      while (pos < input.size()) {
        const auto [target, length] = next(input.substr(pos));
        if (target != " ") break;
        pos += length;
      }
    }
    const bool blank = pos == input.size();
    if (!blank && prefix_) add(space_);
    bool after_space = collapses_;
    while (pos < input.size()) {
      auto [target, length] = next(input.substr(pos));
      while (after_space && target.starts_with(' ')) target.remove_prefix(1);
      for (const char& byte : target) add(byte == ' ' ? space_ : std::string_view(&byte, 1));
      if (!target.empty()) after_space = collapses_ && target.ends_with(' ');
      pos += length;
    }
    while (collapses_ && text.ends_with(space_)) {
      text.resize(text.size() - space_.size());
      pos = places[text.size()];
      places.resize(text.size());
    }
    if (!blank && suffix_) add(space_);
    places.push_back(static_cast<uint32_t>(pos));
    std::vector<Span> sources;
    if (string.tracked()) {
      const std::vector<Span> old = string.sources();
      const auto place = [&](uint32_t at) {
        return at < old.size() ? old[at].begin : (old.empty() ? string.origin() : old.back().end);
      };
      for (size_t begin = 0; begin < text.size();) {
        const size_t end = begin + utf8_length(text[begin]);
        sources.insert(sources.end(), end - begin, {place(places[begin]), place(places[end])});
        begin = end;
      }
    }
    string.assign(std::move(text), std::move(sources));
  }

 private:
  // What the input begins with becomes, and how long that is.
  std::pair<std::string_view, size_t> next(std::string_view input) const {
    size_t symbol = 0;
    uint32_t node = Trie::kRoot;
    for (size_t pos = 0; pos < input.size();) {
      node = user_defined_.next(node, input[pos++]);
      if (node == Trie::kRoot) break;
      if (user_defined_.value(node) >= 0) symbol = pos;
    }
    if (symbol > 0) return {input.substr(0, symbol), symbol};
    if (const auto match = charsmap_.longest(input)) return {match->target, match->length};
    const size_t length = utf8_length(input[0]);
    return {input.substr(0, length), length};
  }

  Charsmap charsmap_;
  Trie user_defined_;
  std::string space_;
  bool collapses_;
  bool prefix_;
  bool suffix_;
};

class SentencePieceDecoder final : public Decoder {
 public:
  explicit SentencePieceDecoder(const File& file)
      : unk_surface_(file.unk_surface),
        strips_(file.add_dummy_prefix || file.remove_extra_whitespaces),
        strips_all_(file.remove_extra_whitespaces) {
    for (const File::Piece& piece : file.pieces) {
      if (piece.type != Type::kNormal) types_[piece.text] = piece.type;
    }
    for (int byte = 0; byte < 256; ++byte) {
      bytes_[byte_token(static_cast<unsigned char>(byte))] = static_cast<char>(byte);
    }
  }

  void decode(std::vector<std::string>& tokens) const override {
    std::string text;
    std::string bytes;
    const auto flush = [&] {
      for (size_t pos = 0; pos < bytes.size();) {
        const int length = well_formed_length(bytes, pos);
        length > 0 ? text.append(bytes, pos, static_cast<size_t>(length))
                   : text.append("\xEF\xBF\xBD");
        pos += length > 0 ? static_cast<size_t>(length) : 1;
      }
      bytes.clear();
    };
    bool stripped = false;
    for (const std::string& token : tokens) {
      const auto found = types_.find(token);
      const Type type = found == types_.end() ? Type::kNormal : found->second;
      if (type == Type::kByte && bytes_.contains(token)) {
        bytes += bytes_.at(token);
        continue;
      }
      flush();
      if (type == Type::kControl) continue;
      if (type == Type::kUnknown) {
        text += unk_surface_;
        continue;
      }
      std::string_view piece = token;
      // Only what the normalizer puts there is taken away.
      if (strips_ && text.empty() && !stripped && piece.starts_with(kSpace)) {
        piece.remove_prefix(kSpace.size());
        stripped = !strips_all_;
      }
      for (size_t pos = 0; pos < piece.size();) {
        const bool space = piece.substr(pos).starts_with(kSpace);
        space ? text.append(1, ' ') : text.append(1, piece[pos]);
        pos += space ? kSpace.size() : 1;
      }
    }
    flush();
    tokens = {std::move(text)};
  }

 private:
  std::unordered_map<std::string, Type> types_;
  std::unordered_map<std::string, char> bytes_;
  std::string unk_surface_;
  bool strips_;
  bool strips_all_;
};

}  // namespace

NormalizerPtr make_sentencepiece_normalizer(const SentencePieceFile& file) {
  return std::make_unique<SentencePieceNormalizer>(file);
}

DecoderPtr make_sentencepiece_decoder(const SentencePieceFile& file) {
  return std::make_unique<SentencePieceDecoder>(file);
}

}  // namespace hugot
