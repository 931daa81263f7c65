#include "base/safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/file.h"

namespace hugot {
namespace {

using Json = nlohmann::json;

// The limit of the reference implementation.
constexpr uint64_t kMaxHeader = 100'000'000;

constexpr std::pair<std::string_view, DType> kTypes[] = {
    {"F32", DType::kFloat32},
    {"F64", DType::kFloat64},
    {"F16", DType::kFloat16},
    {"BF16", DType::kBFloat16},
    {"I8", DType::kInt8},
    {"I16", DType::kInt16},
    {"I32", DType::kInt32},
    {"I64", DType::kInt64},
    {"U8", DType::kUInt8},
    {"U16", DType::kUInt16},
    {"U32", DType::kUInt32},
    {"U64", DType::kUInt64},
    {"BOOL", DType::kBool},
    {"F8_E4M3", DType::kFloat8E4M3FN},
    {"F8_E5M2", DType::kFloat8E5M2},
};

DType parse_dtype(const std::string& name) {
  for (const auto& [text, dtype] : kTypes) {
    if (text == name) return dtype;
  }
  fail(ErrorCode::kUnsupported, "element type '", name, "' is not supported");
}

uint64_t as_size(const Json& json, std::string_view what) {
  require(json.is_number_unsigned() && json.get<uint64_t>() <= INT64_MAX, ErrorCode::kInvalidData,
          what, " must be a non-negative integer");
  return json.get<uint64_t>();
}

const Json& member(const Json& object, const char* key) {
  const auto it = object.find(key);
  require(it != object.end(), ErrorCode::kInvalidData, "'", key, "' is missing");
  return *it;
}

struct Range {
  uint64_t begin;
  uint64_t end;
  std::string_view name;
};

// A view on the data where its address suits the type, else a copy.
Tensor make_tensor(DType dtype, const Shape& shape, std::span<const std::byte> bytes,
                   const std::shared_ptr<const MappedFile>& file) {
  const auto alignment = static_cast<uintptr_t>(std::max(dtype_bits(dtype) / 8, 1));
  Tensor view(dtype, shape, bytes.data(), file);
  if (bytes.empty()) return Tensor(dtype, shape);
  if (dtype == DType::kBool) {
    require(std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b <= std::byte{1}; }),
            ErrorCode::kInvalidData, "a boolean that is neither 0 nor 1");
  }
  return reinterpret_cast<uintptr_t>(bytes.data()) % alignment == 0 ? view : view.clone();
}

Tensor parse_entry(const Json& entry, std::string_view name, std::span<const std::byte> data,
                   const std::shared_ptr<const MappedFile>& file, std::vector<Range>& ranges) {
  require(entry.is_object(), ErrorCode::kInvalidData, "not an object");
  const Json& dtype_json = member(entry, "dtype");
  require(dtype_json.is_string(), ErrorCode::kInvalidData, "'dtype' must be a string");
  const DType dtype = parse_dtype(dtype_json.get_ref<const std::string&>());

  const Json& shape_json = member(entry, "shape");
  require(shape_json.is_array(), ErrorCode::kInvalidData, "'shape' must be a list");
  std::vector<int64_t> dims;
  for (const Json& dim : shape_json) {
    dims.push_back(static_cast<int64_t>(as_size(dim, "a dimension")));
  }
  const Shape shape = shape_from_file(dims);

  const Json& offsets = member(entry, "data_offsets");
  require(offsets.is_array() && offsets.size() == 2, ErrorCode::kInvalidData,
          "'data_offsets' must be a pair");
  const uint64_t begin = as_size(offsets[0], "an offset");
  const uint64_t end = as_size(offsets[1], "an offset");
  require(begin <= end && end <= data.size(), ErrorCode::kInvalidData, "data_offsets [", begin, ",",
          end, "] leave the ", data.size(), " bytes of data");
  const auto width = static_cast<uint64_t>(dtype_bits(dtype) / 8);
  const uint64_t bytes = end - begin;
  require(bytes % width == 0 && static_cast<uint64_t>(shape.size()) == bytes / width,
          ErrorCode::kInvalidData, bytes, " bytes of data for ", dtype_name(dtype),
          shape.to_string());
  if (bytes > 0) ranges.push_back({begin, end, name});
  return make_tensor(dtype, shape,
                     data.subspan(static_cast<size_t>(begin), static_cast<size_t>(bytes)), file);
}

void check_overlap(std::vector<Range>& ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const Range& a, const Range& b) { return a.begin < b.begin; });
  for (size_t i = 1; i < ranges.size(); ++i) {
    require(ranges[i - 1].end <= ranges[i].begin, ErrorCode::kInvalidData, "the data of '",
            ranges[i - 1].name, "' and '", ranges[i].name, "' overlap");
  }
}

// Depth is bounded because the format has three levels; duplicate names are refused because a JSON
// object silently keeps the last one.
Json parse_header(std::string_view text) {
  std::vector<std::set<std::string>> keys;
  const auto check = [&](int depth, Json::parse_event_t event, const Json& parsed) {
    require(depth <= 4, ErrorCode::kInvalidData, "the header is nested too deeply");
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      require(keys.back().insert(key).second, ErrorCode::kInvalidData, "the header has '", key,
              "' twice");
    }
    return true;
  };
  try {
    Json header = Json::parse(text.begin(), text.end(), check);
    require(header.is_object(), ErrorCode::kInvalidData, "the header is not an object");
    return header;
  } catch (const Json::exception& error) {
    fail(ErrorCode::kInvalidData, "the header is not JSON: ", error.what());
  }
}

std::map<std::string, Tensor> parse(const std::shared_ptr<const MappedFile>& file) {
  ByteReader reader(file->bytes());
  const auto length = reader.number<uint64_t>();
  require(length <= kMaxHeader, ErrorCode::kInvalidData, "a header of ", length,
          " bytes is beyond the limit of ", kMaxHeader);
  const Json header = parse_header(reader.text(length));
  const auto data = reader.take(reader.remaining());
  std::map<std::string, Tensor> tensors;
  std::vector<Range> ranges;
  for (const auto& item : header.get_ref<const Json::object_t&>()) {
    const std::string& name = item.first;
    if (name == "__metadata__") continue;
    with_context(
        [&] { return str("tensor '", name, "'"); },
        [&] { tensors.emplace(name, parse_entry(item.second, name, data, file, ranges)); });
  }
  check_overlap(ranges);
  return tensors;
}

}  // namespace

std::map<std::string, Tensor> read_safetensors(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  return with_context([&] { return path.string(); }, [&] { return parse(file); });
}

void write_safetensors(const std::filesystem::path& path,
                       const std::map<std::string, Tensor>& tensors) {
  Json header = Json::object();
  uint64_t end = 0;
  for (const auto& [name, tensor] : tensors) {
    const DType dtype = tensor.dtype();
    const auto type = std::find_if(std::begin(kTypes), std::end(kTypes),
                                   [&](const auto& entry) { return entry.second == dtype; });
    require(type != std::end(kTypes), ErrorCode::kUnsupported, "tensor '", name, "': safetensors ",
            "has no ", dtype_name(dtype));
    const uint64_t begin = end;
    end += tensor.bytes();
    header[name] = {{"dtype", type->first},
                    {"shape", std::vector<int64_t>(tensor.shape().begin(), tensor.shape().end())},
                    {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // data are aligned
  const uint64_t length = text.size();
  write_file_atomically(path, [&](const auto& sink) {
    sink(std::as_bytes(std::span(&length, 1)));
    sink(as_bytes(text));
    for (const auto& entry : tensors) {
      sink({static_cast<const std::byte*>(entry.second.raw()), entry.second.bytes()});
    }
  });
}

}  // namespace hugot
