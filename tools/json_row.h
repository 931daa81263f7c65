// One line of a JSONL file: its members, and the line with members added.
#ifndef HUGOT_TOOLS_JSON_ROW_H_
#define HUGOT_TOOLS_JSON_ROW_H_

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace hugot::tools {

// Keeps the caller's bytes, so that key order, spelling of numbers and escapes survive.
class JsonRow {
 public:
  // Throws kInvalidData, with the place in the line, unless it is one JSON object in UTF-8.
  explicit JsonRow(std::string_view line);

  bool has(std::string_view key) const { return value_.contains(key); }
  // The value of a member; the last one when the key is there twice. Throws kInvalidData when it
  // is absent.
  const nlohmann::json& at(std::string_view key) const;
  // A member that has to be a string. Throws kInvalidData naming what it is instead.
  std::string text(std::string_view key) const;
  // A member that has to be a list of strings. Throws kInvalidData.
  std::vector<std::string> texts(std::string_view key) const;
  // A member that has to be a list of token ids. Throws kInvalidData.
  std::vector<int32_t> ids(std::string_view key) const;

  // The row without its members of the names in `drop`, with `members` ("\"output\":[1]", not
  // empty) at the end.
  std::string with(std::string_view members, std::initializer_list<std::string_view> drop) const;

 private:
  struct Member {
    std::string key;
    size_t end;  // of the value
  };

  std::string line_;
  nlohmann::json value_;
  size_t open_ = 0;   // position of the first brace
  size_t close_ = 0;  // position of the last brace
  std::vector<Member> members_;
};

}  // namespace hugot::tools

#endif  // HUGOT_TOOLS_JSON_ROW_H_
