// The safetensors format: u64 header length, JSON header, raw little-endian data.
#ifndef HUGOT_BASE_SAFETENSORS_H_
#define HUGOT_BASE_SAFETENSORS_H_

#include <filesystem>
#include <map>
#include <string>

#include "base/tensor.h"

namespace hugot {

// All tensors of a file as read-only views on its map (copies where data are misaligned for their
// type). Throws kInvalidData for headers that overlap, exceed
// the file or disagree with their shapes.
std::map<std::string, Tensor> read_safetensors(const std::filesystem::path& path);

// Writes tensors, in the order of their names, atomically. Throws kUnsupported for element types
// that the format lacks, kIo as write_file_atomically does.
void write_safetensors(const std::filesystem::path& path,
                       const std::map<std::string, Tensor>& tensors);

}  // namespace hugot

#endif  // HUGOT_BASE_SAFETENSORS_H_
