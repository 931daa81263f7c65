// Recurrent layers: attributes, inference, definitions.
#include "kernels/recurrent/recurrent.h"

#include <cmath>
#include <string>

#include "base/error.h"
#include "graph/gradient.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace recurrent {
namespace {

// The inputs of all three operators.
enum Input { kX, kW, kR, kB, kLengths, kInitialH, kInitialC, kPeepholes };

std::optional<Dim> axis_dim(const InferContext& ctx, int input, size_t axis) {
  if (!ctx.has_input(input) || !ctx.input(input).shape) return std::nullopt;
  const Dims& shape = *ctx.input(input).shape;
  require(shape.size() == 3, ErrorCode::kInvalidArgument, "input ", input, " has the shape ",
          to_string(shape), ", which is not of rank 3");
  return shape[axis];
}

template <Cell cell>
void infer(InferContext& ctx) {
  const Layer layer = layer_of(cell, ctx.node());
  require_same_dtype(ctx, kX, kW);
  require_same_dtype(ctx, kX, kR);
  std::optional<Dim> hidden = axis_dim(ctx, kR, 2);
  if (!hidden && ctx.node().has("hidden_size")) hidden = ctx.node().at<int64_t>("hidden_size");
  const Dim unknown = unknown_dim(ctx, 0, 0);
  const Dim steps = axis_dim(ctx, kX, layer.batch_first ? 1 : 0).value_or(unknown_dim(ctx, 0, 1));
  const Dim batch = axis_dim(ctx, kX, layer.batch_first ? 0 : 1).value_or(unknown_dim(ctx, 0, 2));
  const Dim units = hidden.value_or(unknown_dim(ctx, 0, 3));
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    Fact& y = ctx.output(i);
    y.dtype = ctx.input(kX).dtype;
    if (layer.batch_first) {
      y.shape = i == 0 ? Dims{batch, steps, layer.directions, units}
                       : Dims{batch, layer.directions, units};
    } else {
      y.shape = i == 0 ? Dims{steps, layer.directions, batch, units}
                       : Dims{layer.directions, batch, units};
    }
  }
}

template <Cell cell>
std::shared_ptr<const Prepared> prepare_cell(const Node& /*node*/,
                                             std::span<const Tensor* const> constants,
                                             BlockStore& store) {
  return prepare(cell, constants, store);
}

template <Cell cell>
OpDef define_layer(GradientRule* rule) {
  constexpr bool kLstm = cell == Cell::kLstm;
  OpDef op = define({3, kLstm ? 8 : 6}, infer<cell>, run<cell>, nullptr, {1, kLstm ? 3 : 2});
  op.prepare = prepare_cell<cell>;
  return with_gradient(std::move(op), rule);
}

void infer_gradient(InferContext& ctx) {
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    ctx.output(i).dtype = ctx.input(kX).dtype;
    if (i < 3) ctx.output(i).shape = ctx.input(i).shape;
  }
}

template <Cell cell>
OpDef define_gradient() {
  return define({3, 11}, infer_gradient, gradient<cell>, nullptr, {1, 7});
}

void check_shape(const KernelContext& ctx, int input, const Shape& wanted, DType dtype) {
  if (input >= ctx.num_inputs() || !ctx.has_input(input)) return;
  const Tensor& tensor = ctx.input(input);
  if (!(tensor.shape() == wanted) || tensor.dtype() != dtype) {
    fail(ErrorCode::kInvalidArgument, "input ", input, " is ", describe(tensor), ", but has to be ",
         dtype_name(dtype), wanted.to_string());
  }
}

}  // namespace

Layer layer_of(Cell cell, const Node& node) {
  Layer layer;
  const std::string direction = node.get<std::string>("direction", "forward");
  if (direction == "bidirectional") {
    layer.directions = 2;
  } else if (direction == "reverse") {
    layer.first_reversed = true;
  } else {
    require(direction == "forward", ErrorCode::kInvalidArgument, "attribute direction is ",
            direction);
  }
  const auto layout = node.get<int64_t>("layout", 0);
  require(layout == 0 || layout == 1, ErrorCode::kInvalidArgument, "attribute layout is ", layout);
  layer.batch_first = layout == 1;
  layer.clip = node.get<float>("clip", 0.0f);
  require(layer.clip >= 0, ErrorCode::kInvalidArgument, "attribute clip is ", layer.clip);
  layer.input_forget = node.get<int64_t>("input_forget", 0) != 0;
  layer.linear_before_reset = node.get<int64_t>("linear_before_reset", 0) != 0;
  std::vector<std::string> names = {"Sigmoid", "Tanh", "Tanh"};
  if (cell == Cell::kRnn) names = {"Tanh"};
  if (cell == Cell::kGru) names.pop_back();
  layer.activations =
      activations_of(node, static_cast<size_t>(layer.directions) * names.size(), names);
  return layer;
}

Sizes sizes_of(Cell cell, const Layer& layer, const KernelContext& ctx) {
  const Tensor &x = ctx.input(kX), &r = ctx.input(kR);
  require(x.rank() == 3 && r.rank() == 3, ErrorCode::kInvalidArgument, "X ", describe(x), " and R ",
          describe(r), " have to be of rank 3");
  Sizes sizes;
  sizes.steps = x.shape()[layer.batch_first ? 1 : 0];
  sizes.batch = x.shape()[layer.batch_first ? 0 : 1];
  sizes.inputs = x.shape()[2];
  sizes.hidden = r.shape()[2];
  const int64_t declared = ctx.node().get<int64_t>("hidden_size", sizes.hidden);
  require(declared == sizes.hidden, ErrorCode::kInvalidArgument, "hidden_size says ", declared,
          ", but R is ", describe(r));
  require(sizes.hidden < (int64_t{1} << 48), ErrorCode::kInvalidArgument, "R is ", describe(r));
  const int64_t directions = layer.directions, hidden = sizes.hidden;
  const int64_t rows = gates_of(cell) * hidden;
  const DType dtype = x.dtype();
  const Shape state = layer.batch_first ? Shape{sizes.batch, directions, hidden}
                                        : Shape{directions, sizes.batch, hidden};
  check_shape(ctx, kW, {directions, rows, sizes.inputs}, dtype);
  check_shape(ctx, kR, {directions, rows, hidden}, dtype);
  check_shape(ctx, kB, {directions, 2 * rows}, dtype);
  check_shape(ctx, kLengths, {sizes.batch}, DType::kInt32);
  check_shape(ctx, kInitialH, state, dtype);
  check_shape(ctx, kInitialC, state, dtype);
  check_shape(ctx, kPeepholes, {directions, 3 * hidden}, dtype);
  return sizes;
}

namespace rule {
namespace {

void layer(GradientContext& g, const char* type) {
  std::vector<Term> inputs;
  for (int i = 0; i < 8; ++i) inputs.push_back(i < g.num_inputs() ? g.x(i) : Term());
  for (int i = 0; i < 3; ++i) inputs.push_back(i < g.num_outputs() ? g.dy(i) : Term());
  const auto parts = g.writer().outputs(type, inputs, g.node().attributes, 7, "hugot");
  const int places[] = {kX, kW, kR, kB, kInitialH, kInitialC, kPeepholes};
  for (size_t i = 0; i < parts.size(); ++i) {
    if (places[i] < g.num_inputs() && g.x(places[i])) g.set(places[i], parts[i]);
  }
}

}  // namespace

void Rnn(GradientContext& g) { layer(g, "RNNGradient"); }
void Gru(GradientContext& g) { layer(g, "GRUGradient"); }
void Lstm(GradientContext& g) { layer(g, "LSTMGradient"); }

}  // namespace rule
}  // namespace recurrent

namespace ops {

using recurrent::Cell;

OpDef onnx_RNN(int) { return recurrent::define_layer<Cell::kRnn>(recurrent::rule::Rnn); }
OpDef onnx_GRU(int) { return recurrent::define_layer<Cell::kGru>(recurrent::rule::Gru); }
OpDef onnx_LSTM(int) { return recurrent::define_layer<Cell::kLstm>(recurrent::rule::Lstm); }

OpDef hugot_RNNGradient(int) { return recurrent::define_gradient<Cell::kRnn>(); }
OpDef hugot_GRUGradient(int) { return recurrent::define_gradient<Cell::kGru>(); }
OpDef hugot_LSTMGradient(int) { return recurrent::define_gradient<Cell::kLstm>(); }

}  // namespace ops
}  // namespace hugot
