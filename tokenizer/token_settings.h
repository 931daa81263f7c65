// The settings beside a vocabulary without a tokenizer.json: tokenizer_config.json,
// special_tokens_map.json and added_tokens.json.
#ifndef HUGOT_TOKENIZER_TOKEN_SETTINGS_H_
#define HUGOT_TOKENIZER_TOKEN_SETTINGS_H_

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "tokenizer/vocabulary.h"

namespace hugot {

// An element of added_tokens of a tokenizer.json for a special token.
nlohmann::json special_token(const std::string& content, bool lstrip = false);

// As transformers reads them: a token of added_tokens_decoder of tokenizer_config.json counts, and
// only without that list special_tokens_map.json, which goes before tokenizer_config.json, and
// added_tokens.json. Immutable.
class TokenSettings {
 public:
  // Files that are not there have nothing to say. Throws kInvalidData, naming the file, for one
  // that is malformed, and kIo.
  static TokenSettings read(const std::filesystem::path& folder);

  // tokenizer_config.json, or an empty object.
  const nlohmann::json& config() const { return config_; }
  // Its tokenizer_class without "Fast"; "" when there is none.
  std::string tokenizer_class() const;
  // The text of the token with a role, such as "cls_token".
  std::string role(const char* name, const std::string& fallback) const;
  // For added_tokens of a tokenizer.json: the listed tokens by id, those with roles, then those of
  // `usual` that the vocabulary has unless the list is that of added_tokens_decoder.
  nlohmann::json added_tokens(const Vocabulary& vocabulary, const nlohmann::json& usual) const;

 private:
  nlohmann::json config_;
  nlohmann::json roles_;   // name to element of added_tokens, or to a string
  nlohmann::json listed_;  // elements of added_tokens, by id
};

}  // namespace hugot

#endif  // HUGOT_TOKENIZER_TOKEN_SETTINGS_H_
