#include "base/code_point_set.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <unordered_map>

#include "base/error.h"
#include "base/unicode.h"
#include "base/utf8.h"

namespace hugot {
namespace {

using Range = CodePointSet::Range;
struct RangeValue {
  char32_t first, last;
  uint8_t value;
};
struct PropertyName {
  const char* name;
  const char* alias;
};
struct BinaryProperty {
  const char* name;
  const char* alias;
  uint16_t begin, end;
};
struct CodePointPair {
  char32_t first, second;
};

#include "base/code_point_tables.inc"

constexpr char32_t kLast = 0x10FFFF;

std::string loose(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c == ' ' || c == '-' || c == '_') continue;
    out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return out;
}

CodePointSet category(std::string_view name) {  // as written in the table, or its first letter
  CodePointSet out;
  CodePointSet assigned;
  for (const RangeValue& range : kCategories) {
    assigned.add(range.first, range.last);
    if (std::string_view(kCategoryNames[range.value]).starts_with(name)) {
      out.add(range.first, range.last);
    }
  }
  if (std::string_view("Cn").starts_with(name)) {
    assigned.invert();
    out.add(assigned);
  }
  return out;
}

// Long names of general categories, in loose form.
const std::pair<const char*, const char*> kLongCategories[] = {
    {"letter", "L"},
    {"uppercaseletter", "Lu"},
    {"lowercaseletter", "Ll"},
    {"titlecaseletter", "Lt"},
    {"modifierletter", "Lm"},
    {"otherletter", "Lo"},
    {"mark", "M"},
    {"combiningmark", "M"},
    {"nonspacingmark", "Mn"},
    {"spacingmark", "Mc"},
    {"enclosingmark", "Me"},
    {"number", "N"},
    {"decimalnumber", "Nd"},
    {"letternumber", "Nl"},
    {"othernumber", "No"},
    {"punctuation", "P"},
    {"connectorpunctuation", "Pc"},
    {"dashpunctuation", "Pd"},
    {"openpunctuation", "Ps"},
    {"closepunctuation", "Pe"},
    {"initialpunctuation", "Pi"},
    {"finalpunctuation", "Pf"},
    {"otherpunctuation", "Po"},
    {"symbol", "S"},
    {"mathsymbol", "Sm"},
    {"currencysymbol", "Sc"},
    {"modifiersymbol", "Sk"},
    {"othersymbol", "So"},
    {"separator", "Z"},
    {"spaceseparator", "Zs"},
    {"lineseparator", "Zl"},
    {"paragraphseparator", "Zp"},
    {"other", "C"},
    {"control", "Cc"},
    {"format", "Cf"},
    {"privateuse", "Co"},
    {"unassigned", "Cn"},
};

template <size_t kSize>
CodePointSet set_of(const Range (&ranges)[kSize]) {
  CodePointSet out;
  for (const Range& range : ranges) out.add(range.first, range.last);
  return out;
}

CodePointSet join(std::initializer_list<const char*> names) {
  CodePointSet out;
  for (const char* name : names) out.add(CodePointSet::property(name));
  return out;
}

// The POSIX classes, by their definitions in Oniguruma; false for another name.
bool posix_class(const std::string& name, CodePointSet& out) {
  if (name == "alnum") {
    out = join({"Alphabetic", "Nd"});
  } else if (name == "ascii") {
    out.add(0, 0x7F);
  } else if (name == "blank") {
    out = category("Zs");
    out.add('\t', '\t');
  } else if (name == "cntrl") {
    out = category("Cc");
  } else if (name == "digit") {
    out = category("Nd");
  } else if (name == "graph" || name == "print") {
    out = join({"Cc", "Cn", "Zl", "Zp"});
    if (name == "graph") out.add(category("Zs"));
    out.invert();
  } else if (name == "punct") {
    out = join({"P", "S"});
  } else if (name == "space" || name == "whitespace") {
    out = category("Z");
    out.add('\t', '\r');
    out.add(0x85, 0x85);
  } else if (name == "xdigit") {
    out = {{'0', '9'}, {'A', 'F'}, {'a', 'f'}};
  } else if (name == "word") {
    out = join({"Alphabetic", "M", "Nd", "Pc"});
  } else if (name == "any") {
    out = CodePointSet::any();
  } else if (name == "assigned") {
    out = category("Cn");
    out.invert();
  } else {
    return false;
  }
  return true;
}

// Code points of every fold that has more than one.
const std::unordered_map<char32_t, std::vector<char32_t>>& fold_classes() {
  static const auto classes = [] {
    std::unordered_map<char32_t, std::vector<char32_t>> out;
    // No script above the first two planes has case.
    for (char32_t c = 0; c < 0x20000; ++c) {
      const char32_t folded = simple_fold(c);
      if (folded == c) continue;
      std::vector<char32_t>& members = out[folded];
      if (members.empty()) members.push_back(folded);
      members.push_back(c);
    }
    return out;
  }();
  return classes;
}

enum ClusterProperty : uint8_t {
  kOther,
  kExtend,
  kSpacingMark,
  kZwj,
  kPrepend,
  kControl,
  kRegional,
  kPictographic,
  kLead,
  kVowel,
  kTrail,
  kLeadVowel,
  kLeadVowelTrail,
  // Of the Indic syllables that GB9c keeps together.
  kConsonant,
  kLinker,
};

constexpr Range kLinkers[] = {{0x94D, 0x94D}, {0x9CD, 0x9CD}, {0xACD, 0xACD},
                              {0xB4D, 0xB4D}, {0xC4D, 0xC4D}, {0xD4D, 0xD4D}};
constexpr Range kConsonants[] = {
    {0x915, 0x939}, {0x958, 0x95F}, {0x978, 0x97F}, {0x995, 0x9A8}, {0x9AA, 0x9B0}, {0x9B2, 0x9B2},
    {0x9B6, 0x9B9}, {0x9DC, 0x9DD}, {0x9DF, 0x9DF}, {0x9F0, 0x9F1}, {0xA95, 0xAA8}, {0xAAA, 0xAB0},
    {0xAB2, 0xAB3}, {0xAB5, 0xAB9}, {0xAF9, 0xAF9}, {0xB15, 0xB28}, {0xB2A, 0xB30}, {0xB32, 0xB33},
    {0xB35, 0xB39}, {0xB5C, 0xB5D}, {0xB5F, 0xB5F}, {0xB71, 0xB71}, {0xC15, 0xC28}, {0xC2A, 0xC39},
    {0xC58, 0xC5A}, {0xD15, 0xD3A}};

unicode::CodePointTable<uint8_t> make_cluster_properties() {
  unicode::CodePointTable<uint8_t> out;
  const auto put = [&](const auto& ranges, ClusterProperty property) {
    for (const auto& range : ranges) {
      for (char32_t c = range.first; c <= range.last; ++c) out.at(c) = property;
    }
  };
  put(CodePointSet::property("Extended_Pictographic").ranges(), kPictographic);
  put(kConsonants, kConsonant);
  put(kClusterPrependRanges, kPrepend);
  put(kClusterControlRanges, kControl);
  put(kClusterExtendRanges, kSpacingMark);
  put(CodePointSet::property("Grapheme_Extend").ranges(), kExtend);
  put(CodePointSet::property("Emoji_Modifier").ranges(), kExtend);
  put(kLinkers, kLinker);
  out.at(0x200D) = kZwj;
  for (char32_t c = 0x1F1E6; c <= 0x1F1FF; ++c) out.at(c) = kRegional;
  for (char32_t c = 0x1100; c <= 0x115F; ++c) out.at(c) = kLead;
  for (char32_t c = 0x1160; c <= 0x11A7; ++c) out.at(c) = kVowel;
  for (char32_t c = 0x11A8; c <= 0x11FF; ++c) out.at(c) = kTrail;
  for (char32_t c = 0xA960; c <= 0xA97C; ++c) out.at(c) = kLead;
  for (char32_t c = 0xD7B0; c <= 0xD7C6; ++c) out.at(c) = kVowel;
  for (char32_t c = 0xD7CB; c <= 0xD7FB; ++c) out.at(c) = kTrail;
  for (char32_t c = 0xAC00; c <= 0xD7A3; ++c) {
    out.at(c) = (c - 0xAC00) % 28 == 0 ? kLeadVowel : kLeadVowelTrail;
  }
  return out;
}

ClusterProperty cluster_property(char32_t c) {
  static const auto table = make_cluster_properties();
  return static_cast<ClusterProperty>(table[c]);
}

bool hangul_joins(ClusterProperty left, ClusterProperty right) {
  switch (left) {
    case kLead:
      return right == kLead || right == kVowel || right == kLeadVowel || right == kLeadVowelTrail;
    case kLeadVowel:
    case kVowel:
      return right == kVowel || right == kTrail;
    case kLeadVowelTrail:
    case kTrail:
      return right == kTrail;
    default:
      return false;
  }
}

}  // namespace

CodePointSet::CodePointSet(std::initializer_list<Range> ranges) {
  for (const Range& range : ranges) add(range.first, range.last);
}

void CodePointSet::add(char32_t first, char32_t last) {
  ranges_.push_back({first, last});
  sorted_ = false;
}

void CodePointSet::add(const CodePointSet& other) {
  ranges_.insert(ranges_.end(), other.ranges_.begin(), other.ranges_.end());
  sorted_ = false;
}

const std::vector<Range>& CodePointSet::ranges() const& {
  if (sorted_) return ranges_;
  std::sort(ranges_.begin(), ranges_.end(),
            [](const Range& a, const Range& b) { return a.first < b.first; });
  size_t written = 0;
  for (const Range& range : ranges_) {
    if (written > 0 && range.first <= ranges_[written - 1].last + 1) {
      ranges_[written - 1].last = std::max(ranges_[written - 1].last, range.last);
    } else {
      ranges_[written++] = range;
    }
  }
  ranges_.resize(written);
  sorted_ = true;
  return ranges_;
}

void CodePointSet::invert() {
  std::vector<Range> out;
  char32_t next = 0;
  for (const Range& range : ranges()) {
    if (next < range.first) out.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kLast) out.push_back({next, kLast});
  ranges_ = std::move(out);
}

void CodePointSet::intersect(const CodePointSet& other) {
  // De Morgan.
  CodePointSet rest = other;
  rest.invert();
  invert();
  add(rest);
  invert();
}

void CodePointSet::close_under_case() {
  CodePointSet more;
  for (const auto& [fold, members] : fold_classes()) {
    if (std::none_of(members.begin(), members.end(), [&](char32_t c) { return contains(c); })) {
      continue;
    }
    for (const char32_t c : members) more.add(c, c);
  }
  add(more);
}

bool CodePointSet::contains(char32_t c) const {
  const auto& sorted = ranges();
  const auto after = std::upper_bound(sorted.begin(), sorted.end(), c,
                                      [](char32_t key, const Range& r) { return key < r.first; });
  return after != sorted.begin() && c <= std::prev(after)->last;
}

bool CodePointSet::intersects(const CodePointSet& other) const {
  CodePointSet both = *this;
  both.intersect(other);
  return !both.empty();
}

CodePointSet CodePointSet::any() { return {{0, kLast}}; }

CodePointSet CodePointSet::property(std::string_view name) {
  const std::string key = loose(name);
  CodePointSet out;
  if (posix_class(key, out)) return out;
  for (const char* short_name : kCategoryNames) {
    if (loose(short_name) == key) return category(short_name);
    if (key.size() == 1 && loose(std::string(1, short_name[0])) == key) {
      return category(std::string_view(short_name, 1));
    }
  }
  if (key == "lc" || key == "casedletter") return join({"Lu", "Ll", "Lt"});
  for (const auto& [long_name, short_name] : kLongCategories) {
    if (long_name == key) return category(short_name);
  }
  for (size_t i = 0; i < std::size(kScriptNames); ++i) {
    if (loose(kScriptNames[i].name) != key && loose(kScriptNames[i].alias) != key) continue;
    for (const RangeValue& range : kScripts) {
      if (range.value == i) out.add(range.first, range.last);
    }
    return out;
  }
  for (const BinaryProperty& property : kBinaryProperties) {
    if (loose(property.name) != key && loose(property.alias) != key) continue;
    for (size_t i = property.begin; i < property.end; ++i) {
      out.add(kBinaryRanges[i].first, kBinaryRanges[i].last);
    }
    return out;
  }
  fail(ErrorCode::kInvalidData, "unknown character property '", name, "'");
}

CodePointSet CodePointSet::word() {
  CodePointSet out = property("word");
  out.add(set_of(kMoreWordRanges));
  return out;
}

CodePointMatcher::CodePointMatcher(const CodePointSet& set) : bits_(1) {
  uint16_t full = 0;  // a page that holds everything, when there is one
  for (const Range& range : set.ranges()) {
    for (char32_t c = range.first; c <= range.last;) {
      uint16_t& page = page_of_[c >> 8];
      const char32_t last = std::min<char32_t>(range.last, c | 0xFF);
      if (last - c == 0xFF && full != 0) {
        page = full;
      } else if (page == 0) {
        page = static_cast<uint16_t>(bits_.size());
        bits_.emplace_back();
      }
      if (last - c == 0xFF) {
        full = page;
        bits_[page].fill(~uint64_t{0});
        c = last + 1;
      }
      for (; c <= last; ++c) bits_[page][c >> 6 & 3] |= uint64_t{1} << (c & 63);
    }
  }
}

char32_t simple_fold(char32_t c) {
  if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
  const auto* found =
      std::lower_bound(std::begin(kMoreFolds), std::end(kMoreFolds), c,
                       [](const CodePointPair& pair, char32_t key) { return pair.first < key; });
  if (found != std::end(kMoreFolds) && found->first == c) return found->second;
  const unicode::Lowercase lower = unicode::lowercase(c);
  return lower.second == 0 ? lower.first : c;
}

std::vector<char32_t> fold_class(char32_t c) {
  const auto found = fold_classes().find(simple_fold(c));
  return found == fold_classes().end() ? std::vector<char32_t>{c} : found->second;
}

const std::vector<LongFold>& long_folds() {
  static const std::vector<LongFold> folds(std::begin(kLongFolds), std::end(kLongFolds));
  return folds;
}

size_t grapheme_end(std::string_view text, size_t pos, bool indic) {
  ClusterProperty left = cluster_property(decode_utf8(text, pos));
  bool pictographic = left == kPictographic;  // followed by Extend* so far
  bool odd_regional = left == kRegional;
  bool consonant = left == kConsonant;  // followed by marks so far
  bool linked = false;                  // one of which is a linker
  while (pos < text.size()) {
    size_t next = pos;
    const ClusterProperty right = cluster_property(decode_utf8(text, next));
    const bool marks = right == kExtend || right == kZwj || right == kLinker;
    bool joins = marks || right == kSpacingMark || left == kPrepend || hangul_joins(left, right);
    if (left == kControl || right == kControl) {
      // GB4 and GB5; CR LF is one cluster by GB3.
      joins = text[pos - 1] == '\r' && text[pos] == '\n';
    } else if (left == kZwj && right == kPictographic && pictographic) {
      joins = true;
    } else if (right == kRegional && odd_regional) {
      joins = true;
    } else if (indic && right == kConsonant && consonant && linked) {
      joins = true;
    }
    if (!joins) break;
    odd_regional = right == kRegional && !odd_regional;
    pictographic = right == kPictographic || (pictographic && marks);
    linked = marks && (linked || right == kLinker);
    consonant = right == kConsonant || (consonant && marks);
    left = right;
    pos = next;
  }
  return pos;
}

uint8_t legacy_script(char32_t c) {
  static const auto table = [] {
    unicode::CodePointTable<uint8_t> out;
    for (const RangeValue& range : kLegacyScripts) {
      for (char32_t i = range.first; i <= range.last; ++i) out.at(i) = range.value;
    }
    return out;
  }();
  return table[c];
}

}  // namespace hugot
