// Numpy's .npy arrays and .npz archives (zip of .npy).
// Format: numpy.lib.format 1.0-3.0 and APPNOTE.TXT of the zip format (stored and deflated members,
// ZIP64 sizes).
#ifndef HUGOT_BASE_NPZ_H_
#define HUGOT_BASE_NPZ_H_

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/tensor.h"

namespace hugot {

// Arrays in the order of the archive. Throws kInvalidData naming file and member for anything
// malformed (bad checksum, truncated data, object arrays), kUnsupported for big-endian and
// structured arrays, kNotFound or kIo for the file itself. The tensors own writable memory;
// fortran-ordered arrays are row-major, and '<U' and 'S' arrays are strings.
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

NamedTensors read_npz(const std::filesystem::path& path);
// The same from the bytes of an archive.
NamedTensors parse_npz(std::span<const std::byte> archive);
Tensor read_npy(const std::filesystem::path& path);

// Writes stored (uncompressed) members atomically; equal arrays give equal bytes. bfloat16 and
// other types numpy lacks are written as unsigned integers of the same width, 4- and 2-bit integers
// as (u)int8. Strings become '<U' arrays, or 'S' when one of them is not UTF-8; either way numpy
// drops zeros at the end of a string.
void write_npz(const std::filesystem::path& path, const NamedTensors& arrays);

}  // namespace hugot

#endif  // HUGOT_BASE_NPZ_H_
