// Reading JSON files with errors that name the file.
#ifndef HUGOT_MODELS_JSON_FILE_H_
#define HUGOT_MODELS_JSON_FILE_H_

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/file.h"

namespace hugot {

// Calls `read` with the JSON object in `file`; what nlohmann throws inside becomes kInvalidData
// with the file's name. Throws kNotFound when there is no such file.
template <class Read>
decltype(auto) with_json(const std::filesystem::path& file, Read&& read) {
  return with_context([&] { return file.string(); },
                      [&]() -> decltype(auto) {
                        try {
                          const nlohmann::json json = nlohmann::json::parse(read_file(file));
                          require(json.is_object() || json.is_array(), ErrorCode::kInvalidData,
                                  "expected a JSON object or array");
                          return read(json);
                        } catch (const nlohmann::json::exception& error) {
                          fail(ErrorCode::kInvalidData, error.what());
                        }
                      });
}

// Member `name` of an object; empty when it is absent or null.
template <class T>
std::optional<T> member(const nlohmann::json& object, const char* name) {
  const auto it = object.find(name);
  if (it == object.end() || it->is_null()) return std::nullopt;
  try {
    return it->get<T>();
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorCode::kInvalidData, "'", name, "': ", error.what());
  }
}

}  // namespace hugot

#endif  // HUGOT_MODELS_JSON_FILE_H_
