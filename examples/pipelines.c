/* The pipelines that classify, through the C interface:
 *
 *   pipelines texts MODEL      text classification
 *   pipelines labels MODEL     zero-shot classification
 *   pipelines rank MODEL       a cross-encoder
 *   pipelines entities MODEL   token classification
 */
#include <hugot/hugot.h>
#include <stdio.h>
#include <string.h>

static int failed(hugot_status status) {
  if (status == HUGOT_OK) return 0;
  fprintf(stderr, "%s\n", hugot_last_error());
  return 1;
}

static void print_labels(const hugot_labels* labels) {
  size_t row, i;
  for (row = 0; row < hugot_labels_rows(labels); ++row) {
    const char* error = hugot_labels_error(labels, row);
    if (error != NULL) printf("text %zu: %s\n", row, error);
    for (i = 0; i < hugot_labels_count(labels, row); ++i) {
      printf("text %zu: %s %.4f\n", row, hugot_labels_name(labels, row, i),
             hugot_labels_score(labels, row, i));
    }
  }
}

static int classify(hugot_session* session, const char* model) {
  const char* texts[] = {"The film was excellent", "The director tried too much"};
  hugot_text_classification* pipeline = NULL;
  hugot_labels* labels = NULL;
  int wrong =
      failed(hugot_text_classification_create(session, model, NULL, &pipeline)) ||
      failed(hugot_text_classification_run(pipeline, texts, NULL, NULL, NULL, 2, NULL, &labels));
  print_labels(labels);
  hugot_labels_free(labels);
  hugot_text_classification_free(pipeline);
  return wrong;
}

static int choose(hugot_session* session, const char* model) {
  const char* texts[] = {"Please don't bother me, I'm in a rush"};
  const char* candidates[] = {"busy", "relaxed", "stressed"};
  hugot_zero_shot_classification_options options;
  hugot_zero_shot_classification* pipeline = NULL;
  hugot_labels* labels = NULL;
  int wrong;
  hugot_zero_shot_classification_options_init(&options);
  options.hypothesis_template = "This person is {}.";
  wrong = failed(hugot_zero_shot_classification_create(session, model, &options, &pipeline)) ||
          failed(hugot_zero_shot_classification_run(pipeline, texts, NULL, 1, candidates, 3, NULL,
                                                    &labels));
  if (hugot_zero_shot_classification_warning(pipeline) != NULL) {
    fprintf(stderr, "%s\n", hugot_zero_shot_classification_warning(pipeline));
  }
  print_labels(labels);
  hugot_labels_free(labels);
  hugot_zero_shot_classification_free(pipeline);
  return wrong;
}

static int rank(hugot_session* session, const char* model) {
  const char* documents[] = {"A cat sleeps on the sofa.", "Interest rates were raised.",
                             "The bank lends at four percent."};
  hugot_cross_encoder* pipeline = NULL;
  hugot_ranking* ranking = NULL;
  size_t i;
  int wrong = failed(hugot_cross_encoder_create(session, model, NULL, &pipeline)) ||
              failed(hugot_cross_encoder_rank(pipeline, "What does credit cost?", documents, NULL,
                                              3, NULL, &ranking));
  for (i = 0; i < hugot_ranking_count(ranking); ++i) {
    printf("%.4f %s\n", hugot_ranking_score(ranking, i),
           documents[hugot_ranking_document(ranking, i)]);
  }
  hugot_ranking_free(ranking);
  hugot_cross_encoder_free(pipeline);
  return wrong;
}

static int find(hugot_session* session, const char* model) {
  const char* texts[] = {"My name is Wolfgang and I live in Berlin."};
  hugot_token_classification* pipeline = NULL;
  hugot_entities* entities = NULL;
  size_t i;
  int wrong = failed(hugot_token_classification_create(session, model, NULL, &pipeline)) ||
              failed(hugot_token_classification_run(pipeline, texts, NULL, 1, NULL, &entities));
  for (i = 0; i < hugot_entities_count(entities, 0); ++i) {
    printf("%s %s %zu-%zu %.4f\n", hugot_entities_label(entities, 0, i),
           hugot_entities_word(entities, 0, i), hugot_entities_start(entities, 0, i),
           hugot_entities_end(entities, 0, i), hugot_entities_score(entities, 0, i));
  }
  hugot_entities_free(entities);
  hugot_token_classification_free(pipeline);
  return wrong;
}

int main(int argc, char** argv) {
  static const struct {
    const char* name;
    int (*work)(hugot_session*, const char*);
  } kinds[] = {{"texts", classify}, {"labels", choose}, {"rank", rank}, {"entities", find}};
  hugot_session* session = NULL;
  size_t i;
  int wrong = 2;
  if (argc == 3 && failed(hugot_session_create(0, &session))) return 1;
  for (i = 0; argc == 3 && i < sizeof(kinds) / sizeof(kinds[0]); ++i) {
    if (strcmp(argv[1], kinds[i].name) == 0) wrong = kinds[i].work(session, argv[2]);
  }
  if (wrong == 2) fprintf(stderr, "usage: %s texts|labels|rank|entities MODEL\n", argv[0]);
  hugot_session_free(session);
  return wrong;
}
