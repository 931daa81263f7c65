#include <doctest/doctest.h>
#include <sys/stat.h>

#include <algorithm>
#include <complex>
#include <cstring>
#include <fstream>

#include "base/bytes.h"
#include "base/file.h"
#include "base/npz.h"
#include "base/safetensors.h"
#include "base/testing.h"
#include "base/zip.h"

namespace hugot {
namespace {

namespace fs = std::filesystem;
const fs::path kArrays = "tests/data/arrays";

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Without waiting for the disk, for files that are not kept.
void write_plainly(const fs::path& path, const std::string& bytes) {
  fs::remove(path);  // some file systems flush a file that is truncated and written again
  std::ofstream(path, std::ios::binary) << bytes;
}

Tensor array_of(const NamedTensors& arrays, std::string_view name) {
  for (const auto& [key, tensor] : arrays) {
    if (key == name) return tensor;
  }
  return {};
}

std::string safetensors_file(const std::string& header, const std::string& data) {
  std::string out;
  append_number(out, static_cast<uint64_t>(header.size()));
  return out + header + data;
}

}  // namespace

TEST_CASE("files: atomic writes are read back whole and leave nothing else") {
  const TemporaryDirectory directory;
  const fs::path path = directory / "a.txt";
  write_file_atomically(path, "first");
  CHECK(read_file(path) == "first");
  write_file_atomically(path, [](const auto& sink) {
    const std::string big(100'000, 'x');
    sink(as_bytes("a"));
    sink(as_bytes(big));
    sink(as_bytes("b"));
  });
  const std::string text = read_file(path);
  CHECK(text.size() == 100'002);
  CHECK(text.back() == 'b');
  CHECK(text_of(MappedFile::open(path)->bytes()) == text);

  CHECK_THROWS_AS(write_file_atomically(path,
                                        [](const auto& sink) {
                                          sink(as_bytes("half"));
                                          fail(ErrorCode::kCancelled, "stop");
                                        }),
                  Error);
  CHECK(read_file(path) == text);
  CHECK(std::distance(fs::directory_iterator(directory.path()), fs::directory_iterator()) == 1);
}

TEST_CASE("files: errors name the path and the reason") {
  const TemporaryDirectory directory;
  std::string message;
  CHECK(error_of([&] { read_file(directory / "none"); }, &message) == ErrorCode::kNotFound);
  CHECK(message == "cannot open " + (directory / "none").string() + ": No such file or directory");
  CHECK(error_of([&] { MappedFile::open(directory / "none"); }) == ErrorCode::kNotFound);
  CHECK(error_of([&] { MappedFile::open(directory.path()); }) == ErrorCode::kIo);
  CHECK(error_of([&] { read_file(directory.path()); }) == ErrorCode::kIo);
  CHECK(error_of([&] { write_file_atomically(directory / "no" / "file", "x"); }) == ErrorCode::kIo);
  REQUIRE(::mkfifo((directory / "pipe").c_str(), 0600) == 0);
  CHECK(error_of([&] { MappedFile::open(directory / "pipe"); }) == ErrorCode::kIo);
  // A directory cannot be replaced; the temporary file goes away.
  fs::create_directory(directory / "target");
  CHECK(error_of([&] { write_file_atomically(directory / "target", "x"); }) == ErrorCode::kIo);
  CHECK(std::distance(fs::directory_iterator(directory.path()), fs::directory_iterator()) == 2);
}

TEST_CASE("files: maps of empty files, and contents after dropping pages") {
  const TemporaryDirectory directory;
  write_file_atomically(directory / "empty", "");
  CHECK(MappedFile::open(directory / "empty")->bytes().empty());
  CHECK(read_file(directory / "empty").empty());

  std::string text(20'000, 'a');
  text[19'999] = 'z';
  write_file_atomically(directory / "big", text);
  const auto file = MappedFile::open(directory / "big");
  CHECK(text_of(file->bytes()) == text);
  file->drop_pages(file->bytes().data() + 1, file->bytes().size() - 1);
  file->drop_pages(file->bytes().data(), 0);
  CHECK(text_of(file->bytes()) == text);
  CHECK(error_of([&] { file->drop_pages(file->bytes().data(), text.size() + 1); }) ==
        ErrorCode::kInternal);
}

TEST_CASE("npz: arrays that numpy wrote, stored and deflated") {
  for (const char* name : {"stored.npz", "deflated.npz"}) {
    CAPTURE(name);
    const NamedTensors arrays = read_npz(kArrays / name);
    CHECK(arrays.size() == 12);
    CHECK(arrays.front().first == "f4");
    const Tensor grid = array_of(arrays, "f4");
    CHECK(describe(grid) == "float32[2,3,4]");
    CHECK(grid.values<float>()[23] == 23.0f);
    CHECK(identical(array_of(arrays, "fortran"), grid));
    CHECK(identical(array_of(arrays, "bool"), Tensor::from<bool>({3}, {true, false, true})));
    CHECK(identical(array_of(arrays, "i1"), Tensor::from<int8_t>({2}, {-1, 2})));
    CHECK(identical(array_of(arrays, "u2"), Tensor::from<uint16_t>({1}, {65535})));
    CHECK(identical(array_of(arrays, "i8"), Tensor::scalar<int64_t>(-7)));
    CHECK(identical(array_of(arrays, "f2"),
                    Tensor::from<Float16>({2}, {Float16(1.5f), Float16(-2.0f)})));
    CHECK(identical(array_of(arrays, "f8"), Tensor::from<double>({1, 1}, {0.1})));
    CHECK(identical(array_of(arrays, "c16"), Tensor::from<std::complex<double>>({1}, {{1, 2}})));
    CHECK(describe(array_of(arrays, "empty")) == "int32[0,3]");
    CHECK(identical(array_of(arrays, "unicode"),
                    Tensor::from<std::string>({2, 2}, {"grün", "", "\U0001F600", "abc"})));
    CHECK(identical(array_of(arrays, "bytes"), Tensor::from<std::string>({2}, {"ab", "\xff"})));
  }
}

TEST_CASE("npy: single arrays, and what is refused") {
  CHECK(identical(read_npy(kArrays / "fortran.npy"),
                  Tensor::from<float>({3, 4}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11})));
  CHECK(error_of([] { read_npy(kArrays / "big_endian.npy"); }) == ErrorCode::kUnsupported);
  CHECK(error_of([] { read_npy(kArrays / "structured.npy"); }) == ErrorCode::kUnsupported);
  CHECK(error_of([] { read_npy(kArrays / "object.npy"); }) == ErrorCode::kInvalidData);
  CHECK(error_of([] { read_npy(kArrays / "stored.npz"); }) == ErrorCode::kInvalidData);
}

TEST_CASE("npz: round trip, deterministic, with types that numpy lacks") {
  const TemporaryDirectory directory;
  const uint8_t packed[] = {0xf1, 0x07};
  const NamedTensors arrays = {
      {"a", Tensor::from<float>({2, 2}, {1, 2, 3, 4})},
      {"scalar", Tensor::scalar<double>(0.1)},
      {"none", Tensor(DType::kInt64, {2, 0})},
      {"flags", Tensor::from<bool>({2}, {true, false})},
      {"text", Tensor::from<std::string>({2}, {"grün", "\U0001F600!"})},
      {"raw", Tensor::from<std::string>({2}, {"\xff", "ab"})},
      {"brain", Tensor::from<BFloat16>({1}, {BFloat16(1.0f)})},
      {"int4", Tensor(DType::kInt4, {3}, packed)},
      {"größe", Tensor::scalar<int8_t>(1)},
      {"no text", Tensor(DType::kString, {2, 0})},
  };
  write_npz(directory / "a.npz", arrays);
  const NamedTensors back = read_npz(directory / "a.npz");
  REQUIRE(back.size() == arrays.size());
  for (size_t i = 0; i < 6; ++i) {
    CAPTURE(arrays[i].first);
    CHECK(back[i].first == arrays[i].first);
    CHECK(identical(back[i].second, arrays[i].second));
  }
  CHECK(identical(back[6].second, Tensor::from<uint16_t>({1}, {0x3f80})));
  CHECK(identical(back[7].second, Tensor::from<int8_t>({3}, {1, -1, 7})));
  CHECK(back[8].first == "größe");
  CHECK(identical(back[9].second, arrays[9].second));
  write_npz(directory / "b.npz", back);
  write_npz(directory / "c.npz", read_npz(directory / "b.npz"));
  CHECK(read_file(directory / "b.npz") == read_file(directory / "c.npz"));
  CHECK(error_of([&] {
          write_npz(directory / "d.npz", {{"x", arrays[0].second}, {"x", arrays[0].second}});
        }) == ErrorCode::kInvalidArgument);
  CHECK_FALSE(fs::exists(directory / "d.npz"));
}

TEST_CASE("npz: damaged archives give errors") {
  const TemporaryDirectory directory;
  for (const char* name : {"stored.npz", "deflated.npz", "fortran.npy"}) {
    const std::string original = read_file(kArrays / name);
    const bool archive = std::string_view(name).ends_with("npz");
    parse_damaged(original, 7, [&](const std::string& bytes) {
      const fs::path path = directory / "damaged";
      write_plainly(path, bytes);
      if (archive) {
        read_npz(path);
      } else {
        read_npy(path);
      }
    });
  }
}

TEST_CASE("zip: members whose data or directory lie are refused") {
  std::string archive;
  ZipWriter writer([&](std::span<const std::byte> bytes) { archive += text_of(bytes); });
  const std::string text(1000, 'x');
  const std::span<const std::byte> parts[] = {as_bytes("hello "), as_bytes(text)};
  writer.add("a", parts);
  writer.finish();
  std::string out(1006, '\0');
  const auto unpack = [&](const std::string& bytes) {
    const ZipReader reader(as_bytes(bytes));
    REQUIRE(reader.members().size() == 1);
    CHECK(reader.members()[0].size == out.size());
    reader.read(0, std::as_writable_bytes(std::span(out)));
  };
  unpack(archive);
  CHECK(out == "hello " + text);
  std::string bad = archive;
  bad[archive.find("hello")] = 'j';
  CHECK(error_of([&] { unpack(bad); }) == ErrorCode::kInvalidData);
  CHECK(error_of([&] { ZipReader(as_bytes("")); }) == ErrorCode::kInvalidData);

  // One member listed ten times: together they would unpack to more than the archive holds.
  const size_t central = archive.find("PK\x01\x02");
  const size_t end = archive.find("PK\x05\x06");
  std::string many = archive.substr(0, central);
  for (int i = 0; i < 10; ++i) many += archive.substr(central, end - central);
  many += archive.substr(end);
  const uint16_t count = 10;
  const auto size = static_cast<uint32_t>(count * (end - central));
  std::memcpy(many.data() + many.size() - 14, &count, sizeof(count));
  std::memcpy(many.data() + many.size() - 12, &count, sizeof(count));
  std::memcpy(many.data() + many.size() - 10, &size, sizeof(size));
  std::string message;
  CHECK(error_of([&] { ZipReader(as_bytes(many)); }, &message) == ErrorCode::kInvalidData);
  CHECK(message.find("overlap") != std::string::npos);
}

TEST_CASE("safetensors: views, types and names") {
  const TemporaryDirectory directory;
  const fs::path path = directory / "a.safetensors";
  const std::string header = R"({"__metadata__":{"format":"pt"},)"
                             R"("w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                             R"("b":{"dtype":"BF16","shape":[],"data_offsets":[8,10]},)"
                             R"("e":{"dtype":"I64","shape":[0,4],"data_offsets":[10,10]}})";
  std::string data;
  append_number(data, 1.5f);
  append_number(data, -2.0f);
  append_number(data, uint16_t{0x3f80});
  write_file_atomically(path, safetensors_file(header, data));
  const auto tensors = read_safetensors(path);
  CHECK(tensors.size() == 3);
  CHECK(identical(tensors.at("w"), Tensor::from<float>({2}, {1.5f, -2.0f})));
  CHECK(identical(tensors.at("b"), Tensor::scalar<BFloat16>(BFloat16(1.0f))));
  CHECK(describe(tensors.at("e")) == "int64[0,4]");
}

TEST_CASE("safetensors: what is written is read again") {
  const TemporaryDirectory directory;
  const fs::path path = directory / "a.safetensors";
  const std::map<std::string, Tensor> tensors = {
      {"a", Tensor::from<uint8_t>({3}, {1, 2, 3})},
      {"linear.weight", Tensor::from<float>({2, 1}, {1.5f, -2})},
      {"none", Tensor(DType::kInt64, {0, 2})}};
  write_safetensors(path, tensors);
  const auto read = read_safetensors(path);
  REQUIRE(read.size() == tensors.size());
  for (const auto& [name, tensor] : tensors) CHECK(identical(read.at(name), tensor));
  CHECK(error_of([&] {
          write_safetensors(path, {{"s", Tensor(DType::kString, {1})}});
        }) == ErrorCode::kUnsupported);
}

TEST_CASE("safetensors: malformed files give errors that name the tensor") {
  const TemporaryDirectory directory;
  const fs::path path = directory / "a.safetensors";
  const auto code = [&](const std::string& header, std::string* message = nullptr) {
    write_file_atomically(path, safetensors_file(header, std::string(8, '\1')));
    return error_of([&] { read_safetensors(path); }, message);
  };
  const auto entry = [](const char* dtype, const char* shape, const char* offsets) {
    return str(R"({"w":{"dtype":")", dtype, R"(","shape":)", shape, R"(,"data_offsets":)", offsets,
               "}}");
  };
  CHECK(code(entry("F32", "[2]", "[0,8]")) == std::nullopt);
  std::string message;
  CHECK(code(entry("F32", "[2]", "[0,9]"), &message) == ErrorCode::kInvalidData);
  CHECK(message.find("tensor 'w'") != std::string::npos);
  CHECK(code(entry("F32", "[3]", "[0,8]")) == ErrorCode::kInvalidData);
  CHECK(code(entry("F32", "[-2]", "[0,8]")) == ErrorCode::kInvalidData);
  CHECK(code(entry("F32", "[2]", "[8,0]")) == ErrorCode::kInvalidData);
  CHECK(code(entry("F32", "[4611686018427387904,4]", "[0,8]")) == ErrorCode::kInvalidData);
  CHECK(code(entry("F99", "[2]", "[0,8]")) == ErrorCode::kUnsupported);
  CHECK(code("[]") == ErrorCode::kInvalidData);
  CHECK(code("{") == ErrorCode::kInvalidData);
  CHECK(code(std::string(2000, '[')) == ErrorCode::kInvalidData);
  CHECK(code(R"({"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},)"
             R"("v":{"dtype":"U8","shape":[1],"data_offsets":[7,8]}})",
             &message) == ErrorCode::kInvalidData);
  CHECK(message.find("overlap") != std::string::npos);
  CHECK(code(R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
             R"("w":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})") == ErrorCode::kInvalidData);
  const std::string good = safetensors_file(entry("F32", "[2]", "[0,8]"), std::string(8, '\1'));
  parse_damaged(good, 1, [&](const std::string& bytes) {
    write_plainly(path, bytes);
    read_safetensors(path);
  });
  write_file_atomically(path, std::string(8, '\xff'));
  CHECK(error_of([&] { read_safetensors(path); }) == ErrorCode::kInvalidData);
}

}  // namespace hugot
