// Rows in and rows out of the commands that work line by line.
#ifndef HUGOT_TOOLS_ROW_STREAM_H_
#define HUGOT_TOOLS_ROW_STREAM_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace hugot::tools {

// Turns Ctrl-C (SIGINT) and SIGTERM into a stop token while it lives; a second signal ends the
// process at once. Has to be made before other threads are, because it blocks the signals in the
// calling thread, and threads inherit that.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  std::stop_token token() const { return source_.get_token(); }
  // A file descriptor that becomes readable when a signal has come.
  int descriptor() const { return event_; }

 private:
  int event_ = -1;
  std::stop_source source_;
  std::thread watcher_;
};

// Where a row came from: "data/rows.jsonl:7".
struct RowPlace {
  std::string file;
  uint64_t line = 0;
};

// Lines of standard input, of a file, or of all .jsonl files below a folder in the order of their
// paths. Lines without anything but blanks are skipped. Lines of any length are read.
class RowReader {
 public:
  // `input` empty: standard input. Throws kNotFound for a path that does not exist or a folder
  // without .jsonl files. A wait for input ends when `interrupt` becomes readable; -1: never.
  RowReader(const std::filesystem::path& input, int interrupt);
  ~RowReader();
  RowReader(const RowReader&) = delete;
  RowReader& operator=(const RowReader&) = delete;

  // The next line without its end; empty optional at the end or after an interrupt. Throws kIo.
  std::optional<std::string> next();
  // Where the line that next() gave last came from.
  const RowPlace& place() const { return place_; }

  uint64_t bytes_read() const { return bytes_read_; }
  // Size of all input; 0 when it is not known.
  uint64_t total_bytes() const { return total_bytes_; }

 private:
  bool open_next();
  bool fill();

  std::vector<std::filesystem::path> files_;
  size_t next_file_ = 0;
  int descriptor_ = -1;
  int interrupt_ = -1;
  bool standard_input_ = false;
  std::string buffer_;
  size_t position_ = 0;  // in buffer_
  RowPlace place_;
  uint64_t bytes_read_ = 0;
  uint64_t total_bytes_ = 0;
};

// Lines to standard output, or to a file that is made (folders included) with the first write.
class RowWriter {
 public:
  // `folder` empty: standard output, otherwise folder/result_0.jsonl. Throws kIo with the path.
  explicit RowWriter(const std::filesystem::path& folder);
  ~RowWriter();
  RowWriter(const RowWriter&) = delete;
  RowWriter& operator=(const RowWriter&) = delete;

  // Hands the text to the operating system before it returns. Throws kIo with path and reason;
  // returns false when the reader of standard output has gone away. After an error a file ends with
  // the last whole row that fitted.
  bool write(std::string_view text);

 private:
  // Cuts a half written row off; `partial` is what got through of the text that failed.
  void cut_back(std::string_view partial) const;

  std::string name_ = "standard output";
  int descriptor_ = 1;
  uint64_t written_ = 0;
};

// Rows, speed and time left on standard error, when that is a terminal.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine();

  void update(uint64_t rows, uint64_t bytes_read, uint64_t total_bytes);
  // The same for work that is no reading: done of about total steps.
  void update_steps(std::string_view what, uint64_t done, uint64_t total);

 private:
  // Whether it is time for another line.
  bool is_due(double time);
  static void show_share(double share, double elapsed);

  bool enabled_;
  double start_;
  double last_ = 0;
};

}  // namespace hugot::tools

#endif  // HUGOT_TOOLS_ROW_STREAM_H_
