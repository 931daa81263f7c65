#include "autodiff/weight_average.h"

#include <utility>

#include "base/error.h"

namespace hugot {
namespace {

template <class T>
void mix(const Tensor& weights, double decay, Tensor& average, ThreadPool* pool) {
  const T* from = weights.data<T>();
  T* to = average.data<T>();
  const auto keep = static_cast<T>(decay), take = static_cast<T>(1 - decay);
  parallel_for(pool, weights.size(), 1 << 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] = keep * to[i] + take * from[i];
  });
}

}  // namespace

WeightAverage::WeightAverage(double decay, std::vector<Parameter*> parameters)
    : decay_(decay), parameters_(std::move(parameters)) {
  require(decay >= 0 && decay < 1, ErrorCode::kInvalidArgument, "the decay of the average, ", decay,
          ", is not within 0 and 1");
  if (!active()) return;
  for (const Parameter* parameter : parameters_) values_.push_back(parameter->value.clone());
}

void WeightAverage::update(ThreadPool* pool) {
  for (size_t i = 0; i < values_.size(); ++i) {
    const Tensor& weights = parameters_[i]->value;
    if (weights.dtype() == DType::kFloat64) {
      mix<double>(weights, decay_, values_[i], pool);
    } else {
      mix<float>(weights, decay_, values_[i], pool);
    }
  }
}

void WeightAverage::swap() {
  for (size_t i = 0; i < values_.size(); ++i) std::swap(parameters_[i]->value, values_[i]);
}

}  // namespace hugot
