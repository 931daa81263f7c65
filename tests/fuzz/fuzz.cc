#include "tests/fuzz/fuzz.h"

#include <malloc.h>
#include <stdlib.h>

#include <atomic>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <thread>

namespace {

std::atomic<size_t> held{0};

// Under a sanitizer malloc is its own, so blocks are still checked.
void* allocate(size_t size, size_t alignment) {
  const size_t whole = size == 0 ? 1 : size;
  if (whole > hugot::fuzz::kMaxHeapBytes || held > hugot::fuzz::kMaxHeapBytes - whole) {
    throw std::bad_alloc();
  }
  void* block = nullptr;
  if (posix_memalign(&block, alignment, whole) != 0) throw std::bad_alloc();
  held += malloc_usable_size(block);
  return block;
}

void release(void* block) noexcept {
  if (block == nullptr) return;
  held -= malloc_usable_size(block);
  std::free(block);
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  try {
    return operator new(size);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* block) noexcept { release(block); }
void operator delete(void* block, const std::nothrow_t&) noexcept { release(block); }
void operator delete(void* block, std::size_t) noexcept { release(block); }
void operator delete(void* block, std::align_val_t) noexcept { release(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept { release(block); }

namespace hugot::fuzz {

namespace fs = std::filesystem;

const fs::path& scratch_folder() {
  struct Folder {
    Folder() {
      const fs::path memory = "/dev/shm";
      std::error_code ignored;
      const bool usable = fs::is_directory(memory, ignored);
      std::string name =
          ((usable ? memory : fs::temp_directory_path()) / "hugot-fuzz-XXXXXX").string();
      require(mkdtemp(name.data()) != nullptr, ErrorCode::kIo, "cannot create ", name);
      path = name;
    }
    ~Folder() {
      std::error_code ignored;
      fs::remove_all(path, ignored);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    fs::path path;
  };
  static const Folder folder;
  return folder.path;
}

fs::path scratch_file(const uint8_t* data, size_t size) {
  fs::path path = scratch_folder() / "input";
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  return path;
}

// One thread for all deadlines: inputs are many and short.
class Deadline::Watch {
 public:
  Watch() : thread_([this](const std::stop_token& end) { run(end); }) {}

  void begin(std::stop_source source, std::chrono::milliseconds time) {
    const std::lock_guard lock(mutex_);
    source_ = std::move(source);
    until_ = std::chrono::steady_clock::now() + time;
    wake_.notify_all();
  }

  void end() {
    const std::lock_guard lock(mutex_);
    source_.reset();
  }

 private:
  void run(const std::stop_token& end) {
    std::unique_lock lock(mutex_);
    while (!end.stop_requested()) {
      if (!source_) {
        wake_.wait(lock, end, [&] { return source_.has_value(); });
      } else if (std::chrono::steady_clock::now() >= until_) {
        source_->request_stop();
        source_.reset();
      } else {
        const auto until = until_;
        wake_.wait_until(lock, end, until, [] { return false; });
      }
    }
  }

  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::optional<std::stop_source> source_;
  std::chrono::steady_clock::time_point until_;
  std::jthread thread_;
};

Deadline::Watch& Deadline::watch() {
  static Watch instance;
  return instance;
}

Deadline::Deadline(std::chrono::milliseconds time) { watch().begin(source_, time); }

Deadline::~Deadline() { watch().end(); }

}  // namespace hugot::fuzz
