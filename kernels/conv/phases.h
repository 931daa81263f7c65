// Transposed convolutions along one or two axes as convolutions without strides.
#ifndef HUGOT_KERNELS_CONV_PHASES_H_
#define HUGOT_KERNELS_CONV_PHASES_H_

#include <vector>

#include "kernels/conv/conv.h"
#include "kernels/conv/direct.h"

namespace hugot::conv {

// The results of a transposed convolution that are as far apart as its strides see the same
// elements of the kernel: they are a convolution of the image with these alone.
class Phases {
 public:
  // `geometry`: the convolution that is transposed; its result is the image.
  explicit Phases(const Geometry& geometry);

  // False for more axes, for large strides and kernels, and where Direct does not fit.
  bool fits() const { return fits_; }
  // Whether stride and kernel are small enough.
  static bool takes(const Axis& axis) { return axis.stride <= 16 && axis.kernel <= 1024; }

  // Filters [groups * filters, channels, kernel..] as run() reads them, in as many floats. Of the
  // axes, which takes() must be true for, only kernel, stride, dilation and `before` count.
  static void pack(const Geometry& geometry, const float* w, float* packed);

  // y, the input of the convolution, from x; `bias` [groups * channels] may be null. REQUIRES:
  // fits(), and a result that is not empty.
  void run(KernelContext& ctx, const float* x, const float* packed, const float* bias,
           float* y) const;

 private:
  // Along one axis: results first, first + stride, .. `count` of them.
  struct Along {
    int64_t first, count;
    std::vector<int64_t> taps;  // elements of the kernel, the last one first
    Axis axis;                  // of the convolution
  };
  struct Phase {
    Along rows, columns;
    Geometry geometry;
    int64_t packed;  // where its filters begin
  };

  // One for each place up to the stride; may be empty.
  static std::vector<Along> cut(const Axis& axis);
  void store(const Phase& phase, const float* from, int64_t channel, int64_t end, float* y) const;

  Geometry g_;
  Axis rows_, columns_;  // with one axis a single row
  bool fits_ = false;
  std::vector<Phase> phases_;
};

}  // namespace hugot::conv

#endif  // HUGOT_KERNELS_CONV_PHASES_H_
