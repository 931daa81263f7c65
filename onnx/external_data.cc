#include "onnx/external_data.h"

#include <algorithm>
#include <charconv>
#include <system_error>

#include "base/error.h"

namespace hugot {
namespace {

namespace fs = std::filesystem;

uint64_t parse_number(const std::string& text, std::string_view key) {
  uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [last, status] = std::from_chars(text.data(), end, value);
  require(status == std::errc() && last == end && value <= INT64_MAX, ErrorCode::kInvalidData,
          "external data: ", key, " '", text, "' is not a non-negative integer");
  return value;
}

fs::path canonical(const fs::path& path, std::string_view what) {
  std::error_code error;
  fs::path result = fs::canonical(path, error);
  require(!error, ErrorCode::kNotFound, what, " ", path.string(), ": ", error.message());
  return result;
}

bool is_inside(const fs::path& path, const fs::path& directory) {
  const auto [in_directory, in_path] =
      std::mismatch(directory.begin(), directory.end(), path.begin(), path.end());
  return in_directory == directory.end() && in_path != path.end();
}

}  // namespace

ExternalRange external_range(const onnx_proto::TensorProto& tensor) {
  ExternalRange range;
  for (const auto& entry : tensor.external_data()) {
    if (entry.key() == "location") range.location = entry.value();
    if (entry.key() == "offset") range.offset = parse_number(entry.value(), "offset");
    if (entry.key() == "length") range.length = parse_number(entry.value(), "length");
  }
  require(!range.location.empty(), ErrorCode::kInvalidData, "external data: no location");
  return range;
}

ExternalFiles::ExternalFiles(const fs::path& model, const fs::path& directory) {
  if (!directory.empty()) {
    base_ = canonical(directory, "data directory");
    directories_ = {base_};
  } else if (!model.empty()) {
    base_ = canonical(model.has_parent_path() ? model.parent_path() : ".", "model directory");
    directories_ = {base_, canonical(model, "model").parent_path()};
  }
}

fs::path ExternalFiles::resolve(const std::string& location) const {
  require(!directories_.empty(), ErrorCode::kInvalidData, "external data '", location,
          "': a model in memory has none");
  const fs::path relative(location);
  require(relative.is_relative() && location.find('\0') == std::string::npos,
          ErrorCode::kInvalidData, "external data: location '", location,
          "' is not a relative path");
  fs::path target = canonical(base_ / relative, "external data");
  const bool inside = std::any_of(directories_.begin(), directories_.end(),
                                  [&](const fs::path& dir) { return is_inside(target, dir); });
  require(inside, ErrorCode::kInvalidData, "external data: location '", location,
          "' leads outside of the model's directory");
  return target;
}

std::shared_ptr<const MappedFile> ExternalFiles::open(const std::string& location) {
  const fs::path path = resolve(location);
  auto& file = files_[path];
  if (file == nullptr) file = MappedFile::open(path);
  return file;
}

std::vector<std::shared_ptr<const MappedFile>> ExternalFiles::opened() const {
  std::vector<std::shared_ptr<const MappedFile>> opened;
  for (const auto& [path, file] : files_) opened.push_back(file);
  return opened;
}

}  // namespace hugot
