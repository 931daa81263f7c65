#include "tools/command.h"

#include <cctype>

#include "base/error.h"
#include "kernels/cuda/cuda.h"

namespace hugot::tools {

std::string both_spellings(std::string_view names) {
  const std::string_view kebab = names.substr(0, names.find(','));
  std::string camel;
  for (size_t i = 0; i < kebab.size(); ++i) {
    const bool dash_inside = i >= 2 && kebab[i] == '-' && i + 1 < kebab.size();
    camel += dash_inside ? static_cast<char>(std::toupper(static_cast<unsigned char>(kebab[++i])))
                         : kebab[i];
  }
  std::string result(names);
  if (camel != kebab) result += "," + camel;
  return result;
}

void require_cpu(const std::string& device) {
  if (device == "cpu") return;
  if (device.starts_with("cuda")) {
    fail(ErrorCode::kUnsupported, "--device ", device, ": pipelines run on the CPU only so far");
  }
  fail(ErrorCode::kInvalidArgument, "--device ", device, ": expected cpu or cuda:N");
}

std::shared_ptr<Device> open_device(const std::string& device) {
  if (device == "cpu") return nullptr;
  require(device.starts_with("cuda"), ErrorCode::kInvalidArgument, "--device ", device,
          ": expected cpu or cuda:N");
  return cuda::open_device(device);
}

Precision precision_from_name(std::string_view name) {
  if (name == "model") return Precision::kModel;
  if (name == "bf16") return Precision::kBFloat16;
  if (name == "int8") return Precision::kInt8;
  require(name == "fp32", ErrorCode::kInvalidArgument, "unknown precision '", name, "'");
  return Precision::kFloat32;
}

const CLI::IsMember kPrecisionNames({"model", "fp32", "bf16", "int8"});

const char* const kCacheText =
    "folder where packed weights are remembered for a faster start; '': nowhere";

void require_file(const std::filesystem::path& file) {
  std::error_code error;
  const auto status = std::filesystem::status(file, error);
  require(std::filesystem::exists(status), ErrorCode::kNotFound, "no such file: ", file.string());
  require(!std::filesystem::is_directory(status), ErrorCode::kInvalidArgument, file.string(),
          " is a directory, a file is expected");
}

std::string list_of(const std::vector<std::string>& items) {
  std::string text;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) text += i + 1 == items.size() ? " or " : ", ";
    text += items[i];
  }
  return text;
}

}  // namespace hugot::tools
