// The generated ONNX messages, with the warnings of generated code silenced.
#ifndef HUGOT_ONNX_PROTO_H_
#define HUGOT_ONNX_PROTO_H_

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include "onnx/onnx.pb.h"
#pragma GCC diagnostic pop

#endif  // HUGOT_ONNX_PROTO_H_
