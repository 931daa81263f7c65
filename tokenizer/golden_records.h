// Comparison with recorded results of the reference, in the layout of the golden files: an encoding
// is an object with ids, off (offsets in code points), boff (in bytes; absent: the same), wid,
// type, stm (indices of special tokens), att, tok, sid, ov; absent members have their usual values.
// For tests only.
#ifndef HUGOT_TOKENIZER_GOLDEN_RECORDS_H_
#define HUGOT_TOKENIZER_GOLDEN_RECORDS_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/sanitizer.h"
#include "hugot/tokenizer.hpp"

namespace hugot::golden {

using Json = nlohmann::json;

// One recorded result of so many is compared: all of them, but for builds that are slow by
// themselves.
// 17 is prime: it meets every residue of what comes by turns.
inline constexpr uint32_t kStride = kAddressSanitizer ? 17 : 1;

// The whole file; one that ends in .xz is unpacked.
std::string read_text(const std::filesystem::path& path);

// Calls use(record) for the lines of a JSONL file: the first one and every `stride`-th. Lines in
// between are not even parsed, which is most of the time that a build with sanitizers needs.
void each_line(const std::filesystem::path& path, const std::function<void(const Json&)>& use,
               uint32_t stride = 1);

// Counts of one run; prints the first few differences.
struct Tally {
  std::string name;
  int checked = 0;
  int failed = 0;
  int unsupported = 0;  // whole components or tokenizers

  // An empty difference is a success.
  void check(const std::string& difference, const std::function<std::string()>& what);
  // Prints the counts; nothing may have failed.
  void finish() const;
};

// What the reference raised or panicked on.
bool is_error(const Json& json);

// The functions below return a description of the first difference, or "".

std::string compare_json(const Json& expected, const Json& actual);

// Encodes `a` and `b` (a text or a list of words; b may be null) in every way there is.
std::string compare_encoding(const Tokenizer& tokenizer, Json expected, const Json& a,
                             const Json& b, bool words, EncodeOptions options,
                             const std::optional<Padding>& padding = {});

// Encodes and pads a list of [a] or [a, b].
std::string compare_batch(const Tokenizer& tokenizer, const Json& expected,
                          const std::vector<std::vector<std::string>>& inputs,
                          const std::optional<Truncation>& truncation, const Padding& padding);

// record["dec"] and record["decs"], where true stands for `text`.
std::string compare_decoded(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                            const Json& record, const std::string& text);

std::string compare_text(const Json& expected, const std::string& actual);

// Runs one line of the components suite.
void run_component(const Json& record, Tally& tally);

}  // namespace hugot::golden

#endif  // HUGOT_TOKENIZER_GOLDEN_RECORDS_H_
