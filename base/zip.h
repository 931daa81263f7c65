// Zip archives: stored and deflated members, ZIP64.
// Format: APPNOTE.TXT 6.3 (PKWARE).
#ifndef HUGOT_BASE_ZIP_H_
#define HUGOT_BASE_ZIP_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace hugot {

// The members of an archive in memory, as its central directory lists them. The archive's bytes
// must outlive the reader. Members never share bytes, so a reader that unpacks all of them does
// work in proportion to the archive's size times the best ratio of deflate.
class ZipReader {
 public:
  struct Member {
    std::string name;
    uint64_t size = 0;  // unpacked; at most 1032 times the packed size
  };

  // Throws kInvalidData for a malformed directory, kUnsupported for encryption, archives in several
  // parts and other compression methods.
  explicit ZipReader(std::span<const std::byte> archive);

  const std::vector<Member>& members() const { return members_; }

  // Unpacks members()[index] into `out`, which has to be its size, and checks its CRC.
  // Throws kInvalidData naming the member.
  void read(size_t index, std::span<std::byte> out) const;

 private:
  struct Location {
    std::span<const std::byte> packed;
    uint32_t crc = 0;
    bool deflated = false;
  };

  std::vector<Member> members_;
  std::vector<Location> locations_;
};

// Writes an archive of stored members front to back; the same calls give the same bytes.
class ZipWriter {
 public:
  using Sink = std::function<void(std::span<const std::byte>)>;

  explicit ZipWriter(Sink sink) : sink_(std::move(sink)) {}

  // The member's bytes are those of `parts`, joined. Throws kInvalidArgument for a name that is
  // there already or too long.
  void add(const std::string& name, std::span<const std::span<const std::byte>> parts);
  // Writes the directory. Nothing may be added afterwards.
  void finish();

 private:
  struct Entry {
    std::string name;
    uint64_t size;
    uint64_t offset;
    uint32_t crc;
  };

  void emit(std::span<const std::byte> bytes);

  Sink sink_;
  uint64_t position_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace hugot

#endif  // HUGOT_BASE_ZIP_H_
