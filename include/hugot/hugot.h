/* The C interface of hugot: tokenizers, and pipelines of texts, tables and images over transformer
 * models in the ONNX format, and the training of such models.
 *
 * Functions return HUGOT_OK or the class of the error; hugot_last_error() has its text. Handles are
 * freed by the function of their type, which accepts NULL. Session, pipeline and cancellation
 * handles may be used from several threads at the same time; freeing one while it is in use is the
 * caller's error. The library never prints, exits or aborts.
 *
 * Every pipeline has the same functions; for PIPELINE put feature_extraction, text_classification,
 * zero_shot_classification, cross_encoder, token_classification, question_answering, fill_mask,
 * tabular, image_classification, zero_shot_image, object_detection or image_embedding:
 *
 *   hugot_PIPELINE_options_init   sets the defaults; always call it before changing a member
 *   hugot_PIPELINE_create         loads a model: a directory, or a name (see hugot.hpp)
 *   hugot_PIPELINE_run            texts to a result, a handle with a row per text
 *   hugot_PIPELINE_statistics     sums over all runs
 *   hugot_PIPELINE_outputs        the outputs of the model's graph
 *   hugot_PIPELINE_free
 *
 * A cross-encoder and a table have two forms of run.
 *
 * Texts are UTF-8. Arrays of texts come with `lengths`, their sizes in bytes; NULL: they end with a
 * zero byte. What is wrong with a text is no failure of the call, but the error of its row in the
 * result. What the accessors of a result return is valid until the result is freed; they accept
 * NULL and indices out of range, and return 0 or NULL for these.
 */
#ifndef HUGOT_HUGOT_H_
#define HUGOT_HUGOT_H_

#include "hugot/c_answers.h"
#include "hugot/c_classification.h"
#include "hugot/c_common.h"
#include "hugot/c_embedding.h"
#include "hugot/c_image.h"
#include "hugot/c_tabular.h"
#include "hugot/c_tokenizer.h"
#include "hugot/c_training.h"

#endif /* HUGOT_HUGOT_H_ */
