// Files that remember packed weights from one run of a program to the next.
//
// Packing a model takes longer than everything else at its start, and needs all its weights in
// memory at once. A cache file holds the packed blocks of one model as it is run in one way; it is
// mapped, and its pages are read when they are used.
//
// A file is used only for what it was made for: the same model contents, options, instruction set,
// version of this library, and layout of packed weights. Every block has a checksum. What does not
// match is computed anew and written again, through a temporary file that is renamed, so that any
// number of processes may share a directory.
#ifndef HUGOT_MODELS_PACKED_CACHE_H_
#define HUGOT_MODELS_PACKED_CACHE_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/block_store.h"
#include "base/file.h"

namespace hugot {

// The blocks of one model. Nothing that goes wrong with a file is an error: blocks are computed
// then, as without a cache.
class PackedCache final : public BlockStore {
 public:
  // Looks for a file in `directory`. `model` are the files that the weights come from, mapped;
  // `how` says what else the blocks depend on, such as options.
  PackedCache(std::filesystem::path directory, std::vector<std::shared_ptr<const MappedFile>> model,
              std::string_view how);
  ~PackedCache() override;

  void begin(std::string_view owner) override;
  std::shared_ptr<const std::byte> block(size_t bytes, FunctionRef<void(std::byte*)> fill) override;

  // To be called when all blocks have been asked for. Writes the file when it was not complete.
  // Files of the directory that have not been used for 30 days are removed on this occasion.
  void save();

  const std::filesystem::path& path() const { return path_; }
  // Blocks that came from the file, and others.
  size_t hits() const { return hits_; }
  size_t misses() const { return misses_; }

 private:
  class File;
  struct Block {
    uint64_t id;
    size_t bytes;
    std::shared_ptr<const std::byte> data;
  };

  std::vector<std::shared_ptr<const MappedFile>> model_;
  std::string key_;
  std::filesystem::path path_;
  std::unique_ptr<const File> file_;  // null: there is none that fits
  bool stale_ = false;                // the file fits, but not what it says about the model's files
  std::string owner_;
  size_t count_of_owner_ = 0;
  size_t hits_ = 0, misses_ = 0;
  std::vector<Block> blocks_;
};

}  // namespace hugot

#endif  // HUGOT_MODELS_PACKED_CACHE_H_
