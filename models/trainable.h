// Which tensors of a model file are its parameters, and where in the network they act.
#ifndef HUGOT_MODELS_TRAINABLE_H_
#define HUGOT_MODELS_TRAINABLE_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"
#include "onnx/loader.h"

namespace hugot {

struct ModelParameter {
  std::string name;         // of the initializer
  std::vector<int> layers;  // numbers of the layers that read it; empty: none that is numbered
  bool embedding = false;   // a table of embeddings, or the normalization behind them
};

// The floating-point initializers that a training of `graph` may change: those behind its outputs
// that are no scalars (factors, epsilons) and no tables of rotary positions. `graph` is that of
// `model`, maybe with its outputs reduced and nodes appended.
//
// The layer is read from the names of the tensor, else of the nodes that read it, else from their
// metadata pkg.torch.onnx.name_scopes: exporters rename weights that they transpose.
std::vector<ModelParameter> find_parameters(const LoadedModel& model, const Graph& graph);

// Throws kUnsupported naming operator and node when a node of the graph computes with quantized
// numbers or weights, which have no gradients that a training could use.
void refuse_quantized(const Graph& graph);

// The number in "encoder.layer.3.output", "/model/layers.3/mlp", "h.3.attn", "block.3.layer.0".
std::optional<int> layer_number(std::string_view name);

// What stays as it is: "embeddings", "layers:3", "layers:0-3", "layers:all", joined by commas. A
// tensor that several layers share is frozen when all of them are. Throws kInvalidArgument for
// another text, and for layers or embeddings that the model does not have.
std::vector<bool> frozen_parameters(const std::vector<ModelParameter>& parameters,
                                    std::string_view freeze);

}  // namespace hugot

#endif  // HUGOT_MODELS_TRAINABLE_H_
