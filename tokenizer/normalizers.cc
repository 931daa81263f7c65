#include <algorithm>
#include <array>
#include <utility>

#include "base/code_point_set.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/normalizer.h"

namespace hugot {
namespace {

using Rewriter = NormalizedString::Rewriter;

// Drops the characters for which `drops` holds and passes the others to `write`.
template <class Drops, class Write>
void rewrite(NormalizedString& string, Drops&& drops, Write&& write) {
  Rewriter out(string);
  while (!out.done()) {
    const char32_t c = out.peek();
    if (drops(c)) {
      out.drop();
    } else {
      write(out, c);
    }
  }
  out.finish();
}

void write_same(Rewriter& out, char32_t c) { out.replace(c); }

void write_lowercase(Rewriter& out, char32_t c) {
  const unicode::Lowercase lower = unicode::lowercase(c);
  out.replace(lower.first);
  if (lower.second != 0) out.insert(lower.second);
}

bool keep_all(char32_t) { return false; }

bool is_white_space(char32_t c) { return unicode::has(c, unicode::kWhiteSpace); }

class LowercaseNormalizer final : public Normalizer {
 public:
  void normalize(NormalizedString& string) const override {
    rewrite(string, keep_all, write_lowercase);
  }
};

class StripAccentsNormalizer final : public Normalizer {
 public:
  void normalize(NormalizedString& string) const override {
    rewrite(
        string, [](char32_t c) { return unicode::has(c, unicode::kMark); }, write_same);
  }
};

class StripNormalizer final : public Normalizer {
 public:
  StripNormalizer(bool left, bool right) : left_(left), right_(right) {}
  void normalize(NormalizedString& string) const override {
    string.strip(left_, right_, is_white_space);
  }

 private:
  bool left_;
  bool right_;
};

class ReplaceNormalizer final : public Normalizer {
 public:
  ReplaceNormalizer(Pattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void normalize(NormalizedString& string) const override {
    const std::vector<Span> matches = pattern_.find_all(string.text());
    if (matches.empty()) return;
    check_replaced(string.text(), matches, content_);
    string.replace_ranges(matches, content_);
  }
  bool inserts_in_front() const override {
    return pattern_.may_match_nothing() && !content_.empty();
  }

 private:
  Pattern pattern_;
  std::string content_;
};

class PrependNormalizer final : public Normalizer {
 public:
  explicit PrependNormalizer(std::string prefix) : prefix_(std::move(prefix)) {}
  void normalize(NormalizedString& string) const override { string.prepend(prefix_); }

 private:
  std::string prefix_;
};

class NmtNormalizer final : public Normalizer {
 public:
  void normalize(NormalizedString& string) const override {
    rewrite(string, drops,
            [](Rewriter& out, char32_t c) { out.replace(becomes_space(c) ? U' ' : c); });
  }

 private:
  static bool drops(char32_t c) {
    return (c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F ||
           c == 0x8F || c == 0x9F;
  }
  static bool becomes_space(char32_t c) {
    return c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 ||
           (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
           c == 0xFEFF || c == 0xFFFD;
  }
};

class SequenceNormalizer final : public Normalizer {
 public:
  explicit SequenceNormalizer(std::vector<NormalizerPtr> parts) : parts_(std::move(parts)) {}
  void normalize(NormalizedString& string) const override {
    for (const NormalizerPtr& part : parts_) part->normalize(string);
  }
  bool inserts_in_front() const override {
    return std::any_of(parts_.begin(), parts_.end(),
                       [](const NormalizerPtr& part) { return part->inserts_in_front(); });
  }

 private:
  std::vector<NormalizerPtr> parts_;
};

class ByteLevelNormalizer final : public Normalizer {
 public:
  void normalize(NormalizedString& string) const override {
    rewrite(string, keep_all, [](Rewriter& out, char32_t c) {
      char bytes[4];
      const size_t length = encode_utf8(c, bytes);
      for (size_t i = 0; i < length; ++i) {
        const char32_t mapped = byte_level_char(static_cast<unsigned char>(bytes[i]));
        i == 0 ? out.replace(mapped) : out.insert(mapped);
      }
    });
  }
};

class PrecompiledNormalizer final : public Normalizer {
 public:
  explicit PrecompiledNormalizer(Charsmap charsmap) : charsmap_(std::move(charsmap)) {
    for (unsigned char byte = 0; byte < 128; ++byte) {
      const char c = static_cast<char>(byte);
      const auto match = charsmap_.shortest({&c, 1});
      keeps_[byte] = !match || match->target == std::string_view(&c, 1);
    }
    keeps_['\r'] = false;  // forms a cluster with a line feed
  }

  bool keeps(std::string_view text) const override {
    return std::all_of(text.begin(), text.end(), [this](char c) {
      const auto byte = static_cast<unsigned char>(c);
      return byte < 128 && keeps_[byte];
    });
  }

  void normalize(NormalizedString& string) const override {
    const std::string& text = string.text();
    if (keeps(text)) return;
    std::vector<CharChange> changes;
    changes.reserve(text.size());
    bool modified = false;
    const auto replace = [&](std::string_view source) {
      const auto match = charsmap_.shortest(source);
      if (!match) return false;
      add_target(source, match->target, changes);
      modified = true;
      return true;
    };
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = grapheme_end(text, begin, true);
      const std::string_view cluster = std::string_view(text).substr(begin, end - begin);
      begin = end;
      if (cluster.size() < kMaxCluster && replace(cluster)) continue;
      for (size_t pos = 0; pos < cluster.size();) {
        const size_t at = pos;
        const char32_t c = decode_utf8(cluster, pos);
        if (!replace(cluster.substr(at, pos - at))) changes.push_back({c, 0});
      }
    }
    if (modified) string.transform(changes);
  }

 private:
  static constexpr size_t kMaxCluster = 6;

  // How the reference describes the replacement; when it has nothing to say it with, sources shift.
  static void add_target(std::string_view source, std::string_view target,
                         std::vector<CharChange>& changes) {
    const auto difference =
        static_cast<int32_t>(count_utf8(target)) - static_cast<int32_t>(count_utf8(source));
    for (size_t pos = 0; pos < target.size();) changes.push_back({decode_utf8(target, pos), 0});
    if (difference > 0) {
      for (int32_t i = 1; i <= difference; ++i) {
        changes[changes.size() - static_cast<size_t>(i)].change = 1;
      }
    } else if (difference < 0 && !changes.empty()) {
      changes.back().change += difference;
    }
  }

  Charsmap charsmap_;
  std::array<bool, 128> keeps_{};  // ASCII characters without a rule
};

// Decomposition with canonical ordering; the changes travel with their characters.
std::vector<CharChange> decomposed(const std::string& text, bool compatibility) {
  std::vector<CharChange> out;
  out.reserve(text.size());
  size_t marks = 0;  // characters at the end of `out` that wait for ordering
  const auto order_marks = [&] {
    if (marks > 1) {
      std::stable_sort(out.end() - marks, out.end(), [](const CharChange& a, const CharChange& b) {
        return unicode::combining_class(a.c) < unicode::combining_class(b.c);
      });
    }
    marks = 0;
  };
  for (size_t pos = 0; pos < text.size();) {
    const char32_t c = decode_utf8(text, pos);
    char32_t hangul[3];
    std::span<const char32_t> parts(&c, 1);
    if (c >= 0x80) {
      const auto found = unicode::decompose(c, compatibility, hangul);
      if (!found.empty()) parts = found;
    }
    int32_t change = 0;
    for (const char32_t part : parts) {
      if (part < 0x80 || unicode::combining_class(part) == 0) {
        order_marks();
      } else {
        ++marks;
      }
      out.push_back({part, change});
      change = 1;
    }
  }
  order_marks();
  return out;
}

// Canonical composition (Unicode, D117). A composite has the sum of the changes of its parts, less
// one for the character that went.
void recompose(std::vector<CharChange>& chars) {
  size_t written = 0;
  size_t starter = 0;
  bool has_starter = false;
  uint8_t last_class = 0;  // of the last character kept behind the starter; 0: none in between
  for (const CharChange& next : chars) {
    const uint8_t next_class = next.c < 0x80 ? uint8_t{0} : unicode::combining_class(next.c);
    const bool adjacent = has_starter && written == starter + 1;
    if (has_starter && (adjacent || (last_class != 0 && last_class < next_class))) {
      if (const auto composite = unicode::compose(chars[starter].c, next.c)) {
        chars[starter].c = *composite;
        chars[starter].change += next.change - 1;
        continue;
      }
    }
    if (next_class == 0) {
      has_starter = true;
      starter = written;
    }
    last_class = next_class;
    chars[written++] = next;
  }
  chars.resize(written);
}

class UnicodeNormalizer final : public Normalizer {
 public:
  explicit UnicodeNormalizer(NormalizationForm form) : form_(form) {}
  bool keeps(std::string_view text) const override { return ascii_prefix(text) == text.size(); }
  void normalize(NormalizedString& string) const override {
    if (keeps(string.text())) return;
    const bool compatibility =
        form_ == NormalizationForm::kNfkc || form_ == NormalizationForm::kNfkd;
    auto chars = decomposed(string.text(), compatibility);
    if (form_ == NormalizationForm::kNfc || form_ == NormalizationForm::kNfkc) recompose(chars);
    string.transform(chars);
  }

 private:
  NormalizationForm form_;
};

void bert_clean(NormalizedString& string) {
  rewrite(
      string, [](char32_t c) { return unicode::has(c, unicode::kBertRemoved); },
      [](Rewriter& out, char32_t c) { out.replace(is_white_space(c) ? U' ' : c); });
}

void bert_space_ideographs(NormalizedString& string) {
  rewrite(string, keep_all, [](Rewriter& out, char32_t c) {
    if (!is_bert_ideograph(c)) return out.replace(c);
    out.replace(U' ');
    out.insert(c);
    out.insert(U' ');
  });
}

}  // namespace

bool is_bert_ideograph(char32_t c) {
  // The gap from 2B820 to 2B91F is the reference's.
  return c >= 0x3400 && ((c >= 0x4E00 && c <= 0x9FFF) || c <= 0x4DBF ||
                         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
                         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
                         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F));
}

void BertNormalizer::normalize(NormalizedString& string) const {
  const bool ascii = ascii_prefix(string.text()) == string.text().size();
  if (options_.clean_text) bert_clean(string);
  if (options_.handle_chinese_chars && !ascii) bert_space_ideographs(string);
  if (options_.strips_accents() && !ascii) {
    string.transform(decomposed(string.text(), false));
    rewrite(
        string, [](char32_t c) { return unicode::has(c, unicode::kBertMark); }, write_same);
  }
  if (options_.lowercase) rewrite(string, keep_all, write_lowercase);
}

NormalizerPtr make_unicode_normalizer(NormalizationForm form) {
  return std::make_unique<UnicodeNormalizer>(form);
}
NormalizerPtr make_lowercase_normalizer() { return std::make_unique<LowercaseNormalizer>(); }
NormalizerPtr make_strip_accents_normalizer() { return std::make_unique<StripAccentsNormalizer>(); }
NormalizerPtr make_strip_normalizer(bool left, bool right) {
  return std::make_unique<StripNormalizer>(left, right);
}
NormalizerPtr make_replace_normalizer(Pattern pattern, std::string content) {
  return std::make_unique<ReplaceNormalizer>(std::move(pattern), std::move(content));
}
NormalizerPtr make_prepend_normalizer(std::string prefix) {
  return std::make_unique<PrependNormalizer>(std::move(prefix));
}
NormalizerPtr make_nmt_normalizer() { return std::make_unique<NmtNormalizer>(); }
NormalizerPtr make_byte_level_normalizer() { return std::make_unique<ByteLevelNormalizer>(); }
NormalizerPtr make_precompiled_normalizer(Charsmap charsmap) {
  return std::make_unique<PrecompiledNormalizer>(std::move(charsmap));
}
NormalizerPtr make_sequence_normalizer(std::vector<NormalizerPtr> parts) {
  return std::make_unique<SequenceNormalizer>(std::move(parts));
}

}  // namespace hugot
