// The rules are those of TokenClassificationPipeline of transformers.
#include "pipelines/token_classification.h"

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"
#include "pipelines/scores.h"

namespace hugot {
namespace {

size_t code_points(std::string_view text) { return code_point_starts(text).size() - 1; }

size_t best_of(std::span<const double> scores) {
  return static_cast<size_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
}

// The kind of an entity: its label without "B-" or "I-".
std::string_view tag_of(std::string_view label) {
  return label.starts_with("B-") || label.starts_with("I-") ? label.substr(2) : label;
}

// Of entities that overlap, which windows may give, the longer stays, or else the better.
void drop_overlapping(std::vector<Entity>& entities) {
  if (entities.empty()) return;
  std::stable_sort(entities.begin(), entities.end(),
                   [](const Entity& a, const Entity& b) { return a.start < b.start; });
  size_t kept = 0;
  for (size_t i = 1; i < entities.size(); ++i) {
    Entity& last = entities[kept];
    Entity& next = entities[i];
    if (next.start >= last.end) {
      if (++kept != i) entities[kept] = std::move(next);
      continue;
    }
    const size_t length = next.end - next.start, last_length = last.end - last.start;
    if (length > last_length || (length == last_length && next.score > last.score)) {
      last = std::move(next);
    }
  }
  entities.resize(kept + 1);
}

}  // namespace

TokenClassification::Impl::Impl(std::shared_ptr<Session::Impl> session,
                                const std::filesystem::path& directory,
                                const TokenClassificationOptions& options)
    : runner_(session, TextModel::classifier(*session, directory, options.model),
              options.model.max_length, /*pairs=*/false),
      options_(options),
      encode_options_(runner_.encode_options()) {
  encode_options_.offsets = true;
  encode_options_.unit = OffsetUnit::kCodePoints;
  const Tokenizer& tokenizer = runner_.model().tokenizer();
  if (options_.stride) {
    require(options_.aggregation != Aggregation::kNone, ErrorCode::kInvalidArgument,
            "a stride needs an aggregation, which puts windows together");
    require(*options_.stride >= 0, ErrorCode::kInvalidArgument, "stride ", *options_.stride,
            ": a number of tokens is expected");
    if (encode_options_.truncation) {
      const auto stride = static_cast<size_t>(*options_.stride);
      const size_t room = encode_options_.truncation->max_length - tokenizer.added_tokens(false);
      require(stride < room, ErrorCode::kInvalidArgument, "stride ", stride,
              " has to be less than the ", room, " tokens of a window");
      encode_options_.truncation->stride = stride;
      encode_options_.overflowing = true;
    }
  }
  unk_id_ =
      runner_.model().special_token(runner_.model().directory().unk_token, {"[UNK]", "<unk>"});
}

std::vector<Outcome<std::vector<Entity>>> TokenClassification::Impl::run(
    std::span<const std::string_view> texts, const std::stop_token& stop) const {
  const auto encode = [&](size_t i) {
    require_utf8(texts[i]);
    return runner_.model().tokenizer().encode(texts[i], encode_options_);
  };
  return run_encoded(texts, /*given_words=*/false, encode, stop);
}

std::vector<Outcome<std::vector<Entity>>> TokenClassification::Impl::run_words(
    std::span<const std::vector<std::string>> texts, const std::stop_token& stop) const {
  std::vector<std::string> joined(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    for (size_t k = 0; k < texts[i].size(); ++k) joined[i].append(k == 0 ? "" : " ") += texts[i][k];
  }
  const auto encode = [&](size_t i) {
    require_utf8(joined[i]);
    std::vector<uint32_t> starts;  // of the words, in code points
    size_t start = 0;
    for (const std::string& word : texts[i]) {
      starts.push_back(static_cast<uint32_t>(start));
      start += code_points(word) + 1;
    }
    const std::vector<std::string_view> words(texts[i].begin(), texts[i].end());
    Encoding encoding = runner_.model().tokenizer().encode_words(words, encode_options_);
    const auto shift = [&](Encoding& window) {
      for (size_t k = 0; k < window.size(); ++k) {
        if (window.word_ids[k] < 0) continue;
        const uint32_t by = starts[static_cast<size_t>(window.word_ids[k])];
        window.offsets[k].begin += by;
        window.offsets[k].end += by;
      }
    };
    shift(encoding);
    for (Encoding& window : encoding.overflowing) shift(window);
    return encoding;
  };
  const std::vector<std::string_view> views(joined.begin(), joined.end());
  return run_encoded(views, /*given_words=*/true, encode, stop);
}

std::vector<Outcome<std::vector<Entity>>> TokenClassification::Impl::run_encoded(
    std::span<const std::string_view> texts, bool given_words,
    const std::function<Encoding(size_t)>& encode, const std::stop_token& stop) const {
  std::vector<Outcome<std::vector<Entity>>> out(texts.size());
  std::vector<std::vector<Encoding>> windows(texts.size());
  runner_.tokenize(
      texts.size(),
      [&](size_t i) {
        Encoding first = encode(i);
        auto rest = std::move(first.overflowing);
        windows[i].push_back(std::move(first));
        std::move(rest.begin(), rest.end(), std::back_inserter(windows[i]));
      },
      [&](size_t i) -> std::string& { return out[i].error; }, stop);

  std::vector<TextItem> items;
  std::vector<std::pair<size_t, size_t>> places;  // text and window of an item
  for (size_t i = 0; i < texts.size(); ++i) {
    for (size_t k = 0; k < windows[i].size(); ++k) {
      TextItem& item = items.emplace_back();
      item.ids = windows[i][k].ids;
      if (runner_.model().has_type_ids()) item.type_ids = windows[i][k].type_ids;
      places.emplace_back(i, k);
    }
  }
  std::vector<std::vector<double>> scores(items.size());  // tokens x labels
  const auto sink = [&](size_t i, const float* data, int64_t rows, int64_t width) {
    require(static_cast<size_t>(rows) == items[i].ids.size(), ErrorCode::kUnsupported,
            "the model's output has no row per token: it is no model that classifies tokens");
    scores[i].clear();
    for (int64_t row = 0; row < rows; ++row) {
      const auto some =
          apply_function(ScoreFunction::kSoftmax, {data + row * width, static_cast<size_t>(width)});
      scores[i].insert(scores[i].end(), some.begin(), some.end());
    }
  };
  runner_.run(items, texts.size(), sink, stop);

  for (size_t i = 0; i < items.size(); ++i) {
    const auto [text, window] = places[i];
    if (!items[i].error.empty() && out[text].error.empty()) out[text].error = items[i].error;
  }
  size_t item = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    const size_t first = item;
    item += windows[i].size();
    auto& [entities, error] = out[i];
    if (!error.empty()) continue;
    const auto bytes = code_point_starts(texts[i]);
    for (size_t k = 0; k < windows[i].size(); ++k) {
      if (windows[i][k].ids.empty()) continue;
      auto tokens = pieces(windows[i][k], texts[i], bytes, scores[first + k], given_words);
      if (options_.aggregation == Aggregation::kNone) {
        for (Piece& token : tokens) {
          std::string label = runner_.model().label(token.label);
          if (ignored(label)) continue;
          entities.push_back({std::move(label), token.score, std::move(token.word), token.start,
                              token.end, token.index, token.id, std::move(token.scores),
                              token.continues});
        }
      } else {
        group(options_.aggregation == Aggregation::kSimple ? tokens : words_of(tokens), entities);
      }
    }
    if (windows[i].size() > 1) drop_overlapping(entities);
    if (!options_.byte_offsets) continue;
    for (Entity& entity : entities) {
      entity.start = bytes[entity.start];
      entity.end = bytes[entity.end];
    }
  }
  runner_.count_results(out);
  return out;
}

bool TokenClassification::Impl::ignored(const std::string& label) const {
  const auto& labels = options_.ignore_labels;
  return std::find(labels.begin(), labels.end(), label) != labels.end();
}

std::vector<TokenClassification::Impl::Piece> TokenClassification::Impl::pieces(
    const Encoding& window, std::string_view text, std::span<const size_t> bytes,
    const std::vector<double>& scores, bool given_words) const {
  const Tokenizer& tokenizer = runner_.model().tokenizer();
  const bool has_prefix = !tokenizer.continuing_prefix().empty();
  const size_t width = scores.size() / window.size();
  std::vector<Piece> out;
  int32_t last_word = -1;
  for (size_t i = 0; i < window.size(); ++i) {
    if (window.special_tokens_mask[i] != 0) continue;
    Piece& piece = out.emplace_back();
    const auto row = std::span(scores).subspan(i * width, width);
    piece.scores.assign(row.begin(), row.end());
    piece.label = best_of(row);
    piece.score = row[piece.label];
    piece.index = i;
    piece.id = window.ids[i];
    piece.start = std::min<size_t>(window.offsets[i].begin, bytes.size() - 1);
    piece.end = std::clamp<size_t>(window.offsets[i].end, piece.start, bytes.size() - 1);
    piece.word = tokenizer.id_to_token(piece.id).value_or("");
    const size_t begin = bytes[piece.start];
    const auto slice = text.substr(begin, bytes[piece.end] - begin);
    if (has_prefix) {
      piece.continues = code_points(piece.word) != code_points(slice);
    } else {
      piece.continues =
          begin > 0 && text[begin - 1] != ' ' && (begin == text.size() || text[begin] != ' ');
    }
    if (piece.id == unk_id_) {
      piece.word = slice;
      piece.continues = false;
    }
    if (given_words) {
      piece.continues = window.word_ids[i] >= 0 && window.word_ids[i] == last_word;
      last_word = window.word_ids[i];
    }
  }
  return out;
}

TokenClassification::Impl::Piece TokenClassification::Impl::word_of(
    std::span<const Piece> tokens) const {
  Piece word;
  std::vector<std::string> strings;
  for (const Piece& token : tokens) strings.push_back(token.word);
  word.word = runner_.model().tokenizer().decode_tokens(std::move(strings));
  word.start = tokens.front().start;
  word.end = tokens.back().end;
  if (options_.aggregation == Aggregation::kAverage) {
    std::vector<double> sums(tokens.front().scores.size());
    for (const Piece& token : tokens) {
      for (size_t k = 0; k < sums.size(); ++k) sums[k] += token.scores[k];
    }
    word.label = best_of(sums);
    word.score = sums[word.label] / static_cast<double>(tokens.size());
    return word;
  }
  const Piece* chosen = &tokens.front();
  if (options_.aggregation == Aggregation::kMax) {
    for (const Piece& token : tokens) {
      if (token.score > chosen->score) chosen = &token;
    }
  }
  word.label = chosen->label;
  word.score = chosen->score;
  return word;
}

std::vector<TokenClassification::Impl::Piece> TokenClassification::Impl::words_of(
    std::span<const Piece> tokens) const {
  std::vector<Piece> words;
  for (size_t begin = 0, end = 0; begin < tokens.size(); begin = end) {
    for (end = begin + 1; end < tokens.size() && tokens[end].continues;) ++end;
    words.push_back(word_of(tokens.subspan(begin, end - begin)));
  }
  return words;
}

void TokenClassification::Impl::group(std::span<const Piece> pieces,
                                      std::vector<Entity>& out) const {
  const auto label = [&](size_t i) { return runner_.model().label(pieces[i].label); };
  for (size_t begin = 0, end = 0; begin < pieces.size(); begin = end) {
    const std::string first = label(begin);
    double sum = pieces[begin].score;
    std::vector<std::string> words{pieces[begin].word};
    for (end = begin + 1; end < pieces.size(); ++end) {
      const std::string next = label(end);
      if (next.starts_with("B-") || tag_of(next) != tag_of(first)) break;
      sum += pieces[end].score;
      words.push_back(pieces[end].word);
    }
    // The name of a group is what follows the first '-', whatever is before it.
    std::string name = first.substr(first.find('-') + 1);
    if (ignored(name)) continue;
    Entity& entity = out.emplace_back();
    entity.label = std::move(name);
    entity.score = sum / static_cast<double>(end - begin);
    entity.word = runner_.model().tokenizer().decode_tokens(std::move(words));
    entity.start = pieces[begin].start;
    entity.end = pieces[end - 1].end;
  }
}

}  // namespace hugot
