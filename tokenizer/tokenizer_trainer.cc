#include "tokenizer/tokenizer_trainer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "base/error.h"
#include "base/utf8.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/component_json.h"
#include "tokenizer/word_counter.h"

namespace hugot {
namespace {

using Json = nlohmann::ordered_json;

// What a special token with a well-known name is for.
struct Role {
  const char* token;
  std::vector<const char*> names;
};
const Role kRoles[] = {{"[PAD]", {"pad_token"}},
                       {"[UNK]", {"unk_token"}},
                       {"[CLS]", {"cls_token"}},
                       {"[SEP]", {"sep_token"}},
                       {"[MASK]", {"mask_token"}},
                       {"<s>", {"bos_token", "cls_token"}},
                       {"</s>", {"eos_token", "sep_token"}},
                       {"<pad>", {"pad_token"}},
                       {"<unk>", {"unk_token"}},
                       {"<mask>", {"mask_token"}},
                       {"<|endoftext|>", {"bos_token", "eos_token", "pad_token"}}};

nlohmann::json plain(const Json& json) { return nlohmann::json::parse(json.dump()); }

// Adds a member with a key that is not there yet, without looking for it: objects of this kind are
// searched from the front.
void add_member(Json& object, const std::string& key, Json value) {
  object.get_ref<Json::object_t&>().emplace_back(key, std::move(value));
}

}  // namespace

TokenizerTrainOptions TokenizerTrainOptions::usual(TrainedModel model) {
  switch (model) {
    case TrainedModel::kWordPiece:
      return usual(model, TrainPipeline::kBert);
    case TrainedModel::kBpe:
      return usual(model, TrainPipeline::kByteLevel);
    case TrainedModel::kUnigram:
      break;
  }
  return usual(model, TrainPipeline::kMetaspace);
}

TokenizerTrainOptions TokenizerTrainOptions::usual(TrainedModel model, TrainPipeline pipeline) {
  TokenizerTrainOptions out;
  out.model = model;
  out.pipeline = pipeline;
  out.vocab_size = model == TrainedModel::kUnigram ? 8000 : 30000;
  out.bpe.min_frequency = 2;
  const bool bytes = pipeline == TrainPipeline::kByteLevel;
  if (!bytes && model != TrainedModel::kUnigram) out.bpe.limit_alphabet = 1000;
  if (model == TrainedModel::kWordPiece) {
    out.special_tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
    out.unk_token = "[UNK]";
    out.bpe.continuing_subword_prefix = "##";
  } else if (model == TrainedModel::kBpe && bytes) {
    out.special_tokens = {"<|endoftext|>"};
  } else {
    out.special_tokens = {"<s>", "<pad>", "</s>", "<unk>", "<mask>"};
    out.unk_token = "<unk>";
  }
  return out;
}

class TokenizerTrainer::Impl {
 public:
  explicit Impl(TokenizerTrainOptions options)
      : options_(std::move(options)),
        counter_(parse_optional(normalizer(), parse_normalizer),
                 parse_pre_tokenizer(plain(pre_tokenizer()))) {
    std::vector<std::string>& special = options_.special_tokens;
    if (!options_.unk_token.empty() && !has_special(options_.unk_token)) {
      special.insert(special.begin(), options_.unk_token);
    }
    require(
        std::unordered_set<std::string>(special.begin(), special.end()).size() == special.size() &&
            !has_special(""),
        ErrorCode::kInvalidArgument, "special tokens have to differ and must not be empty");
    for (const std::string& token : special) {
      require(validate_utf8(token) == kValidUtf8, ErrorCode::kInvalidArgument,
              "a special token is not UTF-8");
    }
    require(options_.model != TrainedModel::kWordPiece || !options_.unk_token.empty(),
            ErrorCode::kInvalidArgument, "WordPiece needs an unknown token");
    require(options_.vocab_size > special.size(), ErrorCode::kInvalidArgument, "a vocabulary of ",
            options_.vocab_size, " has no room beside the special tokens");
    if (options_.pipeline == TrainPipeline::kByteLevel) {
      for (int byte = 0; byte < 256; ++byte) {
        options_.initial_alphabet.push_back(byte_level_char(static_cast<unsigned char>(byte)));
      }
    }
  }

  void add(std::span<const std::string> texts, ThreadPool* pool) { counter_.add(texts, pool); }

  TrainedTokenizer train(const TrainControl& control) {
    const std::vector<CountedWord> words = counter_.take();
    require(!words.empty(), ErrorCode::kInvalidArgument, "there is no text to train on");
    Json model = options_.model == TrainedModel::kUnigram ? train_unigram_model(words, control)
                                                          : train_bpe_model(words, control);
    Json document{{"version", "1.0"},
                  {"truncation", nullptr},
                  {"padding", nullptr},
                  {"added_tokens", Json::array()},
                  {"normalizer", normalizer()},
                  {"pre_tokenizer", pre_tokenizer()},
                  {"post_processor", post_processor()},
                  {"decoder", decoder()}};
    for (size_t id = 0; id < options_.special_tokens.size(); ++id) {
      const std::string& token = options_.special_tokens[id];
      document["added_tokens"].push_back({{"id", id},
                                          {"content", token},
                                          {"single_word", false},
                                          {"lstrip", token == "<mask>"},
                                          {"rstrip", false},
                                          {"normalized", false},
                                          {"special", true}});
    }
    TrainedTokenizer out;
    out.vocab_size = model["vocab"].size();
    document["model"] = std::move(model);
    out.tokenizer_json = document.dump(2) + '\n';
    const Json roles = special_tokens_map();
    out.special_tokens_map_json = roles.dump(2) + '\n';
    Json config = roles;
    config["model_max_length"] = options_.model_max_length;
    if (options_.pipeline == TrainPipeline::kBert) config["do_lower_case"] = options_.lowercase;
    if (options_.pipeline == TrainPipeline::kByteLevel) {
      config["add_prefix_space"] = options_.add_prefix_space;
    }
    config["clean_up_tokenization_spaces"] = options_.pipeline == TrainPipeline::kBert;
    const bool bert = options_.model == TrainedModel::kWordPiece &&
                      options_.pipeline == TrainPipeline::kBert && has_special("[CLS]") &&
                      has_special("[SEP]");
    config["tokenizer_class"] = bert ? "BertTokenizer" : "PreTrainedTokenizerFast";
    out.tokenizer_config_json = config.dump(2) + '\n';
    return out;
  }

 private:
  template <class Parse>
  static auto parse_optional(const Json& json, Parse parse) -> decltype(parse(plain(json))) {
    if (json.is_null()) return nullptr;
    return parse(plain(json));
  }

  bool has_special(std::string_view token) const {
    const auto& special = options_.special_tokens;
    return std::find(special.begin(), special.end(), token) != special.end();
  }
  size_t special_id(std::string_view token) const {
    const auto& special = options_.special_tokens;
    return static_cast<size_t>(std::find(special.begin(), special.end(), token) - special.begin());
  }

  Json normalizer() const {
    switch (options_.pipeline) {
      case TrainPipeline::kBert:
        return {{"type", "BertNormalizer"},
                {"clean_text", true},
                {"handle_chinese_chars", true},
                {"strip_accents", nullptr},
                {"lowercase", options_.lowercase}};
      case TrainPipeline::kByteLevel:
        return nullptr;
      case TrainPipeline::kMetaspace:
        break;
    }
    return {{"type", "Sequence"},
            {"normalizers",
             {Json{{"type", "Nmt"}}, Json{{"type", "NFKC"}},
              Json{{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", " "}}}}};
  }

  Json pre_tokenizer() const {
    switch (options_.pipeline) {
      case TrainPipeline::kBert:
        return Json{{"type", "BertPreTokenizer"}};
      case TrainPipeline::kByteLevel:
        return byte_level(options_.add_prefix_space, true);
      case TrainPipeline::kMetaspace:
        break;
    }
    return metaspace();
  }

  static Json byte_level(bool add_prefix_space, bool trim_offsets) {
    return {{"type", "ByteLevel"},
            {"add_prefix_space", add_prefix_space},
            {"trim_offsets", trim_offsets},
            {"use_regex", true}};
  }
  static Json metaspace() {
    return {{"type", "Metaspace"},
            {"replacement", "\u2581"},
            {"prepend_scheme", "always"},
            {"split", true}};
  }

  Json decoder() const {
    if (options_.pipeline == TrainPipeline::kByteLevel) return byte_level(true, true);
    if (options_.pipeline == TrainPipeline::kMetaspace) return metaspace();
    if (options_.model == TrainedModel::kWordPiece) {
      return {{"type", "WordPiece"},
              {"prefix", options_.bpe.continuing_subword_prefix},
              {"cleanup", true}};
    }
    if (options_.model == TrainedModel::kBpe && !options_.bpe.end_of_word_suffix.empty()) {
      return {{"type", "BPEDecoder"}, {"suffix", options_.bpe.end_of_word_suffix}};
    }
    return nullptr;
  }

  Json post_processor() const {
    const bool bert = has_special("[CLS]") && has_special("[SEP]");
    if (!bert && !(has_special("<s>") && has_special("</s>"))) {
      return options_.pipeline == TrainPipeline::kByteLevel ? byte_level(true, false) : Json();
    }
    const char* first = bert ? "[CLS]" : "<s>";
    const char* last = bert ? "[SEP]" : "</s>";
    const auto special = [](const char* token, int type) {
      return Json{{"SpecialToken", {{"id", token}, {"type_id", type}}}};
    };
    const auto sequence = [](const char* name, int type) {
      return Json{{"Sequence", {{"id", name}, {"type_id", type}}}};
    };
    Json single = Json::array({special(first, 0), sequence("A", 0), special(last, 0)});
    Json pair = single;
    // RoBERTa and its like put two tokens between texts of one and the same type.
    if (!bert) pair.push_back(special(last, 0));
    pair.push_back(sequence("B", bert));
    pair.push_back(special(last, bert));
    Json tokens = Json::object();
    for (const char* token : {first, last}) {
      tokens[token] = {{"id", token},
                       {"ids", Json::array({special_id(token)})},
                       {"tokens", Json::array({token})}};
    }
    return {{"type", "TemplateProcessing"},
            {"single", std::move(single)},
            {"pair", std::move(pair)},
            {"special_tokens", std::move(tokens)}};
  }

  Json special_tokens_map() const {
    Json out = Json::object();
    for (const Role& role : kRoles) {
      if (!has_special(role.token)) continue;
      for (const char* name : role.names) {
        if (!out.contains(name)) out[name] = role.token;
      }
    }
    if (!options_.unk_token.empty()) out["unk_token"] = options_.unk_token;
    return out;
  }

  Json train_bpe_model(std::span<const CountedWord> words, const TrainControl& control) {
    BpeTrainOptions options = options_.bpe;
    options.vocab_size = options_.vocab_size;
    options.special_tokens = options_.special_tokens;
    options.initial_alphabet = options_.initial_alphabet;
    const TrainedBpe trained = train_bpe(words, options, control);
    Json vocabulary = Json::object();
    vocabulary.get_ref<Json::object_t&>().reserve(trained.tokens.size());
    for (size_t id = 0; id < trained.tokens.size(); ++id) {
      add_member(vocabulary, trained.tokens[id], id);
    }
    if (options_.model == TrainedModel::kWordPiece) {
      return {{"type", "WordPiece"},
              {"unk_token", options_.unk_token},
              {"continuing_subword_prefix", options.continuing_subword_prefix},
              {"max_input_chars_per_word", 100},
              {"vocab", std::move(vocabulary)}};
    }
    const auto or_null = [](const std::string& text) { return text.empty() ? Json() : Json(text); };
    Json merges = Json::array();
    for (const auto& [left, right] : trained.merges) {
      merges.push_back(Json::array({trained.tokens[left], trained.tokens[right]}));
    }
    return {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", or_null(options_.unk_token)},
            {"continuing_subword_prefix", or_null(options.continuing_subword_prefix)},
            {"end_of_word_suffix", or_null(options.end_of_word_suffix)},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", false},
            {"vocab", std::move(vocabulary)},
            {"merges", std::move(merges)}};
  }

  Json train_unigram_model(std::span<const CountedWord> words, const TrainControl& control) {
    UnigramTrainOptions options = options_.unigram;
    options.vocab_size = options_.vocab_size;
    options.special_tokens = options_.special_tokens;
    options.unk_token = options_.unk_token;
    options.initial_alphabet = options_.initial_alphabet;
    const TrainedUnigram trained = train_unigram(words, options, control);
    Json vocabulary = Json::array();
    for (const auto& [piece, score] : trained.pieces) {
      vocabulary.push_back(Json::array({piece, score}));
    }
    return {{"type", "Unigram"},
            {"unk_id", trained.unk_id ? Json(*trained.unk_id) : Json()},
            {"vocab", std::move(vocabulary)},
            {"byte_fallback", false}};
  }

  TokenizerTrainOptions options_;
  WordCounter counter_;
};

TokenizerTrainer::TokenizerTrainer(TokenizerTrainOptions options)
    : impl_(std::make_unique<Impl>(std::move(options))) {}
TokenizerTrainer::~TokenizerTrainer() = default;

void TokenizerTrainer::add(std::span<const std::string> texts, ThreadPool* pool) {
  impl_->add(texts, pool);
}

TrainedTokenizer TokenizerTrainer::train(const TrainControl& control) {
  return impl_->train(control);
}

}  // namespace hugot
