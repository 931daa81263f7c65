// Many texts at once.
#include "base/error.h"
#include "base/thread_pool.h"
#include "hugot/tokenizer.hpp"

namespace hugot {

std::vector<Outcome<Encoding>> Tokenizer::encode_batch(std::span<const TextPair> texts,
                                                       const EncodeOptions& options,
                                                       int threads) const {
  constexpr int64_t kGrain = 16;
  std::vector<Outcome<Encoding>> out(texts.size());
  ThreadPool pool(threads);
  pool.parallel_for(static_cast<int64_t>(texts.size()), kGrain, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      try {
        out[i].value = encode(texts[i].text, texts[i].pair, options);
      } catch (const Error& error) {
        out[i].error = error.what();
      }
    }
  });
  return out;
}

}  // namespace hugot
