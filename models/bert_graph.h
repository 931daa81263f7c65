// The graph of BERT, from its weights.
#ifndef HUGOT_MODELS_BERT_GRAPH_H_
#define HUGOT_MODELS_BERT_GRAPH_H_

#include <cstdint>
#include <map>
#include <string>

#include "base/tensor.h"
#include "graph/graph.h"
#include "graph/op.h"

namespace hugot {

// config.json of a BertModel.
struct BertConfig {
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t hidden = 0;
  int64_t intermediate = 0;
  int64_t vocabulary = 0;
  int64_t positions = 0;
  int64_t token_types = 0;
  float layer_norm_epsilon = 1e-12f;
  std::string activation = "gelu";
};

// Builds the encoder in opset 20: inputs input_ids, attention_mask and token_type_ids
// (int64 [batch_size, sequence_length]), output last_hidden_state
// (float32 [batch_size, sequence_length, hidden]). `weights` holds tensors by the names of
// transformers, with or without "bert." in front; what the encoder does not need (pooler, heads) is
// left out. Weight matrices become [in, out] and get the suffix "_t". Throws kInvalidData naming a
// tensor that is missing or has another shape, kUnsupported for another activation than gelu,
// gelu_new, gelu_pytorch_tanh and relu.
//
// Source: Devlin et al. 2018, and modeling_bert.py of transformers for the order of the sums.
Graph build_bert(const BertConfig& config, const std::map<std::string, Tensor>& weights,
                 const OpRegistry& ops);

}  // namespace hugot

#endif  // HUGOT_MODELS_BERT_GRAPH_H_
