#include "models/packed_cache.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <fstream>
#include <thread>

#include "base/testing.h"
#include "kernels/registry.h"
#include "models/convert.h"
#include "models/encoder.h"

namespace hugot {
namespace {

namespace fs = std::filesystem;

// A model's file and a directory for caches of it.
struct Setting {
  TemporaryDirectory root;
  fs::path model = root / "model.onnx";
  fs::path directory = root / "cache";

  Setting() { write("weights"); }
  void write(std::string_view contents) const {
    std::ofstream(model, std::ios::binary | std::ios::trunc) << contents;
    // Older than the step of a clock, so that its stamp counts.
    std::this_thread::sleep_for(std::chrono::milliseconds(120));
  }
};

// What a program does at its start. Blocks hold `value`, and three owners ask for them.
struct Start {
  size_t filled = 0;
  size_t hits = 0;
  bool right = true;
};

Start start(const Setting& setting, std::string_view how = "fp32", char value = 'w') {
  PackedCache cache(setting.directory, {MappedFile::open(setting.model)}, how);
  Start result;
  for (const char* owner : {"first", "second", "third"}) {
    cache.begin(owner);
    for (const size_t bytes : {size_t{1}, size_t{0}, size_t{1000}}) {
      const auto block = cache.block(bytes, [&](std::byte* data) {
        ++result.filled;
        std::memset(data, value, bytes);
      });
      result.right = result.right && reinterpret_cast<uintptr_t>(block.get()) % 64 == 0;
      for (size_t i = 0; i < bytes; ++i) {
        result.right = result.right && block.get()[i] == static_cast<std::byte>(value);
      }
    }
  }
  result.hits = cache.hits();
  cache.save();
  return result;
}

fs::path only_file(const fs::path& directory) {
  std::vector<fs::path> files(fs::directory_iterator(directory), {});
  REQUIRE(files.size() == 1);
  return files[0];
}

TEST_CASE("packed cache: the second start computes nothing") {
  const Setting setting;
  Start s = start(setting);
  CHECK(s.filled == 9);
  CHECK(s.right);
  s = start(setting);
  CHECK(s.filled == 0);
  CHECK(s.hits == 9);
  CHECK(s.right);
  // Another way to run the model has a file of its own.
  CHECK(start(setting, "int8").filled == 9);
  CHECK(start(setting, "int8").filled == 0);
  CHECK(start(setting).filled == 0);
}

TEST_CASE("packed cache: a file belongs to the contents of the model") {
  const Setting setting;
  start(setting);
  setting.write("WEIGHTS");  // as long as before
  Start s = start(setting, "fp32", 'v');
  CHECK(s.filled == 9);
  CHECK(s.right);
  CHECK(start(setting, "fp32", 'v').filled == 0);

  // Written again as it was: the contents decide, and the new stamp is noted.
  setting.write("WEIGHTS");
  const auto before = read_file(only_file(setting.directory));
  CHECK(start(setting, "fp32", 'v').filled == 0);
  CHECK(read_file(only_file(setting.directory)) != before);

  // A stamp that a later write may share does not count.
  std::ofstream(setting.model, std::ios::trunc) << "weights";
  CHECK(start(setting).filled == 9);
  std::ofstream(setting.model, std::ios::trunc) << "Weights";
  CHECK(start(setting, "fp32", 'u').right);
}

TEST_CASE("packed cache: damaged files are computed anew") {
  const Setting setting;
  start(setting);
  const fs::path file = only_file(setting.directory);
  const std::string good = read_file(file);
  const auto check = [&](const std::string& bytes, const std::string& what) {
    CAPTURE(what);
    std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
    CHECK(start(setting).right);
    CHECK(start(setting).filled == 0);
  };
  for (size_t size = 0; size < good.size(); size += size < 700 ? 13 : 331) {
    check(good.substr(0, size), str("cut to ", size));
  }
  for (size_t i = 0; i < good.size(); i += i < 700 ? 3 : 97) {
    std::string bytes = good;
    bytes[i] = static_cast<char>(bytes[i] ^ 0x41);
    check(bytes, str("byte ", i));
  }
  check(good + "x", "longer");
  check(std::string(5000, '\xff'), "nonsense");
}

TEST_CASE("packed cache: places where nothing can be written") {
  Setting setting;
  std::ofstream(setting.directory) << "a file";
  CHECK(start(setting).right);
  CHECK(start(setting).filled == 9);
  setting.directory = "/proc/nothing/here";
  CHECK(start(setting).right);
}

TEST_CASE("packed cache: many writers at once") {
  const Setting setting;
  std::atomic<int> wrong = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        for (int round = 0; round < 20; ++round) {
          if (round % 7 == 6) {
            std::error_code ignored;
            for (const auto& entry : fs::directory_iterator(setting.directory, ignored)) {
              fs::remove(entry.path(), ignored);
            }
          }
          if (!start(setting).right) ++wrong;
        }
      });
    }
  }
  CHECK(wrong == 0);
  CHECK(start(setting).right);
  CHECK(start(setting).filled == 0);
}

// The vector of the first token of a small model.
std::vector<float> first_row(const fs::path& model, const fs::path& directory,
                             const EncoderOptions& options) {
  const OpRegistry ops = builtin_ops();
  EncoderOptions cached = options;
  cached.cache_directory = directory;
  const auto encoder = Encoder::load(model, ops, cached);
  ThreadPool pool(1);
  const std::vector<int32_t> ids = {2, 7, 9, 3};
  const EncoderText text{ids, {}};
  std::vector<float> row;
  encoder->run({&text, 1}, pool, [&](size_t, const float* data, int64_t, int64_t width) {
    row.assign(data, data + width);
  });
  return row;
}

TEST_CASE("packed cache: an encoder gives the same with it as without") {
  const TemporaryDirectory folder;
  convert_model("tests/data/tiny-bert", folder / "tiny", builtin_ops());
  const fs::path model = folder / "tiny/onnx/model.onnx", directory = folder / "cache";
  for (const Precision precision : {Precision::kFloat32, Precision::kBFloat16, Precision::kInt8}) {
    EncoderOptions options;
    options.precision = precision;
    for (const EncoderRows rows : {EncoderRows::kAll, EncoderRows::kFirst}) {
      options.rows = rows;
      const auto wanted = first_row(model, {}, options);
      CHECK(first_row(model, directory, options) == wanted);  // writes
      CHECK(first_row(model, directory, options) == wanted);  // reads
    }
  }
  CHECK(std::distance(fs::directory_iterator(directory), {}) == 6);
}

}  // namespace
}  // namespace hugot
