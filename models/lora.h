// Low-rank adaptation: instead of a matrix, two thin ones beside it are trained.
// Method: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models".
#ifndef HUGOT_MODELS_LORA_H_
#define HUGOT_MODELS_LORA_H_

#include <cstdint>
#include <string>

#include "base/tensor.h"
#include "graph/graph.h"
#include "graph/op.h"

namespace hugot {

// In the place of a matrix W [m, n] stands W + scale A B.
struct Adapter {
  std::string weight;  // name of W
  std::string a, b;    // of the initializers A [m, rank] and B [rank, n]
  double scale = 1;    // alpha / rank
};

// Puts an adapter on the initializer `weight`, a matrix of float32 or half precision. A has random
// numbers evenly from [-1, 1) / sqrt(m) by `seed`, B zeros: at first nothing changes. Facts are
// inferred. Throws kInvalidArgument for other tensors, and for a rank that is not less than m and
// n.
Adapter add_adapter(Graph& graph, const OpRegistry& ops, const std::string& weight, int64_t rank,
                    double alpha, uint64_t seed);

// W + scale A B, computed in float64, in the element type of W.
Tensor merge_adapter(const Adapter& adapter, const Tensor& w, const Tensor& a, const Tensor& b);

}  // namespace hugot

#endif  // HUGOT_MODELS_LORA_H_
