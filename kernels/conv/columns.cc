#include "kernels/conv/columns.h"

namespace hugot::conv {
namespace {

// Windows of one element side by side: the image and the result are the same list of elements.
bool pointwise(const Geometry& geometry) {
  return std::all_of(geometry.axes.begin(), geometry.axes.begin() + geometry.spatial,
                     [](const Axis& a) {
                       return a.kernel == 1 && a.stride == 1 && a.before == 0 && a.in == a.out;
                     });
}

}  // namespace

Columns::Columns(const Geometry& geometry)
    : channels_(geometry.channels),
      // Without channels there is nothing to see, however large the kernel pretends to be.
      taps_(geometry.channels == 0 ? 0 : geometry.kernel_size()),
      inputs_(geometry.in_size()),
      outputs_(geometry.out_size()),
      rank_(static_cast<size_t>(geometry.spatial)),
      axes_(geometry.axes) {
  if (pointwise(geometry)) {
    rank_ = 1;
    axes_[0].in = axes_[0].out = outputs_;
  }
  const Axis& a = axes_[rank_ - 1];
  for (int64_t k = 0; k < a.kernel && taps_ > 0; ++k) {
    const int64_t shift = k * a.dilation - a.before;  // output 0 sees this element
    const int64_t first = shift >= 0 ? 0 : (-shift + a.stride - 1) / a.stride;
    const int64_t last = a.in <= shift ? 0 : (a.in - shift - 1) / a.stride + 1;
    inside_.push_back({first, std::min(last, a.out)});
  }
}

void Columns::gather(const float* x, int64_t channel, int64_t channel_end, int64_t begin,
                     int64_t end, float* to, int64_t stride) const {
  for_runs(begin, end, [&](const Run& run) {
    for (int64_t c = channel; c < channel_end; ++c) {
      float* row = to + (c * taps_ + run.tap) * stride + run.column;
      std::fill(row, row + run.first, 0.0f);
      if (run.first < run.last) {
        const float* source = x + c * inputs_ + run.source;
        if (run.step == 1) {
          std::copy(source, source + (run.last - run.first), row + run.first);
        } else {
          for (int64_t i = run.first; i < run.last; ++i, source += run.step) row[i] = *source;
        }
      }
      std::fill(row + run.last, row + run.count, 0.0f);
    }
  });
}

void Columns::scatter(const float* from, int64_t stride, int64_t channel, int64_t channel_end,
                      int64_t begin, int64_t end, float* x) const {
  for_runs(begin, end, [&](const Run& run) {
    for (int64_t c = channel; c < channel_end; ++c) {
      const float* row = from + (c * taps_ + run.tap) * stride + run.column;
      float* target = x + c * inputs_ + run.source;
      for (int64_t i = run.first; i < run.last; ++i) {
        target[(i - run.first) * run.step] += row[i];
      }
    }
  });
}

}  // namespace hugot::conv
