// Hostile tokenizer.json files, on harmless texts.
#include "hugot/tokenizer.hpp"
#include "tests/fuzz/fuzz.h"

namespace hugot::fuzz {

InputKind input_kind() { return InputKind::kJson; }

}  // namespace hugot::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hugot;
  return fuzz::only_errors([&] {
    const Tokenizer tokenizer = Tokenizer::from_json(fuzz::as_text(data, size));
    for (const std::string_view text :
         {"", "Hello, world! unaffable [MASK] 12345", "caf\u00e9 \u4e2d\u6587 \U0001f600\u200d x",
          "  \t\n aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa "}) {
      fuzz::only_errors([&] {
        EncodeOptions options;
        options.overflowing = true;
        options.truncation = tokenizer.file_truncation();
        const Encoding encoding = tokenizer.encode(text, "a second text", options);
        tokenizer.decode(encoding.ids, true);
        std::vector<int32_t> ids;
        tokenizer.encode_ids(text, {}, ids);
        tokenizer.decode(ids, false);
        for (const int32_t id : ids) tokenizer.id_to_token(id);
      });
    }
    const int32_t strange[] = {-1, 0, INT32_MAX, INT32_MIN};
    tokenizer.decode(strange, false);
  });
}
