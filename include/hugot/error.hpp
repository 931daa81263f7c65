// Errors of the hugot library.
#ifndef HUGOT_ERROR_HPP_
#define HUGOT_ERROR_HPP_

#include <exception>
#include <string>
#include <string_view>

#include "hugot/export.h"

namespace hugot {

// Stable error classes. The numeric values are part of the C API (hugot_status in hugot.h).
enum class ErrorCode : int {
  kInvalidArgument = 1,  // the caller passed something that can never work
  kNotFound = 2,         // a file, tensor, operator or option does not exist
  kInvalidData = 3,      // a file or a row is malformed
  kUnsupported = 4,      // well formed, but this build or version cannot do it
  kIo = 5,               // the operating system refused to read or write
  kOutOfMemory = 6,
  kCancelled = 7,
  kInternal = 8,  // a broken invariant of the library itself
};

// Thrown by every function of the library that fails. `what()` is one line: the contexts from the
// outermost to the innermost, then the message, joined by ": ".
class HUGOT_API Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message) : code_(code), text_(std::move(message)) {}

  ErrorCode code() const noexcept { return code_; }
  const char* what() const noexcept override { return text_.c_str(); }

  // Puts `context` in front of the message; used while the error travels upwards.
  void add_context(std::string_view context) {
    std::string text(context);
    text += ": ";
    text += text_;
    text_ = std::move(text);
  }

 private:
  ErrorCode code_;
  std::string text_;
};

}  // namespace hugot

#endif  // HUGOT_ERROR_HPP_
