// Convolutions along one or two axes without a matrix of columns.
#ifndef HUGOT_KERNELS_CONV_DIRECT_H_
#define HUGOT_KERNELS_CONV_DIRECT_H_

#include <vector>

#include "kernels/conv/conv.h"

namespace hugot::conv {

// Filters [groups * filters, steps] as the kernel reads them, and back; `steps` is channels times
// kernel elements.
void pack_filters(const float* w, int64_t groups, int64_t filters, int64_t steps, float* packed);
void unpack_filters(const float* packed, int64_t groups, int64_t filters, int64_t steps, float* w);

// How the kernel sees the images of a convolution. A channel is laid out with its padding, cut by
// the strides into phases: what the outputs see through one element of the kernel are then elements
// of one phase, and output rows are as far apart as its rows. Without padding and strides the image
// is that already and is read in place.
class Direct {
 public:
  explicit Direct(const Geometry& geometry);

  // False for more axes, and where padding or dilation would make the copy much larger than image
  // and result.
  bool fits() const { return fits_; }

  // REQUIRES: fits(), and a result that is not empty. `packed` comes from pack_filters(), `bias`
  // may be null.
  void convolve(KernelContext& ctx, const float* x, const float* packed, const float* bias,
                float* y) const;

 private:
  // One image and group: its channels, and what the kernel sees of them.
  struct Part {
    const float* image;
    float* copy;  // of the image, or of its last channel
    const float** rows;
  };

  void add_taps();
  void lay_out(const float* channel, float* to) const;
  int64_t phases() const { return std::ssize(row_phases_) * std::ssize(column_phases_); }
  int64_t channel_floats() const { return phases() * height_ * pitch_; }
  int64_t copy_floats() const;
  // Fills part.copy from channels [begin, end).
  void copy_channels(const Part& part, int64_t begin, int64_t end) const;
  void find_rows(const Part& part) const;

  Geometry g_;
  Axis rows_, columns_;  // the axes; with one, a single row
  bool fits_ = false;
  bool in_place_ = false;
  int64_t height_ = 0, pitch_ = 0;  // of a phase
  int64_t places_ = 0;
  // Of each axis: what is left of kernel index times dilation by the stride. A channel has a phase
  // for each pair.
  std::vector<int64_t> row_phases_, column_phases_;
  std::vector<int64_t> taps_;  // where output 0 sees kernel element t, from the channel's layout on
};

}  // namespace hugot::conv

#endif  // HUGOT_KERNELS_CONV_DIRECT_H_
