#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "kernels/control/control.h"
#include "kernels/running.h"
#include "kernels/strided.h"
#include "kernels/subgraph.h"

namespace hugot::control {
namespace {

bool condition_of(const Datum& datum) {
  const Tensor& tensor = datum.tensor();
  require(tensor.dtype() == DType::kBool && tensor.size() == 1, ErrorCode::kInvalidArgument,
          "a condition has to be one bool, got ", describe(tensor));
  return *tensor.data<bool>();
}

// in[.., index, ..] along `axis`, which goes.
Tensor slice(const Tensor& in, int axis, int64_t index, ThreadPool* pool) {
  const auto strides = row_major_strides(in.shape());
  StridedView view(index * strides[static_cast<size_t>(axis)]);
  std::vector<int64_t> dims;
  for (int i = 0; i < in.rank(); ++i) {
    if (i == axis) continue;
    dims.push_back(in.shape()[i]);
    view.add(in.shape()[i], strides[static_cast<size_t>(i)]);
  }
  Tensor out(in.dtype(), Shape(dims));
  copy_view(in, view, out, pool);
  return out;
}

// Tensors of one type, one after the other, to a tensor with one axis more.
class Stack {
 public:
  // `item`: what is known of the pieces, in case there is none.
  explicit Stack(Fact item) : item_(std::move(item)) {}

  void add(const Datum& piece) {
    const Tensor& tensor = piece.tensor();
    require(pieces_.empty() ||
                (tensor.dtype() == pieces_[0].dtype() && tensor.shape() == pieces_[0].shape()),
            ErrorCode::kInvalidArgument, "iterations give ", describe(tensor), " after ",
            pieces_.empty() ? std::string() : describe(pieces_[0]));
    pieces_.push_back(tensor);
  }

  // With the new axis at `axis` (may be negative), filled up with zeros to `length`.
  Tensor finish(int64_t axis, bool reversed, int64_t length, ThreadPool* pool) const {
    const DType dtype = pieces_.empty() ? item_.dtype : pieces_[0].dtype();
    require(dtype != DType::kUndefined, ErrorCode::kInvalidArgument,
            "nothing tells the element type of an output without iterations");
    const Shape item = pieces_.empty() ? empty_shape() : pieces_[0].shape();
    std::vector<int64_t> dims = {length};
    dims.insert(dims.end(), item.begin(), item.end());
    const Tensor rows = join(dtype, Shape(dims), item.size());
    const int place = rows.shape().axis(axis);
    if (place == 0 && !reversed) return rows;
    dims.erase(dims.begin());
    dims.insert(dims.begin() + place, length);
    Tensor out(dtype, Shape(dims));
    const auto strides = row_major_strides(rows.shape());
    StridedView view(reversed && length > 0 ? (length - 1) * strides[0] : 0);
    for (int i = 0, from = 1; i < out.rank(); ++i) {
      if (i == place) {
        view.add(length, reversed ? -strides[0] : strides[0]);
      } else {
        view.add(out.shape()[i], strides[static_cast<size_t>(from++)]);
      }
    }
    copy_view(rows, view, out, pool);
    return out;
  }

 private:
  // Dimensions that are not known are 0, as there is no element.
  Shape empty_shape() const {
    std::vector<int64_t> dims;
    for (const Dim& dim : item_.shape.value_or(Dims())) dims.push_back(dim.number().value_or(0));
    return Shape(dims);
  }

  Tensor join(DType dtype, const Shape& shape, int64_t row) const {
    Tensor out(dtype, shape);
    int64_t offset = 0;
    for (const Tensor& piece : pieces_) {
      copy_rows(dtype, piece.raw(), 0, row, out.raw(), offset, row, 1, row, nullptr);
      offset += row;
    }
    if (dtype != DType::kString) {
      const size_t used = Tensor::byte_size(dtype, {offset});
      std::fill_n(static_cast<std::byte*>(out.raw()) + used, out.bytes() - used, std::byte{0});
    }
    return out;
  }

  Fact item_;
  std::vector<Tensor> pieces_;
};

std::vector<Stack> stacks_for(const Graph& body, size_t first) {
  std::vector<Stack> stacks;
  const std::vector<Fact>& declared = body.declared_outputs;
  for (size_t i = first; i < body.outputs.size(); ++i) {
    Fact fact = body.fact(body.outputs[i]);
    if (i < declared.size()) {
      if (fact.dtype == DType::kUndefined) fact.dtype = declared[i].dtype;
      if (!fact.shape) fact.shape = declared[i].shape;
    }
    stacks.emplace_back(std::move(fact));
  }
  return stacks;
}

void take(std::vector<Datum>& values, std::vector<Datum>& results, size_t from, size_t count) {
  for (size_t i = 0; i < count; ++i) std::swap(values[i], results[from + i]);
}

// One walk over a scanned axis. `states` become the final ones.
void walk(KernelContext& ctx, SubgraphRun& run, const ScanLayout& layout,
          std::vector<Datum>& states, const std::vector<Tensor>& scanned, int64_t length,
          std::vector<Stack>& stacks) {
  std::vector<Datum> inputs(states.size() + scanned.size());
  std::vector<Datum> results;
  for (int64_t t = 0; t < length; ++t) {
    check_running(ctx);
    std::copy(states.begin(), states.end(), inputs.begin());
    for (size_t i = 0; i < scanned.size(); ++i) {
      const int axis = scanned[i].shape().axis(layout.input_axes[i]);
      const int64_t index = layout.input_reversed[i] ? length - 1 - t : t;
      inputs[states.size() + i] = slice(scanned[i], axis, index, ctx.pool());
    }
    run(inputs, results);
    take(states, results, 0, states.size());
    for (size_t i = 0; i < stacks.size(); ++i) stacks[i].add(results[states.size() + i]);
  }
}

}  // namespace

void if_else(KernelContext& ctx) {
  SubgraphRun run(ctx, condition_of(ctx.datum(0)) ? "then_branch" : "else_branch");
  std::vector<Datum> results;
  run({}, results);
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    ctx.set_output(i, std::move(results[static_cast<size_t>(i)]));
  }
}

void loop(KernelContext& ctx) {
  SubgraphRun run(ctx, "body");
  const auto carried = static_cast<size_t>(own_inputs(ctx.node()) - 2);
  int64_t trips = std::numeric_limits<int64_t>::max();
  if (ctx.has_input(0)) {
    require(ctx.input(0).dtype() == DType::kInt64 && ctx.input(0).size() == 1,
            ErrorCode::kInvalidArgument, "the trip count has to be one int64");
    trips = *ctx.input(0).data<int64_t>();
  }
  bool go_on = !ctx.has_input(1) || condition_of(ctx.datum(1));
  std::vector<Datum> inputs(carried + 2);
  std::vector<Datum> results;
  std::vector<Datum> values;
  for (size_t i = 0; i < carried; ++i) {
    const int input = static_cast<int>(i) + 2;
    values.push_back(ctx.has_input(input) ? ctx.datum(input).owned() : Datum());
  }
  std::vector<Stack> stacks = stacks_for(run.body().graph(), carried + 1);
  int64_t iteration = 0;
  for (; go_on && iteration < trips; ++iteration) {
    check_running(ctx);
    inputs[0] = run.body().scalar_input(0, Tensor::scalar(iteration));
    inputs[1] = run.body().scalar_input(1, Tensor::scalar(true));
    std::copy(values.begin(), values.end(), inputs.begin() + 2);
    run(inputs, results);
    go_on = condition_of(results[0]);
    take(values, results, 1, carried);
    for (size_t i = 0; i < stacks.size(); ++i) stacks[i].add(results[carried + 1 + i]);
  }
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    if (!ctx.wants_output(i)) continue;
    const auto index = static_cast<size_t>(i);
    if (index < carried) {
      ctx.set_output(i, std::move(values[index]));
    } else {
      ctx.set_output(i, stacks[index - carried].finish(0, false, iteration, ctx.pool()));
    }
  }
}

void scan(KernelContext& ctx) {
  SubgraphRun run(ctx, "body");
  const ScanLayout layout = scan_layout(ctx.node(), own_inputs(ctx.node()));
  std::vector<Datum> states;
  for (int i = 0; i < layout.states; ++i) states.push_back(ctx.datum(i).owned());
  std::vector<Tensor> scanned;
  std::optional<int64_t> length;
  for (int i = 0; i < layout.inputs; ++i) {
    const Tensor& tensor = ctx.input(layout.states + i);
    const int64_t own =
        tensor.shape()[tensor.shape().axis(layout.input_axes[static_cast<size_t>(i)])];
    require(!length || *length == own, ErrorCode::kInvalidArgument, "scanned inputs have ", *length,
            " and ", own, " elements");
    length = own;
    scanned.push_back(tensor);
  }
  std::vector<Stack> stacks = stacks_for(run.body().graph(), static_cast<size_t>(layout.states));
  walk(ctx, run, layout, states, scanned, *length, stacks);
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    if (!ctx.wants_output(i)) continue;
    if (i < layout.states) {
      ctx.set_output(i, std::move(states[static_cast<size_t>(i)]));
    } else {
      const auto index = static_cast<size_t>(i - layout.states);
      ctx.set_output(i, stacks[index].finish(layout.output_axes[index],
                                             layout.output_reversed[index], *length, ctx.pool()));
    }
  }
}

void scan_batch(KernelContext& ctx) {
  SubgraphRun run(ctx, "body");
  const ScanLayout layout = scan_layout(ctx.node(), own_inputs(ctx.node()) - 1);
  const auto batch_of = [&](const Tensor& tensor, int rank) {
    require(tensor.rank() >= rank, ErrorCode::kInvalidArgument, "inputs need a batch axis");
    return tensor.shape()[0];
  };
  const Tensor& sample = ctx.input(1 + layout.states);
  const int64_t batch = batch_of(sample, 2);
  const int64_t longest = sample.shape()[1];
  std::vector<int64_t> lengths(static_cast<size_t>(batch), longest);
  if (ctx.has_input(0)) {
    lengths = to_int64s(ctx.input(0));
    require(static_cast<int64_t>(lengths.size()) == batch &&
                std::all_of(lengths.begin(), lengths.end(),
                            [&](int64_t n) { return n >= 0 && n <= longest; }),
            ErrorCode::kInvalidArgument, "sequence_lens do not fit to the inputs");
  }
  for (int i = 0; i < layout.states + layout.inputs; ++i) {
    const Tensor& tensor = ctx.input(1 + i);
    require(batch_of(tensor, i < layout.states ? 1 : 2) == batch &&
                (i < layout.states || tensor.shape()[1] == longest),
            ErrorCode::kInvalidArgument, "inputs have different batch or sequence lengths");
  }
  const Graph& body = run.body().graph();
  std::vector<Stack> outputs = stacks_for(body, 0);
  for (int64_t row = 0; row < batch; ++row) {
    std::vector<Datum> states;
    std::vector<Tensor> scanned;
    for (int i = 0; i < layout.states + layout.inputs; ++i) {
      Tensor own = slice(ctx.input(1 + i), 0, row, ctx.pool());
      if (i < layout.states) {
        states.emplace_back(std::move(own));
      } else {
        scanned.push_back(std::move(own));
      }
    }
    std::vector<Stack> stacks = stacks_for(body, static_cast<size_t>(layout.states));
    const int64_t length = lengths[static_cast<size_t>(row)];
    walk(ctx, run, layout, states, scanned, length, stacks);
    for (size_t i = 0; i < states.size(); ++i) outputs[i].add(states[i]);
    for (size_t i = 0; i < stacks.size(); ++i) {
      outputs[states.size() + i].add(stacks[i].finish(0, false, longest, ctx.pool()));
    }
  }
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    if (!ctx.wants_output(i)) continue;
    ctx.set_output(i, outputs[static_cast<size_t>(i)].finish(0, false, batch, ctx.pool()));
  }
}

void sequence_map(KernelContext& ctx) {
  SubgraphRun run(ctx, "body");
  const int count = own_inputs(ctx.node());
  const Datum first = ctx.datum(0);
  require(first.kind() == Kind::kSequence, ErrorCode::kInvalidArgument,
          "input 0 has to be a sequence, got ", describe(first));
  std::vector<std::vector<Datum>> lists(static_cast<size_t>(ctx.num_outputs()));
  std::vector<Datum> inputs(static_cast<size_t>(count));
  for (size_t item = 0; item < first.items().size(); ++item) {
    check_running(ctx);
    for (int i = 0; i < count; ++i) {
      const Datum input = ctx.datum(i);
      if (input.kind() == Kind::kSequence) {
        require(input.items().size() == first.items().size(), ErrorCode::kInvalidArgument,
                "the sequences have different lengths");
        inputs[static_cast<size_t>(i)] = input.items()[item];
      } else {
        inputs[static_cast<size_t>(i)] = input;
      }
    }
    std::vector<Datum> results;
    run(inputs, results);
    for (size_t i = 0; i < lists.size(); ++i) lists[i].push_back(std::move(results[i]));
  }
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    ctx.set_output(i, Datum::sequence(std::move(lists[static_cast<size_t>(i)])));
  }
}

}  // namespace hugot::control
