#include "tokenizer/token_settings.h"

#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "tokenizer/json_fields.h"

namespace hugot {
namespace {

namespace fs = std::filesystem;
using json_fields::Json;

// In the order in which transformers numbers those that the vocabulary lacks.
constexpr const char* kRoles[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                  "pad_token", "cls_token", "mask_token"};
constexpr const char* kMoreTokens[] = {"additional_special_tokens", "extra_special_tokens"};

// The object in a file, or an empty one without the file.
Json read_object(const fs::path& path) {
  if (!fs::is_regular_file(path)) return Json::object();
  return with_context([&] { return path.string(); },
                      [&] {
                        try {
                          Json out = Json::parse(read_file(path));
                          require(out.is_object(), ErrorCode::kInvalidData, "not a JSON object");
                          return out;
                        } catch (const Json::exception& error) {
                          fail(ErrorCode::kInvalidData, "malformed JSON: ", error.what());
                        }
                      });
}

std::string content_of(const Json& token) {
  if (token.is_string()) return token.get<std::string>();
  return token.is_object() ? json_fields::get_string_or_empty(token, "content") : std::string();
}

// Elements of an object of ids and tokens, by id.
std::vector<Json> by_id(std::vector<std::pair<int64_t, Json>> tokens) {
  std::stable_sort(tokens.begin(), tokens.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Json> out;
  for (auto& token : tokens) out.push_back(std::move(token.second));
  return out;
}

}  // namespace

Json special_token(const std::string& content, bool lstrip) {
  return {{"content", content}, {"special", true}, {"normalized", false}, {"lstrip", lstrip}};
}

TokenSettings TokenSettings::read(const fs::path& folder) {
  TokenSettings out;
  out.config_ = read_object(folder / "tokenizer_config.json");
  out.roles_ = Json::object();
  out.listed_ = Json::array();
  const Json* decoder = json_fields::find(out.config_, "added_tokens_decoder");
  const Json map = decoder ? Json::object() : read_object(folder / "special_tokens_map.json");
  const auto take = [&](const Json& token) -> Json {
    Json special = token;
    if (special.is_object()) special["special"] = true;
    return special;
  };
  for (const Json* from : {&map, &std::as_const(out.config_)}) {
    for (const char* name : kRoles) {
      const Json* token = json_fields::find(*from, name);
      if (token && !content_of(*token).empty() && !out.roles_.contains(name)) {
        out.roles_[name] = take(*token);
      }
    }
    for (const char* name : kMoreTokens) {
      const Json* tokens = json_fields::find(*from, name);
      if (!tokens || !tokens->is_array() || out.roles_.contains(name)) continue;
      Json& list = out.roles_[name] = Json::array();
      for (const Json& token : *tokens) {
        if (!content_of(token).empty()) list.push_back(take(token));
      }
    }
  }
  std::vector<std::pair<int64_t, Json>> tokens;
  if (decoder) {
    for (const auto& [id, token] : decoder->items()) {
      int64_t number = 0;
      std::from_chars(id.data(), id.data() + id.size(), number);
      tokens.emplace_back(number, token);
    }
  } else {
    const Json added = read_object(folder / "added_tokens.json");
    for (const auto& [text, id] : added.items()) {
      require(id.is_number_integer(), ErrorCode::kInvalidData, "added_tokens.json: the id of '",
              text, "' is no number");
      bool special = false;
      for (const Json& role : out.roles_) {
        for (const Json& token : role.is_array() ? role : Json::array({role})) {
          special |= content_of(token) == text;
        }
      }
      tokens.emplace_back(id.get<int64_t>(), special ? special_token(text)
                                                     : Json{{"content", text}, {"special", false}});
    }
  }
  for (Json& token : by_id(std::move(tokens))) out.listed_.push_back(std::move(token));
  return out;
}

std::string TokenSettings::tokenizer_class() const {
  const std::string name = json_fields::get_string_or_empty(config_, "tokenizer_class");
  return name.ends_with("Fast") ? name.substr(0, name.size() - 4) : name;
}

std::string TokenSettings::role(const char* name, const std::string& fallback) const {
  const Json* token = json_fields::find(roles_, name);
  return token ? content_of(*token) : fallback;
}

Json TokenSettings::added_tokens(const Vocabulary& vocabulary, const Json& usual) const {
  Json out = listed_;
  const auto find = [](Json& list, const std::string& content) {
    return std::find_if(list.begin(), list.end(),
                        [&](const Json& token) { return content_of(token) == content; });
  };
  // A token that is only named has the flags that its class usually gives it.
  Json named = usual;
  const auto add = [&](const Json& token) {
    const std::string content = content_of(token);
    if (find(out, content) != out.end()) return;
    if (token.is_object()) {
      out.push_back(token);
      return;
    }
    const auto known = find(named, content);
    out.push_back(known != named.end() ? *known : special_token(content));
  };
  for (const char* name : kRoles) {
    if (const Json* token = json_fields::find(roles_, name)) add(*token);
  }
  for (const char* name : kMoreTokens) {
    const Json* tokens = json_fields::find(roles_, name);
    for (const Json& token : tokens ? *tokens : Json::array()) add(token);
  }
  if (json_fields::find(config_, "added_tokens_decoder")) return out;
  for (const Json& token : usual) {
    if (vocabulary.find(content_of(token)) >= 0) add(token);
  }
  return out;
}

}  // namespace hugot
