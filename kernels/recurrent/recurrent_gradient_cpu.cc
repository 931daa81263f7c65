// Gradients of the recurrent layers: backpropagation through time. The steps are run once more and
// what the gates see is kept; then the steps are taken backwards. What the weights get is a product
// over all steps at the end.
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "kernels/compute.h"
#include "kernels/cpu/gemm.h"
#include "kernels/recurrent/recurrent.h"
#include "kernels/running.h"

namespace hugot::recurrent {
namespace {

template <class C>
using Matrix = std::vector<C>;

// c += a . b for row-major a [m, k] and b [k, n], or [n, k] when `transposed`, all with strides.
void multiply(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
              int64_t ldb, bool transposed, float* c, int64_t ldc, ThreadPool* pool) {
  cpu::Epilogue sum;
  sum.residual = c;
  sum.residual_stride = ldc;
  cpu::gemm(m, n, k, a, lda, b, ldb, transposed, c, ldc, sum, nullptr, pool);
}
void multiply(int64_t m, int64_t n, int64_t k, const double* a, int64_t lda, const double* b,
              int64_t ldb, bool transposed, double* c, int64_t ldc, ThreadPool* pool) {
  Matrix<double> product(static_cast<size_t>(m * n));
  cpu::gemm_f64(m, n, k, a, lda, b, ldb, transposed, product.data(), n, pool);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) c[i * ldc + j] += product[static_cast<size_t>(i * n + j)];
  }
}

// c [m, n] += a' . b for a [k, m] and b [k, n], whose rows are `lda` and n apart.
template <class C>
void multiply_turned(int64_t m, int64_t n, int64_t k, const C* a, int64_t lda, const C* b, C* c,
                     ThreadPool* pool) {
  Matrix<C> turned(static_cast<size_t>(m * k));
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t x = 0; x < k; ++x) turned[static_cast<size_t>(i * k + x)] = a[x * lda + i];
  }
  multiply(m, n, k, turned.data(), k, b, n, false, c, n, pool);
}

// Operands and results of one direction. Rows of the batch are `batch_first` in x and y or not;
// here they have the number time * batch + row.
template <class C>
struct Part {
  const C *w, *r, *bias, *peepholes;         // bias and peepholes may be null
  C *dw, *dr, *dbias, *dpeepholes;           // the last two have elements all the same
  Matrix<C> x, dy;                           // [steps * batch, inputs], [steps * batch, hidden]
  Matrix<C> state, memory, dstate, dmemory;  // [batch, hidden], the initial and the last ones
  Matrix<C> dx;                              // [steps * batch, inputs]
};

template <Cell cell, class C>
class Backwards {
 public:
  Backwards(const Layer& layer, const Sizes& sizes, const Activation* activations, bool reversed,
            const std::vector<int64_t>& lengths, Part<C>& part, ThreadPool* pool)
      : layer_(layer),
        s_(sizes),
        n_(sizes.hidden),
        rows_(gates_of(cell) * sizes.hidden),
        f_(activations),
        reversed_(reversed),
        lengths_(lengths),
        p_(part),
        pool_(pool) {}

  void run(const KernelContext& ctx) {
    const auto all = static_cast<size_t>(s_.steps * s_.batch);
    sums_.assign(all * static_cast<size_t>(rows_), C{0});
    dsums_ = sums_;
    states_.assign(all * static_cast<size_t>(n_), C{0});
    extra_ = states_;
    if (cell == Cell::kLstm) memories_ = states_;
    if (cell == Cell::kGru) dextra_ = states_;
    const int64_t longest = *std::max_element(lengths_.begin(), lengths_.end());
    add_inputs();
    for (int64_t step = 0; step < longest; ++step) {
      check(ctx);
      forward(step);
    }
    for (int64_t step = longest; step-- > 0;) {
      check(ctx);
      backward(step);
    }
    collect();
  }

 private:
  static void check(const KernelContext& ctx) { check_running(ctx); }
  bool active(int64_t step, int64_t row) const { return step < lengths_[static_cast<size_t>(row)]; }
  int64_t place(int64_t step, int64_t row) const {
    const int64_t time = reversed_ ? lengths_[static_cast<size_t>(row)] - 1 - step : step;
    return time * s_.batch + row;
  }
  bool linear() const { return cell == Cell::kGru && layer_.linear_before_reset; }
  int64_t state_rows() const { return cell == Cell::kGru ? 2 * n_ : rows_; }

  C* sums(int64_t at) { return sums_.data() + at * rows_; }
  C* dsums(int64_t at) { return dsums_.data() + at * rows_; }
  C* kept(Matrix<C>& list, int64_t at) { return list.data() + at * n_; }

  // The clip is for what the gates see, not for the memory that h is applied to.
  float clip_of(int which) const { return which == 2 ? 0.0f : layer_.clip; }
  Matrix<C> applied(int which, const C* x) const {
    Matrix<C> y(x, x + n_);
    apply(f_[which], clip_of(which), y.data(), n_);
    return y;
  }
  Matrix<C> slope(int which, const C* x) const {
    Matrix<C> y(static_cast<size_t>(n_));
    slopes(f_[which], clip_of(which), x, y.data(), n_);
    return y;
  }

  // What the gates take from the inputs and the biases.
  void add_inputs() {
    const int64_t all = s_.steps * s_.batch;
    for (int64_t at = 0; p_.bias != nullptr && at < all; ++at) {
      for (int64_t i = 0; i < rows_; ++i) {
        const bool later = linear() && i >= 2 * n_;
        sums(at)[i] = p_.bias[i] + (later ? C{0} : p_.bias[rows_ + i]);
      }
    }
    multiply(all, rows_, s_.inputs, p_.x.data(), s_.inputs, p_.w, s_.inputs, true, sums_.data(),
             rows_, pool_);
  }

  // Keeps the states before the step and the sums that the gates see. extra_ is what the hidden
  // gate of GRU multiplies: the product of the state, or the state behind the reset gate; for LSTM
  // it is the new memory.
  void forward(int64_t step) {
    Matrix<C> product(static_cast<size_t>(s_.batch * rows_), C{0});
    multiply(s_.batch, linear() ? rows_ : state_rows(), n_, p_.state.data(), n_, p_.r, n_, true,
             product.data(), rows_, pool_);
    Matrix<C> reset(static_cast<size_t>(s_.batch * n_), C{0}), hidden = reset;
    for (int64_t row = 0; row < s_.batch; ++row) {
      if (!active(step, row)) continue;
      const int64_t at = place(step, row);
      C *sum = sums(at), *state = p_.state.data() + row * n_;
      const C* from = product.data() + row * rows_;
      for (int64_t i = 0; i < state_rows(); ++i) sum[i] += from[i];
      std::copy_n(state, n_, kept(states_, at));
      if constexpr (cell == Cell::kRnn) {
        std::copy_n(applied(0, sum).data(), n_, state);
      } else if constexpr (cell == Cell::kLstm) {
        remember(at, sum, state, p_.memory.data() + row * n_);
      } else {
        const Matrix<C> r = applied(0, sum + n_);
        C* extra = kept(extra_, at);
        for (int64_t i = 0; i < n_; ++i) {
          if (linear()) {
            extra[i] = from[2 * n_ + i] + (p_.bias != nullptr ? p_.bias[rows_ + 2 * n_ + i] : C{0});
            sum[2 * n_ + i] += r[static_cast<size_t>(i)] * extra[i];
          } else {
            extra[i] = reset[static_cast<size_t>(row * n_ + i)] =
                r[static_cast<size_t>(i)] * state[i];
          }
        }
      }
    }
    if constexpr (cell == Cell::kGru) {
      if (!linear()) {
        multiply(s_.batch, n_, n_, reset.data(), n_, p_.r + 2 * n_ * n_, n_, true, hidden.data(),
                 n_, pool_);
      }
      for (int64_t row = 0; row < s_.batch; ++row) {
        if (!active(step, row)) continue;
        C *sum = sums(place(step, row)), *state = p_.state.data() + row * n_;
        for (int64_t i = 0; i < n_; ++i)
          sum[2 * n_ + i] += hidden[static_cast<size_t>(row * n_ + i)];
        const Matrix<C> z = applied(0, sum), fresh = applied(1, sum + 2 * n_);
        for (size_t i = 0; i < z.size(); ++i) state[i] = (1 - z[i]) * fresh[i] + z[i] * state[i];
      }
    }
  }

  void remember(int64_t at, C* sum, C* state, C* memory) {
    std::copy_n(memory, n_, kept(memories_, at));
    const C* p = p_.peepholes;
    for (int64_t i = 0; p != nullptr && i < n_; ++i) {
      sum[i] += p[i] * memory[i];
      sum[2 * n_ + i] += p[2 * n_ + i] * memory[i];
    }
    const Matrix<C> in = applied(0, sum), fresh = applied(1, sum + 3 * n_);
    const Matrix<C> forget = layer_.input_forget ? Matrix<C>() : applied(0, sum + 2 * n_);
    for (size_t i = 0; i < in.size(); ++i) {
      memory[i] = (layer_.input_forget ? 1 - in[i] : forget[i]) * memory[i] + in[i] * fresh[i];
    }
    for (int64_t i = 0; p != nullptr && i < n_; ++i) sum[n_ + i] += p[n_ + i] * memory[i];
    std::copy_n(memory, n_, kept(extra_, at));
    const Matrix<C> out = applied(0, sum + n_), shown = applied(2, memory);
    for (size_t i = 0; i < out.size(); ++i) state[i] = out[i] * shown[i];
  }

  // From the gradient of the state behind the step to those of the sums and of the state before.
  void backward(int64_t step) {
    Matrix<C> down(static_cast<size_t>(s_.batch * rows_), C{0});
    Matrix<C> direct(static_cast<size_t>(s_.batch * n_), C{0});
    for (int64_t row = 0; row < s_.batch; ++row) {
      if (!active(step, row)) continue;
      const int64_t at = place(step, row);
      C* dstate = p_.dstate.data() + row * n_;
      for (int64_t i = 0; i < n_; ++i) dstate[i] += p_.dy[static_cast<size_t>(at * n_ + i)];
      if constexpr (cell == Cell::kRnn) {
        const Matrix<C> f = slope(0, sums(at));
        for (size_t i = 0; i < f.size(); ++i) dsums(at)[i] = dstate[i] * f[i];
      } else if constexpr (cell == Cell::kLstm) {
        forget(at, dstate, p_.dmemory.data() + row * n_);
      } else {
        update(at, dstate, direct.data() + row * n_);
      }
    }
    if constexpr (cell == Cell::kGru) reset(step, direct);
    for (int64_t row = 0; row < s_.batch; ++row) {
      if (!active(step, row)) continue;
      const int64_t at = place(step, row);
      std::copy_n(dsums(at), state_rows(), down.data() + row * rows_);
      if (linear()) std::copy_n(kept(dextra_, at), n_, down.data() + row * rows_ + 2 * n_);
    }
    multiply(s_.batch, n_, linear() ? rows_ : state_rows(), down.data(), rows_, p_.r, n_, false,
             direct.data(), n_, pool_);
    for (int64_t row = 0; row < s_.batch; ++row) {
      if (active(step, row)) std::copy_n(direct.data() + row * n_, n_, p_.dstate.data() + row * n_);
    }
  }

  // GRU: the gradients of the update and hidden gates; the reset gate follows in reset().
  void update(int64_t at, const C* dstate, C* direct) {
    const C *sum = sums(at), *state = kept(states_, at);
    C* dsum = dsums(at);
    const Matrix<C> z = applied(0, sum), fresh = applied(1, sum + 2 * n_), dz = slope(0, sum),
                    dfresh = slope(1, sum + 2 * n_);
    for (size_t i = 0; i < z.size(); ++i) {
      dsum[i] = dstate[i] * (state[i] - fresh[i]) * dz[i];
      dsum[static_cast<size_t>(2 * n_) + i] = dstate[i] * (1 - z[i]) * dfresh[i];
      direct[i] = dstate[i] * z[i];
    }
  }

  void reset(int64_t step, Matrix<C>& direct) {
    Matrix<C> hidden(static_cast<size_t>(s_.batch * n_), C{0}), through = hidden;
    for (int64_t row = 0; row < s_.batch; ++row) {
      if (active(step, row)) {
        std::copy_n(dsums(place(step, row)) + 2 * n_, n_, hidden.data() + row * n_);
      }
    }
    if (!linear()) {
      multiply(s_.batch, n_, n_, hidden.data(), n_, p_.r + 2 * n_ * n_, n_, false, through.data(),
               n_, pool_);
    }
    for (int64_t row = 0; row < s_.batch; ++row) {
      if (!active(step, row)) continue;
      const int64_t at = place(step, row);
      const C *sum = sums(at) + n_, *state = kept(states_, at), *extra = kept(extra_, at);
      C *dsum = dsums(at) + n_, *dextra = kept(dextra_, at);
      const Matrix<C> r = applied(0, sum), dr = slope(0, sum);
      for (size_t i = 0; i < r.size(); ++i) {
        const size_t j = static_cast<size_t>(row * n_) + i;
        if (linear()) {
          dsum[i] = hidden[j] * extra[i] * dr[i];
          dextra[i] = hidden[j] * r[i];
        } else {
          dsum[i] = through[j] * state[i] * dr[i];
          direct[j] += through[j] * r[i];
        }
      }
    }
  }

  // LSTM: all gates, and the memory before from that behind.
  void forget(int64_t at, const C* dstate, C* dmemory) {
    const C *sum = sums(at), *before = kept(memories_, at), *memory = kept(extra_, at);
    const C* p = p_.peepholes;
    C *dsum = dsums(at), *dp = p_.dpeepholes;
    const auto n = static_cast<size_t>(n_);
    const Matrix<C> in = applied(0, sum), out = applied(0, sum + n_),
                    fresh = applied(1, sum + 3 * n_), shown = applied(2, memory),
                    din = slope(0, sum), dout = slope(0, sum + n_), dfresh = slope(1, sum + 3 * n_),
                    dshown = slope(2, memory), keep = applied(0, sum + 2 * n_),
                    dkeep = slope(0, sum + 2 * n_);
    for (size_t i = 0; i < n; ++i) {
      dsum[n + i] = dstate[i] * shown[i] * dout[i];
      C change = dmemory[i] + dstate[i] * out[i] * dshown[i];
      if (p != nullptr) change += dsum[n + i] * p[n + i];
      dsum[3 * n + i] = change * in[i] * dfresh[i];
      const C coupled = layer_.input_forget ? before[i] : C{0};
      dsum[i] = change * (fresh[i] - coupled) * din[i];
      dsum[2 * n + i] = layer_.input_forget ? C{0} : change * before[i] * dkeep[i];
      dmemory[i] = change * (layer_.input_forget ? 1 - in[i] : keep[i]);
      if (p == nullptr) continue;
      dmemory[i] += dsum[i] * p[i] + dsum[2 * n + i] * p[2 * n + i];
      dp[i] += dsum[i] * before[i];
      dp[n + i] += dsum[n + i] * memory[i];
      dp[2 * n + i] += dsum[2 * n + i] * before[i];
    }
  }

  // Inputs, weights and biases from the sums of all steps.
  void collect() {
    const int64_t all = s_.steps * s_.batch, in = s_.inputs;
    if (all == 0) return;
    multiply(all, in, rows_, dsums_.data(), rows_, p_.w, in, false, p_.dx.data(), in, pool_);
    multiply_turned(rows_, in, all, dsums_.data(), rows_, p_.x.data(), p_.dw, pool_);
    multiply_turned(state_rows(), n_, all, dsums_.data(), rows_, states_.data(), p_.dr, pool_);
    if (cell == Cell::kGru) {
      C* hidden = p_.dr + 2 * n_ * n_;
      if (linear()) {
        multiply_turned(n_, n_, all, dextra_.data(), n_, states_.data(), hidden, pool_);
      } else {
        multiply_turned(n_, n_, all, dsums_.data() + 2 * n_, rows_, extra_.data(), hidden, pool_);
      }
    }
    for (int64_t at = 0; at < all; ++at) {
      for (int64_t i = 0; i < rows_; ++i) {
        const C change = dsums(at)[i];
        const bool later = linear() && i >= 2 * n_;
        p_.dbias[i] += change;
        p_.dbias[rows_ + i] += later ? kept(dextra_, at)[i - 2 * n_] : change;
      }
    }
  }

  const Layer& layer_;
  const Sizes& s_;
  int64_t n_, rows_;
  const Activation* f_;
  bool reversed_;
  const std::vector<int64_t>& lengths_;
  Part<C>& p_;
  ThreadPool* pool_;
  // Of all places: the sums that gates see, and their gradients; states before; see forward().
  Matrix<C> sums_, dsums_, states_, memories_, extra_, dextra_;
};

bool has(const KernelContext& ctx, int i) { return i < ctx.num_inputs() && ctx.has_input(i); }

// Numbers of an operand, zeros where it is omitted.
template <class T>
Matrix<Compute<T>> numbers(const KernelContext& ctx, int i, const Shape& shape) {
  Matrix<Compute<T>> result(static_cast<size_t>(shape.size()));
  if (!has(ctx, i)) return result;
  const Tensor& tensor = ctx.input(i);
  if (!(tensor.shape() == shape) || tensor.dtype() != dtype_of<T>) {
    fail(ErrorCode::kInvalidArgument, "input ", i, " is ", describe(tensor), ", but has to be ",
         shape.to_string());
  }
  convert_all(tensor.data<T>(), result.data(), tensor.size());
  return result;
}

template <Cell cell, class T>
void gradient_in(KernelContext& ctx, const Layer& layer, const Sizes& s) {
  using C = Compute<T>;
  const int64_t d = layer.directions, n = s.hidden, rows = gates_of(cell) * n;
  const bool batch_first = layer.batch_first;
  const DType dtype = ctx.input(0).dtype();
  const Shape x_shape = ctx.input(0).shape();
  const Shape w_shape{d, rows, s.inputs}, r_shape{d, rows, n}, b_shape{d, 2 * rows},
      p_shape{d, 3 * n},
      state_shape = batch_first ? Shape{s.batch, d, n} : Shape{d, s.batch, n},
      y_shape = batch_first ? Shape{s.batch, s.steps, d, n} : Shape{s.steps, d, s.batch, n};
  const auto x = numbers<T>(ctx, 0, x_shape), w = numbers<T>(ctx, 1, w_shape),
             r = numbers<T>(ctx, 2, r_shape), b = numbers<T>(ctx, 3, b_shape),
             h = numbers<T>(ctx, 5, state_shape), c = numbers<T>(ctx, 6, state_shape),
             p = numbers<T>(ctx, 7, p_shape), dy = numbers<T>(ctx, 8, y_shape),
             dh = numbers<T>(ctx, 9, state_shape), dc = numbers<T>(ctx, 10, state_shape);
  const std::vector<int64_t> lengths = lengths_of(ctx, s);
  const Shape shapes[] = {x_shape, w_shape, r_shape, b_shape, state_shape, state_shape, p_shape};
  std::vector<Matrix<C>> results;
  for (const Shape& shape : shapes) results.emplace_back(static_cast<size_t>(shape.size()), C{0});

  // Rows of one direction, from and to where the layout has them.
  const auto state_row = [&](int64_t row, int64_t direction) {
    return batch_first ? row * d + direction : direction * s.batch + row;
  };
  const auto x_row = [&](int64_t at) {
    return batch_first ? at % s.batch * s.steps + at / s.batch : at;
  };
  const auto y_row = [&](int64_t at, int64_t direction) {
    const int64_t time = at / s.batch, row = at % s.batch;
    return batch_first ? (row * s.steps + time) * d + direction
                       : (time * d + direction) * s.batch + row;
  };
  for (int64_t k = 0; k < d && s.batch > 0 && n > 0; ++k) {
    Part<C> part{w.data() + k * rows * s.inputs,
                 r.data() + k * rows * n,
                 has(ctx, 3) ? b.data() + k * 2 * rows : nullptr,
                 has(ctx, 7) ? p.data() + k * 3 * n : nullptr,
                 results[1].data() + k * rows * s.inputs,
                 results[2].data() + k * rows * n,
                 results[3].data() + k * 2 * rows,
                 results[6].data() + k * 3 * n,
                 {},
                 {},
                 {},
                 {},
                 {},
                 {},
                 {}};
    const int64_t all = s.steps * s.batch;
    for (int64_t at = 0; at < all; ++at) {
      const C *from = x.data() + x_row(at) * s.inputs, *change = dy.data() + y_row(at, k) * n;
      part.x.insert(part.x.end(), from, from + s.inputs);
      part.dy.insert(part.dy.end(), change, change + n);
    }
    part.dx.assign(static_cast<size_t>(all * s.inputs), C{0});
    for (int64_t row = 0; row < s.batch; ++row) {
      const int64_t at = state_row(row, k) * n;
      part.state.insert(part.state.end(), h.data() + at, h.data() + at + n);
      part.memory.insert(part.memory.end(), c.data() + at, c.data() + at + n);
      part.dstate.insert(part.dstate.end(), dh.data() + at, dh.data() + at + n);
      part.dmemory.insert(part.dmemory.end(), dc.data() + at, dc.data() + at + n);
    }
    const Activation* functions = layer.activations.data() + static_cast<size_t>(k) *
                                                                 layer.activations.size() /
                                                                 static_cast<size_t>(d);
    Backwards<cell, C>(layer, s, functions, layer.first_reversed || k == 1, lengths, part,
                       ctx.pool())
        .run(ctx);
    for (int64_t at = 0; at < all; ++at) {
      C* to = results[0].data() + x_row(at) * s.inputs;
      for (int64_t i = 0; i < s.inputs; ++i) {
        to[i] += part.dx[static_cast<size_t>(at * s.inputs + i)];
      }
    }
    for (int64_t row = 0; row < s.batch; ++row) {
      const int64_t at = state_row(row, k) * n;
      std::copy_n(part.dstate.data() + row * n, n, results[4].data() + at);
      std::copy_n(part.dmemory.data() + row * n, n, results[5].data() + at);
    }
  }
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    if (!ctx.wants_output(i)) continue;
    Tensor& out = ctx.output(i, dtype, shapes[i]);
    convert_all(results[static_cast<size_t>(i)].data(), out.data<T>(), out.size());
  }
}

}  // namespace

template <Cell cell>
void gradient(KernelContext& ctx) {
  const Layer layer = layer_of(cell, ctx.node());
  const Sizes sizes = sizes_of(cell, layer, ctx);
  dispatch(FloatTypes{}, ctx.input(0).dtype(),
           [&]<class T>() { gradient_in<cell, T>(ctx, layer, sizes); });
}
template void gradient<Cell::kRnn>(KernelContext&);
template void gradient<Cell::kGru>(KernelContext&);
template void gradient<Cell::kLstm>(KernelContext&);

}  // namespace hugot::recurrent
