// Folders that appear as a whole or not at all.
#ifndef HUGOT_MODELS_STAGING_FOLDER_H_
#define HUGOT_MODELS_STAGING_FOLDER_H_

#include <filesystem>

namespace hugot {

// Where a folder that is to be made lies in the end. Throws kInvalidArgument when something is
// there that is no directory, or, unless `force`, a directory that is not empty.
std::filesystem::path place_of_new_folder(const std::filesystem::path& folder, bool force);

// A new folder beside its final place; removed unless it was moved there.
class StagingFolder {
 public:
  // Makes the folder, and those above it. Throws kIo.
  explicit StagingFolder(const std::filesystem::path& target);
  ~StagingFolder();
  StagingFolder(const StagingFolder&) = delete;
  StagingFolder& operator=(const StagingFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

  // Replaces the target. Throws kIo.
  void move_into_place();

 private:
  std::filesystem::path target_;
  std::filesystem::path path_;
};

}  // namespace hugot

#endif  // HUGOT_MODELS_STAGING_FOLDER_H_
