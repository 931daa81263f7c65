#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <system_error>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

namespace hugot {
namespace {

// One write(2) moves at most 2 GiB - 4 KiB; smaller pieces also let signals through.
constexpr size_t kMaxTransfer = size_t{1} << 30;

[[noreturn]] void fail_errno(std::string_view action, const std::filesystem::path& path,
                             int number) {
  const ErrorCode code =
      number == ENOENT || number == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kIo;
  fail(code, "cannot ", action, " ", path.string(), ": ", std::generic_category().message(number));
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return fd_; }
  // 0 or errno.
  int close() {
    const int fd = fd_;
    fd_ = -1;
    return fd >= 0 && ::close(fd) != 0 ? errno : 0;
  }

 private:
  int fd_;
};

int open_for_reading(const std::filesystem::path& path, int flags) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | flags);
  if (fd < 0) fail_errno("open", path, errno);
  return fd;
}

int64_t nanoseconds(const struct timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

FileStamp stamp_of(const struct stat& info) {
  return {.device = info.st_dev,
          .inode = info.st_ino,
          .size = static_cast<uint64_t>(info.st_size),
          .modified_ns = nanoseconds(info.st_mtim),
          .changed_ns = nanoseconds(info.st_ctim)};
}

// A new file beside `path` that is removed again unless it was renamed.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::filesystem::path& path) : target_(path), fd_(create()) {}
  ~TemporaryFile() {
    if (!renamed_) ::unlink(temporary_.c_str());
  }

  void write(std::span<const std::byte> bytes) {
    if (buffer_.size() + bytes.size() > kBufferSize) {
      flush();
      if (bytes.size() >= kBufferSize) return write_through(bytes);
    }
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  }

  void commit(Durable durable) {
    flush();
    const bool sync = durable == Durable::kYes;
    if (sync && ::fsync(fd_.get()) != 0) fail_errno_io("write", errno);
    if (const int error = fd_.close(); error != 0) fail_errno_io("write", error);
    if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail_errno_io("replace", errno);
    renamed_ = true;
    if (sync) sync_directory();
  }

 private:
  static constexpr size_t kBufferSize = size_t{1} << 16;

  [[noreturn]] void fail_errno_io(std::string_view action, int number) const {
    fail(ErrorCode::kIo, "cannot ", action, " ", target_.string(), ": ",
         std::generic_category().message(number));
  }

  // O_EXCL settles races between threads and processes; mode 0666 obeys the umask.
  int create() {
    for (int attempt = 0; attempt < 1000; ++attempt) {
      temporary_ = target_;
      temporary_ += ".tmp" + std::to_string(::getpid()) + "-" + std::to_string(attempt);
      const int fd = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (fd >= 0) return fd;
      if (errno != EEXIST) break;
    }
    fail_errno_io("create", errno);
  }

  void flush() {
    write_through(buffer_);
    buffer_.clear();
  }

  void write_through(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(fd_.get(), bytes.data(), std::min(bytes.size(), kMaxTransfer));
      if (n < 0) {
        if (errno == EINTR) continue;
        fail_errno_io("write", errno);
      }
      bytes = bytes.subspan(static_cast<size_t>(n));
    }
  }

  // Makes the rename durable where the file system can; the file itself is complete in any case.
  void sync_directory() const {
    const auto parent = target_.has_parent_path() ? target_.parent_path() : ".";
    const Descriptor directory(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (directory.get() >= 0) ::fsync(directory.get());
  }

  std::filesystem::path target_;
  std::filesystem::path temporary_;
  Descriptor fd_;
  std::vector<std::byte> buffer_;
  bool renamed_ = false;
};

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a pipe must not wait for its writer.
  const Descriptor fd(open_for_reading(path, O_NONBLOCK));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) fail_errno("read", path, errno);
  require(S_ISREG(info.st_mode), ErrorCode::kIo, "cannot read ", path.string(),
          ": not a regular file");
  const std::shared_ptr<MappedFile> file(new MappedFile);
  file->path_ = path;
  file->stamp_ = stamp_of(info);
  if (info.st_size > 0) {
    const auto size = static_cast<size_t>(info.st_size);
    void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (data == MAP_FAILED) fail_errno("map", path, errno);
    file->data_ = static_cast<const std::byte*>(data);
    file->size_ = size;
  }
  return file;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::drop_pages(const void* data, size_t size) const {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto lower = reinterpret_cast<uintptr_t>(data_);
  auto begin = reinterpret_cast<uintptr_t>(data);
  auto end = begin + size;
  require(begin >= lower && size <= size_ && begin - lower <= size_ - size, ErrorCode::kInternal,
          "drop_pages outside of the map");
  begin = (begin + page - 1) / page * page;
  // The file's last page belongs to the map alone.
  end = end == lower + size_ ? (end + page - 1) / page * page : end / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

std::string read_file(const std::filesystem::path& path) {
  const Descriptor fd(open_for_reading(path, 0));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) fail_errno("read", path, errno);
  std::string text;
  // One byte more than the size, so that the first read of a regular file already sees its end.
  size_t step = S_ISREG(info.st_mode) ? static_cast<size_t>(info.st_size) + 1 : size_t{1} << 16;
  for (size_t used = 0;;) {
    if (text.size() == used) {
      text.resize(used + step);
      step = std::max(step, size_t{1} << 16);
    }
    const ssize_t n =
        ::read(fd.get(), text.data() + used, std::min(text.size() - used, kMaxTransfer));
    if (n < 0) {
      if (errno == EINTR) continue;
      fail_errno("read", path, errno);
    }
    if (n == 0) {
      text.resize(used);
      return text;
    }
    used += static_cast<size_t>(n);
  }
}

void write_file_atomically(
    const std::filesystem::path& path,
    const std::function<void(const std::function<void(std::span<const std::byte>)>& sink)>& write,
    Durable durable) {
  TemporaryFile file(path);
  write([&file](std::span<const std::byte> bytes) { file.write(bytes); });
  file.commit(durable);
}

void write_file_atomically(const std::filesystem::path& path, std::string_view contents) {
  write_file_atomically(path, [&](const auto& sink) { sink(as_bytes(contents)); });
}

}  // namespace hugot
