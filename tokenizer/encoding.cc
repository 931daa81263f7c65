#include "tokenizer/encoding.h"

#include <algorithm>

#include "base/error.h"

namespace hugot {
namespace {

// Windows that truncation may produce for one text.
constexpr size_t kMaxWindows = size_t{1} << 20;
// Tokens of all pairs of windows, which grow with the square of the texts.
constexpr size_t kMaxPairTokens = size_t{1} << 23;

template <class T>
void append(std::vector<T>& to, std::vector<T>&& from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

template <class T>
void copy_window(const std::vector<T>& from, Span window, std::vector<T>& to) {
  if (!from.empty()) to.assign(from.begin() + window.begin, from.begin() + window.end);
}

Encoding slice(const Encoding& encoding, Span window) {
  Encoding out;
  copy_window(encoding.ids, window, out.ids);
  copy_window(encoding.type_ids, window, out.type_ids);
  copy_window(encoding.attention_mask, window, out.attention_mask);
  copy_window(encoding.special_tokens_mask, window, out.special_tokens_mask);
  copy_window(encoding.offsets, window, out.offsets);
  copy_window(encoding.word_ids, window, out.word_ids);
  copy_window(encoding.tokens, window, out.tokens);
  return out;
}

// Windows of `length` tokens that share `stride`, from the end that stays.
std::vector<Span> windows(size_t size, size_t length, size_t stride, Side side) {
  const size_t step = length - stride;
  std::vector<Span> out;
  const auto add = [&](size_t begin, size_t end) {
    require(out.size() < kMaxWindows, ErrorCode::kInvalidArgument,
            "truncation would produce more than ", kMaxWindows, " windows");
    out.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end)});
  };
  if (side == Side::kRight) {
    for (size_t begin = 0; begin < size; begin += step) {
      const size_t end = std::min(begin + length, size);
      add(begin, end);
      if (end == size) break;
    }
  } else {
    for (size_t end = size; end > 0; end -= std::min(step, end)) {
      const size_t begin = end - std::min(length, end);
      add(begin, end);
      if (begin == 0) break;
    }
  }
  return out;
}

void put_range(Encoding& encoding, int32_t sequence, Span range) {
  for (Encoding::SequenceRange& known : encoding.sequence_ranges) {
    if (known.sequence == sequence) {
      known.range = range;
      return;
    }
  }
  encoding.sequence_ranges.push_back({sequence, range});
}

// Appends the tokens of `other`, not its windows.
void append_tokens(Encoding& encoding, Encoding&& other) {
  const auto shift = static_cast<uint32_t>(encoding.size());
  for (const Encoding::SequenceRange& added : other.sequence_ranges) {
    put_range(encoding, added.sequence, {added.range.begin + shift, added.range.end + shift});
  }
  append(encoding.ids, std::move(other.ids));
  append(encoding.type_ids, std::move(other.type_ids));
  append(encoding.attention_mask, std::move(other.attention_mask));
  append(encoding.special_tokens_mask, std::move(other.special_tokens_mask));
  append(encoding.offsets, std::move(other.offsets));
  append(encoding.word_ids, std::move(other.word_ids));
  append(encoding.tokens, std::move(other.tokens));
}

template <class T>
void pad_column(std::vector<T>& column, size_t count, Side side, const T& value) {
  column.insert(side == Side::kRight ? column.end() : column.begin(), count, value);
}

void pad_encoding(Encoding& encoding, size_t length, const Padding& padding) {
  for (Encoding& window : encoding.overflowing) pad_encoding(window, length, padding);
  if (encoding.size() >= length) return;
  const size_t count = length - encoding.size();
  const bool has_offsets = encoding.offsets.size() == encoding.size();
  const bool has_words = encoding.word_ids.size() == encoding.size();
  const bool has_tokens = encoding.tokens.size() == encoding.size();
  pad_column(encoding.ids, count, padding.side, padding.pad_id);
  pad_column(encoding.type_ids, count, padding.side, padding.pad_type_id);
  pad_column(encoding.attention_mask, count, padding.side, uint8_t{0});
  pad_column(encoding.special_tokens_mask, count, padding.side, uint8_t{1});
  if (has_offsets) pad_column(encoding.offsets, count, padding.side, Span{});
  if (has_words) pad_column(encoding.word_ids, count, padding.side, -1);
  if (has_tokens) pad_column(encoding.tokens, count, padding.side, padding.pad_token);
  if (padding.side == Side::kLeft) {
    for (Encoding::SequenceRange& range : encoding.sequence_ranges) {
      range.range.begin += static_cast<uint32_t>(count);
      range.range.end += static_cast<uint32_t>(count);
    }
  }
}

}  // namespace

std::vector<int32_t> Encoding::sequence_ids() const {
  std::vector<int32_t> out(size(), -1);
  // Like the reference: sequences count from 0, and one without a range is the whole text.
  const size_t count = std::max<size_t>(sequence_ranges.size(), 1);
  for (int32_t sequence = 0; sequence < static_cast<int32_t>(count); ++sequence) {
    Span range{0, static_cast<uint32_t>(size())};
    for (const SequenceRange& known : sequence_ranges) {
      if (known.sequence == sequence) range = known.range;
    }
    std::fill(out.begin() + range.begin, out.begin() + range.end, sequence);
  }
  return out;
}

void append_encoding(Encoding& encoding, Encoding other) {
  std::vector<Encoding> joined;
  const size_t pairs = encoding.overflowing.size() * other.overflowing.size();
  require(pairs <= kMaxPairTokens / std::max<size_t>(encoding.size() + other.size(), 1),
          ErrorCode::kInvalidArgument, "truncation would produce ", pairs,
          " pairs of windows, which is too much");
  for (const Encoding& mine : encoding.overflowing) {
    joined.push_back(mine);
    append_encoding(joined.back(), other);
    for (const Encoding& theirs : other.overflowing) {
      joined.push_back(mine);
      append_encoding(joined.back(), theirs);
    }
  }
  for (const Encoding& theirs : other.overflowing) {
    joined.push_back(encoding);
    append_encoding(joined.back(), theirs);
  }
  append_tokens(encoding, std::move(other));
  encoding.overflowing = std::move(joined);
}

void set_sequence(Encoding& encoding, int32_t sequence) {
  put_range(encoding, sequence, {0, static_cast<uint32_t>(encoding.size())});
}

void check_stride(size_t max_length, size_t stride) {
  require(max_length == 0 || stride < max_length, ErrorCode::kInvalidArgument, "truncation stride ",
          stride, " must be less than the ", max_length, " tokens that are left for the text");
}

void truncate_encoding(Encoding& encoding, size_t max_length, size_t stride, Side side,
                       bool keep_overflow) {
  const size_t size = encoding.size();
  if (size <= max_length) return;
  if (max_length == 0) {
    Encoding whole = std::exchange(encoding, Encoding());
    if (keep_overflow) encoding.overflowing.push_back(std::move(whole));
    return;
  }
  check_stride(max_length, stride);
  if (!keep_overflow) {
    const size_t begin = side == Side::kRight ? 0 : size - max_length;
    encoding =
        slice(encoding, {static_cast<uint32_t>(begin), static_cast<uint32_t>(begin + max_length)});
    return;
  }
  const std::vector<Span> parts = windows(size, max_length, stride, side);
  Encoding out = slice(encoding, parts[0]);
  for (size_t i = 1; i < parts.size(); ++i) out.overflowing.push_back(slice(encoding, parts[i]));
  encoding = std::move(out);
}

std::pair<size_t, size_t> truncated_lengths(const Truncation& truncation, size_t first,
                                            std::optional<size_t> second) {
  const size_t max = truncation.max_length;
  const size_t total = first + second.value_or(0);
  if (total <= max) return {first, second.value_or(0)};
  if (max == 0) return {0, 0};
  const size_t excess = total - max;
  switch (truncation.strategy) {
    case Truncation::Strategy::kLongestFirst: {
      if (!second) return {max, 0};
      const size_t shorter = std::min(first, *second);
      size_t a = shorter;
      size_t b = shorter > max ? shorter : std::max(shorter, max - shorter);
      if (a + b > max) {
        a = max / 2;
        b = a + max % 2;
      }
      return first > *second ? std::pair(b, a) : std::pair(a, b);
    }
    case Truncation::Strategy::kOnlyFirst:
      require(first > excess, ErrorCode::kInvalidArgument,
              "the first text is too short to truncate the pair to ", max, " tokens");
      return {first - excess, second.value_or(0)};
    case Truncation::Strategy::kOnlySecond:
      require(second.has_value(), ErrorCode::kInvalidArgument,
              "truncation of the second text, but there is only one");
      require(*second > excess, ErrorCode::kInvalidArgument,
              "the second text is too short to truncate the pair to ", max, " tokens");
      return {first, *second - excess};
  }
  fail(ErrorCode::kInternal, "unknown truncation strategy");
}

void pad_encodings(std::span<Encoding> batch, const Padding& padding) {
  size_t length = padding.length.value_or(0);
  if (!padding.length) {
    for (const Encoding& encoding : batch) length = std::max(length, encoding.size());
  }
  const size_t multiple = padding.pad_to_multiple_of;
  if (multiple > 0 && length % multiple != 0) length += multiple - length % multiple;
  for (Encoding& encoding : batch) pad_encoding(encoding, length, padding);
}

}  // namespace hugot
