// What the fuzz targets share. Each target is one LLVMFuzzerTestOneInput in a file of its own, for
// libFuzzer or for driver.cc.
#ifndef HUGOT_TESTS_FUZZ_FUZZ_H_
#define HUGOT_TESTS_FUZZ_FUZZ_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <stop_token>
#include <string_view>

#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace hugot::fuzz {

// How inputs are built, so that the driver can change them in ways that get past the parser.
enum class InputKind { kBinary, kText, kJson, kProtobuf };
// Of the target that is linked in.
InputKind input_kind();

// Memory that one input may hold at a time, through operator new; more throws std::bad_alloc. Far
// below the gigabyte that the whole process may have, because the sanitizers need memory, too, and
// because filling it takes time.
inline constexpr size_t kMaxHeapBytes = size_t{256} << 20;

// Calls `body`. An Error is the right answer to a bad input; any other exception leaves and is a
// finding.
template <class Body>
int only_errors(Body&& body) {
  try {
    body();
  } catch (const Error&) {
  }
  return 0;
}

inline std::string_view as_text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// A folder of this process in memory where the system has that; it goes with the process.
const std::filesystem::path& scratch_folder();
// A file there with these bytes, for readers that want a path. The next call replaces it.
std::filesystem::path scratch_file(const uint8_t* data, size_t size);

// A token that is stopped after some time.
class Deadline {
 public:
  explicit Deadline(std::chrono::milliseconds time);
  ~Deadline();
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

  std::stop_token token() const { return source_.get_token(); }

 private:
  class Watch;
  static Watch& watch();
  std::stop_source source_;
};

}  // namespace hugot::fuzz

#endif  // HUGOT_TESTS_FUZZ_FUZZ_H_
