#include "tools/json_text.h"

#include <charconv>
#include <cmath>

#include "base/utf8.h"

namespace hugot::tools {
namespace {

// Go's encoding/json. `text` is in scientific notation: digits with an optional point, exponent.
void append_go(std::string& out, std::string_view text, float x) {
  const size_t e = text.find('e');
  int exponent = 0;
  std::from_chars(text.data() + e + (text[e + 1] == '+' ? 2 : 1), text.data() + text.size(),
                  exponent);
  const float size = std::abs(x);
  if (x != 0 && (size < 1e-6f || size >= 1e21f)) {
    out += text.substr(0, e);
    out += exponent < 0 ? "e-" : "e+";
    out += std::to_string(std::abs(exponent));
    return;
  }
  std::string digits;
  for (const char c : text.substr(0, e)) {
    if (c == '-') {
      out += '-';
    } else if (c != '.') {
      digits += c;
    }
  }
  if (exponent < 0) {
    out += "0.";
    out.append(static_cast<size_t>(-exponent - 1), '0');
    out += digits;
    return;
  }
  const size_t whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) {
    out += digits;
    out.append(whole - digits.size(), '0');
  } else {
    out.append(digits, 0, whole).append(1, '.').append(digits, whole);
  }
}

void append_escape(std::string& out, char32_t c) {
  constexpr char kHex[] = "0123456789abcdef";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += kHex[c >> shift & 0xF];
}

}  // namespace

void append_float(std::string& out, float x, JsonStyle style) {
  char buffer[32];
  const auto format =
      style == JsonStyle::kGo ? std::chars_format::scientific : std::chars_format::general;
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), x, format).ptr;
  const std::string_view text(buffer, static_cast<size_t>(end - buffer));
  if (style == JsonStyle::kGo) {
    append_go(out, text, x);
  } else {
    out += text;
  }
}

void append_floats(std::string& out, std::span<const float> values, JsonStyle style) {
  out += '[';
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out += ',';
    append_float(out, values[i], style);
  }
  out += ']';
}

void append_string(std::string& out, std::string_view text, JsonStyle style) {
  out += '"';
  while (!text.empty()) {
    const size_t valid = std::min(validate_utf8(text), text.size());
    const std::string_view good = text.substr(0, valid);
    for (size_t pos = 0; pos < good.size();) {
      const size_t begin = pos;
      const char32_t c = decode_utf8(good, pos);
      const bool html = c == '<' || c == '>' || c == '&' || c == 0x2028 || c == 0x2029;
      if (c == '"' || c == '\\') {
        out += '\\';
        out += static_cast<char>(c);
      } else if (c == '\n') {
        out += "\\n";
      } else if (c == '\r') {
        out += "\\r";
      } else if (c == '\t') {
        out += "\\t";
      } else if (c == '\b') {
        out += "\\b";
      } else if (c == '\f') {
        out += "\\f";
      } else if (c < 0x20 || (html && style == JsonStyle::kGo)) {
        append_escape(out, c);
      } else {
        out += good.substr(begin, pos - begin);
      }
    }
    text.remove_prefix(valid);
    if (!text.empty()) {
      out += "\uFFFD";
      text.remove_prefix(1);
    }
  }
  out += '"';
}

}  // namespace hugot::tools
