// Where the rows of `hugot run` go, and how a run that came to an early end goes on.
//
// With --output DIR the rows are collected in DIR/result_0.jsonl.partial, beside
// DIR/result_0.jsonl.run, which says how they are made: type, options, files of the model. The
// partial file becomes DIR/result_0.jsonl when all rows are there, so that name is never a part of
// a result.
//
// - Every batch is handed to the operating system before the next one is read: a process that is
//   killed loses the rows that it is working on and no other.
// - Every few seconds, and before the renaming, the rows are forced to the disk: a machine that
// goes
//   down loses a few seconds more.
// - What is in the partial file is not believed: --resume compares every row with the input. A torn
//   or damaged end is cut off and computed anew; a row of another input is an error that leaves
//   everything as it is.
#ifndef HUGOT_TOOLS_RUN_OUTPUT_H_
#define HUGOT_TOOLS_RUN_OUTPUT_H_

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>

#include "tools/json_text.h"
#include "tools/row_stream.h"
#include "tools/run_pipeline.h"

namespace hugot::tools {

// The next row of the input, with an error where it is no JSON object.
std::optional<Row> read_row(RowReader& reader);

// The line that goes out for a row, with its end.
void append_line(std::string& out, const Row& row, JsonStyle style);

struct RowCounts {
  uint64_t rows = 0;
  uint64_t failed = 0;
};

class RunOutput {
 public:
  // Standard output when there is no --output. Throws kInvalidArgument when the folder has rows of
  // an unfinished run and --resume is not given, or when they were made in another way than now;
  // kUnsupported when another process writes there; kIo.
  explicit RunOutput(const RunOptions& options);
  // Leaves the partial file when there are rows in it.
  ~RunOutput();
  RunOutput(const RunOutput&) = delete;
  RunOutput& operator=(const RunOutput&) = delete;

  // Rows of an earlier run, which are skipped in `input`. `next` is a row that was read already
  // but has to be computed. Throws kInvalidArgument for rows that do not belong to the input,
  // kCancelled, kIo.
  struct Resumed {
    RowCounts counts;
    std::optional<Row> next;
  };
  Resumed resume(RowReader& input, JsonStyle style, const std::stop_token& stop);

  // Adds whole lines. False when nobody reads standard output any more. Throws kIo; the partial
  // file ends with a whole row in that case, too.
  bool write(std::string_view lines);
  // All rows are there: gives the file its name. Throws kIo.
  void finish();

  // "DIR/result_0.jsonl.partial" when an unfinished run can go on with it, else empty.
  std::string resumable() const;
  static std::filesystem::path result_of(const std::filesystem::path& folder);

 private:
  void open_partial();
  void begin(const std::string& description) const;
  // Bytes of the partial file up to the end of its last whole line.
  uint64_t whole_lines() const;
  void cut(uint64_t size);

  std::filesystem::path result_;  // empty: standard output
  std::filesystem::path partial_;
  std::filesystem::path description_;
  int descriptor_ = 1;
  uint64_t kept_ = 0;  // bytes of an earlier run
  RowWriter writer_;
  std::chrono::steady_clock::time_point synced_;
};

}  // namespace hugot::tools

#endif  // HUGOT_TOOLS_RUN_OUTPUT_H_
