#include "tokenizer/regex_class.h"

#include <string>
#include <utility>

namespace hugot {
namespace {

int hex_digit(char32_t c) {
  if (c >= '0' && c <= '9') return static_cast<int>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<int>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<int>(c - 'A' + 10);
  return -1;
}

char32_t check(const RegexScanner& in, char32_t c) {
  if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) in.fail("no such character");
  return c;
}

// Up to `most` digits.
char32_t parse_hex(RegexScanner& in, int most) {
  char32_t value = 0;
  for (int i = 0; i < most && !in.done() && hex_digit(in.peek()) >= 0; ++i) {
    value = value * 16 + static_cast<char32_t>(hex_digit(in.next()));
  }
  return check(in, value);
}

CodePointSet parse_property(RegexScanner& in, bool negative) {
  const std::string name = in.until('}');
  const bool inner = name.starts_with('^');
  CodePointSet set = CodePointSet::property(std::string_view(name).substr(inner ? 1 : 0));
  if (negative != inner) set.invert();
  return set;
}

// [:name:] or [:^name:]; nothing, with nothing read, for other text.
std::optional<CodePointSet> parse_posix(RegexScanner& in) {
  const size_t begin = in.position();
  if (!in.skip("[:")) return std::nullopt;
  const bool negative = in.skip('^');
  std::string name;
  while (!in.done() && in.peek() < 0x80 && in.peek() != ':' && in.peek() != ']') {
    name += static_cast<char>(in.next());
  }
  if (in.skip(":]")) {
    for (const char* known : {"alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph",
                              "lower", "print", "punct", "space", "upper", "xdigit", "word"}) {
      if (name != known) continue;
      CodePointSet set = CodePointSet::property(name);
      if (negative) set.invert();
      return set;
    }
  }
  in.seek(begin);
  return std::nullopt;
}

}  // namespace

char32_t parse_escaped_character(RegexScanner& in, bool in_class) {
  in.next();  // the backslash
  if (in.done()) in.fail("the pattern ends with a backslash");
  const char32_t c = in.next();
  switch (c) {
    case 't':
      return '\t';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 'f':
      return '\f';
    case 'v':
      return '\v';
    case 'a':
      return '\a';
    case 'e':
      return 0x1B;
    case 'b':
      return in_class ? char32_t{'\b'} : c;
    case 'x': {
      if (!in.skip('{')) return parse_hex(in, 2);
      const char32_t value = parse_hex(in, 8);
      if (!in.skip('}')) in.fail("malformed \\x{..}");
      return value;
    }
    case 'u':
      return parse_hex(in, 4);
    case 'c':
      return in.next() & 0x1F;
    default:
      break;
  }
  if (c >= '0' && c <= '7') {
    char32_t value = c - '0';
    for (int i = 0; i < 2 && !in.done() && in.peek() >= '0' && in.peek() <= '7'; ++i) {
      value = value * 8 + (in.next() - '0');
    }
    return check(in, value);
  }
  return c;
}

std::optional<CodePointSet> parse_class_escape(RegexScanner& in, bool in_class) {
  const size_t begin = in.position();
  if (!in.skip('\\') || in.done()) {
    in.seek(begin);
    return std::nullopt;
  }
  CodePointSet set;
  const char32_t c = in.next();
  switch (c) {
    case 's':
    case 'S':
      set = CodePointSet::property("space");
      break;
    case 'd':
    case 'D':
      set = CodePointSet::property("digit");
      break;
    case 'w':
    case 'W':
      // In brackets it is the POSIX class, which lacks a few numbers.
      set = in_class ? CodePointSet::property("word") : CodePointSet::word();
      break;
    case 'h':
    case 'H':
      set = CodePointSet::property("xdigit");
      break;
    case 'p':
    case 'P':
      if (in.skip('{')) return parse_property(in, c == 'P');
      [[fallthrough]];
    default:
      in.seek(begin);
      return std::nullopt;
  }
  if (c < 'a') set.invert();
  return set;
}

CodePointSet parse_regex_class(RegexScanner& in, bool ignore_case) {
  const RegexScanner::Nesting nesting(in);
  const bool negative = in.skip('^');
  CodePointSet set;
  std::optional<CodePointSet> left;  // of &&
  const auto finish_operand = [&] {
    if (ignore_case) set.close_under_case();
    if (left) set.intersect(*left);
  };
  // A bracket that comes first is a member if another one closes the class.
  bool first = true;
  for (;; first = false) {
    if (in.done()) in.fail("premature end of a character class");
    if (in.skip(']')) {
      if (!first) break;
      if (!in.ahead("]")) in.fail("empty character class");
      set.add(']', ']');
      continue;
    }
    if (in.skip("&&")) {
      finish_operand();
      left = std::move(set);
      set = {};
      continue;
    }
    if (auto posix = parse_posix(in)) {
      set.add(*posix);
      continue;
    }
    if (in.skip('[')) {
      set.add(parse_regex_class(in, ignore_case));
      continue;
    }
    if (auto escape = parse_class_escape(in, true)) {
      set.add(*escape);
      continue;
    }
    const char32_t from = in.peek() == '\\' ? parse_escaped_character(in, true) : in.next();
    char32_t to = from;
    const size_t dash = in.position();
    if (in.skip('-') && !in.done() && !in.looking_at("]")) {
      const size_t after = in.position();
      if (in.looking_at("[") || in.looking_at("&&") || parse_class_escape(in, true)) {
        in.seek(dash);  // the dash is a member
      } else {
        in.seek(after);
        to = in.peek() == '\\' ? parse_escaped_character(in, true) : in.next();
        if (to < from) in.fail("a range is empty");
      }
    } else {
      in.seek(dash);
    }
    set.add(from, to);
  }
  finish_operand();
  if (negative) set.invert();
  return set;
}

}  // namespace hugot
