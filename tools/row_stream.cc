#include "tools/row_stream.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "base/error.h"

namespace hugot::tools {
namespace {

namespace fs = std::filesystem;

constexpr size_t kReadSize = 1 << 16;

[[noreturn]] void fail_io(const std::string& what, const std::string& path) {
  const int error = errno;
  fail(error == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, what, " ", path, ": ",
       std::strerror(error));
}

sigset_t handled_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGUSR1);  // the guard's own: ends its thread
  return set;
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::vector<fs::path> jsonl_files(const fs::path& input, const fs::path& except) {
  require(fs::exists(input), ErrorCode::kNotFound, "no such file or directory: ", input.string());
  if (!fs::is_directory(input)) return {input};
  std::vector<fs::path> files;
  try {
    for (const auto& entry : fs::recursive_directory_iterator(input)) {
      std::error_code ignored;
      if (entry.is_regular_file() && entry.path().extension() == ".jsonl" &&
          (except.empty() || !fs::equivalent(entry.path(), except, ignored))) {
        files.push_back(entry.path());
      }
    }
  } catch (const fs::filesystem_error& error) {
    fail(ErrorCode::kIo, "cannot read ", error.path1().string(), ": ", error.code().message());
  }
  require(!files.empty(), ErrorCode::kNotFound, "no .jsonl file below ", input.string());
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

InterruptGuard::InterruptGuard() : event_(eventfd(0, EFD_CLOEXEC)) {
  if (event_ < 0) fail_io("cannot make", "an event descriptor");
  const sigset_t signals = handled_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  watcher_ = std::thread([this, signals] {
    for (int seen = 0;; ++seen) {
      int signal = 0;
      sigwait(&signals, &signal);
      if (signal == SIGUSR1) return;
      if (seen > 0) _exit(128 + signal);
      source_.request_stop();
      const uint64_t one = 1;
      [[maybe_unused]] const auto written = ::write(event_, &one, sizeof(one));
    }
  });
}

InterruptGuard::~InterruptGuard() {
  pthread_kill(watcher_.native_handle(), SIGUSR1);
  watcher_.join();
  close(event_);
}

RowReader::RowReader(const fs::path& input, int interrupt, const fs::path& except)
    : interrupt_(interrupt) {
  if (input.empty()) {
    standard_input_ = true;
    descriptor_ = STDIN_FILENO;
    place_.file = "standard input";
    return;
  }
  files_ = jsonl_files(input, except);
  for (const auto& file : files_) {
    if (fs::is_regular_file(file)) total_bytes_ += fs::file_size(file);
  }
  open_next();  // so that a file that cannot be read is found before any model is loaded
}

RowReader::~RowReader() {
  if (descriptor_ >= 0 && !standard_input_) close(descriptor_);
}

bool RowReader::open_next() {
  if (descriptor_ >= 0 && !standard_input_) close(descriptor_);
  descriptor_ = -1;
  if (next_file_ == files_.size()) return false;
  place_ = {files_[next_file_++].string(), 0};
  descriptor_ = open(place_.file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) fail_io("cannot open", place_.file);
  return true;
}

// Appends input to the buffer; false at the end of the current file or after an interrupt.
bool RowReader::fill() {
  if (descriptor_ < 0) return false;
  buffer_.erase(0, position_);
  position_ = 0;
  const size_t old = buffer_.size();
  while (true) {
    std::array<pollfd, 2> waiting = {{{descriptor_, POLLIN, 0}, {interrupt_, POLLIN, 0}}};
    if (poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) {
      fail_io("cannot read", place_.file);
    }
    if (waiting[1].revents != 0) {
      buffer_.clear();
      return false;
    }
    if (waiting[0].revents == 0) continue;
    buffer_.resize(old + kReadSize);
    const ssize_t got = read(descriptor_, buffer_.data() + old, kReadSize);
    buffer_.resize(old + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    if (got >= 0) return got > 0;
    if (errno != EINTR) fail_io("cannot read", place_.file);
  }
}

bool RowReader::ready() const {
  if (buffer_.find('\n', position_) != std::string::npos) return true;
  pollfd waiting = {descriptor_, POLLIN, 0};
  return descriptor_ < 0 || poll(&waiting, 1, 0) != 0;
}

std::optional<std::string> RowReader::next() {
  size_t searched = position_;
  while (true) {
    const size_t end = buffer_.find('\n', searched);
    std::string line;
    if (end != std::string::npos) {
      line = buffer_.substr(position_, end - position_);
      bytes_read_ += line.size() + 1;
      position_ = end + 1;
    } else {
      searched = buffer_.size() - position_;  // fill() moves what is left to the front
      if (fill()) continue;
      line = std::move(buffer_);
      bytes_read_ += line.size();
      buffer_.clear();
      position_ = 0;
      if (line.empty() && (standard_input_ || !open_next())) return std::nullopt;
    }
    searched = position_;
    if (line.empty() && end == std::string::npos) continue;
    ++place_.line;
    if (line.find_first_not_of(" \t\r") != std::string::npos) return line;
  }
}

bool RowWriter::write(std::string_view text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::write(descriptor_, text.data() + done, text.size() - done);
    if (count >= 0) {
      done += static_cast<size_t>(count);
    } else if (errno == EPIPE) {
      return false;
    } else if (errno != EINTR) {
      const int reason = errno;
      cut_back(text.substr(0, done));
      errno = reason;
      fail_io("cannot write", name_);
    }
  }
  written_ += done;
  return true;
}

void RowWriter::cut_back(std::string_view partial) const {
  if (descriptor_ <= STDERR_FILENO) return;
  const size_t end = partial.rfind('\n');
  const size_t whole = end == std::string_view::npos ? 0 : end + 1;
  // When even this fails the first error is the one to tell.
  [[maybe_unused]] const int ignored = ftruncate(descriptor_, static_cast<off_t>(written_ + whole));
}

ProgressLine::ProgressLine(bool results_on_output)
    : enabled_(isatty(STDERR_FILENO) != 0 && !(results_on_output && isatty(STDOUT_FILENO) != 0)),
      start_(now()) {}

ProgressLine::~ProgressLine() { clear(); }

void ProgressLine::clear() {
  if (enabled_ && last_ > 0) std::fputs("\r\x1b[K", stderr);
}

void ProgressLine::skip(uint64_t rows, uint64_t bytes) {
  rows_skipped_ = rows;
  bytes_skipped_ = bytes;
  start_ = now();
}

void ProgressLine::update(uint64_t rows, uint64_t bytes_read, uint64_t total_bytes) {
  const double time = now();
  if (!is_due(time)) return;
  const double elapsed = std::max(1e-9, time - start_);
  std::array<char, 64> text;
  std::snprintf(text.data(), text.size(), "%llu rows, %.1f rows/s",
                static_cast<unsigned long long>(rows),
                static_cast<double>(rows - rows_skipped_) / elapsed);
  double share = -1, left = 0;
  if (total_bytes > 0 && bytes_read > bytes_skipped_) {
    const double total = static_cast<double>(std::max(total_bytes, bytes_read));
    share = static_cast<double>(bytes_read) / total;
    left = elapsed * (total - static_cast<double>(bytes_read)) /
           static_cast<double>(bytes_read - bytes_skipped_);
  }
  show(text.data(), share, left);
}

void ProgressLine::update_steps(std::string_view what, uint64_t done, uint64_t total) {
  const double time = now();
  if (!is_due(time)) return;
  double share = -1, left = 0;
  if (done > 0 && total >= done) {
    share = static_cast<double>(done) / static_cast<double>(total);
    left = (time - start_) * (1 / share - 1);
  }
  show(std::string(what) + ": " + std::to_string(done) + " of " + std::to_string(total), share,
       left);
}

bool ProgressLine::is_due(double time) {
  constexpr double kInterval = 0.2;  // seconds between two updates
  if (!enabled_ || time - last_ < kInterval) return false;
  last_ = time;
  return true;
}

void ProgressLine::show(const std::string& text, double share, double seconds_left) {
  winsize size = {};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  const std::string line = progress_text(text, share, seconds_left, known ? size.ws_col : 80);
  std::fprintf(stderr, "\r\x1b[K%s", line.c_str());
  std::fflush(stderr);
}

std::string clock_time(double seconds) {
  const auto whole = static_cast<long long>(std::clamp(seconds, 0.0, 1e9) + 0.5);
  std::array<char, 64> text;
  if (whole >= 3600) {
    std::snprintf(text.data(), text.size(), "%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60,
                  whole % 60);
  } else {
    std::snprintf(text.data(), text.size(), "%lld:%02lld", whole / 60, whole % 60);
  }
  return text.data();
}

std::string progress_text(const std::string& text, double share, double seconds_left,
                          size_t columns) {
  constexpr size_t kBar = 24;
  std::string line = text;
  if (share >= 0) {
    std::array<char, 16> percent;
    std::snprintf(percent.data(), percent.size(), "%3.0f%%", 100 * share);
    line = std::string(percent.data()) + ", " + line + ", " + clock_time(seconds_left) + " left";
    if (line.size() + kBar + 3 < columns) {
      const size_t full = std::min(kBar, static_cast<size_t>(share * static_cast<double>(kBar)));
      line = '[' + std::string(full, '#') + std::string(kBar - full, '-') + "] " + line;
    }
  }
  // A line that wraps could not be written over.
  return line.substr(0, columns > 0 ? columns - 1 : 0);
}

}  // namespace hugot::tools
