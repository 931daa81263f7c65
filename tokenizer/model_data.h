// The large parts of a tokenizer.json: the vocabulary and the merges of the model.
#ifndef HUGOT_TOKENIZER_MODEL_DATA_H_
#define HUGOT_TOKENIZER_MODEL_DATA_H_

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/bpe_model.h"
#include "tokenizer/vocabulary.h"

namespace hugot {

struct ModelData {
  std::optional<VocabularyBuilder> vocabulary;
  // For a vocabulary that is a list of [token, score]: the scores, by id.
  std::optional<std::vector<double>> scores;
  std::optional<MergeList> merges;
};

// Takes what is well-formed of model.vocab and model.merges out of the text of a tokenizer.json,
// and puts null in its place: a parser of the whole need not see them. Everything else stays, to
// be complained about by whoever parses it.
ModelData cut_model_data(std::string_view json, std::string& rest);

// What is left of it in the description of a model. Throws kInvalidData for malformed contents.
void read_model_data(const nlohmann::json& model, ModelData& data);

// Adds one line of a list of merges, "left right". Throws kInvalidData for another number of parts.
void add_merge_line(std::string_view line, MergeList& merges);

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_MODEL_DATA_H_
