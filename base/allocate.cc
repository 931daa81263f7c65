#include "base/allocate.h"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <limits>
#include <string>

#include "base/error.h"

namespace hugot {
namespace {

// Less than this is not worth the reading of files.
constexpr size_t kMany = size_t{256} << 20;

// Bytes that can be had without swapping; the largest number when nobody tells.
uint64_t available_bytes() {
  uint64_t available = std::numeric_limits<uint64_t>::max();
  std::ifstream info("/proc/meminfo");
  for (std::string name, rest; info >> name && std::getline(info, rest);) {
    if (name != "MemAvailable:") continue;
    available = std::strtoull(rest.c_str(), nullptr, 10) * 1024;
    break;
  }
  for (const char* path :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::ifstream file(path);
    uint64_t limit = 0;
    if (file >> limit) available = std::min(available, limit);  // not when it says "max"
  }
  return available;
}

}  // namespace

void require_memory(size_t bytes) {
  if (bytes < kMany) return;
  const uint64_t available = available_bytes();
  require(bytes <= available, ErrorCode::kOutOfMemory, "cannot allocate ", bytes, " bytes, ",
          available, " are available");
}

void* allocate_aligned(size_t bytes, std::align_val_t alignment) {
  require_memory(bytes);
  try {
    return ::operator new(std::max<size_t>(bytes, 1), alignment);
  } catch (const std::bad_alloc&) {
    fail(ErrorCode::kOutOfMemory, "cannot allocate ", bytes, " bytes");
  }
}

}  // namespace hugot
