// Graph rewrites. Each pass is a function Graph& -> number of changes; names in messages are
// theirs.
#ifndef HUGOT_GRAPH_PASSES_PASSES_H_
#define HUGOT_GRAPH_PASSES_PASSES_H_

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/exec/ragged.h"
#include "graph/graph.h"
#include "graph/op.h"

namespace hugot {

// Sees the graph after every pass that ran, changed or not.
using PassObserver = std::function<void(std::string_view pass, size_t changes, const Graph& graph)>;

// Begins the lines of PassContext::log about what looks like attention but was not fused.
inline constexpr std::string_view kNotFused = "not fused: ";

// What passes may need and report.
struct PassContext {
  const OpRegistry& ops;
  // One line per fusion that was applied: "layer_norm: '/encoder/Add_1'"; and one, with its reason,
  // per softmax over keys that stayed: "not fused: Softmax '/encoder/Softmax': its scores ..".
  std::vector<std::string> log = {};
  PassObserver observer = {};
  // 0 or -1: of outputs with a row per token only the first or the last row of each text is wanted.
  std::optional<int64_t> wanted_row = {};
  bool row_kept = false;  // keep_row found such an output
  bool training = false;  // the graph will be differentiated: only what has gradients is fused
};

using Pass = size_t (*)(Graph&, PassContext&);

// Runs one pass. When it changes something, what it left dead is removed and facts are inferred
// anew. The graph is verified in debug builds, and in all builds when somebody observes. Errors
// name the pass. Returns the number of changes.
size_t apply_pass(Graph& graph, PassContext& context, std::string_view name, Pass pass);
// The end of apply_pass: verifies and reports.
void report_pass(const Graph& graph, const PassContext& context, std::string_view name,
                 size_t changes);

// -- passes of both modes

// Operators that are compositions of others (OpDef::composite) become what they are composed of.
size_t expand_composites(Graph& graph, PassContext& context);
// Nodes with constant inputs, and values whose fact tells all elements, become constants.
size_t fold_constants(Graph& graph, PassContext& context);
// An If whose condition is known becomes the nodes of the branch taken.
size_t inline_branches(Graph& graph, PassContext& context);
// The passes of exact mode in all subgraphs. Returns their number.
size_t optimize_bodies(Graph& graph, PassContext& context);
// Equal nodes on equal inputs become one.
size_t eliminate_common(Graph& graph, PassContext& context);

// Operators on float16 and bfloat16 become the same on float32; values are rounded where the graph
// casts, at its outputs and at bodies of control flow.
size_t widen_half(Graph& graph, PassContext& context);

// -- passes of ragged mode

// The same for all operators that have an expansion.
size_t expand_operators(Graph& graph, PassContext& context);
// Identities that facts prove: x+0, x*1, Where(true, x, y), casts and transposes that do nothing,
// reshapes with a known result (they become hugot.View).
size_t simplify(Graph& graph, PassContext& context);
// LayerNormalization from its parts.
size_t fuse_layer_norm(Graph& graph, PassContext& context);
// RMSNormalization from its parts.
size_t fuse_rms_norm(Graph& graph, PassContext& context);
// hugot.Rotary from its parts: halves or neighbours, all features or the first ones.
size_t fuse_rotary(Graph& graph, PassContext& context);
// Moves what acts on each head of each token alone (normalizations, rotations) in front of the
// transpose that puts heads first, so that it runs packed.
size_t sink_transposes(Graph& graph, PassContext& context);
// Gelu from its parts: erf and tanh forms, every order of the factors.
size_t fuse_gelu(Graph& graph, PassContext& context);
// hugot.Attention from Attention of ONNX on token matrices. Masks of that operator that hide
// nothing vanish, and boolean ones that are no window become a bias.
size_t lower_attention(Graph& graph, PassContext& context);
// hugot.Attention from softmax(scale * Q K^T + bias) V with heads split, repeated for groups of
// queries, and joined around it; masks by distance become its window.
size_t fuse_attention(Graph& graph, PassContext& context);
// Moves views behind a softmax in front of it, where fuse_attention sees through them.
size_t hoist_views(Graph& graph, PassContext& context);
// hugot.RelativeAttention from hugot.Attention and the terms of its bias that are picked from
// products of queries or keys with a table of relative positions.
size_t fuse_relative_attention(Graph& graph, PassContext& context);
// hugot.QuantizedLinear from products with quantized weights: dynamically quantized, QDQ, and
// those of com.microsoft.
size_t fuse_quantized(Graph& graph, PassContext& context);
// hugot.Linear from MatMul or Gemm by a constant. Bias, activation and residual become part of it,
// and of hugot.QuantizedLinear.
size_t fuse_linear(Graph& graph, PassContext& context);
// The same from a convolution whose windows tile the image and whose result is read with channels
// last: the patch embedding of vision transformers.
size_t fuse_patches(Graph& graph, PassContext& context);

// hugot.LinearGroup from several hugot.Linear that do no more than multiply the same value by
// constants and add a bias: queries, keys and values.
size_t merge_linear(Graph& graph, PassContext& context);

// Every hugot.Linear and hugot.LinearGroup by constants gets attribute `precision` ("bf16",
// "int8"). Not among the passes of a mode, because it changes results; for after them.
size_t lower_precision(Graph& graph, PassContext& context, std::string_view precision);

// Outputs with a row per token give PassContext::wanted_row only, when there is one.
size_t keep_row(Graph& graph, PassContext& context);
// Taking the first or the last row of each text moves in front of what computes the others.
size_t prune_rows(Graph& graph, PassContext& context);

// Values whose contents follow from the length of the text alone (shapes, masks of single texts)
// become inputs that the executor fills from their facts; what computed them is swept.
size_t detach_known(Graph& graph, PassContext& context);

// Of `outputs` (indices into graph.outputs, of fixed shape) only the sums over all texts are
// wanted, as of the gradients of parameters: the summing (kSummedAttribute) moves up, through what
// is linear, to the nodes where a value loses its token axis, or where nothing better is known.
size_t sum_over_texts(Graph& graph, PassContext& context, std::span<const size_t> outputs);

// Only `outputs` (indices into graph.outputs) and what they need stay, inputs included.
void keep_outputs(Graph& graph, std::span<const int> outputs);

// Turns a loaded graph into the function of one text: inputs get batch 1, length S and what
// `inputs` says about their contents; everything inferred before is forgotten. Only `outputs`
// (indices into graph.outputs) stay. Throws kUnsupported when an input is unknown or has no free
// batch and length; a given tensor needs the free batch, or 1, and sizes that fit.
void specialize(Graph& graph, std::span<const RaggedInput> inputs, std::span<const int> outputs);

// specialize() and all passes until nothing changes. With PassContext::training those that leave
// only what has gradients; optimize_gradients() is to follow.
void optimize_for_ragged(Graph& graph, std::span<const RaggedInput> inputs,
                         std::span<const int> outputs, PassContext& context);
// For a graph that has been through optimize_for_ragged() and has got gradients since. `summed` as
// for sum_over_texts().
void optimize_gradients(Graph& graph, std::span<const size_t> summed, PassContext& context);

// The passes of exact mode. They keep every bit, except that half precision is computed in float32.
void optimize_exact(Graph& graph, PassContext& context);

}  // namespace hugot

#endif  // HUGOT_GRAPH_PASSES_PASSES_H_
