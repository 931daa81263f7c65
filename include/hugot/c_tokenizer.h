/* The C interface of tokenizers: texts to token ids and back; see tokenizer.hpp. */
#ifndef HUGOT_C_TOKENIZER_H_
#define HUGOT_C_TOKENIZER_H_

#include "hugot/c_common.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hugot_tokenizer hugot_tokenizer;
typedef struct hugot_encodings hugot_encodings;
typedef struct hugot_text hugot_text;

typedef enum hugot_truncation {
  HUGOT_TRUNCATION_LONGEST_FIRST = 0,
  HUGOT_TRUNCATION_ONLY_FIRST = 1,
  HUGOT_TRUNCATION_ONLY_SECOND = 2
} hugot_truncation;

typedef struct hugot_encode_options {
  size_t struct_size;     /* sizeof(hugot_encode_options) */
  int no_special_tokens;  /* not 0: the tokens of the text alone */
  int max_length;         /* cut to so many tokens, special ones included; 0: not cut */
  hugot_truncation cut;   /* which text of a pair is cut */
  int cut_left;           /* not 0: the beginning is cut and not the end */
  int byte_offsets;       /* not 0: offsets in bytes and not in code points */
  int raw_special_tokens; /* not 0: special tokens in a text are text like any other */
  int threads;            /* 0: the processors that this process may use */
} hugot_encode_options;

/* Sets struct_size, and everything else to 0. */
HUGOT_API void hugot_encode_options_init(hugot_encode_options* options);

/* A tokenizer.json, or where there is none vocab.txt, vocab.json with merges.txt beside it, or a
 * .model of SentencePiece or tiktoken. A tokenizer may be used from several threads at the same
 * time. */
HUGOT_API hugot_status hugot_tokenizer_load(const char* file, hugot_tokenizer** tokenizer);
HUGOT_API void hugot_tokenizer_free(hugot_tokenizer* tokenizer);
/* Number of tokens, added ones included. */
HUGOT_API size_t hugot_tokenizer_vocabulary_size(const hugot_tokenizer* tokenizer);
/* -1 for what is no token. */
HUGOT_API int32_t hugot_tokenizer_id(const hugot_tokenizer* tokenizer, const char* token);

/* Encodes `count` UTF-8 texts. `lengths` holds their sizes in bytes; NULL: they end with a zero
 * byte. `pairs`, if not NULL, holds second texts, some of which may be NULL. `options` may be NULL.
 * A text that cannot be encoded is no failure of the call, see hugot_encodings_error. */
HUGOT_API hugot_status hugot_tokenizer_encode(const hugot_tokenizer* tokenizer,
                                              const char* const* texts, const size_t* lengths,
                                              const char* const* pairs, const size_t* pair_lengths,
                                              size_t count, const hugot_encode_options* options,
                                              hugot_encodings** encodings);

HUGOT_API size_t hugot_encodings_count(const hugot_encodings* encodings);
/* What was wrong with a text; NULL when nothing was. All that is returned here is valid until the
 * handle is freed; indices beyond the last one give 0 or NULL. */
HUGOT_API const char* hugot_encodings_error(const hugot_encodings* encodings, size_t index);
/* Number of tokens, which is the length of the arrays below. */
HUGOT_API size_t hugot_encodings_size(const hugot_encodings* encodings, size_t index);
HUGOT_API const int32_t* hugot_encodings_ids(const hugot_encodings* encodings, size_t index);
HUGOT_API const int32_t* hugot_encodings_type_ids(const hugot_encodings* encodings, size_t index);
HUGOT_API const uint8_t* hugot_encodings_special_tokens_mask(const hugot_encodings* encodings,
                                                             size_t index);
/* -1 for tokens of no word. */
HUGOT_API const int32_t* hugot_encodings_word_ids(const hugot_encodings* encodings, size_t index);
/* Begin and end of token 0, of token 1 and so on, in the text that the token came from. */
HUGOT_API const uint32_t* hugot_encodings_offsets(const hugot_encodings* encodings, size_t index);
HUGOT_API const char* hugot_encodings_token(const hugot_encodings* encodings, size_t index,
                                            size_t token);
HUGOT_API void hugot_encodings_free(hugot_encodings* encodings);

/* The text of tokens. */
HUGOT_API hugot_status hugot_tokenizer_decode(const hugot_tokenizer* tokenizer, const int32_t* ids,
                                              size_t count, int skip_special_tokens,
                                              hugot_text** text);
/* UTF-8 that ends with a zero byte, valid until the handle is freed. */
HUGOT_API const char* hugot_text_data(const hugot_text* text);
/* In bytes. */
HUGOT_API size_t hugot_text_size(const hugot_text* text);
HUGOT_API void hugot_text_free(hugot_text* text);

#ifdef __cplusplus
}
#endif

#endif /* HUGOT_C_TOKENIZER_H_ */
