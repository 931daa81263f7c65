#include <algorithm>

#include "base/error.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "tokenizer/post_processor.h"

namespace hugot {
namespace {

// Adds a special token at the front or the back; keeps the columns that the encoding has.
void add_special(Encoding& encoding, const SpecialToken& token, int32_t type_id, Side side) {
  const auto put = [side](auto& column, auto value) {
    column.insert(side == Side::kRight ? column.end() : column.begin(), std::move(value));
  };
  put(encoding.ids, token.id);
  put(encoding.type_ids, type_id);
  put(encoding.attention_mask, uint8_t{1});
  put(encoding.special_tokens_mask, uint8_t{1});
  put(encoding.offsets, Span{});
  put(encoding.word_ids, -1);
  put(encoding.tokens, token.token);
}

// Runs `change` on an encoding and its windows.
template <class Change>
void change_windows(Encoding& encoding, Change&& change) {
  change(encoding);
  for (Encoding& window : encoding.overflowing) change(window);
}

// Puts special tokens around the tokens of a sequence, which alone stay in its range.
void surround(Encoding& encoding, int32_t sequence, const SpecialToken* front,
              const SpecialToken& back, int32_t type_id) {
  const auto size = static_cast<uint32_t>(encoding.size());
  const uint32_t begin = front != nullptr ? 1 : 0;
  if (front != nullptr) add_special(encoding, *front, type_id, Side::kLeft);
  add_special(encoding, back, type_id, Side::kRight);
  encoding.sequence_ranges = {{sequence, {begin, begin + size}}};
}

class TemplateProcessor final : public PostProcessor {
 public:
  TemplateProcessor(std::vector<TemplatePiece> single, std::vector<TemplatePiece> pair)
      : single_(std::move(single)), pair_(std::move(pair)) {
    for (const TemplatePiece& piece : single_) {
      require(piece.sequence <= 0, ErrorCode::kInvalidData,
              "the template for single texts uses a second one");
    }
  }

  size_t added_tokens(bool pair) const override {
    size_t count = 0;
    for (const TemplatePiece& piece : pair ? pair_ : single_) count += piece.special.size();
    return count;
  }

  void process(std::vector<Encoding>& encodings, bool add_special_tokens) const override {
    require(encodings.size() == 1 || encodings.size() == 2, ErrorCode::kUnsupported,
            "TemplateProcessing cannot follow another processor that adds tokens");
    std::vector<Encoding> out;
    for (const TemplatePiece& piece : encodings.size() == 2 ? pair_ : single_) {
      if (piece.sequence >= 0) {
        Encoding encoding = encodings[piece.sequence];
        encoding.type_ids.assign(encoding.size(), piece.type_id);
        set_sequence(encoding, piece.sequence);
        out.push_back(std::move(encoding));
      } else if (add_special_tokens) {
        Encoding encoding;
        for (const SpecialToken& token : piece.special) {
          add_special(encoding, token, piece.type_id, Side::kRight);
        }
        out.push_back(std::move(encoding));
      }
    }
    encodings = std::move(out);
  }

 private:
  std::vector<TemplatePiece> single_;
  std::vector<TemplatePiece> pair_;
};

class BertProcessor final : public PostProcessor {
 public:
  BertProcessor(SpecialToken sep, SpecialToken cls) : sep_(std::move(sep)), cls_(std::move(cls)) {}

  size_t added_tokens(bool pair) const override { return pair ? 3 : 2; }

  void process(std::vector<Encoding>& encodings, bool add_special_tokens) const override {
    if (!add_special_tokens) return;
    for (size_t i = 0; i < encodings.size(); ++i) {
      const int32_t sequence = i == 0 ? 0 : 1;
      change_windows(encodings[i], [&](Encoding& encoding) {
        surround(encoding, sequence, i == 0 ? &cls_ : nullptr, sep_, sequence);
      });
    }
  }

 private:
  SpecialToken sep_;
  SpecialToken cls_;
};

// Moves offsets past the white space at the ends of byte-level tokens.
void trim_offsets(Encoding& encoding, bool add_prefix_space) {
  const auto is_space = [](char32_t c) {
    return c == U'\u0120' || unicode::has(c, unicode::kWhiteSpace);
  };
  const size_t count = std::min(encoding.offsets.size(), encoding.tokens.size());
  for (size_t i = 0; i < count; ++i) {
    const std::string& token = encoding.tokens[i];
    Span& offsets = encoding.offsets[i];
    uint32_t leading = 0;
    for (size_t pos = 0; pos < token.size() && is_space(decode_utf8(token, pos));) ++leading;
    uint32_t trailing = 0;
    for (size_t end = token.size(); end > 0; ++trailing) {
      const char32_t c = decode_utf8_before(token, end);
      if (!is_space(c)) break;
      end -= utf8_length(c);
    }
    if (leading > 0) {
      // A space that the pre-tokenizer added stands for no text.
      if (add_prefix_space && leading == 1 && (i == 0 || offsets.begin == 0)) leading = 0;
      offsets.begin = std::min(offsets.begin + leading, offsets.end);
    }
    if (trailing > 0 && offsets.end >= trailing) {
      offsets.end = std::max(offsets.end - trailing, offsets.begin);
    }
  }
}

class RobertaProcessor final : public PostProcessor {
 public:
  RobertaProcessor(SpecialToken sep, SpecialToken cls, bool trims, bool add_prefix_space)
      : sep_(std::move(sep)),
        cls_(std::move(cls)),
        trims_(trims),
        add_prefix_space_(add_prefix_space) {}

  size_t added_tokens(bool pair) const override { return pair ? 4 : 2; }
  bool trims_offsets() const override { return trims_; }

  void process(std::vector<Encoding>& encodings, bool add_special_tokens) const override {
    for (size_t i = 0; i < encodings.size(); ++i) {
      if (trims_) {
        change_windows(encodings[i], [&](Encoding& e) { trim_offsets(e, add_prefix_space_); });
      }
      encodings[i].type_ids.assign(encodings[i].size(), 0);
      if (!add_special_tokens) continue;
      change_windows(encodings[i], [&](Encoding& encoding) {
        if (i > 0) encoding.type_ids.assign(encoding.size(), 0);
        surround(encoding, i == 0 ? 0 : 1, i == 0 ? &cls_ : &sep_, sep_, 0);
      });
    }
  }

 private:
  SpecialToken sep_;
  SpecialToken cls_;
  bool trims_;
  bool add_prefix_space_;
};

class ByteLevelProcessor final : public PostProcessor {
 public:
  ByteLevelProcessor(bool trims, bool add_prefix_space)
      : trims_(trims), add_prefix_space_(add_prefix_space) {}

  size_t added_tokens(bool) const override { return 0; }
  bool trims_offsets() const override { return trims_; }

  void process(std::vector<Encoding>& encodings, bool) const override {
    for (size_t i = 0; i < encodings.size(); ++i) {
      change_windows(encodings[i], [&](Encoding& encoding) {
        if (trims_) trim_offsets(encoding, add_prefix_space_);
      });
      set_sequence(encodings[i], static_cast<int32_t>(i));
    }
  }

 private:
  bool trims_;
  bool add_prefix_space_;
};

class SequenceProcessor final : public PostProcessor {
 public:
  explicit SequenceProcessor(std::vector<PostProcessorPtr> parts) : parts_(std::move(parts)) {}

  size_t added_tokens(bool pair) const override {
    size_t count = 0;
    for (const PostProcessorPtr& part : parts_) count += part->added_tokens(pair);
    return count;
  }
  bool trims_offsets() const override {
    return std::any_of(parts_.begin(), parts_.end(),
                       [](const PostProcessorPtr& part) { return part->trims_offsets(); });
  }

  void process(std::vector<Encoding>& encodings, bool add_special_tokens) const override {
    for (const PostProcessorPtr& part : parts_) part->process(encodings, add_special_tokens);
  }

 private:
  std::vector<PostProcessorPtr> parts_;
};

}  // namespace

PostProcessorPtr make_template_processor(std::vector<TemplatePiece> single,
                                         std::vector<TemplatePiece> pair) {
  return std::make_unique<TemplateProcessor>(std::move(single), std::move(pair));
}
PostProcessorPtr make_bert_processor(SpecialToken sep, SpecialToken cls) {
  return std::make_unique<BertProcessor>(std::move(sep), std::move(cls));
}
PostProcessorPtr make_roberta_processor(SpecialToken sep, SpecialToken cls, bool trim_offsets,
                                        bool add_prefix_space) {
  return std::make_unique<RobertaProcessor>(std::move(sep), std::move(cls), trim_offsets,
                                            add_prefix_space);
}
PostProcessorPtr make_byte_level_processor(bool trim_offsets, bool add_prefix_space) {
  return std::make_unique<ByteLevelProcessor>(trim_offsets, add_prefix_space);
}
PostProcessorPtr make_sequence_processor(std::vector<PostProcessorPtr> parts) {
  return std::make_unique<SequenceProcessor>(std::move(parts));
}

}  // namespace hugot
