// Test data of ONNX to run-time values.
#ifndef HUGOT_ONNX_DATUM_READER_H_
#define HUGOT_ONNX_DATUM_READER_H_

#include <filesystem>

#include "base/datum.h"

namespace hugot {

// The value in a file that holds one TensorProto, SequenceProto, MapProto or OptionalProto, as test
// data of ONNX do (`input_0.pb`). The file does not say which: `kind` does. Throws kInvalidData,
// kUnsupported, kNotFound or kIo with the path.
Datum read_datum_pb(const std::filesystem::path& path, Kind kind);

}  // namespace hugot

#endif  // HUGOT_ONNX_DATUM_READER_H_
