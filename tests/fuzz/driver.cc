// Runs a fuzz target without libFuzzer.
//
//   fuzz_NAME [--mutations N] [--seed S] [--first I] [--suffix .onnx] [--max-bytes N]
//             [--failures DIR] PATH...
//
// Runs every file of PATH (folders: all files below with the suffix) as it is, then N changed
// copies of them, always the same for one seed. An input fails when the target throws anything,
// when it takes more than 2 seconds, or when the process grows beyond 1 GiB; it is written to DIR.
// The last line is `N passed, N failed`. What a sanitizer finds, and an input that does not end,
// ends the run, too; `--first I --mutations 1` runs mutation I alone.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <exception>
#include <fstream>
#include <iterator>
#include <string>
#include <typeinfo>
#include <vector>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/mutator.h"

#ifdef HUGOT_FUZZ_SANITIZED
#include <sanitizer/common_interface_defs.h>

// Allocations beyond the limit of fuzz.cc are refused there. Freed memory is kept for a while to
// find its uses, but not so much that the process seems to grow.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() {
  return "detect_leaks=1:allocator_may_return_null=1:quarantine_size_mb=32:"
         "detect_stack_use_after_return=0";
}
extern "C" const char* __ubsan_default_options();
extern "C" const char* __ubsan_default_options() { return "halt_on_error=1:print_stacktrace=1"; }
#endif

namespace hugot::fuzz {
namespace {

namespace fs = std::filesystem;

constexpr int kSeconds = 2;
// A machine that is busy with other things must not fail an input: what counts is processor time,
// and time on the clock only when that is this many times as much.
constexpr int kPatience = 30;
constexpr long kMaxResidentKb = 1 << 20;

struct Options {
  uint64_t mutations = 0;
  uint64_t seed = 1;
  uint64_t first = 0;
  std::string suffix;
  size_t max_bytes = size_t{1} << 16;
  std::string failures = ".";
  std::vector<std::string> paths;
};

// The input that is running, for handlers, which may not allocate.
struct Current {
  const char* data = nullptr;
  size_t size = 0;
  char name[256] = "";
  char file[512] = "";
  int intervals = 0;
  double begin = 0;
  long passed = 0;
  long failed = 0;
} current;

double processor_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

void say(const char* text) {
  [[maybe_unused]] const auto written = write(STDOUT_FILENO, text, std::strlen(text));
}

void report_failure(const char* what) {
  ++current.failed;
  char line[1200];
  std::snprintf(line, sizeof(line), "FAIL %s: %s; the input is in %s\n", current.name, what,
                current.file);
  say(line);
  const int fd = open(current.file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) return;
  [[maybe_unused]] const auto written = write(fd, current.data, current.size);
  close(fd);
}

void print_counts() {
  char line[100];
  std::snprintf(line, sizeof(line), "%ld passed, %ld failed\n", current.passed, current.failed);
  say(line);
}

// Whatever ends the process while an input runs.
void end_of_process() {
  if (current.data == nullptr) return;
  report_failure("the process ended");
  print_counts();
}

extern "C" void on_timer(int) {
  if (current.data == nullptr) return;
  const bool busy = processor_seconds() - current.begin >= kSeconds;
  if (!busy && ++current.intervals < kPatience) return;
#ifdef HUGOT_FUZZ_SANITIZED
  __sanitizer_print_stack_trace();
#endif
  report_failure(busy ? "it takes too long" : "it waits for something");
  print_counts();
  _exit(1);
}

void start_timer(int seconds) {
  itimerval timer{};
  timer.it_value.tv_sec = seconds;
  timer.it_interval.tv_sec = seconds;
  setitimer(ITIMER_REAL, &timer, nullptr);
}

long resident_kb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

void run(const std::string& input, const std::string& name, const Options& options) {
  static long allowed_kb = kMaxResidentKb;
  std::snprintf(current.name, sizeof(current.name), "%s", name.c_str());
  std::string file = name;
  std::replace_if(
      file.begin(), file.end(), [](char c) { return c == '/' || c == ' '; }, '_');
  std::snprintf(current.file, sizeof(current.file), "%s/%s", options.failures.c_str(),
                file.c_str());
  // A copy of just the size: reading behind the end shows.
  const std::vector<uint8_t> bytes(input.begin(), input.end());
  current.size = bytes.size();
  current.intervals = 0;
  current.begin = processor_seconds();
  current.data = bytes.empty() ? "" : reinterpret_cast<const char*>(bytes.data());
  start_timer(kSeconds);
  std::string problem;
  try {
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  } catch (const std::exception& error) {
    problem = std::string(typeid(error).name()) + " was thrown: " + error.what();
  } catch (...) {
    problem = "something was thrown";
  }
  start_timer(0);
  if (problem.empty() && resident_kb() > allowed_kb) {
    allowed_kb = resident_kb();
    problem = "the process has grown to " + std::to_string(allowed_kb / 1024) + " MiB";
  }
  if (problem.empty()) {
    ++current.passed;
  } else {
    report_failure(problem.c_str());
  }
  current.data = nullptr;
}

std::vector<fs::path> files_of(const Options& options) {
  std::vector<fs::path> files;
  for (const std::string& path : options.paths) {
    if (!fs::is_directory(path)) {
      files.emplace_back(path);
      continue;
    }
    std::vector<fs::path> below;
    for (const auto& entry : fs::recursive_directory_iterator(path)) {
      const std::string name = entry.path().filename().string();
      if (entry.is_regular_file() && name.ends_with(options.suffix)) below.push_back(entry.path());
    }
    std::sort(below.begin(), below.end());
    files.insert(files.end(), below.begin(), below.end());
  }
  return files;
}

uint64_t parse_number(const std::string& text) {
  uint64_t number = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  require(status == std::errc() && end == text.data() + text.size(), ErrorCode::kInvalidArgument,
          "not a number: ", text);
  return number;
}

Options parse_options(const std::vector<std::string>& arguments) {
  Options options;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& name = arguments[i];
    if (!name.starts_with("--")) {
      options.paths.push_back(name);
      continue;
    }
    require(i + 1 < arguments.size(), ErrorCode::kInvalidArgument, name, " needs a value");
    const std::string& value = arguments[++i];
    if (name == "--suffix") {
      options.suffix = value;
    } else if (name == "--failures") {
      options.failures = value;
    } else if (name == "--mutations") {
      options.mutations = parse_number(value);
    } else if (name == "--seed") {
      options.seed = parse_number(value);
    } else if (name == "--first") {
      options.first = parse_number(value);
    } else if (name == "--max-bytes") {
      options.max_bytes = static_cast<size_t>(parse_number(value));
    } else {
      fail(ErrorCode::kInvalidArgument, "unknown option ", name);
    }
  }
  return options;
}

int run_all(const Options& options) {
  fs::create_directories(options.failures);
  std::vector<std::string> corpus;
  std::vector<std::string> names;
  for (const fs::path& path : files_of(options)) {
    std::ifstream file(path, std::ios::binary);
    require(file.good(), ErrorCode::kNotFound, "cannot read ", path.string());
    std::string input{std::istreambuf_iterator<char>(file), {}};
    if (input.size() > options.max_bytes) continue;
    corpus.push_back(std::move(input));
    names.push_back(path.string());
  }
  require(!corpus.empty(), ErrorCode::kInvalidArgument, "there are no inputs");
  const Mutator mutator(std::move(corpus), input_kind());
  if (options.first == 0) {
    for (size_t i = 0; i < names.size(); ++i) run(mutator.corpus()[i], names[i], options);
  }
  for (uint64_t i = options.first; i < options.first + options.mutations; ++i) {
    const std::string input = mutator.mutate(options.seed * 1'000'000'007 + i);
    run(input, str("seed ", options.seed, " mutation ", i), options);
  }
  print_counts();
  return current.failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace hugot::fuzz

int main(int argc, char** argv) {
  using namespace hugot;
  struct sigaction action {};
  action.sa_handler = fuzz::on_timer;
  action.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &action, nullptr);
#ifdef HUGOT_FUZZ_SANITIZED
  __sanitizer_set_death_callback(fuzz::end_of_process);
#endif
  std::set_terminate([] {
    fuzz::end_of_process();
    fuzz::current.data = nullptr;
    std::abort();
  });
  try {
    return fuzz::run_all(fuzz::parse_options({argv + 1, argv + argc}));
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
