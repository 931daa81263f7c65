// Weights of linear layers in fewer bits in the file.
#ifndef HUGOT_MODELS_NARROW_WEIGHTS_H_
#define HUGOT_MODELS_NARROW_WEIGHTS_H_

#include <cstddef>

#include "graph/graph.h"
#include "graph/op.h"
#include "hugot/hugot.hpp"
#include "onnx/loader.h"

namespace hugot {

// Key of a model's metadata: the precision that it was converted for, "bf16" or "int8".
inline constexpr const char* kPrecisionKey = "hugot.precision";

// What the model's metadata say; kFloat32 when they say nothing that is known.
Precision stored_precision(const LoadedModel& model);

// Stores the matrices that MatMul and Gemm nodes multiply by in fewer bits, and puts the standard
// operator that makes float32 of them before their readers, so that any engine runs the graph:
// DequantizeLinear with a scale per column (round(w / scale) in -127..127, scale = largest |w| /
// 127) for kInt8, Cast for kBFloat16. These are the numbers that the engine's own int8 and bf16
// layers compute with. Matrices that something else reads as well, that are not finite, or that
// are smaller than what would be added stay as they are, as do embeddings. Upgrades the graph to
// version 13 of ai.onnx, which both operators need. Returns the number of matrices.
size_t narrow_weights(Graph& graph, Precision precision, const OpRegistry& ops);

// The same for tables whose rows Gather nodes pick by their first axis: embeddings. The rows are
// widened behind the Gather, by Cast and, for kInt8, by a Mul with a scale per row that a second
// Gather picks, so that a table takes a quarter (half) of its space in memory, too. Tables that
// something else reads as well stay as they are. Returns the number of tables.
size_t narrow_embeddings(Graph& graph, Precision precision, const OpRegistry& ops);

}  // namespace hugot

#endif  // HUGOT_MODELS_NARROW_WEIGHTS_H_
