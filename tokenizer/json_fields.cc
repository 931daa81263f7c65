#include "tokenizer/json_fields.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/utf8.h"

namespace hugot::json_fields {
namespace {

[[noreturn]] void fail_type(const char* key, const char* expected) {
  fail(ErrorCode::kInvalidData, "field '", key, "' must be ", expected);
}

uint64_t to_uint(const Json& value, const char* key, uint64_t max) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > max) {
    fail_type(key, max == 0 ? "0" : str("a whole number from 0 to ", max).c_str());
  }
  return value.get<uint64_t>();
}

}  // namespace

bool has(const Json& json, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    if (!json.is_object() || !json.contains(key)) return false;
  }
  return true;
}

const Json* find(const Json& json, const char* key) {
  if (!json.is_object()) return nullptr;
  const auto found = json.find(key);
  return found == json.end() || found->is_null() ? nullptr : &*found;
}

const Json& get(const Json& json, const char* key) {
  require(json.is_object() && json.contains(key), ErrorCode::kInvalidData, "field '", key,
          "' is missing");
  return json[key];
}

const Json& get_array(const Json& json, const char* key) {
  const Json& value = get(json, key);
  if (!value.is_array()) fail_type(key, "an array");
  return value;
}

bool get_bool(const Json& json, const char* key) {
  const Json& value = get(json, key);
  if (!value.is_boolean()) fail_type(key, "true or false");
  return value.get<bool>();
}

bool get_bool_or(const Json& json, const char* key, bool fallback) {
  return find(json, key) == nullptr ? fallback : get_bool(json, key);
}

std::string get_string(const Json& json, const char* key) {
  const Json& value = get(json, key);
  if (!value.is_string()) fail_type(key, "a string");
  return value.get<std::string>();
}

std::string get_string_or_empty(const Json& json, const char* key) {
  const Json* value = find(json, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

uint64_t get_uint(const Json& json, const char* key, uint64_t max) {
  return to_uint(get(json, key), key, max);
}

size_t get_size(const Json& json, const char* key) {
  return get_uint(json, key, std::numeric_limits<size_t>::max());
}

int32_t get_id(const Json& json, const char* key) { return to_id(get(json, key), key); }

char32_t get_char(const Json& json, const char* key) {
  const std::string value = get_string(json, key);
  size_t pos = 0;
  const char32_t c = value.empty() ? 0 : decode_utf8(value, pos);
  if (pos == 0 || pos != value.size()) fail_type(key, "a single character");
  return c;
}

int32_t to_id(const Json& value, const char* what) {
  return static_cast<int32_t>(to_uint(value, what, uint64_t{std::numeric_limits<int32_t>::max()}));
}

}  // namespace hugot::json_fields
