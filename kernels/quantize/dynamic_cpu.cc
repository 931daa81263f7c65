// Kernel of DynamicQuantizeLinear.
#include <algorithm>

#include "base/error.h"
#include "kernels/cpu/gemm_quantized.h"
#include "kernels/cpu/isa.h"
#include "kernels/quantize/quantize.h"

namespace hugot::quantize {
namespace {

constexpr int64_t kGrain = 1 << 14;  // elements that make a task for another thread

// Results that were not asked for go nowhere.
template <class T>
struct PerText {
  T* data = nullptr;
  void put(int64_t i, T value) const {
    if (data != nullptr) data[i] = value;
  }
};

// One number, or one for each text where several are run at once.
template <class T>
PerText<T> per_text(KernelContext& ctx, int i, int64_t texts, bool scalar) {
  if (i >= ctx.num_outputs() || !ctx.wants_output(i)) return {};
  return {ctx.output(i, dtype_of<T>, scalar ? Shape{} : Shape{texts}).template data<T>()};
}

}  // namespace

void dynamic_quantize_linear(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  require(x.dtype() == DType::kFloat32, ErrorCode::kUnsupported, "the input is ", describe(x));
  uint8_t* y = ctx.output(0, DType::kUInt8, x.shape()).data<uint8_t>();
  // Several texts at once, cut at the boundaries of segments or into the rows of a batch.
  const auto boundaries = ctx.segments();
  const Shape* planned =
      ctx.num_outputs() > 1 && ctx.wants_output(1) ? ctx.planned_shape(1) : nullptr;
  const bool joined = planned != nullptr && planned->rank() == 1;
  const int64_t texts = joined ? (*planned)[0] : 1;
  const PerText<float> scales = per_text<float>(ctx, 1, texts, !joined);
  const PerText<uint8_t> zeros = per_text<uint8_t>(ctx, 2, texts, !joined);
  const int64_t rows = boundaries.empty() ? texts : boundaries.back();
  const int64_t width = rows == 0 ? 0 : x.size() / rows;
  const float* data = x.data<float>();
  const auto run = [&](int64_t i, ThreadPool* pool) {
    const int64_t begin = (boundaries.empty() ? i : boundaries[static_cast<size_t>(i)]) * width;
    const int64_t end =
        (boundaries.empty() ? i + 1 : boundaries[static_cast<size_t>(i) + 1]) * width;
    const cpu::DynamicScale dynamic = cpu::dynamic_scale(data + begin, end - begin);
    scales.put(i, dynamic.scale);
    zeros.put(i, static_cast<uint8_t>(dynamic.zero));
    parallel_for(pool, end - begin, kGrain, [&](int64_t first, int64_t last) {
      cpu::active_kernels().quantize_uint8(data + begin + first, last - first, dynamic.scale,
                                           dynamic.zero, y + begin + first);
    });
  };
  if (texts == 1) return run(0, ctx.pool());
  parallel_for(ctx.pool(), texts, std::max<int64_t>(1, kGrain / std::max<int64_t>(width, 1)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) run(i, nullptr);
               });
}

}  // namespace hugot::quantize
