// The kernel of Tokenizer of com.microsoft. Semantics: onnxruntime's docs/ContribOperators.md; what
// it leaves open is as in onnxruntime: of several matches the first counts, of those the longest; a
// separator that matches nothing swallows the character behind. Only, the result has its new axis
// for no strings at all, too.
#include <algorithm>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"
#include "kernels/prepared.h"
#include "kernels/text/regex.h"
#include "kernels/text/text.h"

namespace hugot::text {
namespace {

constexpr const char* kTextBegin = "\x02";
constexpr const char* kTextEnd = "\x03";

using Parts = std::vector<std::string_view>;

class PreparedTokenizer : public Prepared {
 public:
  explicit PreparedTokenizer(const Node& node)
      : mark_(node.at<int64_t>("mark") != 0),
        padding_(node.at<std::string>("pad_value")),
        min_length_(node.at<int64_t>("mincharnum")) {
    require(min_length_ > 0, ErrorCode::kInvalidData, "attribute mincharnum is ", min_length_);
    if (node.has("separators")) {
      const auto separators = node.at<std::vector<std::string>>("separators");
      require(!separators.empty(), ErrorCode::kInvalidData, "attribute separators is empty");
      characters_ = separators.size() == 1 && separators.front().empty();
      if (!characters_) {
        for (const std::string& separator : separators) separators_.emplace_back(separator);
      }
    } else {
      const auto pattern = node.at<std::string>("tokenexp");
      require(!pattern.empty(), ErrorCode::kInvalidData, "attribute tokenexp is empty");
      characters_ = pattern == ".";
      if (!characters_) token_.emplace(pattern);
    }
    require(!characters_ || min_length_ == 1, ErrorCode::kInvalidData, "attribute mincharnum is ",
            min_length_, " for tokens of one character");
  }

  size_t bytes() const override {
    size_t sum = token_ ? token_->bytes() : 0;
    for (const Regex& separator : separators_) sum += separator.bytes();
    return sum;
  }

  bool mark() const { return mark_; }
  const std::string& padding() const { return padding_; }

  Parts tokens(std::string_view text) const {
    if (characters_) return characters(text);
    if (token_) return matches(text);
    Parts parts{text};
    for (const Regex& separator : separators_) {
      Parts next;
      for (const std::string_view part : parts) split(part, separator, next);
      parts = std::move(next);
    }
    return parts;
  }

 private:
  bool long_enough(std::string_view text) const {
    return std::ssize(text) >= min_length_ && std::ranges::count_if(text, [](char c) {
                                                return !is_utf8_continuation(c);
                                              }) >= min_length_;
  }

  static Parts characters(std::string_view text) {
    Parts parts;
    for (size_t pos = 0; pos < text.size(); pos += parts.back().size()) {
      parts.push_back(text.substr(pos, utf8_length(text[pos])));
    }
    return parts;
  }

  // The place behind the character at `pos`; behind the text, if that is its end.
  static size_t skip(std::string_view text, size_t pos) {
    return pos + (pos < text.size() ? utf8_length(text[pos]) : 1);
  }

  Parts matches(std::string_view text) const {
    Parts parts;
    for (size_t pos = 0; pos <= text.size();) {
      const auto found = token_->find(text, pos);
      if (!found) break;
      const std::string_view token = text.substr(found->begin, found->end - found->begin);
      if (long_enough(token)) {
        parts.push_back(token);
        pos = found->end;
      } else {
        pos = skip(text, found->begin);
      }
    }
    return parts;
  }

  void split(std::string_view text, const Regex& separator, Parts& parts) const {
    for (size_t pos = 0; pos <= text.size();) {
      const auto found = separator.find(text, pos);
      const std::string_view part = text.substr(pos, (found ? found->begin : text.size()) - pos);
      if (long_enough(part)) parts.push_back(part);
      if (!found) return;
      pos = found->end > found->begin ? found->end : skip(text, found->begin);
    }
  }

  bool mark_;
  std::string padding_;
  int64_t min_length_;  // of a token, in characters
  bool characters_ = false;
  std::vector<Regex> separators_;
  std::optional<Regex> token_;
};

}  // namespace

std::shared_ptr<const Prepared> prepare_tokenizer(const Node& node,
                                                  std::span<const Tensor* const> constants,
                                                  BlockStore& store) {
  return prepare_from_node<PreparedTokenizer>(node, constants, store);
}

void tokenize(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  require(in.rank() == 1 || in.rank() == 2, ErrorCode::kInvalidArgument,
          "the strings have to be [n] or [batch,n], but are ", describe(in));
  std::optional<PreparedTokenizer> own;
  const auto& tokenizer = prepared_or(ctx, own);
  const auto texts = in.values<std::string>();
  std::vector<Parts> rows(texts.size());
  parallel_for(ctx.pool(), in.size(), 16, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      require(validate_utf8(texts[i]) == kValidUtf8, ErrorCode::kInvalidArgument,
              "a string that is not UTF-8");
      rows[i] = tokenizer.tokens(texts[i]);
    }
  });
  size_t longest = 0;
  for (const Parts& row : rows) longest = std::max(longest, row.size());
  const bool mark = tokenizer.mark() && longest > 0;
  if (mark) longest += 2;
  std::vector<int64_t> dims(in.shape().begin(), in.shape().end());
  dims.push_back(static_cast<int64_t>(longest));
  auto* y = ctx.output(0, DType::kString, Shape(dims)).data<std::string>();
  for (const Parts& row : rows) {
    std::string* const last = y + longest;
    if (mark) *y++ = kTextBegin;
    for (const std::string_view token : row) *y++ = token;
    if (mark) *y++ = kTextEnd;
    for (; y != last; ++y) *y = tokenizer.padding();
  }
}

}  // namespace hugot::text
