// Model directories: what their JSON files say about a text model.
//
// Formats: the repository layout of transformers (config.json, tokenizer_config.json) and of
// sentence-transformers (modules.json, 1_Pooling/config.json, sentence_bert_config.json,
// config_sentence_transformers.json).
#ifndef HUGOT_MODELS_MODEL_DIRECTORY_H_
#define HUGOT_MODELS_MODEL_DIRECTORY_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "hugot/hugot.hpp"

namespace hugot {

// A step behind the transformer, as modules.json lists them.
struct SentenceModule {
  enum class Kind { kPooling, kDense, kNormalize };
  Kind kind;
  std::filesystem::path folder;       // of the module's own files
  std::vector<Pooling> pooling = {};  // kPooling: vectors to concatenate, in this order
  bool pool_prompt = true;            // kPooling: tokens of the prompt count
};

// Everything is optional in a directory; what is missing is empty here.
struct ModelDirectory {
  std::filesystem::path root;
  std::filesystem::path transformer;  // folder of config.json and the tokenizer: root or below

  // config.json
  std::string model_type;
  std::optional<int64_t> hidden_size;
  std::optional<int64_t> vocab_size;
  std::optional<int64_t> positions;    // the most tokens that the model has positions for
  std::optional<int64_t> token_types;  // type_vocab_size
  std::vector<std::string> labels;     // id2label
  std::string problem_type;  // regression, single_label_classification, multi_label_classification
  // Of a model for images and texts: each pair is judged by itself, and texts are padded.
  bool sigmoid_pairs = false;
  // Python name of the function that a cross-encoder applies to its scores.
  std::string cross_encoder_activation;

  // tokenizer_config.json
  std::optional<int64_t> tokenizer_limit;  // absent when it is the "no limit" number
  bool truncate_left = false;              // long texts lose their beginning
  bool pad_left = false;                   // which also puts contexts in front of questions
  // Of special_tokens_map.json, too.
  std::string unk_token;
  std::string cls_token;
  std::string mask_token;
  std::string pad_token;

  // sentence_bert_config.json
  std::optional<int64_t> max_sequence_length;
  bool lowercase = false;  // texts are lowercased before the tokenizer sees them

  // modules.json behind the transformer; without that file 1_Pooling when it is there.
  std::vector<SentenceModule> modules;

  // config_sentence_transformers.json
  std::map<std::string, std::string> prompts;
  std::string default_prompt;  // its name

  // Reads the directory. Throws kNotFound when it is none, kInvalidData naming the file for
  // malformed JSON, kUnsupported for modules that this version does not have.
  static ModelDirectory read(const std::filesystem::path& root);

  // The graph: `name` relative to the root; empty: onnx/model.onnx, model.onnx, or the only .onnx
  // file below the root. Throws kNotFound or kInvalidArgument listing what is there.
  std::filesystem::path onnx_file(const std::string& name) const;
  // tokenizer.json, or else a file with a vocabulary. Throws kNotFound.
  std::filesystem::path tokenizer_file() const;

  // Tokens that a text is cut to: `requested`, else max_sequence_length, else tokenizer_limit, and
  // never more than `positions`; 0: no limit. Throws kInvalidArgument when more is requested than
  // the model has positions for.
  int64_t max_length(int64_t requested) const;

  // The name of a class: of `labels`, or LABEL_7 as transformers calls one without a name.
  std::string label(size_t id) const;

  // The text to put before every input. Empty `name`: the default prompt or none. Throws
  // kInvalidArgument naming the prompts that exist.
  std::string prompt(const std::string& name) const;
};

// The directory behind --model: an existing directory, else `folder`/NAME with '/' as '_', where
// `folder` empty means $HOME/hugot/models, then $HOME/hugot; else, for the name "default", the
// model that comes with hugot (find_default_model()). Throws kNotFound naming the places.
std::filesystem::path find_model(const std::filesystem::path& model,
                                 const std::filesystem::path& folder);

}  // namespace hugot

#endif  // HUGOT_MODELS_MODEL_DIRECTORY_H_
