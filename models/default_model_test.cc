#include "models/default_model.h"

#include <doctest/doctest.h>

#include <array>
#include <string>

#include "base/file.h"
#include "base/testing.h"

namespace hugot {
namespace {

namespace fs = std::filesystem;

constexpr std::array<EmbeddedFile, 2> kFiles = {
    {{"config.json", "{}"}, {"onnx/model.onnx", "abc"}}};

size_t entries(const fs::path& folder) {
  return static_cast<size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST_CASE("unpack_model: a folder in the cache, which is found again and repaired") {
  const TemporaryDirectory folder;
  const fs::path cache = folder / "a" / "cache";
  const fs::path model = unpack_model(kFiles, cache);
  CHECK(model.parent_path() == cache);
  CHECK(read_file(model / "config.json") == "{}");
  CHECK(read_file(model / "onnx/model.onnx") == "abc");
  const FileStamp stamp = MappedFile::open(model / "onnx/model.onnx")->stamp();
  CHECK(unpack_model(kFiles, cache) == model);
  CHECK(MappedFile::open(model / "onnx/model.onnx")->stamp() == stamp);

  write_file_atomically(model / "onnx/model.onnx", "abd");
  CHECK(unpack_model(kFiles, cache) == model);
  CHECK(read_file(model / "onnx/model.onnx") == "abc");
  fs::remove(model / "config.json");
  unpack_model(kFiles, cache);
  CHECK(read_file(model / "config.json") == "{}");
  CHECK(entries(cache) == 1);

  // Another version lies beside it.
  auto other = kFiles;
  other[1].bytes = "abcd";
  CHECK(unpack_model(other, cache) != model);
  CHECK(entries(cache) == 2);
}

TEST_CASE("unpack_model: without a cache a folder of the process") {
  const TemporaryDirectory folder;
  write_file_atomically(folder / "file", "");
  for (const fs::path& cache : {fs::path(), folder / "file" / "below"}) {
    const fs::path model = unpack_model(kFiles, cache);
    CHECK(read_file(model / "onnx/model.onnx") == "abc");
    CHECK(unpack_model(kFiles, cache) == model);
  }
}

}  // namespace
}  // namespace hugot
