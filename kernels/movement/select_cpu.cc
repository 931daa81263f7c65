// Kernels of Compress, ReverseSequence and TensorScatter.
#include <algorithm>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "kernels/element.h"
#include "kernels/movement/indices.h"
#include "kernels/movement/movement.h"

namespace hugot::movement {
namespace {

bool is_packed(DType dtype) { return dtype != DType::kString && dtype_bits(dtype) < 8; }

// Elements of 2 or 4 bits, the first one in the low bits of a byte.
class Packed {
 public:
  Packed(DType dtype, void* bytes)
      : bits_(dtype_bits(dtype)), mask_((1u << bits_) - 1), bytes_(static_cast<uint8_t*>(bytes)) {}

  void copy(int64_t to, const Packed& other, int64_t from) {
    const unsigned value = static_cast<unsigned>(*other.byte(from)) >> other.shift(from) & mask_;
    uint8_t& target = *byte(to);
    target = static_cast<uint8_t>((target & ~(mask_ << shift(to))) | value << shift(to));
  }

 private:
  uint8_t* byte(int64_t i) const { return bytes_ + i / (8 / bits_); }
  int shift(int64_t i) const { return static_cast<int>(i % (8 / bits_)) * bits_; }

  int bits_;
  unsigned mask_;
  uint8_t* bytes_;
};

void copy_tensor(const Tensor& in, Tensor& out) {
  if (in.dtype() == DType::kString) {
    std::copy_n(in.data<std::string>(), in.size(), out.data<std::string>());
  } else if (in.bytes() > 0) {
    std::memcpy(out.raw(), in.raw(), in.bytes());
  }
}

// Copies runs of `count` elements: run(target, source) says from where to where.
template <class Runs>
void copy_runs(const Tensor& in, Tensor& out, int64_t count, Runs&& runs) {
  if (is_packed(in.dtype())) {
    const Packed from(in.dtype(), const_cast<void*>(in.raw()));
    Packed to(in.dtype(), out.raw());
    runs([&](int64_t target, int64_t source) {
      for (int64_t i = 0; i < count; ++i) to.copy(target + i, from, source + i);
    });
    return;
  }
  with_element(in.dtype(), [&]<class T>() {
    runs([&](int64_t target, int64_t source) {
      std::copy_n(elements<T>(in) + source, count, elements<T>(out) + target);
    });
  });
}

}  // namespace

void compress(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  const Tensor& condition = ctx.input(1);
  require(condition.dtype() == DType::kBool && condition.rank() == 1, ErrorCode::kInvalidArgument,
          "the condition has to be bool[n], but is ", describe(condition));
  const bool flat = !ctx.node().has("axis");
  const int axis = flat ? 0 : in.shape().axis(ctx.node().at<int64_t>("axis"));
  const int64_t dim = flat ? in.size() : in.shape()[axis];
  const int64_t outer = flat ? 1 : in.shape().product(0, axis);
  const int64_t block = flat ? 1 : in.shape().product(axis + 1, in.rank());
  std::vector<int64_t> chosen;
  for (int64_t i = 0; i < condition.size(); ++i) {
    if (!condition.data<bool>()[i]) continue;
    require(i < dim, ErrorCode::kInvalidArgument, "the condition selects element ", i,
            " of an axis of length ", dim);
    chosen.push_back(i);
  }
  const auto count = static_cast<int64_t>(chosen.size());
  Tensor& out = ctx.output(0, in.dtype(), flat ? Shape{count} : in.shape().with(axis, count));
  copy_runs(in, out, block, [&](auto&& copy) {
    int64_t target = 0;
    for (int64_t o = 0; o < outer; ++o) {
      for (const int64_t i : chosen) {
        copy(target, (o * dim + i) * block);
        target += block;
      }
    }
  });
}

void reverse_sequence(KernelContext& ctx) {
  const Tensor& in = ctx.input(0);
  const int64_t batch_axis = ctx.node().get<int64_t>("batch_axis", 1);
  const int64_t time_axis = ctx.node().get<int64_t>("time_axis", 0);
  require((batch_axis == 0 && time_axis == 1) || (batch_axis == 1 && time_axis == 0),
          ErrorCode::kInvalidArgument, "batch_axis and time_axis have to be 0 and 1, but are ",
          batch_axis, " and ", time_axis);
  require(in.rank() >= 2, ErrorCode::kInvalidArgument, "the input has to have two axes, but is ",
          describe(in));
  const int64_t batches = in.shape()[static_cast<int>(batch_axis)];
  const int64_t steps = in.shape()[static_cast<int>(time_axis)];
  const Tensor& lengths = ctx.input(1);
  require(lengths.dtype() == DType::kInt64 && lengths.size() == batches,
          ErrorCode::kInvalidArgument, "lengths have to be int64[", batches, "], but are ",
          describe(lengths));
  for (const int64_t length : lengths.values<int64_t>()) {
    require(length >= 0 && length <= steps, ErrorCode::kInvalidArgument, "a length of ", length,
            " on a time axis of length ", steps);
  }
  const int64_t block = in.shape().product(2, in.rank());
  const int64_t batch_stride = batch_axis == 0 ? steps * block : block;
  const int64_t step_stride = batch_axis == 0 ? block : batches * block;
  Tensor& out = ctx.output(0, in.dtype(), in.shape());
  copy_runs(in, out, block, [&](auto&& copy) {
    for (int64_t b = 0; b < batches; ++b) {
      const int64_t length = lengths.data<int64_t>()[b];
      for (int64_t t = 0; t < steps; ++t) {
        const int64_t from = t < length ? length - 1 - t : t;
        copy(b * batch_stride + t * step_stride, b * batch_stride + from * step_stride);
      }
    }
  });
}

void tensor_scatter(KernelContext& ctx) {
  const Tensor& cache = ctx.input(0);
  const Tensor& update = ctx.input(1);
  const std::string mode = ctx.node().get<std::string>("mode", "linear");
  const bool circular = mode == "circular";
  require(circular || mode == "linear", ErrorCode::kInvalidArgument, "mode ", mode,
          " is neither linear nor circular");
  const int axis = cache.shape().axis(ctx.node().get<int64_t>("axis", -2));
  require(axis != 0, ErrorCode::kInvalidArgument, "axis 0 is the batch and no sequence");
  const int64_t capacity = cache.shape()[axis];
  require(update.dtype() == cache.dtype() && update.rank() == cache.rank() &&
              update.shape().with(axis, capacity) == cache.shape() &&
              update.shape()[axis] <= capacity,
          ErrorCode::kInvalidArgument, "an update of ", describe(update),
          " does not fit a cache of ", describe(cache), " along axis ", axis);
  const int64_t steps = update.shape()[axis];
  const int64_t batches = cache.shape()[0];
  std::vector<int64_t> first(static_cast<size_t>(batches), 0);
  if (ctx.num_inputs() > 2 && ctx.has_input(2)) {
    const Tensor& given = ctx.input(2);
    require(given.dtype() == DType::kInt64 && given.size() == batches, ErrorCode::kInvalidArgument,
            "write_indices have to be int64[", batches, "], but are ", describe(given));
    for (size_t b = 0; b < first.size(); ++b) {
      first[b] = given.data<int64_t>()[b];
      if (circular && capacity > 0) {
        first[b] = (first[b] % capacity + capacity) % capacity;
      } else {
        require(first[b] >= 0 && first[b] <= capacity - steps, ErrorCode::kInvalidArgument, steps,
                " entries from ", first[b], " on do not fit a cache of ", capacity);
      }
    }
  }
  Tensor& out = ctx.output(0, cache.dtype(), cache.shape());
  copy_tensor(cache, out);
  if (update.size() == 0) return;
  const int64_t rows = cache.shape().product(1, axis);
  const int64_t block = cache.shape().product(axis + 1, cache.rank());
  copy_runs(update, out, block, [&](auto&& copy) {
    for (int64_t row = 0; row < batches * rows; ++row) {
      for (int64_t step = 0; step < steps; ++step) {
        const int64_t place = (first[static_cast<size_t>(row / rows)] + step) % capacity;
        copy((row * capacity + place) * block, (row * steps + step) * block);
      }
    }
  });
}

}  // namespace hugot::movement
