// Kernels of MaxRoiPool, RoiAlign and their gradients: pools over rectangles that an operand gives.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>

#include "base/error.h"
#include "kernels/compute.h"
#include "kernels/pooling/pooling.h"
#include "kernels/running.h"

namespace hugot::pooling {
namespace {

// Samples along one axis of a region that is a multiple of the image is all that anybody needs.
constexpr double kMaxSamples = 1 << 24;

void check_image(const Tensor& x, const Tensor& rois, int64_t columns) {
  if (x.rank() != 4 || rois.rank() != 2 || rois.shape()[1] != columns ||
      rois.dtype() != x.dtype()) {
    fail(ErrorCode::kInvalidArgument, "regions ", describe(rois), " do not fit ", describe(x),
         ": they need rank 2 with ", columns, " columns, and images rank 4");
  }
}

void check_gradient(const Tensor& dy, const Tensor& x, const Shape& y) {
  if (!(dy.shape() == y) || dy.dtype() != x.dtype()) {
    fail(ErrorCode::kInvalidArgument, "the gradient of the result is ", describe(dy),
         " for a result ", y.to_string(), " of ", describe(x));
  }
}

// Elements [begin, end) of an axis that bin `bin` of a region covers.
struct Bin {
  int64_t begin, end;
};

template <class C>
Bin bin_of(int64_t bin, int64_t bins, C first, C last, int64_t length) {
  const C size = std::max<C>(last - first + 1, 1) / static_cast<C>(bins);
  const auto limit = static_cast<C>(length);
  const C begin = std::floor(static_cast<C>(bin) * size) + first;
  const C end = std::ceil(static_cast<C>(bin + 1) * size) + first;
  return {static_cast<int64_t>(std::clamp<C>(begin, 0, limit)),
          static_cast<int64_t>(std::clamp<C>(end, 0, limit))};
}

// One point along an axis: a mixture of two elements; both weights are 0 outside of the image.
// While the region's edges move by 1, high_weight grows, and low_weight falls, by the slopes.
template <class C>
struct Sample {
  int64_t low = 0, high = 0;
  C low_weight = 0, high_weight = 0;
  C first_slope = 0, last_slope = 0;
};

// The attributes of RoiAlign.
struct Alignment {
  int64_t height, width, sampling_ratio;
  float scale, offset;
  bool maximum;
};

Alignment alignment_of(const Node& node, int64_t height, int64_t width) {
  Alignment result{
      height, width, node.get<int64_t>("sampling_ratio", 0), node.get<float>("spatial_scale", 1.0f),
      0,      false};
  require(result.sampling_ratio >= 0 && result.sampling_ratio < kMaxWindow,
          ErrorCode::kInvalidArgument, "sampling_ratio is ", result.sampling_ratio);
  const bool old = node.domain.empty() && node.op->since_version < 16;
  const std::string coordinates = node.get<std::string>("coordinate_transformation_mode",
                                                        old ? "output_half_pixel" : "half_pixel");
  if (coordinates == "half_pixel") {
    result.offset = 0.5f;
  } else {
    require(coordinates == "output_half_pixel", ErrorCode::kInvalidArgument,
            "coordinate_transformation_mode is ", coordinates);
  }
  const std::string mode = node.get<std::string>("mode", "avg");
  require(mode == "avg" || mode == "max", ErrorCode::kInvalidArgument, "mode is ", mode);
  result.maximum = mode == "max";
  return result;
}

// The points along one axis of a region, `grid` for each bin.
template <class C>
struct Points {
  int64_t grid = 0;
  std::vector<Sample<C>> samples;
};

template <class C>
Points<C> points_of(const Alignment& a, C first, C last, int64_t bins, int64_t length) {
  const C begin = first * static_cast<C>(a.scale) - static_cast<C>(a.offset);
  C size = last * static_cast<C>(a.scale) - static_cast<C>(a.offset) - begin;
  const bool stretched = a.offset != 0 || size >= 1;
  if (!stretched) size = 1;  // malformed regions become 1x1
  const C step = size / static_cast<C>(bins);
  const C grid =
      a.sampling_ratio > 0 ? static_cast<C>(a.sampling_ratio) : std::max<C>(std::ceil(step), 0);
  require(
      std::isfinite(begin) && static_cast<double>(grid) * static_cast<double>(bins) <= kMaxSamples,
      ErrorCode::kInvalidArgument, "a region from ", first, " to ", last, " is too large");
  Points<C> result;
  result.grid = static_cast<int64_t>(grid);
  const auto limit = static_cast<C>(length);
  for (int64_t bin = 0; bin < bins; ++bin) {
    for (int64_t i = 0; i < result.grid; ++i) {
      Sample<C> sample;
      C at = begin + static_cast<C>(bin) * step + (static_cast<C>(i) + C{0.5}) * step / grid;
      if (at >= -1 && at <= limit) {
        at = std::max<C>(at, 0);
        sample.low = std::min(static_cast<int64_t>(at), length - 1);
        sample.high = std::min(sample.low + 1, length - 1);
        const C part = sample.low == length - 1 ? C{0} : at - static_cast<C>(sample.low);
        sample.low_weight = 1 - part;
        sample.high_weight = part;
        if (at > 0 && sample.low < length - 1) {
          const C along =
              (static_cast<C>(bin) + (static_cast<C>(i) + C{0.5}) / grid) / static_cast<C>(bins);
          sample.last_slope = stretched ? along * static_cast<C>(a.scale) : C{0};
          sample.first_slope = static_cast<C>(a.scale) - sample.last_slope;
        }
      }
      result.samples.push_back(sample);
    }
  }
  return result;
}

// What RoiAlign reads, checked.
template <class T>
struct Regions {
  const Tensor& boxes;
  const int64_t* batch;

  Regions(const Tensor& rois, const Tensor& indices, const Shape& x) : boxes(rois) {
    if (x.rank() != 4 || rois.rank() != 2 || rois.shape()[1] != 4 ||
        !(indices.shape() == Shape{rois.shape()[0]}) || indices.dtype() != DType::kInt64) {
      fail(ErrorCode::kInvalidArgument, "regions ", describe(rois), " of images ",
           describe(indices), " do not fit images ", x.to_string());
    }
    batch = indices.data<int64_t>();
    for (int64_t i = 0; i < indices.size(); ++i) {
      require(batch[i] >= 0 && batch[i] < x[0], ErrorCode::kInvalidArgument, "region ", i,
              " lies on image ", batch[i], " of ", x[0]);
    }
    require(indices.size() == 0 || (x[2] > 0 && x[3] > 0), ErrorCode::kInvalidArgument, "images ",
            x.to_string(), " have no pixel");
  }

  Compute<T> corner(int64_t region, int64_t i) const {
    return static_cast<Compute<T>>(boxes.data<T>()[region * 4 + i]);
  }
};

// Calls body(bin, count, rows, columns) for every bin of a region: the points of the bin are all
// pairs of a row and a column, `count` of them, or 1 when there are none.
template <class C, class Body>
void for_bins(const Points<C>& rows, const Points<C>& columns, int64_t height, int64_t width,
              const Body& body) {
  const int64_t points = std::max<int64_t>(rows.grid * columns.grid, 1);
  for (int64_t i = 0; i < height; ++i) {
    const std::span<const Sample<C>> down(rows.samples.data() + i * rows.grid,
                                          static_cast<size_t>(rows.grid));
    for (int64_t j = 0; j < width; ++j) {
      body(i * width + j, static_cast<C>(points), down,
           std::span<const Sample<C>>(columns.samples.data() + j * columns.grid,
                                      static_cast<size_t>(columns.grid)));
    }
  }
}

template <class T>
void align(KernelContext& ctx, const Alignment& a) {
  using C = Compute<T>;
  const Tensor& in = ctx.input(0);
  const Regions<T> regions(ctx.input(1), ctx.input(2), in.shape());
  const int64_t count = regions.boxes.shape()[0], channels = in.shape()[1];
  const int64_t height = in.shape()[2], width = in.shape()[3], bins = a.height * a.width;
  Tensor& out = ctx.output(0, in.dtype(), Shape{count, channels, a.height, a.width});
  if (out.size() == 0) return;
  const Wide<T> x(in);
  WideResult<T> result(out);
  C* y = result.data();
  for_items(ctx.pool(), count, channels * bins * 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      const auto rows =
          points_of<C>(a, regions.corner(r, 1), regions.corner(r, 3), a.height, height);
      const auto columns =
          points_of<C>(a, regions.corner(r, 0), regions.corner(r, 2), a.width, width);
      for (int64_t c = 0; c < channels; ++c) {
        check_running(ctx);
        const C* image = x.data() + (regions.batch[r] * channels + c) * height * width;
        C* to = y + (r * channels + c) * bins;
        for_bins(rows, columns, a.height, a.width,
                 [&](int64_t bin, C points, auto down, auto across) {
                   C sum = 0, most = -std::numeric_limits<C>::infinity();
                   for (const Sample<C>& v : down) {
                     const C *low = image + v.low * width, *high = image + v.high * width;
                     for (const Sample<C>& h : across) {
                       const C parts[] = {v.low_weight * h.low_weight * low[h.low],
                                          v.low_weight * h.high_weight * low[h.high],
                                          v.high_weight * h.low_weight * high[h.low],
                                          v.high_weight * h.high_weight * high[h.high]};
                       if (a.maximum) {
                         most = std::max({most, parts[0], parts[1], parts[2], parts[3]});
                       } else {
                         sum += parts[0] + parts[1] + parts[2] + parts[3];
                       }
                     }
                   }
                   const bool none = down.empty() || across.empty();
                   to[bin] = none ? C{0} : a.maximum ? most : sum / points;
                 });
      }
    }
  });
  result.store();
}

// The gradients of images and regions. Channels are what threads take; those of a region are added
// up in their order.
template <class T>
void align_gradient(KernelContext& ctx, const Alignment& a) {
  using C = Compute<T>;
  const Tensor &share = ctx.input(0), &in = ctx.input(1);
  const Regions<T> regions(ctx.input(2), ctx.input(3), in.shape());
  const int64_t count = regions.boxes.shape()[0], channels = in.shape()[1];
  const int64_t height = in.shape()[2], width = in.shape()[3], bins = a.height * a.width;
  check_gradient(share, in, Shape{count, channels, a.height, a.width});
  Tensor& out = ctx.output(0, in.dtype(), in.shape());
  Tensor& boxes = ctx.output(1, in.dtype(), regions.boxes.shape());
  const Wide<T> x(in), dy(share);
  WideResult<T> result(out), box_result(boxes);
  C *dx = result.data(), *dbox = box_result.data();
  std::fill_n(dx, in.size(), C{0});
  std::vector<std::array<C, 4>> edges(static_cast<size_t>(channels));
  for (int64_t r = 0; r < count; ++r, dbox += 4) {
    check_running(ctx);
    const auto rows = points_of<C>(a, regions.corner(r, 1), regions.corner(r, 3), a.height, height);
    const auto columns =
        points_of<C>(a, regions.corner(r, 0), regions.corner(r, 2), a.width, width);
    for_items(ctx.pool(), channels, bins * 64, [&](int64_t c, int64_t last, int) {
      for (; c < last; ++c) {
        const int64_t plane = (regions.batch[r] * channels + c) * height * width;
        const C *image = x.data() + plane, *from = dy.data() + (r * channels + c) * bins;
        C* to = dx + plane;
        std::array<C, 4>& edge = edges[static_cast<size_t>(c)];
        edge = {};
        // What a point's value, `weight` times the element there, passes on.
        const auto add = [&](const Sample<C>& v, const Sample<C>& h, bool high, bool right,
                             C part) {
          const int64_t at = (high ? v.high : v.low) * width + (right ? h.high : h.low);
          const C down = high ? v.high_weight : v.low_weight;
          const C across = right ? h.high_weight : h.low_weight;
          to[at] += part * down * across;
          const C vertical = (high ? part : -part) * across * image[at];
          const C horizontal = (right ? part : -part) * down * image[at];
          edge[0] += horizontal * h.first_slope;
          edge[1] += vertical * v.first_slope;
          edge[2] += horizontal * h.last_slope;
          edge[3] += vertical * v.last_slope;
        };
        for_bins(rows, columns, a.height, a.width,
                 [&](int64_t bin, C points, auto down, auto across) {
                   C most = -std::numeric_limits<C>::infinity();
                   const Sample<C>*best_v = nullptr, *best_h = nullptr;
                   int best = 0;
                   for (const Sample<C>& v : down) {
                     for (const Sample<C>& h : across) {
                       for (int corner = 0; corner < 4; ++corner) {
                         const bool high = corner >= 2, right = corner % 2 == 1;
                         if (!a.maximum) {
                           add(v, h, high, right, from[bin] / points);
                           continue;
                         }
                         const C value =
                             (high ? v.high_weight : v.low_weight) *
                             (right ? h.high_weight : h.low_weight) *
                             image[(high ? v.high : v.low) * width + (right ? h.high : h.low)];
                         if (best_v != nullptr && !(value > most)) continue;
                         most = value;
                         best = corner;
                         best_v = &v;
                         best_h = &h;
                       }
                     }
                   }
                   if (best_v != nullptr) {
                     add(*best_v, *best_h, best >= 2, best % 2 == 1, from[bin]);
                   }
                 });
      }
    });
    std::fill_n(dbox, 4, C{0});
    for (const std::array<C, 4>& edge : edges) {
      for (size_t i = 0; i < 4; ++i) dbox[i] += edge[i];
    }
  }
  result.store();
  box_result.store();
}

Alignment checked_alignment(const KernelContext& ctx, const Tensor& x, const Tensor& rois) {
  const Node& node = ctx.node();
  const auto height = node.get<int64_t>("output_height", 1);
  const auto width = node.get<int64_t>("output_width", 1);
  check_bins(height, width);
  require(x.dtype() == rois.dtype(), ErrorCode::kInvalidArgument,
          "images and regions differ in type");
  return alignment_of(node, height, width);
}

// The shape of the result of MaxRoiPool.
Shape max_pooled_shape(const Node& node, const Tensor& in, const Tensor& rois) {
  check_image(in, rois, 5);
  const auto& pooled = node.at<std::vector<int64_t>>("pooled_shape");
  require(pooled.size() == 2, ErrorCode::kInvalidArgument,
          "attribute pooled_shape is no height and width");
  check_bins(pooled[0], pooled[1]);
  return {rois.shape()[0], in.shape()[1], pooled[0], pooled[1]};
}

// Calls body(plane, rows, columns) for every bin of every region, in the order of the result
// `shape`; `plane`: the number of the plane of images.
template <class T, class Body>
void for_max_bins(const KernelContext& ctx, const Tensor& in, const Tensor& rois,
                  const Shape& shape, const Body& body) {
  using C = Compute<T>;
  const float scale = ctx.node().get<float>("spatial_scale", 1.0f);
  for (int64_t region = 0; region < shape[0]; ++region) {
    check_running(ctx);
    const T* box = rois.data<T>() + region * 5;
    const auto corner = [&](int i) {
      const C value = std::round(static_cast<C>(box[i]) * static_cast<C>(scale));
      require(std::abs(value) < C{1 << 30}, ErrorCode::kInvalidArgument, "region ", region,
              " has the corner ", value);
      return value;
    };
    const C image = static_cast<C>(box[0]);
    require(image >= 0 && image < static_cast<C>(in.shape()[0]), ErrorCode::kInvalidArgument,
            "region ", region, " lies on image ", image, " of ", in.shape()[0]);
    const C left = corner(1), top = corner(2), right = corner(3), bottom = corner(4);
    for (int64_t c = 0; c < shape[1]; ++c) {
      for (int64_t i = 0; i < shape[2]; ++i) {
        const Bin rows = bin_of(i, shape[2], top, bottom, in.shape()[2]);
        for (int64_t j = 0; j < shape[3]; ++j) {
          const Bin columns = bin_of(j, shape[3], left, right, in.shape()[3]);
          body(static_cast<int64_t>(image) * shape[1] + c, rows, columns);
        }
      }
    }
  }
}

}  // namespace

void max_roi_pool(KernelContext& ctx) {
  const Tensor &in = ctx.input(0), &rois = ctx.input(1);
  const Shape shape = max_pooled_shape(ctx.node(), in, rois);
  const int64_t height = in.shape()[2], width = in.shape()[3];
  dispatch(FloatTypes{}, in.dtype(), [&]<class T>() {
    using C = Compute<T>;
    T* to = ctx.output(0, in.dtype(), shape).data<T>();
    for_max_bins<T>(ctx, in, rois, shape, [&](int64_t plane, Bin rows, Bin columns) {
      const T* elements = in.data<T>() + plane * height * width;
      const bool empty = rows.begin >= rows.end || columns.begin >= columns.end;
      C most = empty ? C{0} : -std::numeric_limits<C>::infinity();
      for (int64_t r = rows.begin; r < rows.end; ++r) {
        for (int64_t s = columns.begin; s < columns.end; ++s) {
          most = std::max(most, static_cast<C>(elements[r * width + s]));
        }
      }
      *to++ = static_cast<T>(most);
    });
  });
}

void max_roi_pool_gradient(KernelContext& ctx) {
  const Tensor &share = ctx.input(0), &in = ctx.input(1), &rois = ctx.input(2);
  const Shape shape = max_pooled_shape(ctx.node(), in, rois);
  check_gradient(share, in, shape);
  const int64_t height = in.shape()[2], width = in.shape()[3];
  dispatch(FloatTypes{}, in.dtype(), [&]<class T>() {
    using C = Compute<T>;
    const Wide<T> x(in), dy(share);
    WideResult<T> result(ctx.output(0, in.dtype(), in.shape()));
    std::fill_n(result.data(), in.size(), C{0});
    const C* from = dy.data();
    for_max_bins<T>(ctx, in, rois, shape, [&](int64_t plane, Bin rows, Bin columns) {
      const C part = *from++;
      const C* elements = x.data() + plane * height * width;
      int64_t best = -1;
      for (int64_t r = rows.begin; r < rows.end; ++r) {
        for (int64_t s = columns.begin; s < columns.end; ++s) {
          const int64_t at = r * width + s;
          if (best < 0 || elements[at] > elements[best]) best = at;
        }
      }
      if (best >= 0) result.data()[plane * height * width + best] += part;
    });
    result.store();
  });
}

void roi_align(KernelContext& ctx) {
  const Alignment a = checked_alignment(ctx, ctx.input(0), ctx.input(1));
  dispatch(FloatTypes{}, ctx.input(0).dtype(), [&]<class T>() { align<T>(ctx, a); });
}

void roi_align_gradient(KernelContext& ctx) {
  const Alignment a = checked_alignment(ctx, ctx.input(1), ctx.input(2));
  dispatch(FloatTypes{}, ctx.input(1).dtype(), [&]<class T>() { align_gradient<T>(ctx, a); });
}

}  // namespace hugot::pooling
