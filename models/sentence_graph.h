// What happens behind a transformer, as nodes of its graph: pooling, layers, a classifier.
// Formulas: as models/pooling.h.
#ifndef HUGOT_MODELS_SENTENCE_GRAPH_H_
#define HUGOT_MODELS_SENTENCE_GRAPH_H_

#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/tensor.h"
#include "graph/graph.h"
#include "graph/op.h"
#include "models/model_directory.h"

namespace hugot {

// Appends the modules to the graph's one output, which becomes a vector per text, [batch, dim].
// Without a pooling among them it is the mean. Weights of Dense modules become initializers called
// dense_tensor_name(). Nothing happens when the output is one already, and
// so holds the modules. Facts are inferred. Throws kInvalidArgument when the output is neither
// [batch, sequence, dim] nor [batch, dim], and what Dense throws.
void append_sentence_head(Graph& graph, const OpRegistry& ops,
                          std::span<const SentenceModule> modules);

// "2_Dense/linear.weight": of a tensor in the file of a Dense module.
std::string dense_tensor_name(const SentenceModule& module, std::string_view tensor);

// Appends logits = x weight^T + bias to the graph's one output x, [batch, dim]: `weight` is
// [classes, dim] and `bias` [classes]; they become initializers. The new output is called "logits".
// Returns the names of weight and bias.
std::pair<std::string, std::string> append_classifier(Graph& graph, const OpRegistry& ops,
                                                      const Tensor& weight, const Tensor& bias);

// Writes nodes from number `first` on for the version of ai.onnx that the graph has, 13 at least,
// so that the graph can be exported. REQUIRES: the functions above have appended them.
void write_for_opset(Graph& graph, const OpRegistry& ops, size_t first);

}  // namespace hugot

#endif  // HUGOT_MODELS_SENTENCE_GRAPH_H_
