// Helpers for tests of everything that reads or writes files.
#ifndef HUGOT_BASE_TESTING_H_
#define HUGOT_BASE_TESTING_H_

#include <stdlib.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "base/error.h"

namespace hugot {

// A new directory that is removed with everything in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "hugot-test-XXXXXX").string();
    require(mkdtemp(name.data()) != nullptr, ErrorCode::kIo, "cannot create ", name);
    path_ = name;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::filesystem::path& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// The code of the Error that `function` throws; empty when it throws none. `message` gets its text.
inline std::optional<ErrorCode> error_of(const std::function<void()>& function,
                                         std::string* message = nullptr) {
  try {
    function();
    return std::nullopt;
  } catch (const Error& error) {
    if (message != nullptr) *message = error.what();
    return error.code();
  }
}

// The text of the Error that `function` throws, or "no error".
inline std::string message_of(const std::function<void()>& function) {
  std::string message = "no error";
  error_of(function, &message);
  return message;
}

// Calls `parse` with damaged copies of `original`: cut at every length (every `step`-th), each byte
// replaced in a few ways, and pieces repeated or taken out. `parse` may throw hugot::Error and
// nothing else. The sequence is the same in every run. Returns how many copies were parsed without
// an Error.
inline int parse_damaged(const std::string& original, size_t step,
                         const std::function<void(const std::string&)>& parse) {
  int accepted = 0;
  const auto attempt = [&](const std::string& bytes) {
    if (!error_of([&] { parse(bytes); })) ++accepted;
  };
  for (size_t n = 0; n < original.size(); n += step) attempt(original.substr(0, n));
  uint32_t random = 12345;
  const auto next = [&random](size_t below) {
    random = random * 1664525u + 1013904223u;
    return static_cast<size_t>(random >> 8) % below;
  };
  for (size_t n = 0; n < original.size(); n += step) {
    std::string bytes = original;
    for (const int value : {0, 0xff, 0x7f, 0x80, static_cast<int>(next(256))}) {
      bytes[n] = static_cast<char>(value);
      attempt(bytes);
    }
    bytes = original;
    bytes[n] = static_cast<char>(bytes[n] ^ (1 << next(8)));
    attempt(bytes);
    bytes = original;
    bytes.erase(n, 1 + next(8));
    attempt(bytes);
    bytes = original;
    bytes.insert(n, original.substr(next(original.size()), 1 + next(40)));
    attempt(bytes);
  }
  return accepted;
}

}  // namespace hugot

#endif  // HUGOT_BASE_TESTING_H_
