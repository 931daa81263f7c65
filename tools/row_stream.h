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
// paths, compared folder by folder and byte by byte. Lines without anything but blanks are skipped.
// Lines of any length are read.
class RowReader {
 public:
  // `input` empty: standard input. Throws kNotFound for a path that does not exist or a folder
  // without .jsonl files. A wait for input ends when `interrupt` becomes readable; -1: never.
  // `except` is no input although it lies in the folder.
  RowReader(const std::filesystem::path& input, int interrupt,
            const std::filesystem::path& except = {});
  ~RowReader();
  RowReader(const RowReader&) = delete;
  RowReader& operator=(const RowReader&) = delete;

  // The next line without its end; empty optional at the end or after an interrupt. Throws kIo.
  std::optional<std::string> next();
  // Whether next() would find something to read now. Files always have something, pipes and
  // terminals when somebody has written to them.
  bool ready() const;
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

// Whole lines to standard output or to a file.
class RowWriter {
 public:
  RowWriter() = default;  // standard output
  // A file that the caller has opened at its end and closes; `name` is for messages.
  RowWriter(int descriptor, std::string name) : name_(std::move(name)), descriptor_(descriptor) {}

  // Hands the text to the operating system before it returns. Throws kIo with path and reason;
  // returns false when the reader of standard output has gone away. After an error a file ends with
  // the last whole line that fitted.
  bool write(std::string_view text);
  // How long the file is that is written to.
  void set_written(uint64_t bytes) { written_ = bytes; }

 private:
  // Cuts a half written line off; `partial` is what got through of the text that failed.
  void cut_back(std::string_view partial) const;

  std::string name_ = "standard output";
  int descriptor_ = 1;
  uint64_t written_ = 0;
};

// How far the work is, and when it will be done, on standard error when that is a terminal.
class ProgressLine {
 public:
  // `results_on_output`: nothing is shown when standard output is a terminal, too.
  explicit ProgressLine(bool results_on_output = false);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  // What is done at the beginning already, which says nothing about the speed.
  void skip(uint64_t rows, uint64_t bytes);
  // `total_bytes` 0: nobody knows.
  void update(uint64_t rows, uint64_t bytes_read, uint64_t total_bytes);
  // The same for work that is no reading: done of about total steps.
  void update_steps(std::string_view what, uint64_t done, uint64_t total);
  // Makes room for a line of another kind.
  void clear();

 private:
  // Whether it is time for another line.
  bool is_due(double time);
  static void show(const std::string& text, double share, double seconds_left);

  bool enabled_;
  double start_;
  double last_ = 0;
  uint64_t rows_skipped_ = 0;
  uint64_t bytes_skipped_ = 0;
};

// "0:07", "12:34" or "3:02:01".
std::string clock_time(double seconds);
// The line behind the cursor of a terminal with so many columns. `share` below 0: not known.
std::string progress_text(const std::string& text, double share, double seconds_left,
                          size_t columns);

}  // namespace hugot::tools

#endif  // HUGOT_TOOLS_ROW_STREAM_H_
