#include "base/zip.h"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "base/bytes.h"
#include "base/error.h"

namespace hugot {
namespace {

constexpr uint32_t kLocalHeader = 0x04034b50;
constexpr uint32_t kCentralHeader = 0x02014b50;
constexpr uint32_t kEnd = 0x06054b50;
constexpr uint32_t kEnd64 = 0x06064b50;
constexpr uint32_t kEnd64Locator = 0x07064b50;
constexpr size_t kEndSize = 22;
constexpr size_t kEnd64LocatorSize = 20;
constexpr uint16_t kExtra64 = 1;
constexpr uint32_t kIn64 = 0xffffffff;  // the field's value is in the ZIP64 record
constexpr uint16_t kStored = 0;
constexpr uint16_t kDeflated = 8;
constexpr uint16_t kFlagEncrypted = 1;
constexpr uint16_t kFlagUtf8 = 1 << 11;
constexpr uint16_t kVersion = 20;
constexpr uint16_t kVersion64 = 45;
constexpr uint64_t kMaxDeflateRatio = 1032;
// zlib counts in 32 bits; its calls get no more than this.
constexpr uint64_t kZlibStep = uint64_t{1} << 30;

struct Directory {
  uint64_t entries;
  uint64_t size;
  uint64_t offset;
};

std::span<const std::byte> part(std::span<const std::byte> archive, uint64_t offset,
                                uint64_t size) {
  require(offset <= archive.size() && size <= archive.size() - offset, ErrorCode::kInvalidData,
          "the zip directory points outside of the file");
  return archive.subspan(static_cast<size_t>(offset), static_cast<size_t>(size));
}

// The end record is the last thing in the file but for a comment whose length it states.
size_t find_end(std::span<const std::byte> archive) {
  require(archive.size() >= kEndSize, ErrorCode::kInvalidData, "not a zip archive");
  const size_t last = archive.size() - kEndSize;
  const size_t first = last > 0xffff ? last - 0xffff : 0;
  for (size_t at = last + 1; at-- > first;) {
    ByteReader reader(archive.subspan(at));
    if (reader.number<uint32_t>() != kEnd) continue;
    reader.take(16);
    if (reader.number<uint16_t>() == last - at) return at;
  }
  fail(ErrorCode::kInvalidData, "not a zip archive, or a truncated one");
}

Directory read_end64(std::span<const std::byte> archive, size_t end) {
  ByteReader locator(part(archive, end - kEnd64LocatorSize, kEnd64LocatorSize));
  locator.take(8);
  const auto offset = locator.number<uint64_t>();
  ByteReader record(part(archive, offset, 56));
  require(record.number<uint32_t>() == kEnd64, ErrorCode::kInvalidData,
          "the ZIP64 end record is damaged");
  record.take(8 + 2 + 2);
  const auto disk = record.number<uint32_t>();
  const auto directory_disk = record.number<uint32_t>();
  require(disk == 0 && directory_disk == 0, ErrorCode::kUnsupported,
          "zip archives in several parts are not supported");
  record.take(8);
  Directory directory{};
  directory.entries = record.number<uint64_t>();
  directory.size = record.number<uint64_t>();
  directory.offset = record.number<uint64_t>();
  return directory;
}

Directory read_end(std::span<const std::byte> archive) {
  const size_t end = find_end(archive);
  if (end >= kEnd64LocatorSize) {
    ByteReader locator(archive.subspan(end - kEnd64LocatorSize));
    if (locator.number<uint32_t>() == kEnd64Locator) return read_end64(archive, end);
  }
  ByteReader reader(archive.subspan(end + 4));
  const auto disk = reader.number<uint16_t>();
  const auto directory_disk = reader.number<uint16_t>();
  require(disk == 0 && directory_disk == 0, ErrorCode::kUnsupported,
          "zip archives in several parts are not supported");
  reader.take(2);
  Directory directory{};
  directory.entries = reader.number<uint16_t>();
  directory.size = reader.number<uint32_t>();
  directory.offset = reader.number<uint32_t>();
  return directory;
}

// Replaces those of `fields` that say so by the ZIP64 record of a header's extra data.
void read_extra64(std::span<const std::byte> extra, std::initializer_list<uint64_t*> fields) {
  ByteReader reader(extra);
  while (reader.remaining() >= 4) {
    const auto id = reader.number<uint16_t>();
    ByteReader record(reader.take(reader.number<uint16_t>()));
    if (id != kExtra64) continue;
    for (uint64_t* field : fields) {
      if (*field == kIn64) *field = record.number<uint64_t>();
    }
    return;
  }
}

struct CentralEntry {
  uint16_t flags;
  uint16_t method;
  uint32_t crc;
  uint64_t packed_size;
  uint64_t size;
  uint64_t offset;
  std::string name;
};

CentralEntry read_central_entry(ByteReader& reader) {
  require(reader.number<uint32_t>() == kCentralHeader, ErrorCode::kInvalidData,
          "the zip directory is damaged");
  CentralEntry entry{};
  reader.take(4);
  entry.flags = reader.number<uint16_t>();
  entry.method = reader.number<uint16_t>();
  reader.take(4);
  entry.crc = reader.number<uint32_t>();
  entry.packed_size = reader.number<uint32_t>();
  entry.size = reader.number<uint32_t>();
  const auto name_size = reader.number<uint16_t>();
  const auto extra_size = reader.number<uint16_t>();
  const auto comment_size = reader.number<uint16_t>();
  reader.take(8);
  entry.offset = reader.number<uint32_t>();
  entry.name = reader.text(name_size);
  read_extra64(reader.take(extra_size), {&entry.size, &entry.packed_size, &entry.offset});
  reader.take(comment_size);
  return entry;
}

std::span<const std::byte> find_data(std::span<const std::byte> archive,
                                     const CentralEntry& entry) {
  require((entry.flags & kFlagEncrypted) == 0, ErrorCode::kUnsupported,
          "encrypted members are not supported");
  require(entry.method == kStored || entry.method == kDeflated, ErrorCode::kUnsupported,
          "compression method ", entry.method, " is not supported");
  require(entry.method == kStored ? entry.size == entry.packed_size
                                  : entry.size / kMaxDeflateRatio <= entry.packed_size,
          ErrorCode::kInvalidData, "sizes ", entry.packed_size, " and ", entry.size,
          " contradict each other");
  require(entry.offset <= archive.size(), ErrorCode::kInvalidData, "it lies outside of the file");
  ByteReader reader(archive.subspan(static_cast<size_t>(entry.offset)));
  require(reader.number<uint32_t>() == kLocalHeader, ErrorCode::kInvalidData,
          "its header is damaged");
  reader.take(22);
  const auto name_size = reader.number<uint16_t>();
  const auto extra_size = reader.number<uint16_t>();
  require(reader.text(name_size) == entry.name, ErrorCode::kInvalidData,
          "its header has another name");
  reader.take(extra_size);
  return reader.take(entry.packed_size);
}

uint32_t update_crc(uint32_t crc, std::span<const std::byte> bytes) {
  if (bytes.empty()) return crc;  // zlib begins anew where there is no pointer
  return static_cast<uint32_t>(
      crc32_z(crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

class Inflater {
 public:
  Inflater() {
    // Negative window bits: deflate data without the zlib header.
    require(inflateInit2(&stream_, -MAX_WBITS) == Z_OK, ErrorCode::kOutOfMemory,
            "no memory to inflate");
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // True when `in` is one complete stream that gives exactly `out`.
  bool run(std::span<const std::byte> in, std::span<std::byte> out) {
    // A stream that still has something to say when `out` is full gets one byte that must stay
    // unused.
    std::byte spare{};
    for (;;) {
      const auto feed = std::min<uint64_t>(in.size(), kZlibStep);
      const auto room = std::min<uint64_t>(out.size(), kZlibStep);
      stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(in.data()));
      stream_.avail_in = static_cast<uInt>(feed);
      stream_.next_out = reinterpret_cast<Bytef*>(room > 0 ? out.data() : &spare);
      stream_.avail_out = static_cast<uInt>(std::max<uint64_t>(room, 1));
      const int status = inflate(&stream_, Z_NO_FLUSH);
      const auto written = std::max<uint64_t>(room, 1) - stream_.avail_out;
      if (written > room) return false;
      in = in.subspan(static_cast<size_t>(feed - stream_.avail_in));
      out = out.subspan(static_cast<size_t>(written));
      if (status == Z_STREAM_END) return in.empty() && out.empty();
      if (status != Z_OK) return false;
    }
  }

 private:
  z_stream stream_{};
};

}  // namespace

ZipReader::ZipReader(std::span<const std::byte> archive) {
  const Directory directory = read_end(archive);
  ByteReader reader(part(archive, directory.offset, directory.size));
  uint64_t packed_total = 0;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    CentralEntry entry = read_central_entry(reader);
    with_context([&] { return str("member '", entry.name, "'"); },
                 [&] {
                   const auto packed = find_data(archive, entry);
                   packed_total += packed.size();
                   require(packed_total <= archive.size(), ErrorCode::kInvalidData,
                           "members overlap");
                   locations_.push_back({packed, entry.crc, entry.method == kDeflated});
                 });
    members_.push_back({std::move(entry.name), entry.size});
  }
}

void ZipReader::read(size_t index, std::span<std::byte> out) const {
  const Member& member = members_[index];
  const Location& location = locations_[index];
  require(out.size() == member.size, ErrorCode::kInternal, "zip member '", member.name, "' has ",
          member.size, " bytes, not ", out.size());
  if (location.deflated) {
    require(Inflater().run(location.packed, out), ErrorCode::kInvalidData, "member '", member.name,
            "': the compressed data are damaged");
  } else {
    std::copy(location.packed.begin(), location.packed.end(), out.begin());
  }
  require(update_crc(0, out) == location.crc, ErrorCode::kInvalidData, "member '", member.name,
          "': wrong checksum");
}

void ZipWriter::emit(std::span<const std::byte> bytes) {
  sink_(bytes);
  position_ += bytes.size();
}

namespace {

uint32_t narrow(uint64_t value) { return value >= kIn64 ? kIn64 : static_cast<uint32_t>(value); }

// The fields that local and central headers have in common, version to name length. Members are
// dated 1980-01-01, the format's zero, so that archives do not depend on the clock.
std::string common_header(const std::string& name, uint64_t size, uint32_t crc, bool zip64) {
  const bool ascii = std::all_of(name.begin(), name.end(), [](char c) { return c >= 0; });
  std::string out;
  append_number(out, zip64 ? kVersion64 : kVersion);
  append_number(out, ascii ? uint16_t{0} : kFlagUtf8);
  append_number(out, kStored);
  append_number(out, uint16_t{0});
  append_number(out, uint16_t{0x21});
  append_number(out, crc);
  append_number(out, narrow(size));
  append_number(out, narrow(size));
  append_number(out, static_cast<uint16_t>(name.size()));
  return out;
}

// The ZIP64 record with those of the numbers that do not fit into their fields.
std::string extra64(std::initializer_list<uint64_t> numbers) {
  std::string body;
  for (const uint64_t number : numbers) {
    if (number >= kIn64) append_number(body, number);
  }
  std::string out;
  if (body.empty()) return out;
  append_number(out, kExtra64);
  append_number(out, static_cast<uint16_t>(body.size()));
  return out + body;
}

}  // namespace

void ZipWriter::add(const std::string& name, std::span<const std::span<const std::byte>> parts) {
  require(name.size() <= 0xffff, ErrorCode::kInvalidArgument,
          "the name of a zip member is too long");
  Entry entry{name, 0, position_, 0};
  for (const auto bytes : parts) {
    entry.size += bytes.size();
    entry.crc = update_crc(entry.crc, bytes);
  }
  const std::string extra = extra64({entry.size, entry.size});
  std::string header;
  append_number(header, kLocalHeader);
  header += common_header(name, entry.size, entry.crc, !extra.empty());
  append_number(header, static_cast<uint16_t>(extra.size()));
  emit(as_bytes(header + name + extra));
  for (const auto bytes : parts) emit(bytes);
  entries_.push_back(std::move(entry));
}

void ZipWriter::finish() {
  std::set<std::string_view> names;
  const uint64_t begin = position_;
  for (const Entry& entry : entries_) {
    require(names.insert(entry.name).second, ErrorCode::kInvalidArgument, "two members are named '",
            entry.name, "'");
    const std::string extra = extra64({entry.size, entry.size, entry.offset});
    std::string header;
    append_number(header, kCentralHeader);
    append_number(header, extra.empty() ? kVersion : kVersion64);
    header += common_header(entry.name, entry.size, entry.crc, !extra.empty());
    append_number(header, static_cast<uint16_t>(extra.size()));
    header.append(2 + 2 + 2 + 4, '\0');  // comment, disk, attributes
    append_number(header, narrow(entry.offset));
    emit(as_bytes(header + entry.name + extra));
  }
  const uint64_t size = position_ - begin;
  std::string end;
  if (entries_.size() >= 0xffff || size >= kIn64 || begin >= kIn64) {
    const uint64_t end64 = position_;
    append_number(end, kEnd64);
    append_number(end, uint64_t{44});
    append_number(end, kVersion64);
    append_number(end, kVersion64);
    append_number(end, uint64_t{0});  // disks
    append_number(end, static_cast<uint64_t>(entries_.size()));
    append_number(end, static_cast<uint64_t>(entries_.size()));
    append_number(end, size);
    append_number(end, begin);
    append_number(end, kEnd64Locator);
    append_number(end, uint32_t{0});
    append_number(end, end64);
    append_number(end, uint32_t{1});
  }
  const auto count = static_cast<uint16_t>(std::min<size_t>(entries_.size(), 0xffff));
  append_number(end, kEnd);
  append_number(end, uint32_t{0});  // disks
  append_number(end, count);
  append_number(end, count);
  append_number(end, narrow(size));
  append_number(end, narrow(begin));
  append_number(end, uint16_t{0});
  emit(as_bytes(end));
}

}  // namespace hugot
