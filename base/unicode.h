// Character data with the Unicode versions that the reference uses (tools/unicode_tables.py): 9.0
// for normalization forms and StripAccents, 8.0 for the categories of BERT, 16 or newer elsewhere.
// All functions are thread-safe.
#ifndef HUGOT_BASE_UNICODE_H_
#define HUGOT_BASE_UNICODE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace hugot::unicode {

// One value per code point, stored by pages of 256; pages that hold only T() share one.
template <class T>
class CodePointTable {
 public:
  CodePointTable() : page_of_(kPages, 0), values_(kPageSize) {}

  const T& operator[](char32_t c) const {
    return values_[size_t{page_of_[c >> 8]} * kPageSize + (c & 0xFF)];
  }

  // REQUIRES: c <= 0x10FFFF.
  T& at(char32_t c) {
    uint16_t& page = page_of_[c >> 8];
    if (page == 0) {
      page = static_cast<uint16_t>(values_.size() / kPageSize);
      values_.resize(values_.size() + kPageSize);
    }
    return values_[size_t{page} * kPageSize + (c & 0xFF)];
  }

 private:
  static constexpr size_t kPageSize = 256;
  static constexpr size_t kPages = 0x1100;
  std::vector<uint16_t> page_of_;
  std::vector<T> values_;
};

// Properties of a code point, a bit each.
enum Property : uint8_t {
  kWhiteSpace = 1,   // White_Space
  kBertRemoved = 2,  // NUL, U+FFFD and Cc, Cf, Co but tab, line feed, carriage return
  kBertMark = 4,     // Mn, for code points without a canonical decomposition
  kPunctuation = 8,  // P* and the ASCII symbols
  kMark = 16,        // Mn, Mc, Me
  kNumeric = 32,     // Nd, Nl, No
  kWord = 64,        // \w: Alphabetic, M*, Nd, Pc, Join_Control
};

// All properties of `c`; constant-time.
uint8_t properties(char32_t c);
inline bool has(char32_t c, Property property) { return (properties(c) & property) != 0; }

// Canonical_Combining_Class.
uint8_t combining_class(char32_t c);

// Full lowercase mapping without context: one code point, or i and U+0307 for U+0130.
struct Lowercase {
  char32_t first;
  char32_t second;  // 0: none
};
Lowercase lowercase(char32_t c);

// Full canonical or compatibility decomposition of `c`, which may use `hangul` as storage; empty
// when c decomposes to itself.
std::span<const char32_t> decompose(char32_t c, bool compatibility, char32_t (&hangul)[3]);

// The primary composite of a canonical pair.
std::optional<char32_t> compose(char32_t first, char32_t second);

}  // namespace hugot::unicode

#endif  // HUGOT_BASE_UNICODE_H_
