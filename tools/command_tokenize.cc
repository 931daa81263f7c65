// hugot tokenize: texts to token ids and back, row by row.
#include <iostream>

#include "base/error.h"
#include "base/thread_pool.h"
#include "hugot/tokenizer.hpp"
#include "models/model_directory.h"
#include "tools/bench.h"
#include "tools/command.h"
#include "tools/json_row.h"
#include "tools/json_text.h"
#include "tools/row_stream.h"

namespace hugot::tools {
namespace {

struct Options {
  std::string model;
  std::string model_folder;
  std::string input;
  bool no_special_tokens = false;
  int64_t max_length = -1;  // not cut
  int64_t stride = 0;
  std::string truncation = "longest_first";
  std::string truncation_side = "right";
  bool file_truncation = false;
  int64_t pad_to = -1;  // no padding
  int64_t pad_to_multiple_of = 0;
  std::string padding_side;
  bool file_padding = false;
  std::string offsets = "codepoints";
  bool encode_special_tokens = false;
  bool decode = false;
  bool skip_special_tokens = false;
  int threads = 0;
};

constexpr size_t kRowsPerChunk = 1024;
constexpr int64_t kGrain = 16;

Side side_of(std::string_view name) { return name == "left" ? Side::kLeft : Side::kRight; }

EncodeOptions encode_options(const Options& options, const Tokenizer& tokenizer) {
  EncodeOptions encode;
  encode.add_special_tokens = !options.no_special_tokens;
  encode.encode_special_tokens = options.encode_special_tokens;
  encode.unit = options.offsets == "bytes" ? OffsetUnit::kBytes : OffsetUnit::kCodePoints;
  require(options.stride == 0 || options.max_length >= 0, ErrorCode::kInvalidArgument,
          "--stride needs --max-length");
  require(!options.file_truncation || options.max_length < 0, ErrorCode::kInvalidArgument,
          "--file-truncation and --max-length exclude each other");
  if (options.file_truncation) encode.truncation = tokenizer.file_truncation();
  if (options.max_length >= 0) {
    Truncation& truncation = encode.truncation.emplace();
    truncation.max_length = static_cast<size_t>(options.max_length);
    truncation.stride = static_cast<size_t>(options.stride);
    truncation.side = side_of(options.truncation_side);
    truncation.strategy = options.truncation == "only_first" ? Truncation::Strategy::kOnlyFirst
                          : options.truncation == "only_second"
                              ? Truncation::Strategy::kOnlySecond
                              : Truncation::Strategy::kLongestFirst;
  }
  encode.overflowing = encode.truncation.has_value();
  return encode;
}

// A row is a batch of its own, so that it comes back the same wherever it stands.
std::optional<Padding> padding_of(const Options& options, const Tokenizer& tokenizer) {
  const bool asked = options.pad_to >= 0 || options.pad_to_multiple_of > 0;
  require(asked || options.file_padding || options.padding_side.empty(),
          ErrorCode::kInvalidArgument,
          "--padding-side needs --pad-to, --pad-to-multiple-of or --file-padding");
  if (!asked && !options.file_padding) return std::nullopt;
  const auto& of_file = tokenizer.file_padding();
  if (!asked && !of_file) return std::nullopt;
  Padding padding;
  if (of_file) {
    padding = *of_file;
  } else {
    for (const char* token : {"[PAD]", "<pad>", "<|endoftext|>", "</s>"}) {
      const auto id = tokenizer.token_to_id(token);
      if (!id) continue;
      padding.pad_id = *id;
      padding.pad_token = token;
      break;
    }
  }
  if (options.pad_to >= 0) padding.length = static_cast<size_t>(options.pad_to);
  if (options.pad_to_multiple_of > 0) {
    if (options.pad_to < 0) padding.length.reset();
    padding.pad_to_multiple_of = static_cast<size_t>(options.pad_to_multiple_of);
  }
  if (!options.padding_side.empty()) padding.side = side_of(options.padding_side);
  return padding;
}

// "key":[..] with what `append` writes for each element.
template <class List, class Append>
void append_list(std::string& out, std::string_view key, const List& list, const Append& append) {
  out += '"';
  out += key;
  out += "\":[";
  for (size_t i = 0; i < list.size(); ++i) {
    if (i > 0) out += ',';
    append(list[i]);
  }
  out += ']';
}

// The members of an encoding, without braces.
void append_encoding(std::string& out, const Encoding& encoding) {
  const auto number = [&](auto value) { out += std::to_string(value); };
  append_list(out, "ids", encoding.ids, number);
  out += ',';
  append_list(out, "tokens", encoding.tokens,
              [&](const std::string& token) { append_string(out, token, JsonStyle::kPlain); });
  out += ',';
  append_list(out, "offsets", encoding.offsets, [&](const Span& span) {
    out += '[' + std::to_string(span.begin) + ',' + std::to_string(span.end) + ']';
  });
  out += ',';
  append_list(out, "type_ids", encoding.type_ids, number);
  out += ',';
  append_list(out, "attention_mask", encoding.attention_mask, number);
  out += ',';
  append_list(out, "special_tokens_mask", encoding.special_tokens_mask, number);
  out += ',';
  append_list(out, "word_ids", encoding.word_ids,
              [&](int32_t word) { out += word < 0 ? "null" : std::to_string(word); });
}

// A text is a string, or a list of strings: words that it is cut into already.
Encoding encode(const JsonRow& row, const Tokenizer& tokenizer, const EncodeOptions& options) {
  const bool pair = row.has("pair");
  if (!row.has("words") && !(row.has("input") && row.at("input").is_array())) {
    return pair ? tokenizer.encode(row.text("input"), row.text("pair"), options)
                : tokenizer.encode(row.text("input"), options);
  }
  const std::vector<std::string> words = row.texts(row.has("words") ? "words" : "input");
  const std::vector<std::string> second = pair ? row.texts("pair") : std::vector<std::string>();
  const std::vector<std::string_view> views(words.begin(), words.end());
  const std::vector<std::string_view> second_views(second.begin(), second.end());
  return pair ? tokenizer.encode_words(views, second_views, options)
              : tokenizer.encode_words(views, options);
}

std::string encode(const JsonRow& row, const Tokenizer& tokenizer, const EncodeOptions& options,
                   const std::optional<Padding>& padding) {
  Encoding encoding = encode(row, tokenizer, options);
  if (padding) pad_encodings({&encoding, 1}, *padding);
  std::string out;
  append_encoding(out, encoding);
  out += ',';
  append_list(out, "overflowing", encoding.overflowing, [&](const Encoding& window) {
    out += '{';
    append_encoding(out, window);
    out += '}';
  });
  return row.with(out, {"ids", "tokens", "offsets", "type_ids", "attention_mask",
                        "special_tokens_mask", "word_ids", "overflowing", "error"});
}

std::string decode(const JsonRow& row, const Tokenizer& tokenizer, bool skip_special_tokens) {
  const std::vector<int32_t> ids = row.ids("ids");
  std::string out = "\"text\":";
  append_string(out, tokenizer.decode(ids, skip_special_tokens), JsonStyle::kPlain);
  return row.with(out, {"text", "error"});
}

struct Row {
  std::string line;
  RowPlace place;
  std::string output;  // the line to write
  bool failed = false;
};

void process(Row& row, const Tokenizer& tokenizer, const EncodeOptions& encode_options,
             const std::optional<Padding>& padding, const Options& options) {
  std::optional<JsonRow> json;
  try {
    json.emplace(row.line);
    row.output = options.decode ? decode(*json, tokenizer, options.skip_special_tokens)
                                : encode(*json, tokenizer, encode_options, padding);
  } catch (const Error& error) {
    row.failed = true;
    std::string member = "\"error\":";
    append_string(member, error.what(), JsonStyle::kPlain);
    row.output = json ? json->with(member, {"error"})
                      : '{' + member + ",\"line\":" + std::to_string(row.place.line) + '}';
  }
  row.output += '\n';
}

int tokenize(const Options& options) {
  const InterruptGuard interrupt;
  RowReader reader(options.input, interrupt.descriptor());
  const Tokenizer tokenizer =
      Tokenizer::from_file(find_tokenizer(options.model, options.model_folder));
  const EncodeOptions encode = encode_options(options, tokenizer);
  const std::optional<Padding> padding = padding_of(options, tokenizer);
  ThreadPool pool(options.threads);
  RowWriter writer;
  std::vector<Row> rows;
  uint64_t failed = 0;
  for (bool more = true; more && !interrupt.token().stop_requested();) {
    rows.clear();
    while (rows.size() < kRowsPerChunk) {
      auto line = reader.next();
      more = line.has_value();
      if (!more) break;
      rows.push_back({std::move(*line), reader.place(), {}});
    }
    pool.parallel_for(static_cast<int64_t>(rows.size()), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        process(rows[static_cast<size_t>(i)], tokenizer, encode, padding, options);
      }
    });
    std::string lines;
    for (const Row& row : rows) {
      lines += row.output;
      if (row.failed) ++failed;
    }
    if (!writer.write(lines)) return kSomeFailed;
  }
  if (failed > 0) {
    std::cerr << "hugot: " << failed << " rows failed; each has its \"error\"" << std::endl;
  }
  if (interrupt.token().stop_requested()) return kInterrupted;
  return failed > 0 ? kSomeFailed : kDone;
}

}  // namespace

std::filesystem::path find_tokenizer(const std::string& model, const std::string& model_folder) {
  const auto path = find_model(model, model_folder);
  return std::filesystem::is_directory(path) ? ModelDirectory::read(path).tokenizer_file() : path;
}

void add_tokenize(CLI::App& app, Action& action) {
  CLI::App* command = nullptr;
  Options& options = add_command<Options>(
      app, action, "tokenize",
      "Token ids of JSONL rows {\"input\"[, \"pair\"]}, texts or lists of words, or texts of rows "
      "{\"ids\"} with --decode",
      tokenize, command);
  const auto option = [&](std::string_view names, auto& value, const std::string& text) {
    return command->add_option(both_spellings(names), value, text);
  };
  const auto flag = [&](std::string_view names, bool& value, const std::string& text) {
    return command->add_flag(both_spellings(names), value, text);
  };
  option("--model", options.model, "model directory, its name, or a tokenizer.json")->required();
  option("--model-folder", options.model_folder, "where names are looked up");
  option("--input", options.input, "a .jsonl file or a folder of them; without: standard input");
  flag("--no-special-tokens", options.no_special_tokens, "only the tokens of the text");
  option("--max-length", options.max_length, "cut to so many tokens, special ones included")
      ->check(CLI::Range(0, 1 << 30));
  option("--stride", options.stride, "tokens that consecutive windows share")
      ->check(CLI::Range(0, 1 << 30));
  option("--truncation", options.truncation, "which text of a pair is cut")
      ->check(CLI::IsMember({"longest_first", "only_first", "only_second"}))
      ->capture_default_str();
  option("--truncation-side", options.truncation_side, "the end that is cut")
      ->check(CLI::IsMember({"right", "left"}))
      ->capture_default_str();
  flag("--file-truncation", options.file_truncation, "cut as tokenizer.json says");
  option("--pad-to", options.pad_to, "add padding up to so many tokens")
      ->check(CLI::Range(0, 1 << 24));
  option("--pad-to-multiple-of", options.pad_to_multiple_of, "add padding up to a multiple of this")
      ->check(CLI::Range(0, 1 << 24));
  option("--padding-side", options.padding_side, "the end that padding is put to")
      ->check(CLI::IsMember({"right", "left"}));
  flag("--file-padding", options.file_padding, "pad as tokenizer.json says");
  flag("--encode-special-tokens", options.encode_special_tokens,
       "special tokens in a text are text like any other");
  option("--offsets", options.offsets, "unit of offsets")
      ->check(CLI::IsMember({"codepoints", "bytes"}))
      ->capture_default_str();
  flag("--decode", options.decode, "ids to text");
  flag("--skip-special-tokens", options.skip_special_tokens,
       "leave special tokens out of the text");
  option("--threads", options.threads, "0: all processors")->check(CLI::Range(0, 4096));
}

}  // namespace hugot::tools
