#include "base/unicode.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace hugot::unicode {
namespace {

struct Range {
  char32_t first, last;
};
struct RangeValue {
  char32_t first, last;
  uint8_t value;
};
// Code points first, first + stride, ... last map to themselves plus delta.
struct LowerRange {
  char32_t first, last;
  int32_t stride, delta;
};
struct Decomposition {
  char32_t code_point;
  uint16_t offset;  // in kDecompositionPool
  uint8_t length;
};
struct Composition {
  char32_t first, second, composite;
};

#include "base/unicode_tables.inc"

// Hangul syllables: Unicode, section 3.12.
constexpr char32_t kSyllableBase = 0xAC00, kLeadBase = 0x1100, kVowelBase = 0x1161,
                   kTrailBase = 0x11A7;
constexpr uint32_t kLeads = 19, kVowels = 21, kTrails = 28;
constexpr uint32_t kSyllables = kLeads * kVowels * kTrails;

struct Record {
  uint8_t combining_class = 0;
  uint16_t canonical = 0;      // index in kCanonical plus 1, or 0
  uint16_t compatibility = 0;  // index in kCompatibility plus 1, or 0
  int32_t lower = 0;           // distance to the lowercase letter
};

struct Data {
  CodePointTable<uint8_t> properties;  // apart: it has many pages, the records few
  CodePointTable<Record> records;
};

template <size_t kSize>
void set_property(Data& data, const Range (&ranges)[kSize], Property property) {
  for (const Range& range : ranges) {
    for (char32_t c = range.first; c <= range.last; ++c) data.properties.at(c) |= property;
  }
}

Data make_data() {
  Data data;
  set_property(data, kWhiteSpaceRanges, kWhiteSpace);
  set_property(data, kBertRemovedRanges, kBertRemoved);
  set_property(data, kBertMarksRanges, kBertMark);
  set_property(data, kPunctuationRanges, kPunctuation);
  set_property(data, kMarksRanges, kMark);
  set_property(data, kNumericRanges, kNumeric);
  set_property(data, kWordRanges, kWord);
  for (const RangeValue& range : kCombiningClass) {
    for (char32_t c = range.first; c <= range.last; ++c)
      data.records.at(c).combining_class = range.value;
  }
  for (const LowerRange& range : kLower) {
    for (char32_t c = range.first; c <= range.last; c += range.stride) {
      data.records.at(c).lower = range.delta;
    }
  }
  for (size_t i = 0; i < std::size(kCanonical); ++i) {
    data.records.at(kCanonical[i].code_point).canonical = static_cast<uint16_t>(i + 1);
  }
  for (size_t i = 0; i < std::size(kCompatibility); ++i) {
    data.records.at(kCompatibility[i].code_point).compatibility = static_cast<uint16_t>(i + 1);
  }
  return data;
}

const Data& data() {
  static const Data instance = make_data();
  return instance;
}

}  // namespace

uint8_t properties(char32_t c) { return data().properties[c]; }

uint8_t combining_class(char32_t c) { return data().records[c].combining_class; }

Lowercase lowercase(char32_t c) {
  if (c == 0x130) return {U'i', 0x307};
  return {static_cast<char32_t>(static_cast<int32_t>(c) + data().records[c].lower), 0};
}

std::span<const char32_t> decompose(char32_t c, bool compatibility, char32_t (&hangul)[3]) {
  if (c - kSyllableBase < kSyllables) {
    const uint32_t index = c - kSyllableBase;
    hangul[0] = kLeadBase + index / (kVowels * kTrails);
    hangul[1] = kVowelBase + index / kTrails % kVowels;
    hangul[2] = kTrailBase + index % kTrails;
    return {hangul, index % kTrails == 0 ? size_t{2} : size_t{3}};
  }
  const Record& entry = data().records[c];
  const Decomposition* found = nullptr;
  if (compatibility && entry.compatibility != 0) {
    found = &kCompatibility[entry.compatibility - 1];
  } else if (entry.canonical != 0) {
    found = &kCanonical[entry.canonical - 1];
  }
  if (found == nullptr) return {};
  return {kDecompositionPool + found->offset, found->length};
}

std::optional<char32_t> compose(char32_t first, char32_t second) {
  if (first - kLeadBase < kLeads && second - kVowelBase < kVowels) {
    const uint32_t index = (first - kLeadBase) * kVowels + (second - kVowelBase);
    return static_cast<char32_t>(kSyllableBase + index * kTrails);
  }
  if (first - kSyllableBase < kSyllables && (first - kSyllableBase) % kTrails == 0 &&
      second > kTrailBase && second < kTrailBase + kTrails) {
    return static_cast<char32_t>(first + (second - kTrailBase));
  }
  const auto pair = std::pair(first, second);
  const auto* found = std::lower_bound(
      std::begin(kCompositions), std::end(kCompositions), pair,
      [](const Composition& c, const auto& key) { return std::pair(c.first, c.second) < key; });
  if (found == std::end(kCompositions) || std::pair(found->first, found->second) != pair) {
    return std::nullopt;
  }
  return found->composite;
}

}  // namespace hugot::unicode
