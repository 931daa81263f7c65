// Kernel of the recurrent layers. What the gates take from the inputs is one product for all steps;
// what they take from the state is a product for each step.
#include <algorithm>
#include <type_traits>

#include "base/error.h"
#include "kernels/compute.h"
#include "kernels/cpu/gemm.h"
#include "kernels/recurrent/recurrent.h"
#include "kernels/running.h"

namespace hugot::recurrent {
namespace {

using Packed = std::shared_ptr<const cpu::PackedMatrix>;

// A weight [columns, k] whose transpose is multiplied with.
template <class C>
class Matrix {
 public:
  Matrix() = default;
  Matrix(const C* weight, int64_t columns, int64_t k) : columns_(columns), k_(k), plain_(weight) {
    if constexpr (std::is_same_v<C, float>) {
      packed_ = cpu::simd_gemm().pack(weight, k, columns, k, true);
    }
  }
  explicit Matrix(Packed packed)
      : columns_(packed->n()), k_(packed->k()), packed_(std::move(packed)) {}

  // c = a . weight' + bias, and + c when `add`; bias may be null.
  void multiply(int64_t rows, const C* a, const C* bias, bool add, C* c, int64_t ldc,
                ThreadPool* pool) const {
    if constexpr (std::is_same_v<C, float>) {
      cpu::Epilogue epilogue;
      epilogue.bias = bias;
      if (add) {
        epilogue.residual = c;
        epilogue.residual_stride = ldc;
      }
      cpu::simd_gemm().run(rows, a, k_, *packed_, c, ldc, epilogue, pool);
    } else {
      std::vector<C> product(static_cast<size_t>(rows * columns_));
      cpu::gemm_f64(rows, columns_, k_, a, k_, plain_, k_, true, product.data(), columns_, pool);
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < columns_; ++j) {
          const C value = product[static_cast<size_t>(i * columns_ + j)];
          C& to = c[i * ldc + j];
          to = value + (bias != nullptr ? bias[j] : C{0}) + (add ? to : C{0});
        }
      }
    }
  }

 private:
  int64_t columns_ = 0, k_ = 0;
  const C* plain_ = nullptr;
  Packed packed_;
};

// R of GRU is used in two parts, since the hidden gate waits for the reset gate.
int64_t first_part(Cell cell, int64_t rows) { return cell == Cell::kGru ? rows / 3 * 2 : rows; }

// The weights of all directions, packed.
class PackedWeights final : public Prepared {
 public:
  struct Direction {
    Packed w, r, r_hidden;  // the last for GRU only
  };

  PackedWeights(Cell cell, const Tensor& w, const Tensor& r, BlockStore& store)
      : bytes_(w.bytes() + r.bytes()) {
    const int64_t rows = w.shape()[1], inputs = w.shape()[2], hidden = r.shape()[2];
    const int64_t part = first_part(cell, rows);
    for (int64_t d = 0; d < w.shape()[0]; ++d) {
      const auto pack = [&](const Tensor& from, int64_t row, int64_t count, int64_t k) {
        const cpu::FloatSource source(from, (d * rows + row) * k);
        return cpu::simd_gemm().pack(source, k, count, k, true, store);
      };
      directions_.push_back({pack(w, 0, rows, inputs), pack(r, 0, part, hidden), nullptr});
      if (part < rows) directions_.back().r_hidden = pack(r, part, rows - part, hidden);
    }
  }

  size_t bytes() const override { return bytes_; }
  bool replaces_input(int i) const override { return i == 1 || i == 2; }
  const Direction& operator[](int64_t d) const { return directions_[static_cast<size_t>(d)]; }

 private:
  size_t bytes_;
  std::vector<Direction> directions_;
};

// What a direction of a layer runs on.
template <class C>
struct Operands {
  Matrix<C> w, r, r_hidden;
  std::vector<C> bias;         // [gates * hidden], what is added to the inputs' share
  std::vector<C> hidden_bias;  // GRU with linear_before_reset: of the hidden gate's product
  const C* peepholes = nullptr;
  const Activation* activations = nullptr;
};

// One direction at one step after the other. Rows are sequences of the batch.
template <Cell cell, class C>
class Direction {
 public:
  Direction(const Layer& layer, const Sizes& sizes, Operands<C> operands, ThreadPool* pool)
      : layer_(layer),
        hidden_(sizes.hidden),
        batch_(sizes.batch),
        width_(gates_of(cell) * sizes.hidden),
        operands_(std::move(operands)),
        pool_(pool),
        gates_(static_cast<size_t>(batch_ * width_)),
        state_(static_cast<size_t>(batch_ * hidden_)),
        memory_(cell == Cell::kLstm ? state_.size() : 0),
        scratch_(cell == Cell::kRnn ? 0 : state_.size()) {}

  const Matrix<C>& input_weight() const { return operands_.w; }
  const C* bias() const { return operands_.bias.data(); }
  C* gates(int64_t row) { return gates_.data() + row * width_; }
  C* state(int64_t row) { return state_.data() + row * hidden_; }
  C* memory(int64_t row) { return memory_.data() + row * hidden_; }

  // gates() hold the share of the inputs; afterwards they are used up. Rows that are not `active`
  // keep their state.
  void step(const std::vector<char>& active) {
    if constexpr (cell == Cell::kGru) {
      operands_.r.multiply(batch_, state_.data(), nullptr, true, gates_.data(), width_, pool_);
      reset();
    } else {
      operands_.r.multiply(batch_, state_.data(), nullptr, true, gates_.data(), width_, pool_);
    }
    for_items(pool_, batch_, width_ * 16, [&](int64_t begin, int64_t end, int /*worker*/) {
      for (int64_t row = begin; row < end; ++row) {
        if (active[static_cast<size_t>(row)] == 0) continue;
        if constexpr (cell == Cell::kRnn) {
          activate(0, gates(row));
          std::copy_n(gates(row), hidden_, state(row));
        } else if constexpr (cell == Cell::kGru) {
          update(row);
        } else {
          remember(row);
        }
      }
    });
  }

 private:
  void activate(int which, C* x, int64_t gates = 1) const {
    apply(operands_.activations[which], layer_.clip, x, gates * hidden_);
  }

  // GRU: the update and reset gates, and the sum that the hidden gate takes.
  void reset() {
    const int64_t n = hidden_;
    const bool linear = layer_.linear_before_reset;
    if (linear) {
      operands_.r_hidden.multiply(batch_, state_.data(), operands_.hidden_bias.data(), false,
                                  scratch_.data(), n, pool_);
    }
    for (int64_t row = 0; row < batch_; ++row) {
      C* z = gates(row);
      activate(0, z, 2);
      const C *r = z + n, *h = state(row);
      C *sum = z + 2 * n, *product = scratch_.data() + row * n;
      for (int64_t i = 0; linear && i < n; ++i) sum[i] += r[i] * product[i];
      for (int64_t i = 0; !linear && i < n; ++i) product[i] = r[i] * h[i];
    }
    if (!linear) {
      operands_.r_hidden.multiply(batch_, scratch_.data(), nullptr, true, gates(0) + 2 * n, width_,
                                  pool_);
    }
  }

  void update(int64_t row) {
    const C* z = gates(row);
    C *candidate = gates(row) + 2 * hidden_, *h = state(row);
    activate(1, candidate);
    for (int64_t i = 0; i < hidden_; ++i) h[i] = (1 - z[i]) * candidate[i] + z[i] * h[i];
  }

  // LSTM: gates are those for input, output, forgetting, and the new cell.
  void remember(int64_t row) {
    const int64_t n = hidden_;
    C *in = gates(row), *out = in + n, *forget = in + 2 * n, *fresh = in + 3 * n;
    C *cells = memory(row), *h = state(row);
    const C* peephole = operands_.peepholes;
    if (peephole != nullptr) {
      for (int64_t i = 0; i < n; ++i) in[i] += peephole[i] * cells[i];
      for (int64_t i = 0; i < n; ++i) forget[i] += peephole[2 * n + i] * cells[i];
    }
    activate(0, in);
    if (layer_.input_forget) {
      for (int64_t i = 0; i < n; ++i) forget[i] = 1 - in[i];
    } else {
      activate(0, forget);
    }
    activate(1, fresh);
    for (int64_t i = 0; i < n; ++i) cells[i] = forget[i] * cells[i] + in[i] * fresh[i];
    for (int64_t i = 0; peephole != nullptr && i < n; ++i) out[i] += peephole[n + i] * cells[i];
    activate(0, out);
    // The clip is for what the gates see, as in other runtimes.
    std::copy_n(cells, n, h);
    apply(operands_.activations[2], 0, h, n);
    for (int64_t i = 0; i < n; ++i) h[i] *= out[i];
  }

  const Layer& layer_;
  int64_t hidden_, batch_, width_;
  Operands<C> operands_;
  ThreadPool* pool_;
  std::vector<C> gates_, state_, memory_, scratch_;
};

bool has(const KernelContext& ctx, int i) { return i < ctx.num_inputs() && ctx.has_input(i); }

// Both biases of a direction, [Wb, Rb], as the sums that the kernel adds.
template <class C>
void add_biases(Cell cell, const Layer& layer, const C* b, int64_t rows, Operands<C>& operands) {
  const int64_t split = cell == Cell::kGru && layer.linear_before_reset ? rows / 3 * 2 : rows;
  operands.bias.assign(static_cast<size_t>(rows), C{0});
  operands.hidden_bias.assign(static_cast<size_t>(rows - split), C{0});
  for (int64_t i = 0; b != nullptr && i < rows; ++i) {
    operands.bias[static_cast<size_t>(i)] = i < split ? b[i] + b[rows + i] : b[i];
    if (i >= split) operands.hidden_bias[static_cast<size_t>(i - split)] = b[rows + i];
  }
}

// An output, in the type of arithmetic; empty when nobody wants it.
template <class T>
class Output {
 public:
  Output(KernelContext& ctx, int i, const Shape& shape) {
    if (i >= ctx.num_outputs() || !ctx.wants_output(i)) return;
    tensor_ = &ctx.output(i, ctx.input(0).dtype(), shape);
    wide_.emplace(*tensor_);
    std::fill_n(wide_->data(), tensor_->size(), Compute<T>{0});
  }
  void write(int64_t row, const Compute<T>* from, int64_t count) {
    if (wide_) std::copy_n(from, count, wide_->data() + row * count);
  }
  void store() {
    if (wide_) wide_->store();
  }

 private:
  Tensor* tensor_ = nullptr;
  std::optional<WideResult<T>> wide_;
};

template <Cell cell, class T>
void run_in(KernelContext& ctx, const Layer& layer, const Sizes& sizes) {
  using C = Compute<T>;
  const int64_t n = sizes.hidden, batch = sizes.batch, steps = sizes.steps, d = layer.directions;
  const int64_t rows = gates_of(cell) * n, part = first_part(cell, rows);
  const bool batch_first = layer.batch_first;
  const std::vector<int64_t> lengths = lengths_of(ctx, sizes);
  const Shape state_shape = batch_first ? Shape{batch, d, n} : Shape{d, batch, n};
  Output<T> y(ctx, 0, batch_first ? Shape{batch, steps, d, n} : Shape{steps, d, batch, n});
  Output<T> last_state(ctx, 1, state_shape), last_memory(ctx, 2, state_shape);
  if (batch == 0 || n == 0) return;

  const auto* prepared = static_cast<const PackedWeights*>(ctx.prepared());
  const auto wide = [&](int i) { return has(ctx, i) ? Wide<T>(ctx.input(i)) : Wide<T>(); };
  const Wide<T> x = wide(0), bias = wide(3), initial_state = wide(5), initial_memory = wide(6),
                peepholes = wide(7);
  const Wide<T> w = prepared == nullptr ? wide(1) : Wide<T>();
  const Wide<T> r = prepared == nullptr ? wide(2) : Wide<T>();
  std::vector<C> shares(static_cast<size_t>(steps * batch * rows));
  std::vector<char> active(static_cast<size_t>(batch));
  const int64_t longest = *std::max_element(lengths.begin(), lengths.end());

  for (int64_t direction = 0; direction < d; ++direction) {
    Operands<C> operands;
    if constexpr (std::is_same_v<C, float>) {
      if (prepared != nullptr) {
        const PackedWeights::Direction& packed = (*prepared)[direction];
        operands.w = Matrix<C>(packed.w);
        operands.r = Matrix<C>(packed.r);
        if (packed.r_hidden != nullptr) operands.r_hidden = Matrix<C>(packed.r_hidden);
      }
    }
    if (prepared == nullptr) {
      const C* recurrence = r.data() + direction * rows * n;
      operands.w = Matrix<C>(w.data() + direction * rows * sizes.inputs, rows, sizes.inputs);
      operands.r = Matrix<C>(recurrence, part, n);
      if (part < rows) operands.r_hidden = Matrix<C>(recurrence + part * n, rows - part, n);
    }
    const C* biases = bias.data() == nullptr ? nullptr : bias.data() + direction * 2 * rows;
    add_biases(cell, layer, biases, rows, operands);
    if (peepholes.data() != nullptr) operands.peepholes = peepholes.data() + direction * 3 * n;
    operands.activations = layer.activations.data() + static_cast<size_t>(direction) *
                                                          layer.activations.size() /
                                                          static_cast<size_t>(d);
    Direction<cell, C> runner(layer, sizes, std::move(operands), ctx.pool());

    const auto state_row = [&](int64_t row) {
      return batch_first ? row * d + direction : direction * batch + row;
    };
    for (int64_t row = 0; row < batch; ++row) {
      const int64_t at = state_row(row) * n;
      if (initial_state.data() != nullptr) {
        std::copy_n(initial_state.data() + at, n, runner.state(row));
      }
      if (cell == Cell::kLstm && initial_memory.data() != nullptr) {
        std::copy_n(initial_memory.data() + at, n, runner.memory(row));
      }
    }
    if (longest > 0) {
      runner.input_weight().multiply(steps * batch, x.data(), runner.bias(), false, shares.data(),
                                     rows, ctx.pool());
    }
    const bool reversed = layer.first_reversed || direction == 1;
    for (int64_t step = 0; step < longest; ++step) {
      check_running(ctx);
      const auto time = [&](int64_t row) {
        return reversed ? lengths[static_cast<size_t>(row)] - 1 - step : step;
      };
      for (int64_t row = 0; row < batch; ++row) {
        const bool runs = step < lengths[static_cast<size_t>(row)];
        active[static_cast<size_t>(row)] = runs ? 1 : 0;
        if (!runs) continue;
        const int64_t at = batch_first ? row * steps + time(row) : time(row) * batch + row;
        std::copy_n(shares.data() + at * rows, rows, runner.gates(row));
      }
      runner.step(active);
      for (int64_t row = 0; row < batch; ++row) {
        if (active[static_cast<size_t>(row)] == 0) continue;
        y.write(batch_first ? (row * steps + time(row)) * d + direction
                            : (time(row) * d + direction) * batch + row,
                runner.state(row), n);
      }
    }
    for (int64_t row = 0; row < batch; ++row) {
      last_state.write(state_row(row), runner.state(row), n);
      if (cell == Cell::kLstm) last_memory.write(state_row(row), runner.memory(row), n);
    }
  }
  y.store();
  last_state.store();
  last_memory.store();
}

}  // namespace

std::vector<int64_t> lengths_of(const KernelContext& ctx, const Sizes& sizes) {
  std::vector<int64_t> lengths(static_cast<size_t>(sizes.batch), sizes.steps);
  if (!has(ctx, 4)) return lengths;
  for (size_t row = 0; row < lengths.size(); ++row) {
    lengths[row] = ctx.input(4).data<int32_t>()[row];
    require(lengths[row] >= 0 && lengths[row] <= sizes.steps, ErrorCode::kInvalidArgument,
            "sequence ", row, " has the length ", lengths[row], " of ", sizes.steps);
  }
  return lengths;
}

template <Cell cell>
void run(KernelContext& ctx) {
  const Layer layer = layer_of(cell, ctx.node());
  const Sizes sizes = sizes_of(cell, layer, ctx);
  dispatch(FloatTypes{}, ctx.input(0).dtype(),
           [&]<class T>() { run_in<cell, T>(ctx, layer, sizes); });
}
template void run<Cell::kRnn>(KernelContext&);
template void run<Cell::kGru>(KernelContext&);
template void run<Cell::kLstm>(KernelContext&);

std::shared_ptr<const Prepared> prepare(Cell cell, std::span<const Tensor* const> constants,
                                        BlockStore& store) {
  const Tensor *w = constants[1], *r = constants[2];
  const auto usable = [](const Tensor* tensor) {
    return tensor != nullptr && tensor->dtype() == DType::kFloat32 && tensor->rank() == 3 &&
           tensor->size() > 0;
  };
  // What does not fit is for the kernel to refuse.
  if (!usable(w) || !usable(r) || w->shape()[0] != r->shape()[0] ||
      w->shape()[1] != r->shape()[1] || w->shape()[1] != gates_of(cell) * r->shape()[2]) {
    return nullptr;
  }
  return std::make_shared<PackedWeights>(cell, *w, *r, store);
}

}  // namespace hugot::recurrent
