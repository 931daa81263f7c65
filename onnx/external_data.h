// Tensor data in files beside the model.
#ifndef HUGOT_ONNX_EXTERNAL_DATA_H_
#define HUGOT_ONNX_EXTERNAL_DATA_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "onnx/proto.h"

namespace hugot {

// The external_data entries of a tensor.
struct ExternalRange {
  std::string location;
  uint64_t offset = 0;
  std::optional<uint64_t> length;  // without: to the end of the file
};

// Throws kInvalidData for missing or malformed entries; unknown keys are ignored.
ExternalRange external_range(const onnx_proto::TensorProto& tensor);

// Finds and maps data files. A file is accepted when its canonical path lies in the model's
// directory, or in the directory of the model's canonical path: model hubs keep snapshots as links
// into a store, and both rules together allow that without following links elsewhere.
class ExternalFiles {
 public:
  // No data files are allowed.
  ExternalFiles() = default;
  // Data files in `directory`, when it is given; else those of the model file, when that is given.
  ExternalFiles(const std::filesystem::path& model, const std::filesystem::path& directory);

  // The canonical path of a location. Throws kInvalidData for one that is absolute or leads
  // outside, kNotFound for one that does not exist.
  std::filesystem::path resolve(const std::string& location) const;

  // The mapped file; every file is mapped once. Throws as resolve does, and kIo for what is not a
  // regular file.
  std::shared_ptr<const MappedFile> open(const std::string& location);

  // All files that open() has given, by path.
  std::vector<std::shared_ptr<const MappedFile>> opened() const;

 private:
  std::filesystem::path base_;                      // locations are relative to it
  std::vector<std::filesystem::path> directories_;  // canonical; targets must lie in one of them
  std::map<std::filesystem::path, std::shared_ptr<const MappedFile>> files_;
};

}  // namespace hugot

#endif  // HUGOT_ONNX_EXTERNAL_DATA_H_
