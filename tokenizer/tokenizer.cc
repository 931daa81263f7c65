#include "hugot/tokenizer.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/utf8.h"
#include "tokenizer/bert_id_encoder.h"
#include "tokenizer/id_encoder.h"
#include "tokenizer/tokenizer_parts.h"
#include "tokenizer/vocabulary_files.h"

namespace hugot {
namespace {

constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();

// Spans are 32-bit, and normalization lengthens text by a small factor at most.
constexpr size_t kMaxInput = size_t{1} << 28;

void check_input(std::string_view text) {
  require(text.size() <= kMaxInput, ErrorCode::kUnsupported, "text of more than ", kMaxInput,
          " bytes");
  const size_t bad = validate_utf8(text);
  require(bad == kValidUtf8, ErrorCode::kInvalidData, "the text is not UTF-8 at byte ", bad);
}

// Byte offsets of a text to code point offsets.
class CodePointOffsets {
 public:
  explicit CodePointOffsets(std::string_view text) : size_(text.size()) {
    if (ascii_prefix(text) == text.size()) return;
    index_.reserve(text.size());
    uint32_t index = 0;
    for (const char byte : text) {
      index += !is_utf8_continuation(byte);
      index_.push_back(index - 1);
    }
  }

  // What the reference does with ranges inside of characters and at the end of the text.
  Span convert(Span bytes) const {
    if (bytes.begin >= size_) return bytes;
    const uint32_t begin = index(bytes.begin);
    if (bytes.end < size_) return {begin, index(bytes.end)};
    const uint32_t last = bytes.end - 1;
    return {begin, (last < size_ ? index(last) : begin + 1) + 1};
  }

 private:
  uint32_t index(uint32_t byte) const { return index_.empty() ? byte : index_[byte]; }

  size_t size_;
  std::vector<uint32_t> index_;  // empty: the text is ASCII
};

// Code point offsets of encodings to byte offsets.
class ByteOffsets {
 public:
  using Words = std::span<const std::string_view>;
  ByteOffsets(Words first, std::optional<Words> second, bool pre_split)
      : pre_split_(pre_split), count_(second ? 2 : 1) {
    for (const std::string_view word : first) tables_[0].push_back(positions(word));
    for (const std::string_view word : second.value_or(Words())) {
      tables_[1].push_back(positions(word));
    }
  }

  void convert(Encoding& encoding) const {
    const std::vector<int32_t> sequences = encoding.sequence_ids();
    for (size_t i = 0; i < encoding.size(); ++i) {
      // Some processors number the sequences of a single text by its special tokens.
      const bool second = count_ == 2 && sequences[i] == 1;
      const auto& tables = tables_[second];
      const size_t word = pre_split_ ? static_cast<size_t>(encoding.word_ids[i]) : 0;
      if (word >= tables.size()) continue;
      Span& span = encoding.offsets[i];
      if (span.begin < tables[word].size()) span.begin = tables[word][span.begin];
      if (span.end < tables[word].size()) span.end = tables[word][span.end];
    }
    for (Encoding& window : encoding.overflowing) convert(window);
  }

 private:
  // Where the characters begin, and the end; nothing for ASCII.
  static std::vector<uint32_t> positions(std::string_view text) {
    std::vector<uint32_t> out;
    if (ascii_prefix(text) == text.size()) return out;
    for (size_t pos = 0; pos < text.size(); pos += utf8_length(text[pos])) {
      out.push_back(static_cast<uint32_t>(pos));
    }
    out.push_back(static_cast<uint32_t>(text.size()));
    return out;
  }

  bool pre_split_;
  size_t count_;
  std::vector<std::vector<uint32_t>> tables_[2];
};

// Where a range of a split's text came from. Ranges that leave the split, which models that add
// text produce, stay as they are.
Span source_of(const PreTokenizedText& text, const Split& split, Span range) {
  const uint32_t length = split.range.end - split.range.begin;
  if (range.begin == range.end) return {split.origin + range.begin, split.origin + range.end};
  if (range.end > length) return range;
  return {text.sources[split.range.begin + range.begin].begin,
          text.sources[split.range.begin + range.end - 1].end};
}

void fill_plain_columns(Encoding& encoding, int32_t type_id) {
  encoding.type_ids.resize(encoding.size(), type_id);
  encoding.attention_mask.resize(encoding.size(), 1);
  encoding.special_tokens_mask.resize(encoding.size(), 0);
}

// Drops the columns that were not asked for.
void drop_columns(Encoding& encoding, const EncodeOptions& options) {
  if (!options.offsets) {
    encoding.offsets = {};
    encoding.word_ids = {};
  }
  if (!options.tokens) encoding.tokens = {};
  for (Encoding& window : encoding.overflowing) drop_columns(window, options);
}

// Tokens of max_length that are left for the text itself. Where it is less than the special tokens
// the reference does not truncate at all: its subtraction wraps around.
size_t room_for_text(const Truncation& truncation, size_t added_tokens) {
  return truncation.max_length < added_tokens ? kNoLimit : truncation.max_length - added_tokens;
}

// Cuts the ids behind `begin` down to `room`; the errors are those of truncating an Encoding.
void truncate_ids(const Truncation& truncation, size_t room, size_t begin,
                  std::vector<int32_t>& ids) {
  Truncation inner = truncation;
  inner.max_length = room;
  truncated_lengths(inner, ids.size() - begin, std::nullopt);
  check_stride(room, truncation.stride);
  if (truncation.side == Side::kRight) {
    ids.resize(begin + room);
  } else {
    ids.erase(ids.begin() + begin, ids.end() - room);
  }
}

}  // namespace

class Tokenizer::Impl {
 public:
  explicit Impl(TokenizerParts parts);

  using Words = std::span<const std::string_view>;

  // Words are whole texts unless `pre_split`.
  Encoding encode(Words words, std::optional<Words> pair, bool pre_split,
                  const EncodeOptions& options) const;
  void encode_ids(std::string_view text, const EncodeOptions& options,
                  std::vector<int32_t>& out) const;
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const;
  std::string decode_tokens(std::vector<std::string> tokens) const;
  std::optional<std::string_view> token(int64_t id) const;
  // Whether decode() sees this id at all.
  bool is_decoded(int64_t id, bool skip_special_tokens) const;
  size_t added_tokens(bool pair) const {
    return parts_.post_processor ? parts_.post_processor->added_tokens(pair) : 0;
  }

  const TokenizerParts& parts() const { return parts_; }
  const AddedTokens& added() const { return added_; }

 private:
  // Normalizes, finds added tokens and cuts into words.
  PreTokenizedText prepare(std::string_view text, bool tracked, bool match_special) const;
  // Appends the tokens of a text; word_id -1 numbers the words.
  void add_tokens(std::string_view text, int32_t word_id, const EncodeOptions& options,
                  Encoding& out) const;
  // Appends bare ids, at least `limit` of them if there are.
  void add_ids(std::string_view text, size_t limit, bool match_special,
               std::vector<int32_t>& out) const;
  void add_ids_by_stages(std::string_view text, bool match_special,
                         std::vector<int32_t>& out) const;
  void add_ids_by_words(std::string_view text, bool match_special, std::vector<int32_t>& out) const;
  Encoding encode_sequence(Words words, bool pre_split, int32_t sequence,
                           const EncodeOptions& options) const;
  void truncate(Encoding& first, Encoding* second, const EncodeOptions& options) const;
  Encoding post_process(Encoding first, std::optional<Encoding> second,
                        bool add_special_tokens) const;

  TokenizerParts parts_;
  AddedTokens added_;
  bool needs_origins_;
  std::optional<BertIdEncoder> bert_;
  std::optional<IdEncoder> words_;
  // The ids of one text without and with special tokens; kText stands for those of the text.
  static constexpr int32_t kText = -1;
  std::vector<int32_t> layouts_[2];
};

Tokenizer::Impl::Impl(TokenizerParts parts)
    : parts_(std::move(parts)),
      added_(parts_.added_tokens, parts_.model->vocabulary(), parts_.normalizer.get()),
      needs_origins_((parts_.pre_tokenizer && parts_.pre_tokenizer->needs_origins()) ||
                     (parts_.normalizer && parts_.normalizer->inserts_in_front())) {
  const auto* normalizer = dynamic_cast<const BertNormalizer*>(parts_.normalizer.get());
  const auto* pre_tokenizer = dynamic_cast<const BertPreTokenizer*>(parts_.pre_tokenizer.get());
  const auto* model = dynamic_cast<const WordPieceModel*>(parts_.model.get());
  if (normalizer && pre_tokenizer && model && !added_.has_normalized()) {
    bert_.emplace(normalizer->options(), *model);
  }
  if (!needs_origins_) words_ = IdEncoder::make(parts_.pre_tokenizer.get(), *parts_.model);
  // Whatever the post-processor is, it shows on a text of one token where it puts which ids.
  for (const bool add_special_tokens : {false, true}) {
    Encoding probe;
    probe.ids = {kText};
    probe.offsets = {Span{}};
    probe.word_ids = {-1};
    probe.tokens = {""};
    fill_plain_columns(probe, 0);
    layouts_[add_special_tokens] =
        post_process(std::move(probe), std::nullopt, add_special_tokens).ids;
  }
}

PreTokenizedText Tokenizer::Impl::prepare(std::string_view text, bool tracked,
                                          bool match_special) const {
  PreTokenizedText out;
  std::vector<AddedTokens::Part> raw;
  std::vector<AddedTokens::Part> inner;
  added_.split(text, AddedTokens::Stage::kRaw, match_special, raw);
  for (const AddedTokens::Part& part : raw) {
    NormalizedString piece(text.substr(part.range.begin, part.range.end - part.range.begin),
                           part.range.begin, tracked);
    inner.clear();
    if (part.id >= 0) {
      inner.push_back({{0, static_cast<uint32_t>(piece.text().size())}, part.id});
    } else {
      if (parts_.normalizer) parts_.normalizer->normalize(piece);
      added_.split(piece.text(), AddedTokens::Stage::kNormalized, match_special, inner);
    }
    const auto base = static_cast<uint32_t>(out.text.size());
    out.text += piece.text();
    out.sources.insert(out.sources.end(), piece.sources().begin(), piece.sources().end());
    require(out.text.size() <= std::numeric_limits<uint32_t>::max() / 2, ErrorCode::kUnsupported,
            "the normalized text is too long");
    for (const AddedTokens::Part& split : inner) {
      if (split.range.begin >= split.range.end) continue;
      out.splits.push_back(out.make_split(base + split.range.begin, base + split.range.end));
      out.splits.back().added_token = split.id;
    }
  }
  if (parts_.pre_tokenizer) parts_.pre_tokenizer->pre_tokenize(out);
  return out;
}

void Tokenizer::Impl::add_tokens(std::string_view text, int32_t word_id,
                                 const EncodeOptions& options, Encoding& out) const {
  const PreTokenizedText prepared = prepare(text, true, !options.encode_special_tokens);
  std::optional<CodePointOffsets> code_points;
  if (options.unit == OffsetUnit::kCodePoints) code_points.emplace(text);
  std::vector<ModelToken> tokens;
  for (size_t i = 0; i < prepared.splits.size(); ++i) {
    const Split& split = prepared.splits[i];
    const std::string_view word = prepared.text_of(split);
    tokens.clear();
    if (split.added_token >= 0) {
      tokens.push_back({split.added_token, {0, static_cast<uint32_t>(word.size())}, true});
    } else {
      parts_.model->tokenize(word, tokens);
    }
    for (const ModelToken& token : tokens) {
      const Span source = source_of(prepared, split, token.range);
      out.ids.push_back(token.id);
      out.offsets.push_back(code_points ? code_points->convert(source) : source);
      out.word_ids.push_back(word_id >= 0 ? word_id : static_cast<int32_t>(i));
      if (token.is_surface) {
        out.tokens.emplace_back(
            word.substr(token.range.begin, token.range.end - token.range.begin));
      } else {
        out.tokens.emplace_back(
            parts_.model->vocabulary().token(token.id).value_or(std::string_view()));
      }
    }
  }
}

void Tokenizer::Impl::add_ids_by_stages(std::string_view text, bool match_special,
                                        std::vector<int32_t>& out) const {
  const PreTokenizedText prepared = prepare(text, needs_origins_, match_special);
  for (const Split& split : prepared.splits) {
    if (split.added_token >= 0) {
      out.push_back(split.added_token);
    } else {
      parts_.model->tokenize_ids(prepared.text_of(split), out);
    }
  }
}

void Tokenizer::Impl::add_ids_by_words(std::string_view text, bool match_special,
                                       std::vector<int32_t>& out) const {
  std::vector<AddedTokens::Part> parts;
  std::vector<AddedTokens::Part> inner;
  added_.split(text, AddedTokens::Stage::kRaw, match_special, parts);
  for (const AddedTokens::Part& part : parts) {
    std::string_view piece = text.substr(part.range.begin, part.range.end - part.range.begin);
    if (part.id >= 0) {
      if (!piece.empty()) out.push_back(part.id);
      continue;
    }
    std::optional<NormalizedString> normalized;
    if (parts_.normalizer && !parts_.normalizer->keeps(piece)) {
      parts_.normalizer->normalize(normalized.emplace(piece, part.range.begin, false));
      piece = normalized->text();
    }
    if (!added_.has_normalized()) {
      words_->encode(piece, out);
      continue;
    }
    inner.clear();
    added_.split(piece, AddedTokens::Stage::kNormalized, match_special, inner);
    for (const AddedTokens::Part& split : inner) {
      if (split.range.begin >= split.range.end) continue;
      if (split.id >= 0) {
        out.push_back(split.id);
      } else {
        words_->encode(piece.substr(split.range.begin, split.range.end - split.range.begin), out);
      }
    }
  }
}

void Tokenizer::Impl::add_ids(std::string_view text, size_t limit, bool match_special,
                              std::vector<int32_t>& out) const {
  if (!bert_) {
    return words_ ? add_ids_by_words(text, match_special, out)
                  : add_ids_by_stages(text, match_special, out);
  }
  const size_t size_before = out.size();
  std::vector<AddedTokens::Part> parts;
  added_.split(text, AddedTokens::Stage::kRaw, match_special, parts);
  for (const AddedTokens::Part& part : parts) {
    if (out.size() >= limit) return;
    const std::string_view piece = text.substr(part.range.begin, part.range.end - part.range.begin);
    if (part.id >= 0) {
      if (!piece.empty()) out.push_back(part.id);
    } else if (!bert_->encode(piece, limit, out)) {
      out.resize(size_before);
      return add_ids_by_stages(text, match_special, out);
    }
  }
}

Encoding Tokenizer::Impl::encode_sequence(Words words, bool pre_split, int32_t sequence,
                                          const EncodeOptions& options) const {
  Encoding out;
  for (size_t i = 0; i < words.size(); ++i) {
    check_input(words[i]);
    if (options.offsets || options.tokens) {
      add_tokens(words[i], pre_split ? static_cast<int32_t>(i) : -1, options, out);
    } else {
      add_ids(words[i], kNoLimit, !options.encode_special_tokens, out.ids);
    }
  }
  fill_plain_columns(out, sequence);
  return out;
}

void Tokenizer::Impl::truncate(Encoding& first, Encoding* second,
                               const EncodeOptions& options) const {
  if (!options.truncation) return;
  Truncation truncation = *options.truncation;
  const size_t added = options.add_special_tokens ? added_tokens(second != nullptr) : 0;
  truncation.max_length = room_for_text(truncation, added);
  const auto second_length = second ? std::optional(second->size()) : std::nullopt;
  const auto [a, b] = truncated_lengths(truncation, first.size(), second_length);
  truncate_encoding(first, a, truncation.stride, truncation.side, options.overflowing);
  if (second) {
    truncate_encoding(*second, b, truncation.stride, truncation.side, options.overflowing);
  }
}

Encoding Tokenizer::Impl::post_process(Encoding first, std::optional<Encoding> second,
                                       bool add_special_tokens) const {
  std::vector<Encoding> encodings;
  encodings.push_back(std::move(first));
  if (second) encodings.push_back(std::move(*second));
  const bool has_processor = parts_.post_processor != nullptr;
  if (!has_processor && encodings.size() == 1) return std::move(encodings[0]);
  for (size_t i = 0; i < encodings.size(); ++i) {
    const auto sequence = static_cast<int32_t>(i);
    set_sequence(encodings[i], sequence);
    if (!has_processor) continue;
    encodings[i].type_ids.assign(encodings[i].size(), sequence);
    for (Encoding& window : encodings[i].overflowing) set_sequence(window, sequence);
  }
  if (has_processor) parts_.post_processor->process(encodings, add_special_tokens);
  Encoding out;
  for (Encoding& encoding : encodings) append_encoding(out, std::move(encoding));
  return out;
}

Encoding Tokenizer::Impl::encode(Words words, std::optional<Words> pair, bool pre_split,
                                 const EncodeOptions& options) const {
  if (options.offsets && options.unit == OffsetUnit::kBytes && parts_.post_processor &&
      parts_.post_processor->trims_offsets()) {
    // Trimming by characters needs offsets in characters.
    EncodeOptions in_code_points = options;
    in_code_points.unit = OffsetUnit::kCodePoints;
    Encoding out = encode(words, pair, pre_split, in_code_points);
    ByteOffsets(words, pair, pre_split).convert(out);
    return out;
  }
  Encoding first = encode_sequence(words, pre_split, 0, options);
  std::optional<Encoding> second;
  if (pair) second = encode_sequence(*pair, pre_split, 1, options);
  truncate(first, second ? &*second : nullptr, options);
  Encoding out = post_process(std::move(first), std::move(second), options.add_special_tokens);
  drop_columns(out, options);
  return out;
}

void Tokenizer::Impl::encode_ids(std::string_view text, const EncodeOptions& options,
                                 std::vector<int32_t>& out) const {
  check_input(text);
  const size_t added = options.add_special_tokens ? added_tokens(false) : 0;
  const size_t room = options.truncation ? room_for_text(*options.truncation, added) : kNoLimit;
  const std::vector<int32_t>& layout = layouts_[options.add_special_tokens];
  const auto text_at = std::find(layout.begin(), layout.end(), kText);
  out.insert(out.end(), layout.begin(), text_at);
  const size_t begin = out.size();
  // One id more than fits, to know whether anything is cut at all.
  const bool cuts_end = options.truncation && options.truncation->side == Side::kRight;
  const size_t limit = cuts_end && room < kNoLimit - begin - 1 ? begin + room + 1 : kNoLimit;
  add_ids(text, limit, !options.encode_special_tokens, out);
  if (out.size() - begin > room) truncate_ids(*options.truncation, room, begin, out);
  if (text_at == layout.end()) {
    out.resize(begin);
    return;
  }
  const size_t end = out.size();
  for (auto id = text_at + 1; id != layout.end(); ++id) {
    if (*id != kText) {
      out.push_back(*id);
    } else {
      for (size_t i = begin; i < end; ++i) out.push_back(out[i]);
    }
  }
}

std::optional<std::string_view> Tokenizer::Impl::token(int64_t id) const {
  if (const AddedToken* added = added_.token(id)) return added->content;
  return parts_.model->vocabulary().token(id);
}

std::string Tokenizer::Impl::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const int32_t id : ids) {
    if (is_decoded(id, skip_special_tokens)) tokens.emplace_back(*token(id));
  }
  return decode_tokens(std::move(tokens));
}

std::string Tokenizer::Impl::decode_tokens(std::vector<std::string> tokens) const {
  if (parts_.decoder) parts_.decoder->decode(tokens);
  std::string out;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0 && !parts_.decoder) out += ' ';
    out += tokens[i];
  }
  return out;
}

bool Tokenizer::Impl::is_decoded(int64_t id, bool skip_special_tokens) const {
  const auto text = token(id);
  return text && !(skip_special_tokens && added_.is_special(*text));
}

Tokenizer Tokenizer::from_file(const std::filesystem::path& path) {
  return with_context([&] { return path.string(); },
                      [&] {
                        const std::string contents = read_file(path);
                        auto parts = read_vocabulary_files(path, contents);
                        if (!parts) return from_json(contents);
                        return Tokenizer(std::make_unique<const Impl>(std::move(*parts)));
                      });
}

Tokenizer Tokenizer::from_json(std::string_view json) {
  return Tokenizer(std::make_unique<const Impl>(parse_tokenizer_json(json)));
}

Tokenizer::Tokenizer(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Encoding Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  return impl_->encode({&text, 1}, std::nullopt, false, options);
}

Encoding Tokenizer::encode(std::string_view text, std::optional<std::string_view> pair,
                           const EncodeOptions& options) const {
  if (!pair) return encode(text, options);
  return impl_->encode({&text, 1}, Impl::Words(&*pair, 1), false, options);
}

Encoding Tokenizer::encode_words(std::span<const std::string_view> words,
                                 const EncodeOptions& options) const {
  return impl_->encode(words, std::nullopt, true, options);
}

Encoding Tokenizer::encode_words(std::span<const std::string_view> words,
                                 std::span<const std::string_view> pair,
                                 const EncodeOptions& options) const {
  return impl_->encode(words, pair, true, options);
}

void Tokenizer::encode_ids(std::string_view text, const EncodeOptions& options,
                           std::vector<int32_t>& out) const {
  impl_->encode_ids(text, options, out);
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  return impl_->decode(ids, skip_special_tokens);
}

std::string Tokenizer::decode_tokens(std::vector<std::string> tokens) const {
  return impl_->decode_tokens(std::move(tokens));
}

std::string_view Tokenizer::continuing_prefix() const {
  return impl_->parts().model->continuing_prefix();
}

std::optional<std::string> DecodeStream::step(std::span<const int32_t> ids) {
  const auto decode = [this] { return tokenizer_.decode(ids_, skip_special_tokens_); };
  constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
  if (prefix_.empty() && !ids_.empty()) {
    std::string text = decode();
    if (!text.ends_with(kReplacement)) {
      prefix_ = std::move(text);
      prefix_ids_ = ids_.size();
    }
  }
  for (const int32_t id : ids) {
    // What is never seen would only make every later step longer.
    if (tokenizer_.impl_->is_decoded(id, skip_special_tokens_)) ids_.push_back(id);
  }
  const std::string text = decode();
  // The end of a character may still be missing.
  if (text.size() <= prefix_.size() || text.ends_with(kReplacement)) return std::nullopt;
  require(text.starts_with(prefix_), ErrorCode::kInvalidArgument,
          "a token changes text that was decoded before");
  std::string out = text.substr(prefix_.size());
  ids_.erase(ids_.begin(), ids_.begin() + static_cast<ptrdiff_t>(prefix_ids_));
  prefix_ids_ = ids_.size();
  prefix_ = decode();
  return out;
}

std::optional<int32_t> Tokenizer::token_to_id(std::string_view token) const {
  if (const auto added = impl_->added().find(token)) return added;
  const int32_t id = impl_->parts().model->vocabulary().find(token);
  return id < 0 ? std::nullopt : std::optional(id);
}

std::optional<std::string> Tokenizer::id_to_token(int32_t id) const {
  const auto token = impl_->token(id);
  return token ? std::optional<std::string>(*token) : std::nullopt;
}

bool Tokenizer::is_special(int32_t id) const {
  const AddedToken* token = impl_->added().token(id);
  return token != nullptr && impl_->added().is_special(token->content);
}

size_t Tokenizer::vocab_size(bool with_added_tokens) const {
  return impl_->parts().model->vocabulary().size() +
         (with_added_tokens ? impl_->added().count_outside_model() : 0);
}

size_t Tokenizer::added_tokens(bool pair) const { return impl_->added_tokens(pair); }

const std::optional<Truncation>& Tokenizer::file_truncation() const {
  return impl_->parts().truncation;
}

const std::optional<Padding>& Tokenizer::file_padding() const { return impl_->parts().padding; }

}  // namespace hugot
