#include "models/default_model.h"

#include <stdlib.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/error.h"
#include "base/file.h"
#include "hugot/hugot.hpp"
#include "models/staging_folder.h"

namespace hugot {
namespace {

namespace fs = std::filesystem;

bool has(const fs::path& folder, std::span<const EmbeddedFile> files) {
  for (const EmbeddedFile& file : files) {
    const fs::path path = folder / file.path;
    std::error_code error;
    if (fs::file_size(path, error) != file.bytes.size() || error) return false;
    try {
      const auto map = MappedFile::open(path);
      const auto bytes = map->bytes();
      if (bytes.size() != file.bytes.size() ||
          std::memcmp(bytes.data(), file.bytes.data(), bytes.size()) != 0) {
        return false;
      }
    } catch (const Error&) {
      return false;
    }
  }
  return true;
}

void write(const fs::path& folder, std::span<const EmbeddedFile> files) {
  for (const EmbeddedFile& file : files) {
    const fs::path path = folder / file.path;
    std::error_code error;
    fs::create_directories(path.parent_path(), error);
    require(!error, ErrorCode::kIo, "cannot make folder ", path.parent_path().string(), ": ",
            error.message());
    write_file_atomically(path, file.bytes);
  }
}

// Versions of the model have folders of their own.
std::string folder_name(std::span<const EmbeddedFile> files) {
  XXH64_hash_t hash = 0;
  for (const EmbeddedFile& file : files) {
    hash = XXH3_64bits_withSeed(file.path.data(), file.path.size(), hash);
    hash = XXH3_64bits_withSeed(file.bytes.data(), file.bytes.size(), hash);
  }
  std::string name(sizeof(hash) * 2, '0');
  for (char& digit : name) {
    digit = "0123456789abcdef"[hash >> 60];
    hash <<= 4;
  }
  return "default-model-" + name;
}

// A folder for as long as the process lives.
class TemporaryModel {
 public:
  explicit TemporaryModel(std::span<const EmbeddedFile> files) {
    std::string name = (fs::temp_directory_path() / "hugot-model-XXXXXX").string();
    require(mkdtemp(name.data()) != nullptr, ErrorCode::kIo, "cannot make folder ", name, ": ",
            std::strerror(errno));
    path_ = name;
    write(path_, files);
  }
  ~TemporaryModel() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryModel(const TemporaryModel&) = delete;
  TemporaryModel& operator=(const TemporaryModel&) = delete;

  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

}  // namespace

fs::path unpack_model(std::span<const EmbeddedFile> files, const fs::path& cache) {
  if (!cache.empty()) {
    const fs::path folder = cache / folder_name(files);
    if (has(folder, files)) return folder;
    try {
      StagingFolder staging(folder);
      write(staging.path(), files);
      staging.move_into_place();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kIo) throw;
    }
    if (has(folder, files)) return folder;  // maybe that of another process
  }
  static std::mutex mutex;
  static std::vector<std::pair<std::string, std::unique_ptr<const TemporaryModel>>> models;
  const std::lock_guard lock(mutex);
  const std::string name = folder_name(files);
  for (const auto& [known, model] : models) {
    if (known == name) return model->path();
  }
  return models.emplace_back(name, std::make_unique<const TemporaryModel>(files)).second->path();
}

fs::path find_default_model() {
  std::vector<fs::path> places;
  const fs::path below = fs::path("models") / kDefaultModel;
  std::error_code error;
  if (const fs::path program = fs::read_symlink("/proc/self/exe", error); !error) {
    const fs::path folder = program.parent_path();
    places = {folder / below, folder.parent_path() / "share/hugot" / below,
              folder.parent_path() / below};
  }
  places.push_back(fs::path(HUGOT_DATA_DIRECTORY) / below);
  std::string text;
  for (const fs::path& place : places) {
    if (fs::is_directory(place, error)) return place;
    text += (text.empty() ? "" : ", ") + place.string();
  }
  if (const auto files = embedded_model(); !files.empty()) {
    return unpack_model(files, default_cache_directory());
  }
  fail(ErrorCode::kNotFound, "the default model is not there; looked for ", text,
       " (a build with -Dembed_model=enabled carries it); name another one with --model");
}

}  // namespace hugot
