// Kernels of StringConcat, StringNormalizer, StringSplit and RegexFullMatch.
#include <algorithm>
#include <limits>
#include <optional>
#include <unordered_set>
#include <vector>

#include "base/error.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "kernels/broadcast.h"
#include "kernels/prepared.h"
#include "kernels/text/regex.h"
#include "kernels/text/text.h"

namespace hugot::text {
namespace {

struct CaseRun {
  char32_t first, last;
  int stride;
  int distance;
};
struct LongCase {
  char32_t code_point;
  char32_t result[3];  // 0: none
};
#include "kernels/text/uppercase_table.inc"

void append_upper(std::string& out, char32_t c) {
  const auto in_run =
      std::upper_bound(std::begin(kUpperRuns), std::end(kUpperRuns), c,
                       [](char32_t x, const CaseRun& run) { return x < run.first; });
  if (in_run != std::begin(kUpperRuns)) {
    const CaseRun& run = *std::prev(in_run);
    if (c <= run.last && (c - run.first) % static_cast<char32_t>(run.stride) == 0) {
      return append_utf8(out, static_cast<char32_t>(static_cast<int>(c) + run.distance));
    }
  }
  const auto* found =
      std::lower_bound(std::begin(kUpperLong), std::end(kUpperLong), c,
                       [](const LongCase& entry, char32_t x) { return entry.code_point < x; });
  if (found == std::end(kUpperLong) || found->code_point != c) return append_utf8(out, c);
  for (const char32_t part : found->result) {
    if (part != 0) append_utf8(out, part);
  }
}

void append_lower(std::string& out, char32_t c) {
  const unicode::Lowercase lower = unicode::lowercase(c);
  append_utf8(out, lower.first);
  if (lower.second != 0) append_utf8(out, lower.second);
}

template <class Append>
std::string mapped(std::string_view text, Append&& append) {
  require(validate_utf8(text) == kValidUtf8, ErrorCode::kInvalidArgument,
          "a string that is not UTF-8");
  std::string out;
  out.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) append(out, decode_utf8(text, pos));
  return out;
}

// White space as Python's split() takes it: White_Space and the ASCII separators 1C to 1F.
bool is_space(char32_t c) {
  return (c >= 0x1C && c <= 0x1F) || unicode::has(c, unicode::kWhiteSpace);
}

using Parts = std::vector<std::string_view>;

// At most `limit` cuts at `delimiter`.
void split_at(std::string_view text, std::string_view delimiter, int64_t limit, Parts& parts) {
  size_t begin = 0;
  for (; limit > 0; --limit) {
    const size_t end = text.find(delimiter, begin);
    if (end == std::string_view::npos) break;
    parts.push_back(text.substr(begin, end - begin));
    begin = end + delimiter.size();
  }
  parts.push_back(text.substr(begin));
}

// At most `limit` cuts at white space; none is at the beginning of a part, nor at the end of one
// that was cut.
void split_words(std::string_view text, int64_t limit, Parts& parts) {
  require(validate_utf8(text) == kValidUtf8, ErrorCode::kInvalidArgument,
          "a string that is not UTF-8");
  size_t pos = 0;
  const auto skip = [&](bool space) {
    while (pos < text.size()) {
      size_t next = pos;
      if (is_space(decode_utf8(text, next)) != space) break;
      pos = next;
    }
  };
  for (skip(true); pos < text.size(); skip(true), --limit) {
    if (limit == 0) {
      parts.push_back(text.substr(pos));
      return;
    }
    const size_t begin = pos;
    skip(false);
    parts.push_back(text.substr(begin, pos - begin));
  }
}

class PreparedRegex : public Prepared {
 public:
  explicit PreparedRegex(const Node& node) : regex(node.at<std::string>("pattern")) {}
  size_t bytes() const override { return regex.bytes(); }
  Regex regex;
};

}  // namespace

std::string to_lower(std::string_view text) { return mapped(text, append_lower); }
std::string to_upper(std::string_view text) { return mapped(text, append_upper); }

void concat(KernelContext& ctx) {
  const Tensor& a = ctx.input(0);
  const Tensor& b = ctx.input(1);
  const Shape shape = broadcast(a.shape(), b.shape());
  const BroadcastPlan plan(shape, {&a.shape(), &b.shape()});
  const auto* text_a = a.data<std::string>();
  const auto* text_b = b.data<std::string>();
  auto* y = ctx.output(0, DType::kString, shape).data<std::string>();
  plan.for_runs(0, shape.size(), [&](int64_t at, const BroadcastPlan::Offsets& from, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      y[at + i] = text_a[from[0] + i * plan.step(0)];
      y[at + i] += text_b[from[1] + i * plan.step(1)];
    }
  });
}

void normalize(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  require(in.rank() == 1 || (in.rank() == 2 && in.shape()[0] == 1), ErrorCode::kInvalidArgument,
          "the strings have to be [n] or [1,n], but are ", describe(in));
  const Node& node = ctx.node();
  const auto action = node.get<std::string>("case_change_action", "NONE");
  const bool lower = action == "LOWER", upper = action == "UPPER";
  require(lower || upper || action == "NONE", ErrorCode::kInvalidArgument, "case_change_action ",
          action, " is not LOWER, UPPER or NONE");
  const bool exact = node.get<int64_t>("is_case_sensitive", 0) != 0;
  const auto as_compared = [&](const std::string& word) { return exact ? word : to_lower(word); };
  std::unordered_set<std::string> stopwords;
  for (const std::string& word : node.get<std::vector<std::string>>("stopwords", {})) {
    stopwords.insert(as_compared(word));
  }
  std::vector<std::string> kept;
  for (const std::string& word : in.values<std::string>()) {
    if (!stopwords.empty() && stopwords.contains(as_compared(word))) continue;
    kept.push_back(lower ? to_lower(word) : upper ? to_upper(word) : word);
  }
  if (kept.empty()) kept.emplace_back();
  const auto count = static_cast<int64_t>(kept.size());
  Tensor& out = ctx.output(0, DType::kString, in.rank() == 1 ? Shape{count} : Shape{1, count});
  std::move(kept.begin(), kept.end(), out.data<std::string>());
}

void split(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  const auto delimiter = ctx.node().get<std::string>("delimiter", "");
  int64_t limit = ctx.node().get<int64_t>("maxsplit", -1);
  if (limit < 0) limit = std::numeric_limits<int64_t>::max();
  Parts parts;
  std::vector<int64_t> counts;
  int64_t most = 0;
  for (const std::string& text : in.values<std::string>()) {
    const size_t before = parts.size();
    if (delimiter.empty()) {
      split_words(text, limit, parts);
    } else {
      split_at(text, delimiter, limit, parts);
    }
    counts.push_back(static_cast<int64_t>(parts.size() - before));
    most = std::max(most, counts.back());
  }
  std::vector<int64_t> dims(in.shape().begin(), in.shape().end());
  dims.push_back(most);
  if (ctx.wants_output(0)) {
    auto* y = ctx.output(0, DType::kString, Shape(dims)).data<std::string>();
    auto part = parts.begin();
    for (const int64_t count : counts) {
      for (int64_t i = 0; i < most; ++i) {
        if (i < count) {
          y[i] = *part++;
        } else {
          y[i].clear();
        }
      }
      y += most;
    }
  }
  if (ctx.wants_output(1)) {
    std::copy(counts.begin(), counts.end(),
              ctx.output(1, DType::kInt64, in.shape()).data<int64_t>());
  }
}

std::shared_ptr<const Prepared> prepare_regex(const Node& node,
                                              std::span<const Tensor* const> constants,
                                              BlockStore& store) {
  return prepare_from_node<PreparedRegex>(node, constants, store);
}

void regex_full_match(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  std::optional<PreparedRegex> own;
  const Regex& regex = prepared_or(ctx, own).regex;
  bool* y = ctx.output(0, DType::kBool, in.shape()).data<bool>();
  const auto* texts = in.data<std::string>();
  parallel_for(ctx.pool(), in.size(), 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = regex.matches(texts[i]);
  });
}

}  // namespace hugot::text
