#include "tokenizer/word_counter.h"

#include <algorithm>
#include <mutex>

#include "base/error.h"
#include "base/thread_pool.h"
#include "base/utf8.h"

namespace hugot {

void WordCounter::add_words(std::string_view text, Counts& counts) const {
  if (text.empty()) return;
  NormalizedString normalized(text, 0,
                              (pre_tokenizer_ && pre_tokenizer_->needs_origins()) ||
                                  (normalizer_ && normalizer_->inserts_in_front()));
  if (normalizer_) normalizer_->normalize(normalized);
  if (normalized.text().empty()) return;
  PreTokenizedText words{normalized.text(), normalized.sources(), {}};
  words.splits.push_back(words.make_split(0, static_cast<uint32_t>(words.text.size())));
  if (pre_tokenizer_) pre_tokenizer_->pre_tokenize(words);
  for (const Split& split : words.splits) ++counts[std::string(words.text_of(split))];
}

void WordCounter::add(std::span<const std::string> texts, ThreadPool* pool) {
  constexpr int64_t kGrain = 256;
  constexpr size_t kMaxText = size_t{1} << 28;  // spans are 32-bit, and normalizers lengthen text
  for (size_t i = 0; i < texts.size(); ++i) {
    require(texts[i].size() <= kMaxText, ErrorCode::kUnsupported, "text ", i, " has more than ",
            kMaxText, " bytes");
    const size_t bad = validate_utf8(texts[i]);
    require(bad == kValidUtf8, ErrorCode::kInvalidData, "text ", i, " is not UTF-8 at byte ", bad);
  }
  std::mutex mutex;
  parallel_for(pool, static_cast<int64_t>(texts.size()), kGrain, [&](int64_t begin, int64_t end) {
    Counts counts;
    for (int64_t i = begin; i < end; ++i) add_words(texts[static_cast<size_t>(i)], counts);
    const std::lock_guard lock(mutex);
    for (const auto& [word, count] : counts) counts_[word] += count;
  });
}

std::vector<CountedWord> WordCounter::take() {
  std::vector<CountedWord> out;
  out.reserve(counts_.size());
  while (!counts_.empty()) {
    auto node = counts_.extract(counts_.begin());
    out.push_back({std::move(node.key()), node.mapped()});
  }
  std::sort(out.begin(), out.end(),
            [](const CountedWord& a, const CountedWord& b) { return a.text < b.text; });
  return out;
}

}  // namespace hugot
