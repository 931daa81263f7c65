#include "graph/exec/device.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "base/allocate.h"

namespace hugot {
namespace {

constexpr std::align_val_t kHostAlignment{Device::kAlignment};

class CpuStream final : public Stream {
 public:
  void copy_to_device(std::byte* to, const std::byte* from, size_t bytes) override {
    copy(to, from, bytes);
  }
  void copy_to_host(std::byte* to, const std::byte* from, size_t bytes) override {
    copy(to, from, bytes);
  }
  void copy_on_device(std::byte* to, const std::byte* from, size_t bytes) override {
    copy(to, from, bytes);
  }
  std::unique_ptr<Event> record() override { return std::make_unique<Event>(); }
  void wait(const Event& /*event*/) override {}
  void synchronize() override {}

 private:
  static void copy(std::byte* to, const std::byte* from, size_t bytes) {
    if (bytes > 0) std::memmove(to, from, bytes);
  }
};

class CpuDevice final : public Device {
 public:
  std::string_view name() const override { return "cpu"; }
  DeviceMemory memory() const override {
    const auto page = static_cast<size_t>(std::max(sysconf(_SC_PAGESIZE), 0L));
    const auto pages = [](int which) { return static_cast<size_t>(std::max(sysconf(which), 0L)); };
    return {pages(_SC_PHYS_PAGES) * page, pages(_SC_AVPHYS_PAGES) * page};
  }
  std::byte* allocate(size_t bytes) override {
    return static_cast<std::byte*>(allocate_aligned(bytes, kHostAlignment));
  }
  void free(std::byte* memory) noexcept override { ::operator delete(memory, kHostAlignment); }
  std::unique_ptr<Stream> new_stream() override { return std::make_unique<CpuStream>(); }
};

}  // namespace

Device& cpu_device() {
  static CpuDevice device;
  return device;
}

}  // namespace hugot
