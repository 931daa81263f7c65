#include "models/staging_folder.h"

#include <stdlib.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "base/error.h"

namespace hugot {

namespace fs = std::filesystem;

fs::path place_of_new_folder(const fs::path& folder, bool force) {
  const fs::path place = (fs::absolute(folder).lexically_normal() / "").parent_path();
  require(!fs::exists(place) || fs::is_directory(place), ErrorCode::kInvalidArgument,
          folder.string(), " exists and is no directory");
  require(force || !fs::exists(place) || fs::is_empty(place), ErrorCode::kInvalidArgument,
          folder.string(), " exists and is not empty; --force replaces it");
  return place;
}

StagingFolder::StagingFolder(const fs::path& target) : target_(target) {
  std::error_code error;
  if (target.has_parent_path()) fs::create_directories(target.parent_path(), error);
  std::string name = target.string() + ".partial-XXXXXX";
  require(!error && mkdtemp(name.data()) != nullptr, ErrorCode::kIo, "cannot make folder ", name,
          ": ", error ? error.message() : std::strerror(errno));
  path_ = name;
  fs::permissions(path_, fs::perms(0755), error);
}

StagingFolder::~StagingFolder() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

void StagingFolder::move_into_place() {
  std::error_code error;
  fs::path old;
  if (fs::exists(target_)) {
    old = path_.string() + "-old";
    fs::rename(target_, old, error);
  }
  if (!error) fs::rename(path_, target_, error);
  require(!error, ErrorCode::kIo, "cannot rename ", path_.string(), " to ", target_.string(), ": ",
          error.message());
  path_.clear();
  if (!old.empty()) fs::remove_all(old, error);
}

}  // namespace hugot
