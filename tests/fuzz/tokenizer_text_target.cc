// Any bytes as a text, for good tokenizers.
#include <algorithm>
#include <exception>
#include <string_view>
#include <vector>

#include "hugot/tokenizer.hpp"
#include "tests/fuzz/fuzz.h"

namespace hugot::fuzz {
namespace {

std::vector<Tokenizer> load() {
  std::vector<Tokenizer> tokenizers;
  for (const char* path :
       {"tests/data/tokenizer/bert.json", "tests/data/tiny-bert/tokenizer.json",
        "tests/fuzz/seeds/tokenizer/words.json", "tests/fuzz/seeds/tokenizer/bpe.json",
        "tests/fuzz/seeds/tokenizer/unigram.json", "tests/fuzz/seeds/tokenizer/precompiled.json"}) {
    tokenizers.push_back(Tokenizer::from_file(path));
  }
  return tokenizers;
}

void run(const Tokenizer& tokenizer, std::string_view text, size_t length) {
  only_errors([&] {
    const Encoding whole = tokenizer.encode(text);
    for (const auto& [begin, end] : whole.offsets) {
      require(begin <= end && end <= text.size(), ErrorCode::kInternal, "offsets leave the text");
    }
    std::vector<int32_t> ids;
    tokenizer.encode_ids(text, {}, ids);
    // The fast way gives the same.
    if (!std::equal(ids.begin(), ids.end(), whole.ids.begin(), whole.ids.end())) std::terminate();
    tokenizer.decode(ids, true);
  });
  only_errors([&] {
    // Every window of one half goes with every one of the other: texts are kept short.
    text = text.substr(0, 120);
    EncodeOptions options;
    options.truncation = Truncation{};
    options.truncation->max_length = length;
    options.overflowing = true;
    options.unit = OffsetUnit::kCodePoints;
    const size_t half = text.size() / 2;
    tokenizer.encode(text.substr(0, half), text.substr(half), options);
  });
}

}  // namespace

InputKind input_kind() { return InputKind::kText; }

}  // namespace hugot::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hugot;
  static const std::vector<Tokenizer> tokenizers = fuzz::load();
  // Enough for what texts can do, and quick with sanitizers.
  const std::string_view text = fuzz::as_text(data, size).substr(0, 4096);
  for (const Tokenizer& tokenizer : tokenizers) {
    fuzz::run(tokenizer, text, 4 + size % 61);
  }
  return 0;
}
