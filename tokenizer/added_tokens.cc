#include "tokenizer/added_tokens.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/unicode.h"
#include "base/utf8.h"

namespace hugot {
namespace {

// Bounds the work of matching, which is text length times pattern length at worst.
constexpr size_t kMaxContent = 4096;

bool ends_with_word(std::string_view text) {
  return !text.empty() && unicode::has(decode_utf8_before(text, text.size()), unicode::kWord);
}

bool starts_with_word(std::string_view text) {
  size_t pos = 0;
  return !text.empty() && unicode::has(decode_utf8(text, pos), unicode::kWord);
}

// Where the white space that ends at `end` begins.
size_t skip_space_before(std::string_view text, size_t end) {
  while (end > 0) {
    const char32_t c = decode_utf8_before(text, end);
    if (!unicode::has(c, unicode::kWhiteSpace)) break;
    end -= utf8_length(c);
  }
  return end;
}

size_t skip_space_after(std::string_view text, size_t pos) {
  while (pos < text.size()) {
    size_t next = pos;
    if (!unicode::has(decode_utf8(text, next), unicode::kWhiteSpace)) break;
    pos = next;
  }
  return pos;
}

Span make_span(size_t begin, size_t end) {
  return {static_cast<uint32_t>(begin), static_cast<uint32_t>(end)};
}

}  // namespace

void LiteralSet::add(std::string_view pattern, int32_t value) {
  if (pattern.empty()) {
    if (empty_value_ < 0) {
      empty_value_ = value;
      ++patterns_;
    }
    return;
  }
  uint32_t node = 0;
  for (const char byte : pattern) {
    if (const uint32_t known = child(node, byte); known != 0) {
      node = known;
      continue;
    }
    const auto next = static_cast<uint32_t>(nodes_.size());
    nodes_[node].children.emplace_back(byte, next);
    if (node == 0) first_[static_cast<unsigned char>(byte)] = next;
    nodes_.emplace_back();
    node = next;
  }
  if (nodes_[node].value >= 0) return;
  nodes_[node].value = value;
  ++patterns_;
}

uint32_t LiteralSet::child(uint32_t node, char byte) const {
  if (node == 0) return first_[static_cast<unsigned char>(byte)];
  const auto& children = nodes_[node].children;
  const auto found = std::find_if(children.begin(), children.end(),
                                  [&](const auto& child) { return child.first == byte; });
  return found != children.end() ? found->second : 0;
}

// As in the crate aho-corasick for leftmost matches: nothing follows the end of a string but what
// continues it, and what ends at the node of a failure ends here, too. Children of the root are
// left out of that.
void LiteralSet::finish() {
  if (empty_value_ < 0) return;
  nodes_[0].found = empty_value_;
  struct Step {
    uint32_t node, depth;
  };
  std::vector<Step> queue = {{0, 0}};
  for (size_t i = 0; i < queue.size(); ++i) {
    const auto [parent, depth] = queue[i];
    for (const auto& [byte, next] : nodes_[parent].children) {
      Node& node = nodes_[next];
      queue.push_back({next, depth + 1});
      if (node.value >= 0) {
        node.failure = kDead;
        node.found = node.value;
        node.found_length = depth + 1;
        continue;
      }
      if (parent == 0) continue;
      uint32_t failure = nodes_[parent].failure;
      while (failure != kDead && failure != 0 && child(failure, byte) == 0) {
        failure = nodes_[failure].failure;
      }
      node.failure = failure == kDead ? kDead : child(failure, byte);
      if (node.failure == kDead) continue;
      node.found = nodes_[node.failure].found;
      node.found_length = nodes_[node.failure].found_length;
    }
  }
}

LiteralSet::Match LiteralSet::find_beside_empty(std::string_view text, size_t from,
                                                bool first) const {
  const auto at_character = [&](size_t pos) {
    return pos == text.size() || !is_utf8_continuation(text[pos]);
  };
  for (size_t begin = from; begin <= text.size(); ++begin) {
    Match last;
    if (at_character(begin)) last = {begin, begin, empty_value_};
    uint32_t node = 0;
    for (size_t pos = begin; pos < text.size(); ++pos) {
      uint32_t next = child(node, text[pos]);
      while (next == 0 && node != 0 && node != kDead) {
        node = nodes_[node].failure;
        if (node != kDead) next = child(node, text[pos]);
      }
      if (next == 0) break;
      node = next;
      const size_t end = pos + 1, length = nodes_[node].found_length;
      if (nodes_[node].found >= 0 && (length > 0 || at_character(end))) {
        last = {end - length, end, nodes_[node].found};
      }
    }
    if (last.value >= 0 && (first || last.end > from)) return last;
  }
  return {};
}

LiteralSet::Match LiteralSet::find(std::string_view text, size_t from, bool first) const {
  if (empty()) return {};
  if (empty_value_ >= 0) return find_beside_empty(text, from, first);
  for (size_t begin = from; begin < text.size(); ++begin) {
    Match best;
    uint32_t node = child(0, text[begin]);
    for (size_t pos = begin + 1; node != 0; ++pos) {
      if (nodes_[node].value >= 0) best = {begin, pos, nodes_[node].value};
      if (pos == text.size()) break;
      node = child(node, text[pos]);
    }
    if (best.value >= 0) return best;
  }
  return {};
}

AddedTokens::AddedTokens(const std::vector<AddedToken>& tokens, const Vocabulary& model,
                         const Normalizer* normalizer) {
  int64_t next_id = static_cast<int64_t>(model.size());
  std::vector<int32_t> order;  // ids, in the order in which they first came
  for (const AddedToken& token : tokens) {
    if (token.content.empty()) continue;
    require(token.content.size() <= kMaxContent, ErrorCode::kUnsupported,
            "added token of more than ", kMaxContent, " bytes");
    std::optional<int32_t> id = find(token.content);
    if (!id) {
      const int32_t model_id = model.find(token.content);
      outside_model_ += model_id < 0;
      require(model_id >= 0 || next_id <= std::numeric_limits<int32_t>::max(),
              ErrorCode::kUnsupported, "too many tokens");
      id = model_id >= 0 ? model_id : static_cast<int32_t>(next_id);
      ids_.emplace(token.content, *id);
      next_id = std::max(next_id, int64_t{*id} + 1);
    }
    if (tokens_.insert_or_assign(*id, token).second) order.push_back(*id);
    if (token.special) special_.insert(token.content);
  }
  // Where normalized contents coincide, special tokens come first.
  std::stable_partition(order.begin(), order.end(),
                        [&](int32_t id) { return special_.contains(tokens_.at(id).content); });
  for (const int32_t id : order) {
    const AddedToken& token = tokens_.at(id);
    if (!token.normalized || normalizer == nullptr) {
      (token.normalized ? normalized_ : raw_).add(token.content, id);
      continue;
    }
    NormalizedString content(token.content, 0, false);
    normalizer->normalize(content);
    normalized_.add(content.text(), id);
  }
  raw_.finish();
  normalized_.finish();
}

void AddedTokens::split(std::string_view text, Stage stage, bool match_special,
                        std::vector<Part>& out) const {
  const LiteralSet& patterns = stage == Stage::kRaw ? raw_ : normalized_;
  size_t last = 0;  // end of the parts so far
  size_t from = 0;
  bool first = true;
  for (;;) {
    const LiteralSet::Match match = patterns.find(text, from, first);
    if (match.value < 0) break;
    // A match that is refused still uses up its text.
    from = match.end;
    first = false;
    const AddedToken& token = tokens_.at(match.value);
    if (!match_special && special_.contains(token.content)) continue;
    if (token.single_word &&
        (ends_with_word(text.substr(0, match.begin)) || starts_with_word(text.substr(match.end)))) {
      continue;
    }
    size_t begin = match.begin;
    size_t end = match.end;
    if (token.lstrip) begin = std::max(skip_space_before(text, begin), last);
    if (token.rstrip) end = skip_space_after(text, end);
    if (last < begin) out.push_back({make_span(last, begin), -1});
    out.push_back({make_span(begin, end), match.value});
    last = end;
  }
  if (last < text.size()) out.push_back({make_span(last, text.size()), -1});
}

std::optional<int32_t> AddedTokens::find(std::string_view content) const {
  const auto found = ids_.find(std::string(content));
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

const AddedToken* AddedTokens::token(int64_t id) const {
  const auto found = tokens_.find(id);
  return found == tokens_.end() ? nullptr : &found->second;
}

}  // namespace hugot
