// Writing JSON values as text.
#ifndef HUGOT_TOOLS_JSON_TEXT_H_
#define HUGOT_TOOLS_JSON_TEXT_H_

#include <span>
#include <string>
#include <string_view>

namespace hugot::tools {

enum class JsonStyle {
  kPlain,  // numbers as std::to_chars has them, only what must be escaped is
  kGo,     // encoding/json of Go: fixed notation for 1e-6 <= |x| < 1e21, '<', '>', '&' escaped
};

// The shortest text that reads back as the same float. REQUIRES: x is finite.
void append_float(std::string& out, float x, JsonStyle style);
// "[1,2.5]". REQUIRES: all are finite.
void append_floats(std::string& out, std::span<const float> values, JsonStyle style);
// With quotes. Bytes that are not UTF-8 become U+FFFD.
void append_string(std::string& out, std::string_view text, JsonStyle style);

}  // namespace hugot::tools

#endif  // HUGOT_TOOLS_JSON_TEXT_H_
