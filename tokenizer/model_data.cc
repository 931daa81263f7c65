#include "tokenizer/model_data.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "tokenizer/json_fields.h"

namespace hugot {
namespace {

using json_fields::Json;

constexpr size_t kBadMerge = std::string_view::npos;

// Where the space of "left right" is; kBadMerge for another number of parts.
size_t merge_space(std::string_view line) {
  const size_t space = line.find(' ');
  return space != line.npos && line.find(' ', space + 1) == line.npos ? space : kBadMerge;
}

bool is_version_line(std::string_view line) { return line.starts_with("#version"); }

// Reads JSON without building anything. After a false result the position means nothing.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  size_t position() const { return pos_; }
  bool done() {
    skip_space();
    return pos_ == text_.size();
  }
  // The next character that is not white space, which stays; NUL at the end.
  char peek() {
    skip_space();
    return pos_ < text_.size() ? text_[pos_] : '\0';
  }
  bool skip(char c) {
    if (peek() != c) return false;
    ++pos_;
    return true;
  }

  // The contents of a string; valid until the next call.
  bool string(std::string_view& out) { return string(out, buffer_); }
  bool string(std::string_view& out, std::string& buffer) {
    if (!skip('"')) return false;
    const size_t begin = pos_;
    pos_ = plain_end(begin);
    if (pos_ == text_.size()) return false;
    if (text_[pos_] == '"') {
      out = text_.substr(begin, pos_ - begin);
      ++pos_;
      return true;
    }
    // Most strings have no escapes; this one does, or is malformed.
    buffer.assign(text_, begin, pos_ - begin);
    while (pos_ < text_.size()) {
      const auto byte = static_cast<unsigned char>(text_[pos_]);
      if (byte == '"') {
        out = buffer;
        ++pos_;
        return true;
      }
      if (byte < 0x20) return false;
      ++pos_;
      if (byte != '\\') {
        buffer += static_cast<char>(byte);
      } else if (!escape(buffer)) {
        return false;
      }
    }
    return false;
  }

  // A token id.
  bool integer(int32_t& out) {
    skip_space();
    const size_t begin = pos_;
    int64_t value = 0;
    while (pos_ < text_.size() && is_digit(text_[pos_])) {
      value = value * 10 + (text_[pos_++] - '0');
      if (value > std::numeric_limits<int32_t>::max()) return false;
    }
    if (pos_ == begin || (text_[begin] == '0' && pos_ > begin + 1)) return false;
    if (pos_ < text_.size() && (text_[pos_] == '.' || (text_[pos_] | 0x20) == 'e')) return false;
    out = static_cast<int32_t>(value);
    return true;
  }

  // A number as the reference reads it: the digits as one whole number, which is multiplied or
  // divided by a power of ten. That may differ from the nearest number by a rounding.
  bool number(double& out) {
    skip_space();
    const bool negative = pos_ < text_.size() && text_[pos_] == '-';
    if (negative) ++pos_;
    uint64_t significand = 0;
    int64_t exponent = 0;
    bool full = false;
    const auto digit = [&] { return pos_ < text_.size() && is_digit(text_[pos_]); };
    const auto take = [&](int64_t change, int64_t change_when_full) {
      const auto value = static_cast<uint64_t>(text_[pos_++] - '0');
      full |= significand > (std::numeric_limits<uint64_t>::max() - value) / 10;
      if (full) {
        exponent += change_when_full;
      } else {
        significand = significand * 10 + value;
        exponent += change;
      }
    };
    if (!digit()) return false;
    const bool zero = text_[pos_] == '0';
    do {
      take(0, 1);
    } while (digit() && !zero);
    if (digit()) return false;
    if (pos_ < text_.size() && text_[pos_] == '.') {
      ++pos_;
      if (!digit()) return false;
      while (digit()) take(-1, 0);
    }
    if (pos_ < text_.size() && (text_[pos_] | 0x20) == 'e') {
      ++pos_;
      const bool minus = pos_ < text_.size() && text_[pos_] == '-';
      if (pos_ < text_.size() && (text_[pos_] == '-' || text_[pos_] == '+')) ++pos_;
      if (!digit()) return false;
      int64_t value = 0;
      while (digit()) value = std::min<int64_t>(value * 10 + (text_[pos_++] - '0'), 100000);
      exponent += minus ? -value : value;
    }
    auto value = static_cast<double>(significand);
    while (value != 0 && exponent < -308) {
      value /= 1e308;
      exponent += 308;
    }
    if (exponent < 0 && value != 0) value /= power_of_ten(-exponent);
    if (exponent > 0 && value != 0) {
      if (exponent > 308) return false;
      value *= power_of_ten(exponent);
      if (value > std::numeric_limits<double>::max()) return false;
    }
    out = negative ? -value : value;
    return true;
  }

  // Any value, roughly: whoever reads it later looks closer.
  bool skip_value() {
    std::string_view text;
    size_t depth = 0;
    do {
      const char c = peek();
      if (c == '"') {
        if (!string(text)) return false;
      } else if (c == '{' || c == '[') {
        ++depth;
        ++pos_;
      } else if (c == '}' || c == ']') {
        if (depth == 0) return false;
        --depth;
        ++pos_;
      } else if (c == ',' || c == ':') {
        if (depth == 0) return false;
        ++pos_;
      } else if (!skip_word()) {
        return false;
      }
    } while (depth > 0);
    return true;
  }

 private:
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }

  // The first quote, backslash or control character at or behind `pos`, by eight bytes at a time.
  size_t plain_end(size_t pos) const {
    constexpr uint64_t kOnes = 0x0101010101010101;
    const auto zeros = [](uint64_t bytes) { return (bytes - kOnes) & ~bytes; };
    for (; pos + 8 <= text_.size(); pos += 8) {
      uint64_t bytes;
      std::memcpy(&bytes, text_.data() + pos, 8);
      // The lowest mark is exact; borrows may add marks above it only.
      const uint64_t marks = (zeros(bytes ^ kOnes * '"') | zeros(bytes ^ kOnes * '\\') |
                              ((bytes - kOnes * 0x20) & ~bytes)) &
                             (kOnes * 0x80);
      if (marks == 0) continue;
      if constexpr (std::endian::native == std::endian::little) {
        return pos + static_cast<size_t>(std::countr_zero(marks)) / 8;
      }
      break;
    }
    while (pos < text_.size() && text_[pos] != '"' && text_[pos] != '\\' &&
           static_cast<unsigned char>(text_[pos]) >= 0x20) {
      ++pos;
    }
    return pos;
  }

  static double power_of_ten(int64_t exponent) {
    static const auto powers = [] {
      std::array<double, 309> out{};
      for (size_t i = 0; i < out.size(); ++i) {
        out[i] = std::strtod(("1e" + std::to_string(i)).c_str(), nullptr);
      }
      return out;
    }();
    return powers[static_cast<size_t>(exponent)];
  }

  void skip_space() {
    if (pos_ < text_.size() && text_[pos_] > ' ') return;
    while (pos_ < text_.size() && (text_[pos_] == ' ' || text_[pos_] == '\n' ||
                                   text_[pos_] == '\r' || text_[pos_] == '\t')) {
      ++pos_;
    }
  }
  // A number, true, false or null.
  bool skip_word() {
    const size_t begin = pos_;
    for (; pos_ < text_.size(); ++pos_) {
      const char c = text_[pos_];
      const char lower = static_cast<char>(c | 0x20);
      if (!is_digit(c) && !(lower >= 'a' && lower <= 'z') && c != '+' && c != '-' && c != '.')
        break;
    }
    return pos_ > begin;
  }

  bool hex4(char32_t& out) {
    if (text_.size() - pos_ < 4) return false;
    out = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = text_[pos_++];
      const char lower = static_cast<char>(c | 0x20);
      if (is_digit(c)) {
        out = out * 16 + static_cast<char32_t>(c - '0');
      } else if (lower >= 'a' && lower <= 'f') {
        out = out * 16 + static_cast<char32_t>(lower - 'a' + 10);
      } else {
        return false;
      }
    }
    return true;
  }
  bool escape(std::string& out) {
    if (pos_ == text_.size()) return false;
    const char c = text_[pos_++];
    switch (c) {
      case '"':
      case '\\':
      case '/':
        out += c;
        return true;
      case 'b':
        out += '\b';
        return true;
      case 'f':
        out += '\f';
        return true;
      case 'n':
        out += '\n';
        return true;
      case 'r':
        out += '\r';
        return true;
      case 't':
        out += '\t';
        return true;
      case 'u':
        break;
      default:
        return false;
    }
    char32_t high = 0;
    if (!hex4(high) || (high >= 0xDC00 && high < 0xE000)) return false;
    if (high >= 0xD800 && high < 0xE000) {
      char32_t low = 0;
      if (text_.substr(pos_, 2) != "\\u") return false;
      pos_ += 2;
      if (!hex4(low) || low < 0xDC00 || low >= 0xE000) return false;
      high = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
    }
    append_utf8(out, high);
    return true;
  }

  std::string_view text_;
  size_t pos_ = 0;
  std::string buffer_;
};

// Calls element() for all elements of an array or all members of an object.
template <class Element>
bool each_element(Scanner& in, char open, char close, Element&& element) {
  if (!in.skip(open)) return false;
  if (in.skip(close)) return true;
  do {
    if (!element()) return false;
  } while (in.skip(','));
  return in.skip(close);
}

bool scan_vocabulary(Scanner& in, ModelData& data) {
  VocabularyBuilder builder;
  std::string_view token;
  if (in.peek() == '{') {
    const bool valid = each_element(in, '{', '}', [&] {
      int32_t id = 0;
      if (!in.string(token) || !in.skip(':') || !in.integer(id)) return false;
      builder.add(token, id);
      return true;
    });
    if (valid) data.vocabulary = std::move(builder);
    return valid;
  }
  std::vector<double> scores;
  const bool valid = each_element(in, '[', ']', [&] {
    double score = 0;
    if (!in.skip('[') || !in.string(token) || !in.skip(',') || !in.number(score) || !in.skip(']') ||
        scores.size() == std::numeric_limits<int32_t>::max()) {
      return false;
    }
    builder.add(token, static_cast<int32_t>(scores.size()));
    scores.push_back(score);
    return true;
  });
  if (!valid) return false;
  data.vocabulary = std::move(builder);
  data.scores = std::move(scores);
  return true;
}

bool scan_merges(Scanner& in, ModelData& data) {
  MergeList merges;
  std::string left_buffer;
  std::string_view left;
  std::string_view right;
  // Either all are strings or all are pairs.
  char first = '\0';
  const bool valid = each_element(in, '[', ']', [&] {
    if (first == '\0') first = in.peek();
    if (in.peek() != first) return false;
    if (in.skip('[')) {
      if (!in.string(left, left_buffer) || !in.skip(',') || !in.string(right) || !in.skip(']')) {
        return false;
      }
      merges.add(left, right);
      return true;
    }
    if (!in.string(left)) return false;
    if (is_version_line(left)) return true;
    const size_t space = merge_space(left);
    if (space == kBadMerge) return false;
    merges.add(left.substr(0, space), left.substr(space + 1));
    return true;
  });
  if (valid) data.merges = std::move(merges);
  return valid;
}

// A part of the text that was read, to be replaced.
struct Cut {
  size_t begin, end;
};

// Reads the model; false for anything unusual. A member that comes twice is none of ours.
bool scan_model(Scanner& in, ModelData& data, std::vector<Cut>& cuts) {
  std::string_view key;
  return each_element(in, '{', '}', [&] {
    if (!in.string(key)) return false;
    const bool is_vocabulary = key == "vocab";
    const bool is_merges = key == "merges";
    if (!in.skip(':')) return false;
    if (!is_vocabulary && !is_merges) return in.skip_value();
    if (is_vocabulary ? data.vocabulary.has_value() : data.merges.has_value()) return false;
    in.peek();
    const size_t begin = in.position();
    Scanner at_value = in;
    if (is_vocabulary ? scan_vocabulary(in, data) : scan_merges(in, data)) {
      cuts.push_back({begin, in.position()});
      return true;
    }
    in = at_value;
    return in.skip_value();
  });
}

}  // namespace

ModelData cut_model_data(std::string_view json, std::string& rest) {
  ModelData data;
  std::vector<Cut> cuts;
  Scanner in(json);
  bool valid = validate_utf8(json) == kValidUtf8;
  bool seen = false;
  valid = valid && each_element(in, '{', '}', [&] {
            std::string_view key;
            if (!in.string(key)) return false;
            const bool is_model = key == "model";
            if (!in.skip(':')) return false;
            if (!is_model || in.peek() != '{') return in.skip_value();
            if (std::exchange(seen, true)) return false;
            return scan_model(in, data, cuts);
          });
  rest.clear();
  if (!valid) {
    rest = json;
    return {};
  }
  size_t last = 0;
  for (const Cut& cut : cuts) {
    rest.append(json, last, cut.begin - last);
    rest += "null";
    last = cut.end;
  }
  rest.append(json, last);
  return data;
}

void add_merge_line(std::string_view line, MergeList& merges) {
  const size_t space = merge_space(line);
  require(space != kBadMerge, ErrorCode::kInvalidData, "merges[", merges.size(), "]: '", line,
          "' must be two tokens with a space in between");
  merges.add(line.substr(0, space), line.substr(space + 1));
}

void read_model_data(const Json& model, ModelData& data) {
  using namespace json_fields;
  if (const Json* vocabulary = find(model, "vocab"); vocabulary != nullptr && !data.vocabulary) {
    VocabularyBuilder builder;
    if (vocabulary->is_object()) {
      for (const auto& [token, id] : vocabulary->items()) builder.add(token, to_id(id, "vocab"));
    } else {
      require(vocabulary->is_array(), ErrorCode::kInvalidData,
              "field 'vocab' must be an object or an array");
      data.scores.emplace();
      for (const Json& entry : *vocabulary) {
        require(
            entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_number(),
            ErrorCode::kInvalidData, "vocab[", data.scores->size(), "] must be [token, score]");
        builder.add(entry[0].get_ref<const std::string&>(),
                    static_cast<int32_t>(data.scores->size()));
        data.scores->push_back(entry[1].get<double>());
      }
    }
    data.vocabulary = std::move(builder);
  }
  if (find(model, "merges") != nullptr && !data.merges) {
    MergeList merges;
    const Json& list = get_array(model, "merges");
    for (const Json& merge : list) {
      require(merge.type() == list[0].type(), ErrorCode::kInvalidData,
              "merges must all be strings or all be pairs");
      if (merge.is_string()) {
        const auto& line = merge.get_ref<const std::string&>();
        if (!is_version_line(line)) add_merge_line(line, merges);
        continue;
      }
      require(merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string(),
              ErrorCode::kInvalidData, "merges[", merges.size(), "] must be two strings");
      merges.add(merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>());
    }
    data.merges = std::move(merges);
  }
}

}  // namespace hugot
