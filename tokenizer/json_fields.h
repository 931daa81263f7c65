// Typed access to the fields of a JSON object. All functions throw kInvalidData, naming the field,
// when it is missing or of another type.
#ifndef HUGOT_TOKENIZER_JSON_FIELDS_H_
#define HUGOT_TOKENIZER_JSON_FIELDS_H_

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace hugot::json_fields {

using Json = nlohmann::json;

// Whether `json` is an object with all these keys, whatever their values.
bool has(const Json& json, std::initializer_list<const char*> keys);
// The member, or null when it is missing or null.
const Json* find(const Json& json, const char* key);
const Json& get(const Json& json, const char* key);
const Json& get_array(const Json& json, const char* key);
bool get_bool(const Json& json, const char* key);
bool get_bool_or(const Json& json, const char* key, bool fallback);
std::string get_string(const Json& json, const char* key);
// "" when the member is missing or no string.
std::string get_string_or_empty(const Json& json, const char* key);
// An unsigned number of at most `max`.
uint64_t get_uint(const Json& json, const char* key, uint64_t max);
size_t get_size(const Json& json, const char* key);
int32_t get_id(const Json& json, const char* key);
// A string of exactly one character.
char32_t get_char(const Json& json, const char* key);

// Token ids are unsigned 32-bit numbers in files; this library takes those below 2^31.
int32_t to_id(const Json& value, const char* what);

}  // namespace hugot::json_fields

#endif  // HUGOT_TOKENIZER_JSON_FIELDS_H_
