#include "tokenizer/sentencepiece_families.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"
#include "tokenizer/json_fields.h"

namespace hugot {
namespace {

using json_fields::Json;
using File = SentencePieceFile;
using Pieces = std::vector<std::pair<std::string, double>>;

constexpr const char* kMBartCodes[] = {
    "ar_AR", "cs_CZ", "de_DE", "en_XX", "es_XX", "et_EE", "fi_FI", "fr_XX", "gu_IN",
    "hi_IN", "it_IT", "ja_XX", "kk_KZ", "ko_KR", "lt_LT", "lv_LV", "my_MM", "ne_NP",
    "nl_XX", "ro_RO", "ru_RU", "si_LK", "tr_TR", "vi_VN", "zh_CN"};
// Of MBart50, behind the others.
constexpr const char* kMoreMBartCodes[] = {
    "af_ZA", "az_AZ", "bn_IN", "fa_IR", "he_IL", "hr_HR", "id_ID", "ka_GE", "km_KH",
    "mk_MK", "ml_IN", "mn_MN", "mr_IN", "pl_PL", "ps_AF", "pt_XX", "sv_SE", "sw_KE",
    "ta_IN", "te_IN", "th_TH", "tl_XX", "uk_UA", "ur_PK", "xh_ZA", "gl_ES", "sl_SI"};

// A family: what is done to the pieces and what stands around a text.
class Family {
 public:
  Family(const File& file, const TokenSettings& settings) : file_(file), settings_(settings) {}

  std::optional<TokenizerParts> make() {
    const std::string name = settings_.tokenizer_class();
    if (name == "XLMRobertaTokenizer") {
      fairseq(3);
      add_piece("<mask>");
      special("<mask>", true);
      surround("<s>", "A", "</s>");
      pair({"<s>", "A", "</s>", "</s>", "B", "</s>"});
    } else if (name == "CamembertTokenizer") {
      pieces_ = {{"<s>NOTUSED", 0},
                 {"<pad>", 0},
                 {"</s>NOTUSED", 0},
                 {"<unk>", 0},
                 {"<unk>NOTUSED", -100}};
      add_pieces(1);
      add_piece("<mask>");
      unk_id_ = 3;
      for (const char* token : {"<s>", "</s>", "<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"}) {
        special(token);
      }
      special("<pad>");
      special("<unk>");
      special("<mask>", true);
      surround("<s>", "A", "</s>");
      pair({"<s>", "A", "</s>", "</s>", "B", "</s>"});
    } else if (name == "MBartTokenizer" || name == "MBart50Tokenizer") {
      const bool fifty = name == "MBart50Tokenizer";
      fairseq(3);
      for (const char* code : kMBartCodes) add_language(code);
      for (const char* code : kMoreMBartCodes) {
        if (fifty) add_language(code);
      }
      add_piece("<mask>");
      special("<mask>", true);
      std::string source = json_fields::get_string_or_empty(settings_.config(), "src_lang");
      if (source.empty()) source = "en_XX";
      if (fifty) {
        surround(source, "A", "</s>");
        pair({source, "A", "B", "</s>"});
      } else {
        surround("A", "</s>", source);
        pair({"A", "B", "</s>", source});
      }
    } else if (name == "T5Tokenizer") {
      add_pieces(0);
      const size_t extra = extra_ids();
      for (size_t i = extra; i-- > 0;) add_piece("<extra_id_" + std::to_string(i) + ">");
      for (const char* token : {"</s>", "<unk>", "<pad>"}) special(token);
      for (size_t i = 0; i < extra; ++i) special("<extra_id_" + std::to_string(i) + ">");
      surround("A", settings_.role("eos_token", "</s>"));
      pair({"A", single_.back(), "B", single_.back()});
    } else if (name == "AlbertTokenizer") {
      albert();
    } else if (name == "LlamaTokenizer") {
      llama();
    } else {
      return std::nullopt;
    }
    return finish();
  }

 private:
  void add_piece(const std::string& text, double score = 0) { pieces_.emplace_back(text, score); }
  void add_pieces(size_t from) {
    for (size_t i = from; i < file_.pieces.size(); ++i) {
      pieces_.emplace_back(file_.pieces[i].text, file_.pieces[i].score);
    }
  }
  void special(const std::string& token, bool lstrip = false) {
    usual_.push_back(special_token(token, lstrip));
  }
  void add_language(const std::string& code) {
    add_piece(code);
    special(code);
  }

  // The numbering of fairseq: four special pieces, then those of the file from `from` on.
  void fairseq(size_t from) {
    for (const char* token : {"<s>", "<pad>", "</s>", "<unk>"}) {
      add_piece(token);
      special(token);
    }
    add_pieces(from);
    unk_id_ = 3;
  }

  size_t extra_ids() const {
    constexpr uint64_t kMost = 100'000;
    const Json* count = json_fields::find(settings_.config(), "extra_ids");
    return count
               ? static_cast<size_t>(json_fields::get_uint(settings_.config(), "extra_ids", kMost))
               : 100;
  }

  void albert() {
    for (const File::Piece& piece : file_.pieces) {
      // Numbers that end in a comma are kept from being used.
      const std::string& text = piece.text;
      const bool number = text.size() >= 2 && text.back() == ',' && text[text.size() - 2] >= '0' &&
                          text[text.size() - 2] <= '9';
      add_piece(text, number ? piece.score - 100.0 : piece.score);
    }
    for (const char* quotes : {"``", "''"}) {
      normalizers_.push_back(make_replace_normalizer(Pattern::literal(quotes), "\""));
    }
    if (!json_fields::get_bool_or(settings_.config(), "keep_accents", false)) {
      normalizers_.push_back(make_unicode_normalizer(NormalizationForm::kNfkd));
      normalizers_.push_back(make_strip_accents_normalizer());
    }
    if (json_fields::get_bool_or(settings_.config(), "do_lower_case", true)) {
      normalizers_.push_back(make_lowercase_normalizer());
    }
    add_charsmap();
    normalizers_.push_back(make_replace_normalizer(Pattern::regex(" {2,}"), " "));
    usual_normalizer_ = false;
    for (const char* token : {"[CLS]", "[SEP]", "<unk>", "<pad>"}) special(token);
    special("[MASK]", true);
    const std::string cls = settings_.role("cls_token", "[CLS]");
    const std::string sep = settings_.role("sep_token", "[SEP]");
    surround(cls, "A", sep);
    pair({cls, "A", sep, "B", sep});
    second_type_ = 1;
  }

  void llama() {
    const Json& config = settings_.config();
    const bool legacy = json_fields::get_bool_or(config, "legacy", true);
    const bool prefix = json_fields::get_bool_or(config, "add_prefix_space", true);
    add_pieces(0);
    // Whatever they are in the file.
    for (size_t i = 0; i < std::min<size_t>(3, pieces_.size()); ++i) {
      pieces_[i].second = 0;
      special(pieces_[i].first);
    }
    for (const char* token : {"<s>", "</s>", "<unk>"}) special(token);
    unk_id_ = 0;
    byte_fallback_ = true;
    usual_normalizer_ = false;
    pre_tokenizer_ = legacy ? Json() : metaspace(prefix ? "first" : "never", false);
    if (legacy) {
      if (prefix) normalizers_.push_back(make_prepend_normalizer("\u2581"));
      normalizers_.push_back(make_replace_normalizer(Pattern::literal(" "), "\u2581"));
    }
    Json decoders =
        Json::array({{{"type", "Replace"}, {"pattern", {{"String", "\u2581"}}}, {"content", " "}},
                     {{"type", "ByteFallback"}},
                     {{"type", "Fuse"}}});
    if (prefix) {
      decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1u}, {"stop", 0u}});
    }
    decoder_ = {{"type", "Sequence"}, {"decoders", std::move(decoders)}};
    const std::string begin = settings_.role("bos_token", "<s>");
    const std::string end = settings_.role("eos_token", "</s>");
    for (const char* sequence : {"A", "B"}) {
      if (json_fields::get_bool_or(config, "add_bos_token", true)) pair_.push_back(begin);
      pair_.push_back(sequence);
      if (json_fields::get_bool_or(config, "add_eos_token", false)) pair_.push_back(end);
      if (single_.empty()) single_ = pair_;
    }
    second_type_ = 1;
    second_begins_ = single_.size();
  }

  // The order around one text; "A" stands for it.
  template <class... Parts>
  void surround(const Parts&... parts) {
    single_ = {std::string(parts)...};
  }
  void pair(std::vector<std::string> parts) { pair_ = std::move(parts); }

  static Json metaspace(const char* scheme, bool split) {
    return {{"type", "Metaspace"},
            {"replacement", "\u2581"},
            {"prepend_scheme", scheme},
            {"split", split}};
  }

  void add_charsmap() {
    if (file_.charsmap.empty()) return;
    normalizers_.push_back(make_precompiled_normalizer(Charsmap(file_.charsmap)));
  }

  // The id of a special token. One that the vocabulary lacks becomes an added token, which have the
  // ids behind it.
  static size_t special_id(const Json& token, const Vocabulary& vocabulary, Json& added) {
    const auto content_of = [](const Json& element) {
      return json_fields::get_string_or_empty(element, "content");
    };
    const std::string content = content_of(token);
    const int32_t id = vocabulary.find(content);
    if (id >= 0) return static_cast<size_t>(id);
    size_t next = vocabulary.size();
    for (const Json& other : added) {
      if (content_of(other) == content) return next;
      next += vocabulary.find(content_of(other)) < 0;
    }
    added.push_back(token);
    return next;
  }

  Json post_processor(const Vocabulary& vocabulary, Json& added) const {
    Json tokens = Json::object();
    const auto pieces = [&](const std::vector<std::string>& parts, size_t second_begins) {
      Json out = Json::array();
      uint32_t type = 0;
      for (size_t i = 0; i < parts.size(); ++i) {
        const std::string& part = parts[i];
        if (i == second_begins || part == "B") type = second_type_;
        if (part == "A" || part == "B") {
          out.push_back({{"Sequence", {{"id", part}, {"type_id", type}}}});
          continue;
        }
        out.push_back({{"SpecialToken", {{"id", part}, {"type_id", type}}}});
        tokens[part] = {{"id", part},
                        {"ids", Json::array({special_id(special_token(part), vocabulary, added)})},
                        {"tokens", Json::array({part})}};
      }
      return out;
    };
    Json single = pieces(single_, single_.size());
    Json both = pieces(pair_, second_begins_);
    return {{"type", "TemplateProcessing"},
            {"single", std::move(single)},
            {"pair", std::move(both)},
            {"special_tokens", std::move(tokens)}};
  }

  // All pairs of pieces that make a piece; the better that one is, the earlier. The reference
  // derives the merges of a BPE model in this way.
  MergeList merges(const Vocabulary& vocabulary) const {
    struct Merge {
      double score;
      int32_t left, right;
      size_t piece, at, left_size, right_size;
    };
    std::vector<Merge> found;
    for (size_t i = 0; i < pieces_.size(); ++i) {
      const std::string_view text = pieces_[i].first;
      const size_t first = found.size();
      size_t characters = 0;
      for (const char byte : text) characters += !is_utf8_continuation(byte);
      size_t before = 1;
      for (size_t at = text.empty() ? 0 : utf8_length(text[0]); at < text.size();
           at += utf8_length(text[at]), ++before) {
        const int32_t left = vocabulary.find(text.substr(0, at));
        const int32_t right = left < 0 ? -1 : vocabulary.find(text.substr(at));
        if (right < 0) continue;
        found.push_back({pieces_[i].second, left, right, i, at, before, characters - before});
      }
      std::sort(found.begin() + static_cast<ptrdiff_t>(first), found.end(),
                [](const Merge& a, const Merge& b) {
                  return std::pair(a.left, a.right) < std::pair(b.left, b.right);
                });
    }
    std::stable_sort(found.begin(), found.end(), [](const Merge& a, const Merge& b) {
      if (a.score != b.score) return a.score > b.score;
      return std::pair(a.left_size, a.right_size) > std::pair(b.left_size, b.right_size);
    });
    MergeList out;
    for (const Merge& merge : found) {
      const std::string_view text = pieces_[merge.piece].first;
      out.add(text.substr(0, merge.at), text.substr(merge.at));
    }
    return out;
  }

  TokenizerParts finish() {
    ModelData data;
    VocabularyBuilder& builder = data.vocabulary.emplace();
    for (size_t i = 0; i < pieces_.size(); ++i) {
      builder.add(pieces_[i].first, static_cast<int32_t>(i));
    }
    const Vocabulary vocabulary{VocabularyBuilder(builder)};
    Json model;
    size_t unk_id = 0;
    if (unk_id_) {
      unk_id = *unk_id_;
    } else {
      while (unk_id < file_.pieces.size() && file_.pieces[unk_id].type != File::Type::kUnknown) {
        ++unk_id;
      }
      require(unk_id < file_.pieces.size(), ErrorCode::kInvalidData,
              "SentencePiece model without an unknown piece");
    }
    if (file_.algorithm == File::Algorithm::kUnigram) {
      std::vector<double>& scores = data.scores.emplace();
      for (const auto& [text, score] : pieces_) scores.push_back(score);
      model = {{"type", "Unigram"}, {"unk_id", unk_id}, {"byte_fallback", byte_fallback_}};
    } else {
      require(file_.algorithm == File::Algorithm::kBpe, ErrorCode::kUnsupported,
              "a SentencePiece model of words or characters for ", settings_.tokenizer_class());
      data.merges = merges(vocabulary);
      model = {{"type", "BPE"},
               {"unk_token", pieces_[unk_id].first},
               {"fuse_unk", true},
               {"byte_fallback", byte_fallback_}};
    }
    // Control pieces and those of the user are found in a text, before the others.
    Json usual = Json::array();
    for (const File::Piece& piece : file_.pieces) {
      const bool control = piece.type == File::Type::kControl;
      if (!control && piece.type != File::Type::kUserDefined) continue;
      if (vocabulary.find(piece.text) < 0) continue;
      usual.push_back({{"content", piece.text}, {"special", control}, {"normalized", false}});
    }
    for (const Json& token : usual_) usual.push_back(token);
    const bool prefix = json_fields::get_bool_or(settings_.config(), "add_prefix_space", true);
    const bool legacy = json_fields::get_bool_or(settings_.config(), "legacy", true);
    const Json space = metaspace(!prefix ? "never" : legacy ? "always" : "first", true);
    Json added = settings_.added_tokens(vocabulary, usual);
    for (const Json& token : usual_) special_id(token, vocabulary, added);
    Json post = post_processor(vocabulary, added);
    const Json document{{"pre_tokenizer", pre_tokenizer_.value_or(space)},
                        {"post_processor", std::move(post)},
                        {"decoder", decoder_.value_or(space)},
                        {"added_tokens", std::move(added)},
                        {"model", std::move(model)}};
    TokenizerParts out = make_tokenizer_parts(document, std::move(data));
    if (usual_normalizer_) {
      add_charsmap();
      normalizers_.push_back(make_strip_normalizer(false, true));
      normalizers_.push_back(make_replace_normalizer(Pattern::regex(" {2,}"), "\u2581"));
    }
    if (!normalizers_.empty()) out.normalizer = make_sequence_normalizer(std::move(normalizers_));
    return out;
  }

  const File& file_;
  const TokenSettings& settings_;
  Pieces pieces_;
  std::optional<size_t> unk_id_;  // none: that of the file
  bool byte_fallback_ = false;
  Json usual_ = Json::array();
  std::vector<std::string> single_, pair_;
  uint32_t second_type_ = 0;                  // of the second text of a pair
  size_t second_begins_ = std::string::npos;  // in pair_; with the text itself at the latest
  std::vector<NormalizerPtr> normalizers_;
  bool usual_normalizer_ = true;
  // Without: Metaspace.
  std::optional<Json> pre_tokenizer_, decoder_;
};

}  // namespace

std::optional<TokenizerParts> make_sentencepiece_family(const File& file,
                                                        const TokenSettings& settings) {
  return Family(file, settings).make();
}

}  // namespace hugot
