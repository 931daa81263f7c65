/* Embeds texts through the C interface and prints how similar they are to the first one. */
#include <hugot/hugot.h>
#include <stdio.h>

static int fail(void) {
  fprintf(stderr, "%s\n", hugot_last_error());
  return 1;
}

int main(int argc, char** argv) {
  const char* texts[] = {"A cat sleeps on the sofa.", "A kitten naps on the couch.",
                         "Interest rates were raised."};
  hugot_session* session = NULL;
  hugot_feature_extraction* pipeline = NULL;
  hugot_embeddings* result = NULL;
  hugot_feature_extraction_options options;
  size_t row, i;

  hugot_feature_extraction_options_init(&options);
  options.normalize = 1;
  if (hugot_session_create(0, &session) != HUGOT_OK) return fail();
  if (hugot_feature_extraction_create(session, argc > 1 ? argv[1] : "models/all-MiniLM-L6-v2",
                                      &options, &pipeline) != HUGOT_OK)
    return fail();
  if (hugot_feature_extraction_run(pipeline, texts, NULL, 3, NULL, &result) != HUGOT_OK)
    return fail();
  for (row = 1; row < hugot_embeddings_rows(result); ++row) {
    const float* data = hugot_embeddings_data(result);
    const size_t dim = hugot_embeddings_dim(result);
    double cosine = 0;
    for (i = 0; i < dim; ++i) cosine += (double)data[i] * (double)data[row * dim + i];
    printf("%.4f\n", cosine);
  }
  hugot_embeddings_free(result);
  hugot_feature_extraction_free(pipeline);
  hugot_session_free(session);
  return 0;
}
