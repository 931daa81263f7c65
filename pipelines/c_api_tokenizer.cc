// Tokenizers in C.
#include <limits>

#include "hugot/c_tokenizer.h"
#include "pipelines/c_api.h"

struct hugot_tokenizer {
  hugot::Tokenizer tokenizer;
};
struct hugot_encodings {
  std::vector<hugot::Outcome<hugot::Encoding>> rows;
};
struct hugot_text {
  std::string text;
};

namespace {

using namespace hugot;
using namespace hugot::c_api;

static_assert(static_cast<int>(Truncation::Strategy::kLongestFirst) ==
              HUGOT_TRUNCATION_LONGEST_FIRST);
static_assert(static_cast<int>(Truncation::Strategy::kOnlyFirst) == HUGOT_TRUNCATION_ONLY_FIRST);
static_assert(static_cast<int>(Truncation::Strategy::kOnlySecond) == HUGOT_TRUNCATION_ONLY_SECOND);
// Offsets are given out as pairs of numbers.
static_assert(sizeof(Span) == 2 * sizeof(uint32_t) && alignof(Span) == alignof(uint32_t));

EncodeOptions convert(const hugot_encode_options& from) {
  check_size(from, "hugot_encode_options");
  const int cut = enumerator(from.cut, HUGOT_TRUNCATION_ONLY_SECOND, "truncation");
  require(from.max_length >= 0, ErrorCode::kInvalidArgument, "max_length is ", from.max_length);
  EncodeOptions options;
  options.add_special_tokens = from.no_special_tokens == 0;
  options.encode_special_tokens = from.raw_special_tokens != 0;
  options.unit = from.byte_offsets != 0 ? OffsetUnit::kBytes : OffsetUnit::kCodePoints;
  if (from.max_length > 0) {
    Truncation& truncation = options.truncation.emplace();
    truncation.max_length = static_cast<size_t>(from.max_length);
    truncation.strategy = static_cast<Truncation::Strategy>(cut);
    truncation.side = from.cut_left != 0 ? Side::kLeft : Side::kRight;
  }
  return options;
}

const Encoding* encoding(const hugot_encodings* encodings, size_t index) {
  return index < row_count(encodings) ? &encodings->rows[index].value : nullptr;
}

}  // namespace

void hugot_encode_options_init(hugot_encode_options* options) { init(options); }

hugot_status hugot_tokenizer_load(const char* file, hugot_tokenizer** tokenizer) {
  return guarded([&] {
    require_pointer(file, "file");
    require_pointer(tokenizer, "tokenizer");
    *tokenizer = new hugot_tokenizer{Tokenizer::from_file(file)};
  });
}

void hugot_tokenizer_free(hugot_tokenizer* tokenizer) { delete tokenizer; }

size_t hugot_tokenizer_vocabulary_size(const hugot_tokenizer* tokenizer) {
  return tokenizer == nullptr ? 0 : tokenizer->tokenizer.vocab_size();
}

int32_t hugot_tokenizer_id(const hugot_tokenizer* tokenizer, const char* token) {
  if (tokenizer == nullptr || token == nullptr) return -1;
  return tokenizer->tokenizer.token_to_id(token).value_or(-1);
}

hugot_status hugot_tokenizer_encode(const hugot_tokenizer* tokenizer, const char* const* texts,
                                    const size_t* lengths, const char* const* pairs,
                                    const size_t* pair_lengths, size_t count,
                                    const hugot_encode_options* options,
                                    hugot_encodings** encodings) {
  return guarded([&] {
    require_pointer(tokenizer, "tokenizer");
    require_pointer(encodings, "encodings");
    hugot_encode_options defaults;
    init(&defaults);
    if (options == nullptr) options = &defaults;
    const EncodeOptions converted = convert(*options);
    const std::vector<TextPair> views = pairs_of(texts, lengths, pairs, pair_lengths, count);
    *encodings =
        new hugot_encodings{tokenizer->tokenizer.encode_batch(views, converted, options->threads)};
  });
}

size_t hugot_encodings_count(const hugot_encodings* encodings) { return row_count(encodings); }

const char* hugot_encodings_error(const hugot_encodings* encodings, size_t index) {
  return error_of(encodings, index);
}

size_t hugot_encodings_size(const hugot_encodings* encodings, size_t index) {
  const Encoding* found = encoding(encodings, index);
  return found == nullptr ? 0 : found->size();
}

const int32_t* hugot_encodings_ids(const hugot_encodings* encodings, size_t index) {
  const Encoding* found = encoding(encodings, index);
  return found == nullptr ? nullptr : found->ids.data();
}

const int32_t* hugot_encodings_type_ids(const hugot_encodings* encodings, size_t index) {
  const Encoding* found = encoding(encodings, index);
  return found == nullptr ? nullptr : found->type_ids.data();
}

const uint8_t* hugot_encodings_special_tokens_mask(const hugot_encodings* encodings, size_t index) {
  const Encoding* found = encoding(encodings, index);
  return found == nullptr ? nullptr : found->special_tokens_mask.data();
}

const int32_t* hugot_encodings_word_ids(const hugot_encodings* encodings, size_t index) {
  const Encoding* found = encoding(encodings, index);
  return found == nullptr ? nullptr : found->word_ids.data();
}

const uint32_t* hugot_encodings_offsets(const hugot_encodings* encodings, size_t index) {
  const Encoding* found = encoding(encodings, index);
  return found == nullptr || found->offsets.empty() ? nullptr : &found->offsets[0].begin;
}

const char* hugot_encodings_token(const hugot_encodings* encodings, size_t index, size_t token) {
  const Encoding* found = encoding(encodings, index);
  return found == nullptr || token >= found->tokens.size() ? nullptr : found->tokens[token].c_str();
}

void hugot_encodings_free(hugot_encodings* encodings) { delete encodings; }

hugot_status hugot_tokenizer_decode(const hugot_tokenizer* tokenizer, const int32_t* ids,
                                    size_t count, int skip_special_tokens, hugot_text** text) {
  return guarded([&] {
    require_pointer(tokenizer, "tokenizer");
    require_pointer(text, "text");
    if (count > 0) require_pointer(ids, "ids");
    *text = new hugot_text{tokenizer->tokenizer.decode({ids, count}, skip_special_tokens != 0)};
  });
}

const char* hugot_text_data(const hugot_text* text) {
  return text == nullptr ? "" : text->text.c_str();
}

size_t hugot_text_size(const hugot_text* text) { return text == nullptr ? 0 : text->text.size(); }

void hugot_text_free(hugot_text* text) { delete text; }
