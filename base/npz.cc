#include "base/npz.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <set>

#include "base/bytes.h"
#include "base/error.h"
#include "base/file.h"
#include "base/zip.h"

namespace hugot {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kMaxHeader = size_t{1} << 20;
constexpr size_t kAlignment = 64;  // of tensors, and of the data behind numpy's headers

// ---------------------------------------------------------------------------------------------
// The header: a Python dict literal such as {'descr': '<f4', 'fortran_order': False, 'shape': (3,)}

struct Header {
  DType dtype = DType::kUndefined;
  char kind = 0;        // numpy's letter: 'f', 'U', ..
  size_t itemsize = 0;  // bytes of one element in the file
  bool fortran_order = false;
  std::vector<int64_t> dims;
};

class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : text_(text) {}

  Header parse() {
    Header header;
    expect('{');
    while (!accept('}')) {
      parse_member(header);
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    check(text_.empty());
    check(keys_.size() == 3);
    return header;
  }

 private:
  void parse_member(Header& header) {
    const std::string key(string());
    check(keys_.insert(key).second);
    expect(':');
    if (key == "descr") {
      parse_descr(header);
    } else if (key == "fortran_order") {
      header.fortran_order = boolean();
    } else if (key == "shape") {
      header.dims = tuple();
    } else {
      fail(ErrorCode::kInvalidData, "the array header has an unknown key '", key, "'");
    }
  }

  void parse_descr(Header& header) {
    skip_space();
    require(!text_.starts_with('['), ErrorCode::kUnsupported,
            "structured arrays are not supported");
    const std::string_view descr = string();
    check(descr.size() >= 3);
    const char order = descr[0];
    check(order == '<' || order == '>' || order == '|' || order == '=');
    header.kind = descr[1];
    check(header.kind != 'O', "object arrays cannot be read");
    uint32_t width = 0;
    const char* end = descr.data() + descr.size();
    const auto [last, status] = std::from_chars(descr.data() + 2, end, width);
    check(status == std::errc() && last == end && width <= (1u << 28));
    header.itemsize = header.kind == 'U' ? size_t{width} * 4 : width;
    header.dtype = find_dtype(header.kind, width);
    require(header.dtype != DType::kUndefined, ErrorCode::kUnsupported, "element type '", descr,
            "' is not supported");
    require(order != '>' || header.kind == 'S' || header.itemsize == 1, ErrorCode::kUnsupported,
            "big-endian arrays are not supported");
  }

  static DType find_dtype(char kind, uint32_t width) {
    struct Entry {
      char kind;
      uint32_t width;
      DType dtype;
    };
    static constexpr Entry kEntries[] = {
        {'b', 1, DType::kBool},      {'i', 1, DType::kInt8},        {'i', 2, DType::kInt16},
        {'i', 4, DType::kInt32},     {'i', 8, DType::kInt64},       {'u', 1, DType::kUInt8},
        {'u', 2, DType::kUInt16},    {'u', 4, DType::kUInt32},      {'u', 8, DType::kUInt64},
        {'f', 2, DType::kFloat16},   {'f', 4, DType::kFloat32},     {'f', 8, DType::kFloat64},
        {'c', 8, DType::kComplex64}, {'c', 16, DType::kComplex128},
    };
    if (kind == 'U' || kind == 'S') return DType::kString;
    for (const Entry& entry : kEntries) {
      if (entry.kind == kind && entry.width == width) return entry.dtype;
    }
    return DType::kUndefined;
  }

  std::vector<int64_t> tuple() {
    std::vector<int64_t> dims;
    expect('(');
    while (!accept(')')) {
      dims.push_back(integer());
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return dims;
  }

  int64_t integer() {
    skip_space();
    int64_t value = 0;
    const auto [last, status] = std::from_chars(text_.data(), text_.data() + text_.size(), value);
    check(status == std::errc() && value >= 0);
    text_.remove_prefix(static_cast<size_t>(last - text_.data()));
    if (text_.starts_with('L')) text_.remove_prefix(1);  // Python 2 wrote long integers so
    return value;
  }

  bool boolean() {
    skip_space();
    for (const bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      if (text_.starts_with(word)) {
        text_.remove_prefix(word.size());
        return value;
      }
    }
    fail(ErrorCode::kInvalidData, "the array header is malformed");
  }

  std::string_view string() {
    skip_space();
    check(!text_.empty() && (text_[0] == '\'' || text_[0] == '"'));
    const size_t end = text_.find(text_[0], 1);
    check(end != std::string_view::npos);
    const std::string_view value = text_.substr(1, end - 1);
    text_.remove_prefix(end + 1);
    return value;
  }

  bool accept(char c) {
    skip_space();
    if (!text_.starts_with(c)) return false;
    text_.remove_prefix(1);
    return true;
  }

  void expect(char c) { check(accept(c)); }

  void skip_space() {
    while (!text_.empty() && (text_[0] == ' ' || (text_[0] >= '\t' && text_[0] <= '\r'))) {
      text_.remove_prefix(1);
    }
  }

  static void check(bool condition, std::string_view message = "the array header is malformed") {
    require(condition, ErrorCode::kInvalidData, message);
  }

  std::string_view text_;
  std::set<std::string> keys_;
};

// ---------------------------------------------------------------------------------------------
// Elements

void append_utf8(std::string& out, uint32_t c) {
  const auto put = [&out](uint32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xc0 | c >> 6);
    put(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    put(0xe0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3f));
    put(0x80 | (c & 0x3f));
  } else {
    put(0xf0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3f));
    put(0x80 | (c >> 6 & 0x3f));
    put(0x80 | (c & 0x3f));
  }
}

// Appends the code points; false when `text` is not UTF-8.
bool decode_utf8(std::string_view text, std::u32string& out) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<uint8_t>(text[i]);
    const int length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (length == 0 || lead > 0xf4 || i + static_cast<size_t>(length) > text.size()) return false;
    uint32_t c = length == 1 ? lead : lead & (0x7fu >> length);
    for (int k = 1; k < length; ++k) {
      const auto byte = static_cast<uint8_t>(text[i + static_cast<size_t>(k)]);
      if ((byte & 0xc0) != 0x80) return false;
      c = c << 6 | (byte & 0x3fu);
    }
    const bool overlong = (length == 3 && c < 0x800) || (length == 4 && c < 0x10000);
    if (overlong || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return false;
    out += static_cast<char32_t>(c);
    i += static_cast<size_t>(length);
  }
  return true;
}

// Numpy pads with zeros at the end, which are not part of the string.
std::string decode_item(std::span<const std::byte> item, char kind) {
  std::string out;
  if (kind == 'S') {
    out.assign(reinterpret_cast<const char*>(item.data()), item.size());
    out.erase(out.find_last_not_of('\0') + 1);
    return out;
  }
  ByteReader reader(item);
  std::u32string text;
  while (reader.remaining() > 0) text += reader.number<char32_t>();
  text.erase(text.find_last_not_of(U'\0') + 1);
  for (const char32_t c : text) {
    require(c <= 0x10ffff && (c < 0xd800 || c >= 0xe000), ErrorCode::kInvalidData,
            "a string has a code point that does not exist");
    append_utf8(out, c);
  }
  return out;
}

// Copies an array whose first axis runs fastest into row-major order.
void copy_transposed(const std::byte* in, size_t itemsize, const Shape& shape, std::byte* out) {
  std::array<size_t, Shape::kMaxRank> stride{};
  std::array<int64_t, Shape::kMaxRank> index{};
  size_t step = itemsize;
  for (int i = 0; i < shape.rank(); ++i) {
    stride[static_cast<size_t>(i)] = step;
    step *= static_cast<size_t>(shape[i]);
  }
  for (int64_t n = 0; n < shape.size(); ++n) {
    size_t offset = 0;
    for (size_t i = 0; i < index.size(); ++i) offset += static_cast<size_t>(index[i]) * stride[i];
    std::memcpy(out, in + offset, itemsize);
    out += itemsize;
    for (int i = shape.rank() - 1; i >= 0; --i) {
      if (++index[static_cast<size_t>(i)] < shape[i]) break;
      index[static_cast<size_t>(i)] = 0;
    }
  }
}

void normalize_bools(Tensor& tensor) {
  auto* bytes = static_cast<uint8_t*>(tensor.raw());
  std::transform(bytes, bytes + tensor.size(), bytes,
                 [](uint8_t b) { return static_cast<uint8_t>(b != 0); });
}

// With an owner of `bytes`, which must be writable, the result may be a view on them.
Tensor parse_npy(std::span<const std::byte> bytes, std::shared_ptr<const void> owner) {
  ByteReader reader(bytes);
  require(reader.remaining() >= kMagic.size() && reader.text(kMagic.size()) == kMagic,
          ErrorCode::kInvalidData, "not a numpy array");
  const auto major = reader.number<uint8_t>();
  reader.number<uint8_t>();
  require(major >= 1 && major <= 3, ErrorCode::kUnsupported, "version ", int{major},
          " of the array format is not supported");
  const uint32_t length = major == 1 ? reader.number<uint16_t>() : reader.number<uint32_t>();
  require(length <= kMaxHeader, ErrorCode::kInvalidData, "an array header of ", length,
          " bytes is too long");
  const Header header = HeaderParser(reader.text(length)).parse();

  const Shape shape = shape_from_file(header.dims);
  const auto data = reader.take(reader.remaining());
  const auto count = static_cast<uint64_t>(shape.size());
  // Strings of width 0 would give any number of elements without data.
  require(header.itemsize > 0 || count == 0, ErrorCode::kInvalidData, "elements of zero bytes");
  require(count == 0 ? data.empty()
                     : data.size() % header.itemsize == 0 && data.size() / header.itemsize == count,
          ErrorCode::kInvalidData, data.size(), " bytes of data for ", shape.to_string(),
          " elements of ", header.itemsize, " bytes");

  std::vector<std::byte> row_major;
  std::span<const std::byte> items = data;
  if (header.fortran_order && shape.rank() > 1) {
    row_major.resize(data.size());
    copy_transposed(data.data(), header.itemsize, shape, row_major.data());
    items = row_major;
  }
  if (items.data() == data.data() && owner != nullptr && header.dtype != DType::kString &&
      reinterpret_cast<uintptr_t>(data.data()) % kAlignment == 0) {
    Tensor view(header.dtype, shape, data.data(), std::move(owner));
    if (header.dtype == DType::kBool) normalize_bools(view);
    return view;
  }
  Tensor out(header.dtype, shape);
  if (header.dtype == DType::kString) {
    for (size_t i = 0; i < count; ++i) {
      out.data<std::string>()[i] =
          decode_item(items.subspan(i * header.itemsize, header.itemsize), header.kind);
    }
  } else if (!items.empty()) {
    std::memcpy(out.raw(), items.data(), items.size());
    if (header.dtype == DType::kBool) normalize_bools(out);
  }
  return out;
}

// ---------------------------------------------------------------------------------------------
// Writing

// An array as numpy stores it: `data` points into the tensor or into `converted`.
struct Encoded {
  std::string descr;
  std::string converted;
  std::span<const std::byte> data;
};

Encoded encode_strings(const Tensor& tensor) {
  const auto values = tensor.values<std::string>();
  std::vector<std::u32string> texts(values.size());
  bool utf8 = true;
  size_t width = 1;
  size_t byte_width = 1;
  for (size_t i = 0; i < values.size(); ++i) {
    utf8 = utf8 && decode_utf8(values[i], texts[i]);
    width = std::max(width, texts[i].size());
    byte_width = std::max(byte_width, values[i].size());
  }
  const size_t itemsize = utf8 ? width * 4 : byte_width;
  Encoded out;
  out.descr = utf8 ? str("<U", width) : str("|S", byte_width);
  out.converted.resize(itemsize * values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const void* from = utf8 ? static_cast<const void*>(texts[i].data()) : values[i].data();
    std::memcpy(out.converted.data() + i * itemsize, from,
                utf8 ? texts[i].size() * 4 : values[i].size());
  }
  return out;
}

// 4- and 2-bit elements, one byte each.
std::string unpack(const Tensor& tensor, int bits, bool is_signed) {
  const auto* packed = static_cast<const uint8_t*>(tensor.raw());
  std::string out(static_cast<size_t>(tensor.size()), '\0');
  const int per_byte = 8 / bits;
  for (size_t i = 0; i < out.size(); ++i) {
    const int shift = static_cast<int>(i % static_cast<size_t>(per_byte)) * bits;
    const int value = packed[i / static_cast<size_t>(per_byte)] >> shift & ((1 << bits) - 1);
    const bool negative = is_signed && (value >> (bits - 1)) != 0;
    out[i] = static_cast<char>(negative ? value - (1 << bits) : value);
  }
  return out;
}

std::string_view numpy_descr(DType dtype) {
  switch (dtype) {
    case DType::kBool:
      return "|b1";
    case DType::kInt8:
      return "|i1";
    case DType::kInt16:
      return "<i2";
    case DType::kInt32:
      return "<i4";
    case DType::kInt64:
      return "<i8";
    case DType::kUInt32:
      return "<u4";
    case DType::kUInt64:
      return "<u8";
    case DType::kFloat16:
      return "<f2";
    case DType::kFloat32:
      return "<f4";
    case DType::kFloat64:
      return "<f8";
    case DType::kComplex64:
      return "<c8";
    case DType::kComplex128:
      return "<c16";
    default:  // the types without a name in numpy go by their width
      return dtype_bits(dtype) == 16 ? "<u2" : "|u1";
  }
}

Encoded encode(const Tensor& tensor) {
  if (tensor.dtype() == DType::kString) return encode_strings(tensor);
  Encoded out;
  const int bits = dtype_bits(tensor.dtype());
  if (bits < 8) {
    const bool is_signed = tensor.dtype() == DType::kInt4 || tensor.dtype() == DType::kInt2;
    out.descr = is_signed ? "|i1" : "|u1";
    out.converted = unpack(tensor, bits, is_signed);
  } else {
    out.descr = numpy_descr(tensor.dtype());
    out.data = {static_cast<const std::byte*>(tensor.raw()), tensor.bytes()};
  }
  return out;
}

std::string npy_header(std::string_view descr, const Shape& shape) {
  std::string dict = str("{'descr': '", descr, "', 'fortran_order': False, 'shape': (");
  for (int i = 0; i < shape.rank(); ++i) dict += str(i > 0 ? ", " : "", shape[i]);
  dict += shape.rank() == 1 ? ",), }" : "), }";
  std::string out(kMagic);
  out.append("\x01\x00", 2);
  // Magic, version, length, dict and newline fill a multiple of 64 bytes.
  const size_t fixed = out.size() + 2;
  dict.append(63 - (fixed + dict.size()) % 64, ' ');
  dict += '\n';
  append_number(out, static_cast<uint16_t>(dict.size()));
  return out + dict;
}

void add_array(ZipWriter& zip, const std::string& name, const Tensor& tensor) {
  require(tensor.defined(), ErrorCode::kInvalidArgument, "array '", name, "' is undefined");
  Encoded array = encode(tensor);
  if (!array.converted.empty()) array.data = as_bytes(array.converted);
  const std::string header = npy_header(array.descr, tensor.shape());
  const std::span<const std::byte> parts[] = {as_bytes(header), array.data};
  zip.add(name + ".npy", parts);
}

}  // namespace

NamedTensors parse_npz(std::span<const std::byte> archive) {
  const ZipReader zip(archive);
  NamedTensors arrays;
  std::set<std::string> names;
  for (size_t i = 0; i < zip.members().size(); ++i) {
    const ZipReader::Member& member = zip.members()[i];
    std::string name = member.name;
    if (name.ends_with(".npy")) name.resize(name.size() - 4);
    with_context(
        [&] { return str("array '", name, "'"); },
        [&] {
          require(names.insert(name).second, ErrorCode::kInvalidData, "it is there twice");
          // The array stays where it was unpacked. A tensor as buffer: allocation failures become
          // errors.
          const auto buffer =
              std::make_shared<Tensor>(DType::kUInt8, Shape{static_cast<int64_t>(member.size)});
          const std::span<std::byte> bytes(static_cast<std::byte*>(buffer->raw()), buffer->bytes());
          zip.read(i, bytes);
          arrays.emplace_back(name, parse_npy(bytes, buffer));
        });
  }
  return arrays;
}

NamedTensors read_npz(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  return with_context([&] { return path.string(); }, [&] { return parse_npz(file->bytes()); });
}

Tensor read_npy(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  return with_context([&] { return path.string(); },
                      [&] { return parse_npy(file->bytes(), nullptr); });
}

void write_npz(const std::filesystem::path& path, const NamedTensors& arrays) {
  write_file_atomically(path, [&](const auto& sink) {
    ZipWriter zip(sink);
    for (const auto& [name, tensor] : arrays) add_array(zip, name, tensor);
    zip.finish();
  });
}

}  // namespace hugot
