// The C interface of text classification, zero-shot classification and cross-encoders.
#include <cmath>

#include "pipelines/c_api.h"

struct hugot_text_classification {
  hugot::TextClassification pipeline;
};
struct hugot_zero_shot_classification {
  hugot::ZeroShotClassification pipeline;
};
struct hugot_cross_encoder {
  hugot::CrossEncoder pipeline;
};
struct hugot_scores {
  std::vector<hugot::Outcome<std::vector<double>>> rows;
};
struct hugot_ranking {
  std::vector<hugot::RankedDocument> documents;
};

namespace c_api = hugot::c_api;

namespace {

using hugot::ErrorCode;
using hugot::require;

hugot::TextClassificationOptions convert(const hugot_text_classification_options* from) {
  hugot::TextClassificationOptions options;
  if (from == nullptr) return options;
  c_api::check_size(*from, "hugot_text_classification_options");
  options.function = c_api::function_of(from->function);
  options.top_k = from->top_k;
  options.model = c_api::model_options(*from);
  return options;
}

hugot::ZeroShotOptions convert(const hugot_zero_shot_classification_options* from) {
  hugot::ZeroShotOptions options;
  if (from == nullptr) return options;
  c_api::check_size(*from, "hugot_zero_shot_classification_options");
  if (from->hypothesis_template != nullptr) {
    options.hypothesis_template = from->hypothesis_template;
  }
  options.multi_label = from->multi_label != 0;
  options.model = c_api::model_options(*from);
  return options;
}

hugot::CrossEncoderOptions convert(const hugot_cross_encoder_options* from) {
  hugot::CrossEncoderOptions options;
  if (from == nullptr) return options;
  c_api::check_size(*from, "hugot_cross_encoder_options");
  require(!std::isnan(from->score_threshold), ErrorCode::kInvalidArgument,
          "score_threshold is not a number");
  options.function = c_api::function_of(from->function);
  options.top_k = from->top_k;
  options.sort = from->keep_order == 0;
  if (from->score_threshold != -INFINITY) options.score_threshold = from->score_threshold;
  options.model = c_api::model_options(*from);
  return options;
}

}  // namespace

// -- labels

size_t hugot_labels_rows(const hugot_labels* labels) { return c_api::row_count(labels); }
const char* hugot_labels_error(const hugot_labels* labels, size_t row) {
  return c_api::error_of(labels, row);
}
size_t hugot_labels_count(const hugot_labels* labels, size_t row) {
  return c_api::cell_count(labels, row);
}
const char* hugot_labels_name(const hugot_labels* labels, size_t row, size_t index) {
  const auto* found = c_api::cell(labels, row, index);
  return found == nullptr ? nullptr : found->label.c_str();
}
size_t hugot_labels_id(const hugot_labels* labels, size_t row, size_t index) {
  const auto* found = c_api::cell(labels, row, index);
  return found == nullptr ? 0 : found->id;
}
double hugot_labels_score(const hugot_labels* labels, size_t row, size_t index) {
  const auto* found = c_api::cell(labels, row, index);
  return found == nullptr ? 0 : found->score;
}
void hugot_labels_free(hugot_labels* labels) { delete labels; }

// -- text classification

void hugot_text_classification_options_init(hugot_text_classification_options* options) {
  if (c_api::init(options)) options->top_k = 1;
}

hugot_status hugot_text_classification_create(hugot_session* session, const char* model,
                                              const hugot_text_classification_options* options,
                                              hugot_text_classification** pipeline) {
  return c_api::create(session, model, pipeline, [&](hugot::Session& in, const char* name) {
    return in.text_classification(name, convert(options));
  });
}

void hugot_text_classification_free(hugot_text_classification* pipeline) { delete pipeline; }

hugot_status hugot_text_classification_statistics(const hugot_text_classification* pipeline,
                                                  hugot_statistics* statistics) {
  return c_api::statistics(pipeline, statistics);
}

hugot_status hugot_text_classification_outputs(const hugot_text_classification* pipeline,
                                               hugot_outputs** outputs) {
  return c_api::outputs(pipeline, outputs);
}

hugot_status hugot_text_classification_run(const hugot_text_classification* pipeline,
                                           const char* const* texts, const size_t* lengths,
                                           const char* const* pairs, const size_t* pair_lengths,
                                           size_t count, const hugot_cancellation* cancellation,
                                           hugot_labels** labels) {
  return c_api::run(pipeline, labels, [&](const hugot::TextClassification& loaded) {
    return loaded.run(c_api::pairs_of(texts, lengths, pairs, pair_lengths, count),
                      c_api::token_of(cancellation));
  });
}

// -- zero-shot classification

void hugot_zero_shot_classification_options_init(hugot_zero_shot_classification_options* options) {
  c_api::init(options);
}

hugot_status hugot_zero_shot_classification_create(
    hugot_session* session, const char* model,
    const hugot_zero_shot_classification_options* options,
    hugot_zero_shot_classification** pipeline) {
  return c_api::create(session, model, pipeline, [&](hugot::Session& in, const char* name) {
    return in.zero_shot_classification(name, convert(options));
  });
}

void hugot_zero_shot_classification_free(hugot_zero_shot_classification* pipeline) {
  delete pipeline;
}

hugot_status hugot_zero_shot_classification_statistics(
    const hugot_zero_shot_classification* pipeline, hugot_statistics* statistics) {
  return c_api::statistics(pipeline, statistics);
}

hugot_status hugot_zero_shot_classification_outputs(const hugot_zero_shot_classification* pipeline,
                                                    hugot_outputs** outputs) {
  return c_api::outputs(pipeline, outputs);
}

const char* hugot_zero_shot_classification_warning(const hugot_zero_shot_classification* pipeline) {
  if (pipeline == nullptr) return nullptr;
  const std::string& warning = pipeline->pipeline.warning();
  return warning.empty() ? nullptr : warning.c_str();
}

hugot_status hugot_zero_shot_classification_run(const hugot_zero_shot_classification* pipeline,
                                                const char* const* texts, const size_t* lengths,
                                                size_t count, const char* const* candidates,
                                                size_t candidate_count,
                                                const hugot_cancellation* cancellation,
                                                hugot_labels** labels) {
  return c_api::run(pipeline, labels, [&](const hugot::ZeroShotClassification& loaded) {
    const auto names = c_api::strings_of(candidates, candidate_count, "candidates");
    require(!names.empty(), ErrorCode::kInvalidArgument, "there are no candidates");
    std::vector<hugot::ZeroShotText> rows;
    for (const std::string_view text : c_api::texts_of(texts, lengths, count)) {
      rows.push_back({text, names, {}});
    }
    return loaded.run(rows, c_api::token_of(cancellation));
  });
}

// -- cross-encoders

void hugot_cross_encoder_options_init(hugot_cross_encoder_options* options) {
  if (c_api::init(options)) options->score_threshold = -INFINITY;
}

hugot_status hugot_cross_encoder_create(hugot_session* session, const char* model,
                                        const hugot_cross_encoder_options* options,
                                        hugot_cross_encoder** pipeline) {
  return c_api::create(session, model, pipeline, [&](hugot::Session& in, const char* name) {
    return in.cross_encoder(name, convert(options));
  });
}

void hugot_cross_encoder_free(hugot_cross_encoder* pipeline) { delete pipeline; }

hugot_status hugot_cross_encoder_statistics(const hugot_cross_encoder* pipeline,
                                            hugot_statistics* statistics) {
  return c_api::statistics(pipeline, statistics);
}

hugot_status hugot_cross_encoder_outputs(const hugot_cross_encoder* pipeline,
                                         hugot_outputs** outputs) {
  return c_api::outputs(pipeline, outputs);
}

hugot_status hugot_cross_encoder_run(const hugot_cross_encoder* pipeline, const char* const* texts,
                                     const size_t* lengths, const char* const* pairs,
                                     const size_t* pair_lengths, size_t count,
                                     const hugot_cancellation* cancellation,
                                     hugot_scores** scores) {
  return c_api::run(pipeline, scores, [&](const hugot::CrossEncoder& loaded) {
    if (count > 0) c_api::require_pointer(pairs, "pairs");
    const auto both = c_api::pairs_of(texts, lengths, pairs, pair_lengths, count);
    for (size_t i = 0; i < count; ++i) {
      require(both[i].pair.has_value(), ErrorCode::kInvalidArgument, "pair ", i, " is NULL");
    }
    return loaded.score(both, c_api::token_of(cancellation));
  });
}

size_t hugot_scores_rows(const hugot_scores* scores) { return c_api::row_count(scores); }
const char* hugot_scores_error(const hugot_scores* scores, size_t row) {
  return c_api::error_of(scores, row);
}
size_t hugot_scores_count(const hugot_scores* scores, size_t row) {
  return c_api::cell_count(scores, row);
}
const double* hugot_scores_data(const hugot_scores* scores, size_t row) {
  return c_api::cell(scores, row, 0);
}
void hugot_scores_free(hugot_scores* scores) { delete scores; }

hugot_status hugot_cross_encoder_rank(const hugot_cross_encoder* pipeline, const char* query,
                                      const char* const* documents, const size_t* lengths,
                                      size_t count, const hugot_cancellation* cancellation,
                                      hugot_ranking** ranking) {
  return c_api::run(pipeline, ranking, [&](const hugot::CrossEncoder& loaded) {
    c_api::require_pointer(query, "query");
    std::vector<std::string> texts;
    for (const std::string_view text : c_api::texts_of(documents, lengths, count)) {
      texts.emplace_back(text);
    }
    const hugot::RankTask task{query, texts};
    auto outcome = std::move(loaded.rank({&task, 1}, c_api::token_of(cancellation))[0]);
    require(outcome.error.empty(), ErrorCode::kInvalidData, outcome.error);
    return std::move(outcome.value);
  });
}

size_t hugot_ranking_count(const hugot_ranking* ranking) {
  return ranking == nullptr ? 0 : ranking->documents.size();
}
size_t hugot_ranking_document(const hugot_ranking* ranking, size_t index) {
  return index < hugot_ranking_count(ranking) ? ranking->documents[index].index : 0;
}
double hugot_ranking_score(const hugot_ranking* ranking, size_t index) {
  return index < hugot_ranking_count(ranking) ? ranking->documents[index].score : 0;
}
void hugot_ranking_free(hugot_ranking* ranking) { delete ranking; }
