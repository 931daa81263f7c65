// A transformer graph as a function of its weights: vectors of texts forwards, gradients backwards.
#ifndef HUGOT_AUTODIFF_TRAIN_GRAPH_H_
#define HUGOT_AUTODIFF_TRAIN_GRAPH_H_

#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "autodiff/dropout.h"
#include "base/tensor.h"
#include "base/thread_pool.h"
#include "graph/graph.h"
#include "graph/op.h"

namespace hugot {

class NodeObserver;  // graph/exec/executor.h
class RaggedPlan;    // graph/exec/ragged.h

// A tensor under training. `value` is the master copy: the optimizer writes it in place, and calls
// TrainableModel::parameters_changed() afterwards.
struct Parameter {
  std::string name;  // of the initializer
  Tensor value;      // owned; of the element type of the training
  Tensor gradient;   // of the same type and shape: what backward() has added since zero_gradients()
};

// One text. At least one id. `type_ids` empty: all 0.
struct TrainRow {
  std::span<const int32_t> ids;
  std::span<const int32_t> type_ids = {};
  // What is dropped of it (text_dropout_key()); 0: nothing.
  uint64_t dropout_key = 0;
};

// Gets to know gradients as soon as backward() adds nothing to them any more.
class GradientListener {
 public:
  virtual ~GradientListener() = default;
  virtual void complete(size_t parameter) = 0;
};

struct TrainRun {
  ThreadPool* pool = nullptr;
  std::stop_token stop = {};  // a stopped call throws kCancelled, and gradients are then undefined
  NodeObserver* observer = nullptr;  // sees the nodes of TrainableModel::plan()
  // Called in the thread that calls backward(), at most once for each parameter.
  GradientListener* listener = nullptr;
  // backward(): no other one follows before the gradients are used.
  bool last = false;
};

struct TrainableModelOptions {
  // Names of the initializers to train. Each has to be floating-point.
  std::vector<std::string> trainable;
  // float32 or float64: what everything floating is computed in, whatever the graph's own types.
  DType dtype = DType::kFloat32;
  // Probability of dropout, at the places that insert_dropout() finds; 0: there are none.
  double dropout = 0;
  // Memory for what a batch keeps from its way forwards, about. A larger batch is cut into parts,
  // which are computed once more on the way back.
  int64_t activation_bytes = int64_t{512} << 20;
};

// The function from ids and parameters to one vector (an embedding, logits) per text. A text's
// vector is that of the text alone with a mask of ones. Results and gradients are bitwise the same
// for equal calls, whatever the number of threads. One call at a time.
class TrainableModel {
 public:
  // `graph`: one output [batch, dim]; inputs [batch, sequence] among input_ids, attention_mask,
  // token_type_ids and position_ids. Throws kUnsupported for other inputs and for operators without
  // gradient on the way to a parameter, kInvalidArgument for a name that is no floating initializer
  // or that the output does not depend on; with dropout what insert_dropout() throws.
  static std::unique_ptr<TrainableModel> create(Graph graph, const OpRegistry& ops,
                                                const TrainableModelOptions& options);
  virtual ~TrainableModel() = default;

  // In the order of TrainableModelOptions::trainable. The vector's size never changes.
  virtual std::vector<Parameter>& parameters() { return parameters_; }
  const std::vector<Parameter>& parameters() const {
    return const_cast<TrainableModel*>(this)->parameters();
  }
  DType dtype() const { return dtype_; }
  // Where TrainRow::dropout_key has an effect.
  const DropoutSites& dropout() const { return dropout_; }

  // The vectors of `rows`, [rows, dim]. With `for_backward` it keeps what backward() needs until
  // that, or another forward(), is called.
  virtual Tensor forward(std::span<const TrainRow> rows, bool for_backward,
                         const TrainRun& run) = 0;

  // Adds the gradients of all parameters to Parameter::gradient, where `d_output` [rows, dim] is
  // that of the vectors which the last forward() gave. REQUIRES: that was `for_backward`, and this
  // is the first call since.
  virtual void backward(const Tensor& d_output, const TrainRun& run) = 0;

  // What backward() adds to is zero from now on; until then Parameter::gradient may hold anything.
  virtual void zero_gradients();
  // What runs, without padding; null where texts are padded.
  virtual const RaggedPlan* plan() const { return nullptr; }
  // Values of parameters are not what they were.
  virtual void parameters_changed() {}

 protected:
  // Throws kInvalidArgument unless the graph has one output and `dtype` is one to train in.
  TrainableModel(const Graph& graph, DType dtype);
  explicit TrainableModel(DType dtype) : dtype_(dtype) {}
  // The initializer becomes an input of the graph, and the next parameter, of element type dtype_.
  ValueId add_parameter(Graph& graph, const std::string& name);

  std::vector<Parameter> parameters_;
  DType dtype_;
  DropoutSites dropout_;
};

// The input that holds the keys of tokens for dropout: int64, like the ids.
inline constexpr const char* kDropoutInput = "hugot.dropout_keys";
// Adds that input and inserts dropout; returns the input's name. REQUIRES: the graph has input_ids.
std::string add_dropout(Graph& graph, const OpRegistry& ops, double ratio, DropoutSites& sites);

// The same for any graph: in exact mode, padded where it has a mask.
std::unique_ptr<TrainableModel> make_padded_model(Graph graph, const OpRegistry& ops,
                                                  const TrainableModelOptions& options);

}  // namespace hugot

#endif  // HUGOT_AUTODIFF_TRAIN_GRAPH_H_
