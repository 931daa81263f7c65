#include "models/directory_files.h"

#include <string>
#include <system_error>

#include "base/error.h"

namespace hugot {
namespace {

namespace fs = std::filesystem;

void copy_file_to(const fs::path& file, const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!error) {
    fs::copy_file(file, folder / file.filename(), fs::copy_options::overwrite_existing, error);
  }
  require(!error, ErrorCode::kIo, "cannot copy ", file.string(), " to ", folder.string(), ": ",
          error.message());
}

void copy_descriptions(const fs::path& from, const fs::path& to) {
  for (const auto& entry : fs::directory_iterator(from)) {
    if (!entry.is_regular_file()) continue;
    const std::string name = entry.path().filename().string();
    const bool wanted = (name.ends_with(".json") && !name.ends_with(".index.json")) ||
                        name == "vocab.txt" || name == "merges.txt" || name.ends_with(".model") ||
                        name.ends_with(".tiktoken") || name == "README.md" ||
                        name.starts_with("LICENSE");
    if (wanted) copy_file_to(entry.path(), to);
  }
}

void copy_module(const SentenceModule& module, const fs::path& root, const fs::path& output) {
  if (!fs::is_directory(module.folder)) return;  // Normalize has no files
  const fs::path target = output / module.folder.lexically_relative(root);
  copy_descriptions(module.folder, target);
  const fs::path weights = module.folder / "model.safetensors";
  if (fs::exists(weights)) copy_file_to(weights, target);
}

}  // namespace

void copy_model_files(const ModelDirectory& model, const fs::path& target) {
  copy_descriptions(model.root, target);
  if (model.transformer != model.root) {
    copy_descriptions(model.transformer, target / model.transformer.lexically_relative(model.root));
  }
  for (const SentenceModule& module : model.modules) copy_module(module, model.root, target);
}

}  // namespace hugot
