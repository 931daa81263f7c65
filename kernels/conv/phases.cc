#include "kernels/conv/phases.h"

#include <algorithm>

#include "kernels/compute.h"

namespace hugot::conv {

// Result o meets element i of the image through element k of the kernel where
// o + before = i * stride + k * dilation. So in one phase, o + before = q * stride + rest, are the
// elements k with k * dilation = m * stride + rest for a whole m, and i = q - m.
std::vector<Phases::Along> Phases::cut(const Axis& axis) {
  std::vector<Along> result;
  for (int64_t first = 0; first < axis.stride; ++first) {
    const int64_t q = (first + axis.before) / axis.stride;
    const int64_t rest = (first + axis.before) % axis.stride;
    const int64_t count = std::max<int64_t>(axis.in - first + axis.stride - 1, 0) / axis.stride;
    Along along{first, count, {}, {}};
    int64_t farthest = 0, step = 0;  // m of the last element, and between two of them
    for (int64_t k = 0; k < axis.kernel; ++k) {
      if ((k * axis.dilation - rest) % axis.stride != 0) continue;
      const int64_t m = (k * axis.dilation - rest) / axis.stride;
      if (!along.taps.empty()) step = m - farthest;
      farthest = m;
      along.taps.insert(along.taps.begin(), k);
    }
    along.axis = {.in = axis.out,
                  .kernel = std::ssize(along.taps),
                  .out = along.count,
                  .stride = 1,
                  .dilation = std::max<int64_t>(step, 1),
                  .before = farthest - q};
    result.push_back(std::move(along));
  }
  return result;
}

Phases::Phases(const Geometry& geometry) : g_(geometry) {
  const auto rank = static_cast<size_t>(g_.spatial);
  if (rank > 2 || g_.filters == 0) return;
  columns_ = g_.axes[rank - 1];
  if (rank == 2) rows_ = g_.axes[0];
  if (!takes(rows_) || !takes(columns_)) return;
  int64_t packed = 0;
  const std::vector<Along> across = cut(columns_);
  for (const Along& down : cut(rows_)) {
    for (const Along& along : across) {
      Phase phase{down, along, {}, packed};
      Geometry& g = phase.geometry;
      g.batch = g_.batch;
      g.groups = g_.groups;
      g.channels = g_.filters;
      g.filters = g_.channels;
      g.spatial = 2;
      g.axes[0] = down.axis;
      g.axes[1] = along.axis;
      packed += g_.groups * g_.filters * g_.channels * g.kernel_size();
      if (g.out_size() == 0) continue;
      if (g.kernel_size() > 0 && !Direct(g).fits()) return;
      phases_.push_back(std::move(phase));
    }
  }
  fits_ = true;
}

void Phases::pack(const Geometry& geometry, const float* w, float* packed) {
  const int64_t size = geometry.kernel_size(), images = geometry.filters;
  const auto last = static_cast<size_t>(geometry.spatial - 1);
  const int64_t pitch = geometry.axes[last].kernel;
  const std::vector<Along> across = cut(geometry.axes[last]);
  std::vector<float> filters;
  for (const Along& down : cut(geometry.spatial == 2 ? geometry.axes[0] : Axis())) {
    for (const Along& along : across) {
      filters.clear();
      for (int64_t group = 0; group < geometry.groups; ++group) {
        for (int64_t to = 0; to < geometry.channels; ++to) {
          for (int64_t from = 0; from < images; ++from) {
            const float* kernel = w + ((group * images + from) * geometry.channels + to) * size;
            for (const int64_t i : down.taps) {
              for (const int64_t j : along.taps) filters.push_back(kernel[i * pitch + j]);
            }
          }
        }
      }
      const int64_t steps = images * std::ssize(down.taps) * std::ssize(along.taps);
      pack_filters(filters.data(), geometry.groups, geometry.channels, steps, packed);
      packed += std::ssize(filters);
    }
  }
}

// Results of channels [channel, end), which lie side by side, to their places in y.
void Phases::store(const Phase& phase, const float* from, int64_t channel, int64_t end,
                   float* y) const {
  const int64_t rows = phase.rows.count, count = phase.columns.count, step = columns_.stride;
  from += channel * rows * count;
  for (; channel < end; ++channel) {
    float* plane = y + channel * g_.in_size() + phase.columns.first;
    for (int64_t row = 0; row < rows; ++row, from += count) {
      float* to = plane + (phase.rows.first + row * rows_.stride) * columns_.in;
      if (step == 2) {
        for (int64_t i = 0; i < count; ++i) to[2 * i] = from[i];
      } else {
        for (int64_t i = 0; i < count; ++i) to[i * step] = from[i];
      }
    }
  }
}

void Phases::run(KernelContext& ctx, const float* x, const float* packed, const float* bias,
                 float* y) const {
  const int64_t planes = g_.batch * g_.groups * g_.channels;
  std::vector<float> results;
  for (const Phase& phase : phases_) {
    const int64_t outputs = phase.rows.count * phase.columns.count;
    const bool whole = outputs == g_.in_size();  // the only phase
    if (!whole) results.resize(static_cast<size_t>(planes * outputs));
    float* to = whole ? y : results.data();
    if (phase.geometry.kernel_size() > 0) {
      Direct(phase.geometry).convolve(ctx, x, packed + phase.packed, bias, to);
    } else {  // nothing meets these
      for (int64_t plane = 0; plane < planes; ++plane) {
        const float value = bias == nullptr ? 0.0f : bias[plane % (g_.groups * g_.channels)];
        std::fill_n(to + plane * outputs, outputs, value);
      }
    }
    if (whole) continue;
    for_items(ctx.pool(), planes, outputs,
              [&](int64_t begin, int64_t end, int /*worker*/) { store(phase, to, begin, end, y); });
  }
}

}  // namespace hugot::conv
