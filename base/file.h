// Files: whole reads, read-only maps, atomic writes.
#ifndef HUGOT_BASE_FILE_H_
#define HUGOT_BASE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace hugot {

// What tells one state of a file from another without reading it. A write to a file always changes
// the time of change.
struct FileStamp {
  uint64_t device = 0, inode = 0, size = 0;
  int64_t modified_ns = 0, changed_ns = 0;  // since 1970
  friend bool operator==(const FileStamp&, const FileStamp&) = default;
};

// A whole file mapped read-only; unmapped when the last shared_ptr goes. Thread-safe.
class MappedFile {
 public:
  // Throws kNotFound when there is no such file, kIo when it is not a regular file or unreadable.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }
  // Of the moment when it was opened.
  const FileStamp& stamp() const { return stamp_; }

  // Tells the kernel that the pages inside [data, data + size) will not be read again soon; the
  // contents stay valid and are read from the file when touched.
  void drop_pages(const void* data, size_t size) const;

 private:
  MappedFile() = default;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::filesystem::path path_;
  FileStamp stamp_;
};

// The whole file as a string. Throws kNotFound or kIo with the path.
std::string read_file(const std::filesystem::path& path);

// Writes through a temporary file beside `path` and renames it: readers see the old or the new
// file, never a part. `write` gets a sink to call any number of times. A durable file is on the
// disk when the function returns. Throws kIo with the path.
enum class Durable { kNo, kYes };
void write_file_atomically(
    const std::filesystem::path& path,
    const std::function<void(const std::function<void(std::span<const std::byte>)>& sink)>& write,
    Durable durable = Durable::kYes);
void write_file_atomically(const std::filesystem::path& path, std::string_view contents);

}  // namespace hugot

#endif  // HUGOT_BASE_FILE_H_
