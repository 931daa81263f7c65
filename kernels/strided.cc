#include "kernels/strided.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/element.h"

namespace hugot {
namespace {

constexpr int64_t kElementsPerTask = 1 << 14;  // less is not worth waking a thread

// Calls body(odometer, first, last) for ranges of outer indices, `work` elements each.
template <class Body>
void for_outer(ThreadPool* pool, int64_t count, int64_t work, const Odometer& outer, Body body) {
  const int64_t grain = std::max<int64_t>(1, kElementsPerTask / std::max<int64_t>(work, 1));
  parallel_for(count <= grain ? nullptr : pool, count, grain, [&](int64_t begin, int64_t end) {
    Odometer odometer = outer;
    odometer.seek(begin);
    body(odometer, begin, end);
  });
}

// The innermost axis is contiguous, repeats one element, or jumps.
template <class T>
void copy_runs(const T* in, const StridedView& view, T* out, ThreadPool* pool) {
  const int last = view.rank() - 1;
  const int64_t run = view.dim(last);
  const int64_t step = view.stride(last);
  Odometer outer;
  for (int axis = 0; axis < last; ++axis) outer.add(view.dim(axis), view.stride(axis));
  for_outer(pool, view.size() / run, run, outer, [&](Odometer& at, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i, at.next()) {
      const T* source = in + at.offset();
      T* target = out + i * run;
      if (step == 1) {
        std::copy_n(source, run, target);
      } else if (step == 0) {
        std::fill_n(target, run, *source);
      } else {
        for (int64_t k = 0; k < run; ++k) target[k] = source[k * step];
      }
    }
  });
}

// Axis `fast` is contiguous in the source, the innermost one in the result: small tiles keep the
// cache lines of both in L1.
template <class T>
void copy_transposed(const T* in, const StridedView& view, int fast, T* out, ThreadPool* pool) {
  constexpr int64_t kFastTile = 16, kRunTile = 64;
  const int last = view.rank() - 1;
  const int64_t run = view.dim(last), step = view.stride(last), width = view.dim(fast);
  Odometer sources, targets;
  int64_t pitch = 1;
  for (int axis = last; axis > fast; --axis) pitch *= view.dim(axis);
  int64_t target_stride = view.size();
  for (int axis = 0; axis < last; ++axis) {
    target_stride /= view.dim(axis);
    if (axis == fast) continue;
    sources.add(view.dim(axis), view.stride(axis));
    targets.add(view.dim(axis), target_stride);
  }
  const int64_t tiles = (width + kFastTile - 1) / kFastTile;
  const int64_t count = view.size() / (run * width) * tiles;
  const int64_t grain = std::max<int64_t>(1, kElementsPerTask / (kFastTile * run));
  parallel_for(count <= grain ? nullptr : pool, count, grain, [&](int64_t begin, int64_t end) {
    Odometer source = sources, target = targets;
    for (int64_t task = begin; task < end; ++task) {
      source.seek(task / tiles);
      target.seek(task / tiles);
      const int64_t first = task % tiles * kFastTile;
      const int64_t limit = std::min(first + kFastTile, width);
      for (int64_t k0 = 0; k0 < run; k0 += kRunTile) {
        const int64_t k1 = std::min(k0 + kRunTile, run);
        for (int64_t u = first; u < limit; ++u) {
          const T* from = in + source.offset() + u;
          T* to = out + target.offset() + u * pitch;
          for (int64_t k = k0; k < k1; ++k) to[k] = from[k * step];
        }
      }
    }
  });
}

}  // namespace

void StridedView::add(int64_t dim, int64_t stride) {
  // Unsigned: beside a dimension 0 the others may be anything.
  const auto times = [](int64_t a, int64_t b) {
    return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  };
  size_ = times(size_, dim);
  if (dim == 1) return;
  const auto top = static_cast<size_t>(rank_);
  if (rank_ > 0 && strides_[top - 1] == times(stride, dim)) {
    dims_[top - 1] = times(dims_[top - 1], dim);
    strides_[top - 1] = stride;
    return;
  }
  require(top < kMaxAxes, ErrorCode::kInternal, "a strided view has too many axes");
  dims_[top] = dim;
  strides_[top] = stride;
  ++rank_;
}

std::array<int64_t, Shape::kMaxRank> row_major_strides(const Shape& shape) {
  std::array<int64_t, Shape::kMaxRank> strides{};
  int64_t stride = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    strides[static_cast<size_t>(axis)] = stride;
    stride *= shape[axis];
  }
  return strides;
}

void copy_view(const Tensor& in, const StridedView& view, Tensor& out, ThreadPool* pool) {
  if (view.size() == 0) return;
  with_element(in.dtype(), [&]<class T>() {
    const T* source = elements<T>(in) + view.offset();
    T* target = elements<T>(out);
    if (view.rank() == 0) {
      *target = *source;
      return;
    }
    const int last = view.rank() - 1;
    const int64_t step = view.stride(last);
    if (step != 0 && step != 1) {
      for (int axis = 0; axis < last; ++axis) {
        if (view.stride(axis) == 1) return copy_transposed(source, view, axis, target, pool);
      }
    }
    copy_runs(source, view, target, pool);
  });
}

void copy_rows(DType dtype, const void* in, int64_t in_offset, int64_t in_pitch, void* out,
               int64_t out_offset, int64_t out_pitch, int64_t rows, int64_t count,
               ThreadPool* pool) {
  if (count == 0) return;
  with_element(dtype, [&]<class T>() {
    const T* source = static_cast<const T*>(in) + in_offset;
    T* target = static_cast<T*>(out) + out_offset;
    const int64_t grain = std::max<int64_t>(1, (1 << 14) / count);
    parallel_for(rows <= grain ? nullptr : pool, rows, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        std::copy_n(source + i * in_pitch, count, target + i * out_pitch);
      }
    });
  });
}

}  // namespace hugot
