#include "tools/json_row.h"

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"

namespace hugot::tools {
namespace {

using nlohmann::json;

// Position behind the JSON string that begins at `pos`. REQUIRES: valid JSON.
size_t skip_string(std::string_view text, size_t pos) {
  for (++pos; text[pos] != '"'; ++pos) {
    if (text[pos] == '\\') ++pos;
  }
  return pos + 1;
}

size_t skip_space(std::string_view text, size_t pos) {
  while (pos < text.size() &&
         std::string_view(" \t\r\n").find(text[pos]) != std::string_view::npos) {
    ++pos;
  }
  return pos;
}

// Position behind the value that begins at `pos`. REQUIRES: valid JSON.
size_t skip_value(std::string_view text, size_t pos) {
  size_t depth = 0;
  do {
    const char c = text[pos];
    if (c == '"') {
      pos = skip_string(text, pos);
    } else if (c == '{' || c == '[') {
      ++depth;
      ++pos;
    } else if (c == '}' || c == ']') {
      --depth;
      ++pos;
    } else if (depth > 0) {
      ++pos;  // a character of a nested number or literal, a comma, a colon, white space
    } else {
      pos = std::min(text.find_first_of(",}] \t\r\n", pos), text.size());
    }
  } while (depth > 0);
  return pos;
}

}  // namespace

JsonRow::JsonRow(std::string_view line) : line_(line) {
  if (line_.starts_with("\xEF\xBB\xBF")) line_.erase(0, 3);
  const size_t bad = validate_utf8(line_);
  require(bad == kValidUtf8, ErrorCode::kInvalidData, "invalid UTF-8 at byte ", bad + 1);
  // The parser takes a zero for the end of the text.
  const size_t zero = line_.find('\0');
  require(zero == std::string::npos, ErrorCode::kInvalidData, "invalid JSON at byte ", zero + 1,
          ": a zero byte");
  try {
    value_ = json::parse(line_);
  } catch (const json::parse_error& error) {
    const std::string_view text = error.what();
    const size_t detail = text.find("syntax error");
    fail(ErrorCode::kInvalidData, "invalid JSON at byte ", error.byte, ": ",
         detail == std::string_view::npos ? text : text.substr(detail));
  } catch (const json::exception& error) {  // a number beyond float64
    const std::string_view text = error.what();
    fail(ErrorCode::kInvalidData, "invalid JSON: ", text.substr(text.find("] ") + 2));
  }
  open_ = skip_space(line_, 0);
  require(value_.is_object(), ErrorCode::kInvalidData, "a row has to be a JSON object");
  close_ = line_.rfind('}');
  size_t pos = skip_space(line_, open_ + 1);
  while (pos < close_) {
    Member& member = members_.emplace_back();
    const size_t key_end = skip_string(line_, pos);
    member.key = json::parse(line_.substr(pos, key_end - pos)).get<std::string>();
    const size_t colon = skip_space(line_, key_end);
    member.end = skip_value(line_, skip_space(line_, colon + 1));
    pos = skip_space(line_, member.end);
    if (line_[pos] == ',') pos = skip_space(line_, pos + 1);
  }
}

const json& JsonRow::at(std::string_view key) const {
  const auto it = value_.find(key);
  require(it != value_.end(), ErrorCode::kInvalidData, "the row has no \"", key, "\"");
  return *it;
}

std::string JsonRow::text(std::string_view key) const {
  const json& value = at(key);
  require(value.is_string(), ErrorCode::kInvalidData, "\"", key,
          "\" has to be a string, it is of type ", value.type_name());
  return value.get<std::string>();
}

std::vector<std::string> JsonRow::texts(std::string_view key) const {
  const auto& value = at(key);
  std::vector<std::string> out;
  require(value.is_array(), ErrorCode::kInvalidData, "\"", key, "\" has to be a list of strings");
  for (const auto& item : value) {
    require(item.is_string(), ErrorCode::kInvalidData, "\"", key,
            "\" has to be a list of strings, it has an item of type ", item.type_name());
    out.push_back(item.get<std::string>());
  }
  return out;
}

std::vector<int32_t> JsonRow::ids(std::string_view key) const {
  std::vector<int32_t> ids;
  for (const auto& id : at(key)) {
    const bool fits = id.is_number_integer() && id >= 0 && id <= INT32_MAX;
    require(fits, ErrorCode::kInvalidData, "\"", key, "\" has to be a list of token ids");
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

std::string JsonRow::with(std::string_view members,
                          std::initializer_list<std::string_view> drop) const {
  std::string out(line_, open_, 1);
  size_t copied = open_ + 1;  // everything before it is in `out` or dropped
  bool empty = true;
  for (const Member& member : members_) {
    if (std::find(drop.begin(), drop.end(), member.key) == drop.end()) {
      // From the end of the last kept member, so that its comma and blanks come along.
      out.append(line_, copied, member.end - copied);
      empty = false;
      copied = member.end;
    } else if (empty) {
      // The comma behind a dropped first member goes with it.
      copied = skip_space(line_, member.end);
      if (line_[copied] == ',') copied = skip_space(line_, copied + 1);
    } else {
      copied = member.end;
    }
  }
  if (empty) {
    out.erase(1);
  } else {
    out.append(line_, copied, close_ - copied);
    out += ',';
  }
  out += members;
  out += '}';
  return out;
}

}  // namespace hugot::tools
