// Convolutions whose filters see one channel each: sums of shifted rows, with nothing for a matrix
// product to win.
#include <algorithm>
#include <cstring>

#include "kernels/conv/columns.h"
#include "kernels/conv/compute.h"
#include "kernels/conv/depthwise.h"

namespace hugot::conv {
namespace {

constexpr int64_t kMostTaps = 128;

using Quad = float __attribute__((vector_size(16)));

Quad load(const float* from) {
  Quad quad;
  std::memcpy(&quad, from, sizeof quad);
  return quad;
}

// kQuads * 4 elements of weigh().
template <int kQuads>
void weigh_block(const float* const* rows, const float* weights, size_t count, float start,
                 int64_t at, float* y) {
  Quad sum[kQuads];
  for (Quad& quad : sum) quad = Quad{} + start;
  for (size_t t = 0; t < count; ++t) {
    const float* row = rows[t] + at;
    for (int q = 0; q < kQuads; ++q) sum[q] += load(row + 4 * q) * weights[t];
  }
  std::memcpy(y + at, sum, sizeof sum);
}

// y[i] = start + sum over t of weights[t] * rows[t][i] for i < n. The last block overlaps the one
// before it, which changes nothing: an element is computed alike wherever it is.
void weigh(const float* const* rows, const float* weights, size_t count, float start, float* y,
           int64_t n) {
  if (n < 4) {
    for (int64_t i = 0; i < n; ++i) {
      float sum = start;
      for (size_t t = 0; t < count; ++t) sum += rows[t][i] * weights[t];
      y[i] = sum;
    }
    return;
  }
  if (n < 16) {
    for (int64_t i = 0; i < n; i += 4) {
      weigh_block<1>(rows, weights, count, start, std::min(i, n - 4), y);
    }
    return;
  }
  for (int64_t i = 0; i < n; i += 16) {
    weigh_block<4>(rows, weights, count, start, std::min(i, n - 16), y);
  }
}

// The rows of one channel with their padding, cut by the stride: phase p has what the outputs see
// through taps at p, p + stride, .. one after the other.
class Rows {
 public:
  explicit Rows(const Geometry& g)
      : inner_(g.axes[static_cast<size_t>(g.spatial - 1)]),
        count_(g.in_size() / std::max<int64_t>(inner_.in, 1)),
        length_(inner_.out + (inner_.kernel - 1) * inner_.dilation / inner_.stride + 1) {
    for (int64_t k = 0; k < inner_.kernel; ++k) {
      const int64_t shift = k * inner_.dilation;
      taps_.push_back(shift % inner_.stride * length_ + shift / inner_.stride);
    }
  }

  int64_t size() const { return count_ * inner_.stride * length_; }

  void fill(const float* x, float* to) const {
    for (int64_t row = 0; row < count_; ++row, x += inner_.in) {
      for (int64_t phase = 0; phase < inner_.stride; ++phase, to += length_) {
        const int64_t shift = inner_.before - phase;  // element 0 is x[-shift]
        const int64_t stride = inner_.stride;
        const int64_t first =
            std::clamp<int64_t>(shift <= 0 ? 0 : (shift + stride - 1) / stride, 0, length_);
        const int64_t reach = inner_.in + shift;
        const int64_t last =
            std::clamp<int64_t>(reach <= 0 ? 0 : (reach + stride - 1) / stride, first, length_);
        std::fill(to, to + first, 0.0f);
        const float* from = x + first * stride - shift;
        if (stride == 1) {
          std::copy(from, from + (last - first), to + first);
        } else {
          for (int64_t i = first; i < last; ++i, from += stride) to[i] = *from;
        }
        std::fill(to + last, to + length_, 0.0f);
      }
    }
  }

  // What output 0 of input row `row` sees through tap `k` of the last axis.
  const float* at(const float* rows, int64_t row, int64_t k) const {
    return rows + row * inner_.stride * length_ + taps_[static_cast<size_t>(k)];
  }

 private:
  Axis inner_;
  int64_t count_, length_;
  std::vector<int64_t> taps_;  // where the taps begin
};

}  // namespace

bool is_depthwise(const Geometry& g) {
  // Large strides and far padding would make the copy of a channel much larger than the channel.
  const Axis& inner = g.axes[static_cast<size_t>(g.spatial - 1)];
  return g.channels == 1 && g.filters <= 4 && inner.stride <= 4 && g.kernel_size() <= kMostTaps &&
         (inner.kernel - 1) * inner.dilation <= 4 * (inner.in + inner.out) + 64;
}

void convolve_depthwise(KernelContext& ctx, const Geometry& g, const float* x, const float* w,
                        const float* bias, float* y) {
  const Rows padded(g);
  const auto outer = static_cast<size_t>(g.spatial - 1);
  const Axis& inner = g.axes[outer];
  const int64_t inputs = g.in_size(), outputs = g.out_size(), taps = g.kernel_size();
  const int64_t size = (padded.size() + 15) / 16 * 16;
  ThreadPool* pool = ctx.pool();
  float* scratch = ctx.scratch_of<float>(size * (pool == nullptr ? 1 : pool->size()));
  const auto run = [&](int64_t part, float* copy) {
    padded.fill(x + part * inputs, copy);
    std::array<const float*, kMostTaps> rows;
    std::array<float, kMostTaps> weights;
    for (int64_t m = 0; m < g.filters; ++m) {
      const int64_t filter = part % g.groups * g.filters + m;
      const float* factors = w + filter * taps;
      const float start = bias == nullptr ? 0.0f : bias[filter];
      float* target = y + (part * g.filters + m) * outputs;
      for (int64_t line = 0; line < outputs / inner.out; ++line) {
        std::array<int64_t, kMaxSpatial> first{}, index{};  // what tap 0 sees; the tap
        int64_t rest = line;
        for (size_t axis = outer; axis-- > 0; rest /= g.axes[axis].out) {
          first[axis] = rest % g.axes[axis].out * g.axes[axis].stride - g.axes[axis].before;
        }
        size_t count = 0;
        for (int64_t tap = 0; tap < taps; tap += inner.kernel) {
          int64_t row = 0;
          bool inside = true;
          for (size_t axis = 0; axis < outer; ++axis) {
            const int64_t i = first[axis] + index[axis] * g.axes[axis].dilation;
            inside = inside && i >= 0 && i < g.axes[axis].in;
            row = row * g.axes[axis].in + i;
          }
          for (int64_t k = 0; inside && k < inner.kernel; ++k, ++count) {
            rows[count] = padded.at(copy, row, k);
            weights[count] = factors[tap + k];
          }
          for (size_t axis = outer; axis-- > 0;) {
            if (++index[axis] < g.axes[axis].kernel) break;
            index[axis] = 0;
          }
        }
        weigh(rows.data(), weights.data(), count, start, target + line * inner.out, inner.out);
      }
    }
  };
  for_items(pool, g.batch * g.groups, g.filters * outputs * taps,
            [&](int64_t begin, int64_t end, int worker) {
              for (int64_t part = begin; part < end; ++part) run(part, scratch + worker * size);
            });
}

}  // namespace hugot::conv
