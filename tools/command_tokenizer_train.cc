// hugot tokenizer-train: a new tokenizer from texts.
#include <fstream>
#include <iostream>

#include "base/error.h"
#include "base/file.h"
#include "base/thread_pool.h"
#include "base/utf8.h"
#include "tokenizer/tokenizer_trainer.h"
#include "tools/command.h"
#include "tools/json_row.h"
#include "tools/row_stream.h"

namespace hugot::tools {
namespace {

namespace fs = std::filesystem;

// What is not given keeps what is usual for the model.
struct Options {
  std::string type;
  std::string pipeline;
  std::vector<std::string> inputs;
  std::string output;
  bool force = false;
  bool cased = false;
  bool add_prefix_space = false;
  size_t model_max_length = 512;
  std::optional<size_t> vocab_size;
  std::optional<uint64_t> min_frequency;
  std::optional<std::vector<std::string>> special_tokens;
  std::optional<std::string> unk_token;
  std::optional<size_t> limit_alphabet;
  std::string initial_alphabet;
  std::optional<std::string> continuing_subword_prefix;
  std::optional<std::string> end_of_word_suffix;
  std::optional<size_t> max_token_length;
  std::optional<size_t> max_piece_length;
  std::optional<double> shrinking_factor;
  std::optional<size_t> n_sub_iterations;
  int threads = 0;
};

constexpr size_t kTextsPerBatch = 8192;
constexpr size_t kBytesPerBatch = size_t{1} << 24;

template <class Value, class To>
void set(const std::optional<Value>& given, To& to) {
  if (given) to = *given;
}

TokenizerTrainOptions train_options(const Options& given) {
  const TrainedModel model = given.type == "wordpiece" ? TrainedModel::kWordPiece
                             : given.type == "bpe"     ? TrainedModel::kBpe
                                                       : TrainedModel::kUnigram;
  TokenizerTrainOptions out = TokenizerTrainOptions::usual(model);
  if (!given.pipeline.empty()) {
    out = TokenizerTrainOptions::usual(model, given.pipeline == "bert" ? TrainPipeline::kBert
                                              : given.pipeline == "byte-level"
                                                  ? TrainPipeline::kByteLevel
                                                  : TrainPipeline::kMetaspace);
  }
  const auto only = [&](bool right, bool used, const char* option, const char* with) {
    require(right || !used, ErrorCode::kInvalidArgument, option, " needs ", with);
  };
  const bool unigram = model == TrainedModel::kUnigram;
  only(!unigram, given.min_frequency.has_value(), "--min-frequency", "--type wordpiece or bpe");
  only(!unigram, given.limit_alphabet.has_value(), "--limit-alphabet", "--type wordpiece or bpe");
  only(!unigram, given.continuing_subword_prefix.has_value(), "--continuing-subword-prefix",
       "--type wordpiece or bpe");
  only(!unigram, given.end_of_word_suffix.has_value(), "--end-of-word-suffix",
       "--type wordpiece or bpe");
  only(!unigram, given.max_token_length.has_value(), "--max-token-length",
       "--type wordpiece or bpe");
  only(unigram, given.max_piece_length.has_value(), "--max-piece-length", "--type unigram");
  only(unigram, given.shrinking_factor.has_value(), "--shrinking-factor", "--type unigram");
  only(unigram, given.n_sub_iterations.has_value(), "--n-sub-iterations", "--type unigram");
  only(out.pipeline == TrainPipeline::kBert, given.cased, "--cased", "--pipeline bert");
  only(out.pipeline == TrainPipeline::kByteLevel, given.add_prefix_space, "--add-prefix-space",
       "--pipeline byte-level");
  out.lowercase = !given.cased;
  out.add_prefix_space = given.add_prefix_space;
  out.model_max_length = given.model_max_length;
  set(given.vocab_size, out.vocab_size);
  set(given.special_tokens, out.special_tokens);
  set(given.unk_token, out.unk_token);
  set(given.min_frequency, out.bpe.min_frequency);
  set(given.limit_alphabet, out.bpe.limit_alphabet);
  set(given.continuing_subword_prefix, out.bpe.continuing_subword_prefix);
  set(given.end_of_word_suffix, out.bpe.end_of_word_suffix);
  set(given.max_token_length, out.bpe.max_token_length);
  set(given.max_piece_length, out.unigram.max_piece_length);
  set(given.shrinking_factor, out.unigram.shrinking_factor);
  set(given.n_sub_iterations, out.unigram.n_sub_iterations);
  require(validate_utf8(given.initial_alphabet) == kValidUtf8, ErrorCode::kInvalidArgument,
          "--initial-alphabet is not UTF-8");
  for (size_t pos = 0; pos < given.initial_alphabet.size();) {
    out.initial_alphabet.push_back(decode_utf8(given.initial_alphabet, pos));
  }
  return out;
}

bool has_rows(const fs::path& input) {
  return input.empty() || fs::is_directory(input) || input.extension() == ".jsonl";
}

// The texts of one input: the "input" of rows, or the lines of a text file with their ends.
class TextReader {
 public:
  TextReader(const fs::path& input, int interrupt) : name_(input.string()) {
    if (has_rows(input)) {
      rows_.emplace(input, interrupt);
    } else {
      require_file(input);
      lines_.open(input, std::ios::binary);
      require(lines_.is_open(), ErrorCode::kIo, "cannot read ", name_);
    }
  }

  std::optional<std::string> next() {
    if (rows_) {
      const auto line = rows_->next();
      if (!line) return std::nullopt;
      const RowPlace& place = rows_->place();
      return with_context([&] { return str(place.file, ':', place.line); },
                          [&] { return JsonRow(*line).text("input"); });
    }
    std::string line;
    if (!std::getline(lines_, line)) {
      require(!lines_.bad(), ErrorCode::kIo, "cannot read ", name_);
      return std::nullopt;
    }
    if (!lines_.eof()) line += '\n';
    return line;
  }

 private:
  std::string name_;
  std::optional<RowReader> rows_;
  std::ifstream lines_;
};

uint64_t size_of(const std::vector<fs::path>& inputs) {
  uint64_t size = 0;
  for (const fs::path& input : inputs) {
    if (input.empty()) return 0;
    if (!fs::is_directory(input)) {
      require_file(input);
      size += fs::file_size(input);
      continue;
    }
    for (const auto& entry : fs::recursive_directory_iterator(input)) {
      if (entry.path().extension() == ".jsonl" && entry.is_regular_file())
        size += entry.file_size();
    }
  }
  return size;
}

// Feeds all texts; returns how many.
uint64_t read_texts(const Options& options, const InterruptGuard& interrupt, ThreadPool& pool,
                    TokenizerTrainer& trainer) {
  std::vector<fs::path> inputs(options.inputs.begin(), options.inputs.end());
  if (inputs.empty()) inputs.emplace_back();
  const uint64_t total = size_of(inputs);
  ProgressLine progress;
  uint64_t texts = 0;
  uint64_t bytes = 0;
  for (const fs::path& input : inputs) {
    TextReader reader(input, interrupt.descriptor());
    std::vector<std::string> batch;
    for (bool more = true; more && !interrupt.token().stop_requested();) {
      batch.clear();
      for (size_t size = 0; batch.size() < kTextsPerBatch && size < kBytesPerBatch;) {
        auto text = reader.next();
        more = text.has_value();
        if (!more) break;
        size += text->size();
        batch.push_back(std::move(*text));
      }
      with_context([&] { return str(input.string(), ", from text ", texts, " on"); },
                   [&] { trainer.add(batch, &pool); });
      for (const std::string& text : batch) bytes += text.size();
      texts += batch.size();
      progress.update(texts, bytes, total);
    }
  }
  return texts;
}

int train(const Options& options) {
  const InterruptGuard interrupt;
  const fs::path output = options.output;
  require(options.force || !fs::exists(output / "tokenizer.json"), ErrorCode::kInvalidArgument,
          (output / "tokenizer.json").string(), " is there already; --force replaces it");
  TokenizerTrainer trainer(train_options(options));
  ThreadPool pool(options.threads);
  const uint64_t texts = read_texts(options, interrupt, pool, trainer);
  if (interrupt.token().stop_requested()) return kInterrupted;
  TrainedTokenizer trained;
  try {
    ProgressLine line;
    TrainControl control;
    control.stop = interrupt.token();
    control.pool = &pool;
    control.progress = [&](std::string_view stage, uint64_t done, uint64_t total) {
      line.update_steps(stage, done, total);
    };
    trained = trainer.train(control);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kCancelled) return kInterrupted;
    throw;
  }
  std::error_code error;
  fs::create_directories(output, error);
  require(!error, ErrorCode::kIo, "cannot make folder ", output.string(), ": ", error.message());
  write_file_atomically(output / "tokenizer_config.json", trained.tokenizer_config_json);
  write_file_atomically(output / "special_tokens_map.json", trained.special_tokens_map_json);
  write_file_atomically(output / "tokenizer.json", trained.tokenizer_json);
  std::cerr << "wrote " << options.output << ": " << trained.vocab_size << " tokens from " << texts
            << " texts" << std::endl;
  return kDone;
}

}  // namespace

void add_tokenizer_train(CLI::App& app, Action& action) {
  CLI::App* command = nullptr;
  Options& options = add_command<Options>(
      app, action, "tokenizer-train",
      "Make tokenizer.json and the files beside it from texts: lines of text files, \"input\" of "
      "rows of .jsonl files",
      train, command);
  const auto option = [&](std::string_view names, auto& value, const std::string& text) {
    return command->add_option(both_spellings(names), value, text);
  };
  const auto flag = [&](std::string_view names, bool& value, const std::string& text) {
    command->add_flag(both_spellings(names), value, text);
  };
  command->add_option("inputs", options.inputs,
                      "text files, .jsonl files and folders of those; without: rows from standard "
                      "input");
  option("--type", options.type, "model: wordpiece, bpe or unigram")
      ->required()
      ->check(CLI::IsMember({"wordpiece", "bpe", "unigram"}));
  option("--output,-o", options.output, "folder to write to")->required();
  option("--pipeline", options.pipeline,
         "bert, byte-level or metaspace; usual for wordpiece, bpe and unigram in this order")
      ->check(CLI::IsMember({"bert", "byte-level", "metaspace"}));
  flag("--cased", options.cased, "bert: keep case and accents");
  flag("--add-prefix-space", options.add_prefix_space,
       "byte-level: treat the first word like any other");
  option("--vocab-size", options.vocab_size,
         "tokens, the special ones included (30000; unigram: 8000)")
      ->check(CLI::Range(1, 1 << 30));
  option("--special-tokens", options.special_tokens,
         "tokens with the first ids, by commas; those with names like [CLS], </s> or <pad> get "
         "their roles")
      ->delimiter(',');
  option("--unk-token", options.unk_token, "token for what is not known; '': none");
  option("--initial-alphabet", options.initial_alphabet,
         "characters that become tokens even if no text has them");
  option("--min-frequency", options.min_frequency,
         "wordpiece, bpe: least frequency of a pair that is merged (2)");
  option("--limit-alphabet", options.limit_alphabet,
         "wordpiece, bpe: most characters to keep (1000; byte-level: all)")
      ->check(CLI::Range(1, 1 << 30));
  option("--continuing-subword-prefix", options.continuing_subword_prefix,
         "wordpiece, bpe: in front of tokens inside of words (##; bpe: none)");
  option("--end-of-word-suffix", options.end_of_word_suffix,
         "wordpiece, bpe: behind tokens at the end of words (none)");
  option("--max-token-length", options.max_token_length,
         "wordpiece, bpe: tokens have fewer characters (no limit)")
      ->check(CLI::Range(1, 1 << 30));
  option("--max-piece-length", options.max_piece_length, "unigram: most characters of a token (16)")
      ->check(CLI::Range(1, 1 << 20));
  option("--shrinking-factor", options.shrinking_factor,
         "unigram: part of the tokens that each round keeps (0.75)")
      ->check(CLI::Range(0.01, 0.99));
  option("--n-sub-iterations", options.n_sub_iterations, "unigram: estimations in a round (2)")
      ->check(CLI::Range(1, 1000));
  option("--model-max-length", options.model_max_length,
         "tokens a text is cut to, for tokenizer_config.json")
      ->check(CLI::Range(1, 1 << 30))
      ->capture_default_str();
  flag("--force", options.force, "replace a tokenizer that is there");
  option("--threads", options.threads, "0: all processors")->check(CLI::Range(0, 4096));
}

}  // namespace hugot::tools
