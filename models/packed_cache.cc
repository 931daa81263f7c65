#include "models/packed_cache.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <utility>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/error.h"
#include "base/thread_pool.h"
#include "hugot/hugot.hpp"
#include "kernels/conv/direct.h"
#include "kernels/cpu/gemm_bf16.h"
#include "kernels/cpu/gemm_int8.h"
#include "kernels/cpu/isa.h"

namespace hugot {
namespace {

namespace fs = std::filesystem;

// The file: Head, key, a Source per model file, an Entry per block, padding, and the blocks, each
// aligned. Numbers are as the machine has them: a file is for the machine that wrote it.
constexpr char kMagic[8] = {'h', 'u', 'g', 'o', 't', 'P', 'K', '1'};
constexpr size_t kAlignment = 64;
constexpr std::string_view kSuffix = ".packed";
constexpr auto kUnusedTime = std::chrono::hours(24 * 30);
// A stamp is no older than the step of the file system's clock; later writes cannot share it.
constexpr int64_t kClockStepNs = 100'000'000;

struct Head {
  char magic[8];
  uint64_t file_size;
  uint64_t checksum;  // of what lies between this head and the blocks
  uint64_t key_size, sources, entries;
};

struct Source {
  FileStamp stamp;
  uint64_t content[2];  // XXH3 of the whole file
};

struct Entry {
  uint64_t id, offset, bytes, checksum;
};

static_assert(std::is_trivially_copyable_v<Head> && std::is_trivially_copyable_v<Source> &&
              std::is_trivially_copyable_v<Entry>);

size_t round_up(size_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }

uint64_t checksum(const void* data, size_t bytes) { return XXH3_64bits(data, bytes); }
uint64_t checksum(std::string_view text) { return checksum(text.data(), text.size()); }

void hash_contents(const MappedFile& file, uint64_t (&content)[2]) {
  const auto bytes = file.bytes();
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  content[0] = hash.low64;
  content[1] = hash.high64;
  if (!bytes.empty()) file.drop_pages(bytes.data(), bytes.size());
}

// A number that changes whenever the layout of packed weights does.
uint64_t layout_fingerprint() {
  constexpr int64_t k = 19, n = 83;
  std::vector<float> matrix(k * n);
  for (size_t i = 0; i < matrix.size(); ++i) {
    matrix[i] = static_cast<float>(i % 251) - 125.0f + static_cast<float>(i) / 4096;
  }
  // Blocks as they come, one behind the other.
  struct Hasher final : BlockStore {
    std::shared_ptr<const std::byte> block(size_t bytes,
                                           FunctionRef<void(std::byte*)> fill) override {
      auto data = fresh_blocks().block(bytes, fill);
      hash ^= checksum(data.get(), bytes) + hash * 31;
      return data;
    }
    uint64_t hash = 0;
  } hasher;
  for (const bool transposed : {false, true}) {
    const int64_t stride = transposed ? k : n;
    cpu::simd_gemm().pack(matrix.data(), k, n, stride, transposed, hasher);
    cpu::Bf16Matrix(matrix.data(), k, n, stride, transposed, hasher);
    cpu::Int8Matrix(matrix.data(), k, n, stride, transposed, hasher);
  }
  hasher.array<float>(matrix.size(),
                      [&](float* to) { conv::pack_filters(matrix.data(), 1, k, n, to); });
  return hasher.hash;
}

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string hex(uint64_t number) {
  std::string text(16, '0');
  for (size_t i = text.size(); i-- > 0; number >>= 4) text[i] = "0123456789abcdef"[number & 15];
  return text;
}

// Files that nobody has used for long, and what interrupted writers left behind.
void remove_unused(const fs::path& directory) {
  std::error_code error;
  const auto now = fs::file_time_type::clock::now();
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    const bool ours = it->path().filename().string().find(kSuffix) != std::string::npos;
    std::error_code ignored;
    if (ours && it->is_regular_file(ignored) && now - it->last_write_time(ignored) > kUnusedTime) {
      fs::remove(it->path(), ignored);
    }
  }
}

}  // namespace

std::filesystem::path default_cache_directory() {
  if (const char* directory = std::getenv("HUGOT_CACHE")) return directory;
  for (const auto& [variable, below] :
       {std::pair("XDG_CACHE_HOME", "hugot"), std::pair("HOME", ".cache/hugot")}) {
    const char* const directory = std::getenv(variable);
    if (directory != nullptr && *directory != '\0') return std::filesystem::path(directory) / below;
  }
  return {};
}

// A file that is complete and has the right key.
class PackedCache::File {
 public:
  // Null when there is no such file.
  static std::unique_ptr<const File> open(const fs::path& path, std::string_view key) {
    try {
      auto file = std::make_unique<File>();
      file->map_ = MappedFile::open(path);
      return file->read(key) ? std::move(file) : nullptr;
    } catch (const Error&) {
      return nullptr;
    }
  }

  std::span<const Source> sources() const { return sources_; }
  // Null when the block is not there.
  std::shared_ptr<const std::byte> find(uint64_t id, size_t bytes) const {
    const auto it = entries_.find(id);
    if (it == entries_.end() || it->second.bytes != bytes) return nullptr;
    return {map_, data(it->second)};
  }

 private:
  bool read(std::string_view key) {
    const auto bytes = map_->bytes();
    Head head;
    if (bytes.size() < sizeof(head)) return false;
    std::memcpy(&head, bytes.data(), sizeof(head));
    if (std::memcmp(head.magic, kMagic, sizeof(kMagic)) != 0 || head.file_size != bytes.size() ||
        head.key_size != key.size() || head.sources > bytes.size() / sizeof(Source) ||
        head.entries > bytes.size() / sizeof(Entry)) {
      return false;
    }
    const size_t table_size =
        key.size() + head.sources * sizeof(Source) + head.entries * sizeof(Entry);
    const auto rest = bytes.subspan(sizeof(head));
    if (rest.size() < table_size || checksum(rest.data(), table_size) != head.checksum) {
      return false;
    }
    const std::byte* at = rest.data();
    if (std::memcmp(at, key.data(), key.size()) != 0) return false;
    at += key.size();
    sources_.resize(head.sources);
    std::memcpy(sources_.data(), at, head.sources * sizeof(Source));
    at += head.sources * sizeof(Source);
    std::vector<Entry> entries(head.entries);
    std::memcpy(entries.data(), at, head.entries * sizeof(Entry));
    for (const Entry& entry : entries) {
      if (entry.offset > bytes.size() || entry.bytes > bytes.size() - entry.offset) return false;
    }
    for (const Entry& entry : intact(entries)) entries_.emplace(entry.id, entry);
    return true;
  }

  const std::byte* data(const Entry& entry) const { return map_->bytes().data() + entry.offset; }

  // Those whose blocks are as they were written. Reading all of them is most of the work of a
  // start, so it is shared between threads.
  std::vector<Entry> intact(const std::vector<Entry>& entries) const {
    std::vector<char> good(entries.size());
    std::atomic<size_t> next = 0;
    const auto check = [&] {
      for (size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < entries.size();) {
        good[i] = checksum(data(entries[i]), entries[i].bytes) == entries[i].checksum;
      }
    };
    {
      constexpr int kMostThreads = 4;  // more are not faster than memory
      std::vector<std::jthread> helpers;
      for (int i = 1; i < std::min(available_processors(), kMostThreads); ++i) {
        helpers.emplace_back(check);
      }
      check();
    }
    std::vector<Entry> result;
    for (size_t i = 0; i < entries.size(); ++i) {
      if (good[i] != 0) result.push_back(entries[i]);
    }
    return result;
  }

  std::shared_ptr<const MappedFile> map_;
  std::vector<Source> sources_;
  std::unordered_map<uint64_t, Entry> entries_;  // by id
};

PackedCache::PackedCache(fs::path directory, std::vector<std::shared_ptr<const MappedFile>> model,
                         std::string_view how)
    : model_(std::move(model)) {
  key_ = str("hugot ", HUGOT_VERSION, "\n", cpu::active_isa().name, " ", hex(layout_fingerprint()),
             "\n", how);
  for (const auto& file : model_) {
    std::error_code error;
    key_ += "\n" + fs::weakly_canonical(file->path(), error).string();
  }
  path_ = std::move(directory) / (hex(checksum(key_)) + std::string(kSuffix));
  file_ = File::open(path_, key_);
  if (file_ == nullptr) return;
  const auto sources = file_->sources();
  bool same = sources.size() == model_.size();
  for (size_t i = 0; same && i < model_.size(); ++i) {
    if (sources[i].stamp == model_[i]->stamp()) continue;
    uint64_t content[2];
    same = sources[i].stamp.size == model_[i]->stamp().size;
    if (same) hash_contents(*model_[i], content);
    same = same && std::equal(content, content + 2, sources[i].content);
    stale_ = true;
  }
  if (!same) file_ = nullptr;
}

PackedCache::~PackedCache() = default;

void PackedCache::begin(std::string_view owner) {
  owner_ = owner;
  count_of_owner_ = 0;
}

std::shared_ptr<const std::byte> PackedCache::block(size_t bytes,
                                                    FunctionRef<void(std::byte*)> fill) {
  const uint64_t id = checksum(str(owner_, '\n', count_of_owner_++));
  std::shared_ptr<const std::byte> data;
  if (file_ != nullptr) data = file_->find(id, bytes);
  if (data != nullptr) {
    ++hits_;
  } else {
    ++misses_;
    data = fresh_blocks().block(bytes, fill);
  }
  blocks_.push_back({id, bytes, data});
  return data;
}

void PackedCache::save() {
  const std::vector<Block> blocks = std::exchange(blocks_, {});
  std::error_code error;
  if (misses_ == 0 && file_ != nullptr && !stale_) {
    fs::last_write_time(path_, fs::file_time_type::clock::now(), error);
    return;
  }
  std::string table = key_;
  const auto append = [&](const auto& part) {
    table.append(reinterpret_cast<const char*>(&part), sizeof(part));
  };
  for (const auto& file : model_) {
    Source source{.stamp = file->stamp(), .content = {}};
    hash_contents(*file, source.content);
    // A write right after this one may leave the same stamp: then the contents have to decide.
    if (now_ns() - source.stamp.changed_ns < kClockStepNs) source.stamp.changed_ns = 0;
    append(source);
  }
  size_t offset = round_up(sizeof(Head) + table.size() + blocks.size() * sizeof(Entry));
  for (const Block& block : blocks) {
    append(Entry{block.id, offset, block.bytes, checksum(block.data.get(), block.bytes)});
    offset = round_up(offset + block.bytes);
  }
  Head head{.magic = {},
            .file_size = offset,
            .checksum = checksum(table),
            .key_size = key_.size(),
            .sources = model_.size(),
            .entries = blocks.size()};
  std::memcpy(head.magic, kMagic, sizeof(kMagic));
  try {
    fs::create_directories(path_.parent_path(), error);
    remove_unused(path_.parent_path());
    write_file_atomically(
        path_,
        [&](const auto& sink) {
          constexpr std::byte kZeros[kAlignment] = {};
          const auto write = [&](const void* data, size_t bytes) {
            sink({static_cast<const std::byte*>(data), bytes});
          };
          const auto pad = [&](size_t bytes) { write(kZeros, round_up(bytes) - bytes); };
          write(&head, sizeof(head));
          write(table.data(), table.size());
          pad(sizeof(head) + table.size());
          for (const Block& block : blocks) {
            write(block.data.get(), block.bytes);
            pad(block.bytes);
          }
        },
        Durable::kNo);
  } catch (const Error&) {
    // The directory is read-only or full: the next start packs again.
  }
}

}  // namespace hugot
