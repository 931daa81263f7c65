#include "tools/run_output.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <iostream>
#include <map>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/error.h"
#include "base/file.h"
#include "kernels/cpu/isa.h"

namespace hugot::tools {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr std::chrono::seconds kSyncInterval{5};
// Files up to this size are known by their contents, larger ones by size and time: those are
// weights, which a run that starts from the cache does not read at all.
constexpr uintmax_t kHashedSize = uintmax_t{32} << 20;

[[noreturn]] void fail_io(std::string_view what, const fs::path& path) {
  fail(ErrorCode::kIo, what, " ", path.string(), ": ", std::strerror(errno));
}

std::string identity_of(const fs::path& file) {
  const auto mapped = MappedFile::open(file);
  if (mapped->bytes().size() > kHashedSize) {
    return str(mapped->bytes().size(), " bytes of ", mapped->stamp().modified_ns);
  }
  const XXH128_hash_t hash = XXH3_128bits(mapped->bytes().data(), mapped->bytes().size());
  return str("XXH3 ", hash.high64, " ", hash.low64);
}

ordered_json identities_of(const fs::path& model) {
  std::map<std::string, std::string> files;
  if (fs::is_directory(model)) {
    for (const auto& entry : fs::recursive_directory_iterator(model)) {
      // Rows may lie there as well.
      const bool rows = entry.path().filename().string().find(".jsonl") != std::string::npos;
      if (!entry.is_regular_file() || rows) continue;
      files[entry.path().lexically_relative(model).generic_string()] = identity_of(entry.path());
    }
  } else {
    files[model.filename().string()] = identity_of(model);
  }
  return files;
}

// What the rows depend on, as far as it is not in the rows themselves.
ordered_json describe(const RunOptions& options) {
  return {
      {"type", options.type},
      {"options", options.given},
      {"model", identities_of(model_of(options))},
      {"input", options.input.empty() ? "standard input" : fs::absolute(options.input).string()},
      {"computed with", str("hugot ", version(), ", ", cpu::active_isa().name)}};
}

std::string spelled(const ordered_json& object, const std::string& key) {
  const auto found = object.find(key);
  return found == object.end() ? "nothing"
         : found->is_string()  ? found->get<std::string>()
                               : found->dump();
}

// The first member in which two objects differ, as text; empty when there is none.
std::string difference(const ordered_json& before, const ordered_json& now) {
  for (const ordered_json* side : {&before, &now}) {
    for (const auto& [key, value] : side->items()) {
      if (spelled(before, key) != spelled(now, key)) {
        return str(key, " (", spelled(before, key), " then, ", spelled(now, key), " now)");
      }
    }
  }
  return {};
}

void require_same(const fs::path& partial, const std::string& recorded, const ordered_json& now) {
  const auto before = ordered_json::parse(recorded, nullptr, /*allow_exceptions=*/false);
  constexpr std::string_view kAdvice = "; run it as before, or remove the file to begin anew";
  require(before.is_object() && before.value("model", ordered_json()).is_object() &&
              before.value("options", ordered_json()).is_object(),
          ErrorCode::kInvalidData, "cannot resume ", partial.string(), ": its .run file is damaged",
          kAdvice);
  require(spelled(before, "type") == spelled(now, "type"), ErrorCode::kInvalidArgument,
          "cannot resume ", partial.string(), ": it was made with --type ", spelled(before, "type"),
          kAdvice);
  for (const char* part : {"options", "model"}) {
    const std::string what = difference(before[part], now[part]);
    require(what.empty(), ErrorCode::kInvalidArgument, "cannot resume ", partial.string(), ": ",
            part[0] == 'o' ? "it was made with another " : "the model has another ", what, kAdvice);
  }
  if (spelled(before, "computed with") != spelled(now, "computed with")) {
    std::cerr << "hugot: the rows so far were computed with " << spelled(before, "computed with")
              << ", the others will be with " << spelled(now, "computed with")
              << ": last digits may differ from those of a run in one piece" << std::endl;
  }
}

enum class Match { kSame, kDifferent, kDamaged };

// Whether `line`, of an earlier run, is what comes out for `row`, whatever its result is.
Match match(const Row& row, const std::string& line, JsonStyle style, bool& failed) {
  if (!nlohmann::json::accept(line) || line.find('\0') != std::string::npos) return Match::kDamaged;
  failed = true;
  if (!row.json) {
    std::string expected;
    append_line(expected, row, style);
    return expected.compare(0, expected.size() - 1, line) == 0 ? Match::kSame : Match::kDifferent;
  }
  for (const char* member : {"\"error\":", "\"output\":"}) {
    std::string begin = row.json->with(member, {"output", "error"});
    begin.pop_back();  // the brace
    const std::string_view rest(line);
    // The whole line is JSON; so is the value when it has no member behind it.
    if (rest.starts_with(begin) && rest.ends_with('}') &&
        nlohmann::json::accept(rest.substr(begin.size(), rest.size() - begin.size() - 1))) {
      return Match::kSame;
    }
    failed = false;
  }
  return Match::kDifferent;
}

}  // namespace

std::optional<Row> read_row(RowReader& reader) {
  const auto line = reader.next();
  if (!line) return std::nullopt;
  std::optional<Row> row(std::in_place);
  row->place = reader.place();
  try {
    row->json.emplace(*line);
  } catch (const Error& error) {
    row->error = error.what();
  }
  return row;
}

void append_line(std::string& out, const Row& row, JsonStyle style) {
  std::string member = row.error.empty() ? "\"output\":" + row.output : "\"error\":";
  if (!row.error.empty()) append_string(member, row.error, style);
  if (row.json) {
    out += row.json->with(member, {"output", "error"});
  } else {
    out += '{' + member + ",\"line\":" + std::to_string(row.place.line) + '}';
  }
  out += '\n';
}

fs::path RunOutput::result_of(const fs::path& folder) { return folder / "result_0.jsonl"; }

RunOutput::RunOutput(const RunOptions& options) {
  if (options.output.empty()) return;
  require(!fs::is_regular_file(options.output), ErrorCode::kInvalidArgument, "--output ",
          options.output, " is a file; a folder is expected, the rows go to result_0.jsonl inside");
  result_ = result_of(options.output);
  partial_ = result_.string() + ".partial";
  description_ = result_.string() + ".run";
  const ordered_json now = describe(options);
  std::error_code error;
  fs::create_directories(options.output, error);
  require(!error, ErrorCode::kIo, "cannot make folder ", options.output, ": ", error.message());
  open_partial();
  writer_ = RowWriter(descriptor_, partial_.string());
  synced_ = std::chrono::steady_clock::now();
  try {
    kept_ = whole_lines();
    if (kept_ == 0) {
      begin(now.dump(1) + '\n');
      return;
    }
    require(options.resume, ErrorCode::kInvalidArgument, partial_.string(),
            " has rows of a run that did not come to its end: add --resume to go on with it, or "
            "remove the file to begin anew");
    require(fs::exists(description_), ErrorCode::kNotFound, "cannot resume ", partial_.string(),
            ": there is no ", description_.filename().string(), " that says how it was made");
    require_same(partial_, read_file(description_), now);
  } catch (...) {
    close(descriptor_);
    if (kept_ == 0) fs::remove(partial_, error);
    throw;
  }
}

RunOutput::~RunOutput() {
  if (result_.empty()) return;
  std::error_code ignored;
  // Nothing to go on with. While the lock is held nobody else uses the files.
  struct stat now = {};
  if (!partial_.empty() && fstat(descriptor_, &now) == 0 && now.st_size == 0) {
    fs::remove(description_, ignored);
    fs::remove(partial_, ignored);
  }
  close(descriptor_);
}

void RunOutput::open_partial() {
  while (true) {
    descriptor_ = open(partial_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor_ < 0) fail_io("cannot write", partial_);
    if (flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      close(descriptor_);
      fail(ErrorCode::kUnsupported, "another process writes to ", partial_.string(),
           "; choose another folder for --output");
    }
    // Another run may have come to its end, and given this file its name, before the lock.
    struct stat mine = {}, named = {};
    if (fstat(descriptor_, &mine) == 0 && stat(partial_.c_str(), &named) == 0 &&
        mine.st_ino == named.st_ino && mine.st_dev == named.st_dev) {
      return;
    }
    close(descriptor_);
  }
}

void RunOutput::begin(const std::string& description) const {
  if (ftruncate(descriptor_, 0) != 0) fail_io("cannot write", partial_);
  // Not through a temporary file, which a kill would leave behind: as long as there are no rows,
  // whatever is in this one does not count.
  const int file = open(description_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) fail_io("cannot write", description_);
  try {
    RowWriter(file, description_.string()).write(description);
    if (fsync(file) != 0) fail_io("cannot write", description_);
  } catch (...) {
    close(file);
    throw;
  }
  close(file);
}

uint64_t RunOutput::whole_lines() const {
  struct stat file = {};
  if (fstat(descriptor_, &file) != 0) fail_io("cannot read", partial_);
  auto end = static_cast<uint64_t>(file.st_size);
  std::array<char, 1 << 16> buffer;
  while (end > 0) {
    const uint64_t begin = end - std::min<uint64_t>(end, buffer.size());
    const ssize_t got = pread(descriptor_, buffer.data(), end - begin, static_cast<off_t>(begin));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) fail_io("cannot read", partial_);
    const std::string_view text(buffer.data(), static_cast<size_t>(got));
    const size_t newline = text.rfind('\n');
    if (newline != std::string_view::npos) return begin + newline + 1;
    end = begin;
  }
  return 0;
}

void RunOutput::cut(uint64_t size) {
  if (ftruncate(descriptor_, static_cast<off_t>(size)) != 0 ||
      lseek(descriptor_, static_cast<off_t>(size), SEEK_SET) < 0) {
    fail_io("cannot write", partial_);
  }
  writer_.set_written(size);
}

RunOutput::Resumed RunOutput::resume(RowReader& input, JsonStyle style,
                                     const std::stop_token& stop) {
  Resumed result;
  if (kept_ == 0) return result;
  RowReader lines(partial_, -1);
  uint64_t good = 0;
  while (good < kept_) {
    const auto line = lines.next();
    // An empty line is none of ours.
    if (!line || lines.bytes_read() != good + line->size() + 1) break;
    result.next = read_row(input);
    require(!stop.stop_requested(), ErrorCode::kCancelled, "cancelled");
    bool failed = false;
    const Match found = result.next ? match(*result.next, *line, style, failed) : Match::kDifferent;
    if (found == Match::kDamaged) break;
    require(found == Match::kSame, ErrorCode::kInvalidArgument, "cannot resume ", partial_.string(),
            ": its row ", result.counts.rows + 1, " is not that of the input, ",
            result.next ? str(result.next->place.file, ":", result.next->place.line)
                        : std::string("which has no more rows"),
            "; give the input as before, or remove the file to begin anew");
    result.next.reset();
    ++result.counts.rows;
    result.counts.failed += failed ? 1 : 0;
    good = lines.bytes_read();
  }
  if (good < kept_) {
    std::cerr << "hugot: " << partial_.string() << " is damaged behind row " << result.counts.rows
              << "; the rows from there are computed anew" << std::endl;
  }
  cut(good);
  return result;
}

bool RunOutput::write(std::string_view lines) {
  if (!writer_.write(lines)) return false;
  const auto now = std::chrono::steady_clock::now();
  if (!result_.empty() && now - synced_ >= kSyncInterval) {
    if (fdatasync(descriptor_) != 0) fail_io("cannot write", partial_);
    synced_ = std::chrono::steady_clock::now();
  }
  return true;
}

void RunOutput::finish() {
  if (result_.empty()) return;
  if (fsync(descriptor_) != 0) fail_io("cannot write", partial_);
  if (rename(partial_.c_str(), result_.c_str()) != 0) fail_io("cannot make", result_);
  partial_.clear();
  std::error_code ignored;
  fs::remove(description_, ignored);
  // The names, too. Not every file system can do that for a folder.
  const int folder = open(result_.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  fsync(folder);
  close(folder);
}

std::string RunOutput::resumable() const {
  struct stat now = {};
  if (partial_.empty() || fstat(descriptor_, &now) != 0 || now.st_size == 0) return {};
  return partial_.string();
}

}  // namespace hugot::tools
