#include "autodiff/optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numbers>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "kernels/cpu/isa.h"

namespace hugot {
namespace {

constexpr int64_t kGrain = 1 << 15;  // elements that make a task for another thread

constexpr std::array<std::pair<std::string_view, OptimizerType>, 5> kOptimizers = {
    {{"sgd", OptimizerType::kSgd},
     {"adam", OptimizerType::kAdam},
     {"adamw", OptimizerType::kAdamW},
     {"lion", OptimizerType::kLion},
     {"adafactor", OptimizerType::kAdafactor}}};
constexpr std::array<std::pair<std::string_view, Schedule>, 4> kSchedules = {
    {{"constant", Schedule::kConstant},
     {"linear", Schedule::kLinear},
     {"cosine", Schedule::kCosine},
     {"inverse_sqrt", Schedule::kInverseSqrt}}};

template <class Table>
auto from_name(const Table& table, std::string_view name, const char* what) {
  std::string known;
  for (const auto& [text, value] : table) {
    if (text == name) return value;
    known += (known.empty() ? "" : ", ") + std::string(text);
  }
  fail(ErrorCode::kInvalidArgument, "unknown ", what, " '", name, "'; known are ", known);
}

// Elements that go through vector kernels one after the other while they are in the first cache
// level.
constexpr int64_t kVectorBlock = 1024;

double sum_of_squares(const float* x, int64_t size) {
  double sum = 0;
  for (int64_t i = 0; i < size; i += kVectorBlock) {
    const int64_t count = std::min(kVectorBlock, size - i);
    sum += static_cast<double>(cpu::active_kernels().sum_squares(x + i, count));
  }
  return sum;
}

double sum_of_squares(const double* x, int64_t size) {
  return std::transform_reduce(x, x + size, 0.0, std::plus<>(), [](double v) { return v * v; });
}

template <class T>
double sum_of_squares(const Tensor& tensor, ThreadPool* pool) {
  const T* x = tensor.data<T>();
  const int64_t size = tensor.size(), blocks = (size + kGrain - 1) / kGrain;
  std::vector<double> sums(static_cast<size_t>(blocks));
  parallel_for(pool, blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * kGrain;
      sums[static_cast<size_t>(block)] = sum_of_squares(x + first, std::min(kGrain, size - first));
    }
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

// A step of Adam for one weight: d = scale g + added p; the moments m and v take d and d^2 in; and
// p = shrink p - rate m / (sqrt(v) / root + eps).
template <class T>
struct AdamStep {
  T scale, added, beta1, rest1, beta2, rest2, shrink, rate, root, eps;
};

void adam(const AdamStep<double>& s, const double* g, double* m, double* v, double* p, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const double d = g[i] * s.scale + s.added * p[i];
    m[i] = s.beta1 * m[i] + s.rest1 * d;
    v[i] = s.beta2 * v[i] + s.rest2 * d * d;
    p[i] = p[i] * s.shrink - s.rate * m[i] / (std::sqrt(v[i]) / s.root + s.eps);
  }
}

void adam(const AdamStep<float>& s, const float* g, float* m, float* v, float* p, int64_t size) {
  const cpu::VectorKernels& k = cpu::active_kernels();
  float d[kVectorBlock], t[kVectorBlock];
  for (int64_t n; size > 0; size -= n, g += n, m += n, v += n, p += n) {
    n = std::min(kVectorBlock, size);
    k.mul.vs(g, s.scale, d, n);
    if (s.added != 0) {
      k.mul.vs(p, s.added, t, n);
      k.add.vv(d, t, d, n);
    }
    k.mul.vs(d, s.rest1, t, n);
    k.mul.vs(m, s.beta1, m, n);
    k.add.vv(m, t, m, n);
    k.mul.vs(d, s.rest2, t, n);
    k.mul.vv(d, t, t, n);
    k.mul.vs(v, s.beta2, v, n);
    k.add.vv(v, t, v, n);
    k.sqrt(v, t, n);
    k.div.vs(t, s.root, t, n);
    k.add.vs(t, s.eps, t, n);
    k.div.vv(m, t, t, n);
    k.mul.vs(t, s.rate, t, n);
    k.mul.vs(p, s.shrink, d, n);
    k.sub.vv(d, t, p, n);
  }
}

}  // namespace

OptimizerType optimizer_from_name(std::string_view name) {
  return from_name(kOptimizers, name, "optimizer");
}

Schedule schedule_from_name(std::string_view name) {
  return from_name(kSchedules, name, "schedule");
}

void check_optimizer(const OptimizerOptions& o) {
  const auto within = [](double x, double low, double high, const char* name) {
    require(x >= low && x <= high, ErrorCode::kInvalidArgument, "optimizer: ", name, " ", x,
            " is not within ", low, " and ", high);
  };
  within(o.lr, 0, 1e30, "lr");
  within(o.momentum, 0, 1, "momentum");
  within(o.dampening, 0, 1, "dampening");
  within(o.beta1, 0, std::nextafter(1, 0), "beta1");
  within(o.beta2, 0, std::nextafter(1, 0), "beta2");
  within(o.eps, 0, 1, "eps");
  within(o.weight_decay, 0, 1e6, "weight_decay");
  within(o.warmup_ratio, 0, 1, "warmup_ratio");
  within(o.clip_norm, 0, 1e30, "clip_norm");
  within(o.layer_decay, 0, 1, "layer_decay");
  require(o.warmup_steps >= 0, ErrorCode::kInvalidArgument, "optimizer: warmup_steps ",
          o.warmup_steps, " is negative");
  require(!o.nesterov || (o.momentum > 0 && o.dampening == 0), ErrorCode::kInvalidArgument,
          "optimizer: nesterov needs a momentum and no dampening");
  const AdafactorOptions& a = o.adafactor;
  within(a.eps_square, 0, 1, "eps of squares");
  within(a.eps_scale, 0, 1, "eps of the scale");
  within(a.clip_threshold, 1e-30, 1e30, "clip_threshold");
  within(a.decay_rate, -1e3, 0, "decay_rate");
  if (a.beta1) within(*a.beta1, 0, std::nextafter(1, 0), "beta1");
  if (o.type != OptimizerType::kAdafactor) return;
  require(!a.warmup_init || a.relative_step, ErrorCode::kInvalidArgument,
          "optimizer: warmup_init needs relative_step");
  require(!a.relative_step ||
              (o.schedule == Schedule::kConstant && o.warmup_steps == 0 && o.warmup_ratio == 0),
          ErrorCode::kInvalidArgument,
          "optimizer: adafactor with relative_step has its own schedule; a rate (lr) turns it off");
}

double learning_rate(const OptimizerOptions& o, int64_t step, int64_t steps) {
  if (o.type == OptimizerType::kAdafactor && o.adafactor.relative_step) {
    return adafactor_rate(o.adafactor, step + 1);
  }
  const int64_t warmup =
      o.warmup_steps > 0
          ? o.warmup_steps
          : static_cast<int64_t>(std::ceil(o.warmup_ratio * static_cast<double>(steps)));
  const auto k = static_cast<double>(step);
  if (step < warmup) return o.lr * (k / static_cast<double>(warmup));
  const double left = static_cast<double>(std::max<int64_t>(0, steps - step)) /
                      static_cast<double>(std::max<int64_t>(1, steps - warmup));
  switch (o.schedule) {
    case Schedule::kConstant:
      return o.lr;
    case Schedule::kLinear:
      return o.lr * left;
    case Schedule::kCosine:
      return o.lr * std::max(0.0, 0.5 * (1 + std::cos(std::numbers::pi * (1 - left))));
    case Schedule::kInverseSqrt:
      return o.lr / std::sqrt(k + 1);
  }
  fail(ErrorCode::kInternal, "no such schedule");
}

double gradient_norm(std::span<Parameter* const> parameters, ThreadPool* pool) {
  double sum = 0;
  for (const Parameter* parameter : parameters) {
    const Tensor& gradient = parameter->gradient;
    sum += gradient.dtype() == DType::kFloat64 ? sum_of_squares<double>(gradient, pool)
                                               : sum_of_squares<float>(gradient, pool);
  }
  return std::sqrt(sum);
}

Optimizer::Optimizer(const OptimizerOptions& options, std::vector<Parameter*> parameters,
                     std::vector<double> rates)
    : options_(options), parameters_(std::move(parameters)), rates_(std::move(rates)) {
  check_optimizer(options_);
  rates_.resize(parameters_.size(), 1.0);
  switch (options_.type) {
    case OptimizerType::kSgd:
      states_ = options_.momentum > 0 ? 1 : 0;
      break;
    case OptimizerType::kLion:
      states_ = 1;
      break;
    case OptimizerType::kAdam:
    case OptimizerType::kAdamW:
      states_ = 2;
      break;
    case OptimizerType::kAdafactor:
      states_ = adafactor_states(options_.adafactor);
      break;
  }
  const bool factored = options_.type == OptimizerType::kAdafactor;
  for (const Parameter* parameter : parameters_) {
    for (int i = 0; i < states_; ++i) {
      const Shape& shape = parameter->value.shape();
      Tensor& state = state_.emplace_back(parameter->value.dtype(),
                                          factored ? adafactor_state_shape(shape, i) : shape);
      std::memset(state.raw(), 0, state.bytes());
    }
  }
}

void Optimizer::step(double lr, double gradient_scale, ThreadPool* pool) {
  ++steps_;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (parameters_[i]->value.dtype() == DType::kFloat64) {
      update<double>(i, lr * rates_[i], gradient_scale, pool);
    } else {
      update<float>(i, lr * rates_[i], gradient_scale, pool);
    }
  }
}

template <class T>
void Optimizer::update(size_t index, double lr, double gradient_scale, ThreadPool* pool) {
  Parameter& parameter = *parameters_[index];
  T* const p = parameter.value.data<T>();
  const T* const g = parameter.gradient.data<T>();
  const OptimizerOptions& o = options_;
  const bool decays = o.decay_vectors || parameter.value.rank() >= 2;
  if (o.type == OptimizerType::kAdafactor) {
    const AdafactorStep step = {lr, gradient_scale, decays ? o.weight_decay : 0.0, steps_};
    return adafactor_step(o.adafactor, step, parameter, &state(index, 0), pool);
  }
  const auto decay = static_cast<T>(decays ? o.weight_decay : 0.0);
  const auto scale = static_cast<T>(gradient_scale), rate = static_cast<T>(lr);
  const auto b1 = static_cast<T>(o.beta1), b2 = static_cast<T>(o.beta2);
  const auto rest1 = static_cast<T>(1 - o.beta1), rest2 = static_cast<T>(1 - o.beta2);
  T* const s0 = states_ > 0 ? state(index, 0).data<T>() : nullptr;
  T* const s1 = states_ > 1 ? state(index, 1).data<T>() : nullptr;
  const int64_t size = parameter.value.size();
  switch (o.type) {
    case OptimizerType::kSgd: {
      const auto momentum = static_cast<T>(o.momentum);
      // The first step takes the whole gradient as momentum.
      const auto keep = static_cast<T>(steps_ == 1 ? 1.0 : 1 - o.dampening);
      parallel_for(pool, size, kGrain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          T d = g[i] * scale + decay * p[i];
          if (s0 != nullptr) {
            s0[i] = momentum * s0[i] + keep * d;
            d = o.nesterov ? d + momentum * s0[i] : s0[i];
          }
          p[i] -= rate * d;
        }
      });
      return;
    }
    case OptimizerType::kAdam:
    case OptimizerType::kAdamW: {
      const auto t = static_cast<double>(steps_);
      const auto size_of_step = static_cast<T>(lr / (1 - std::pow(o.beta1, t)));
      const auto root = static_cast<T>(std::sqrt(1 - std::pow(o.beta2, t)));
      const auto eps = static_cast<T>(o.eps);
      const bool decoupled = o.type == OptimizerType::kAdamW;
      const T shrink = decoupled ? 1 - rate * decay : T{1}, added = decoupled ? T{0} : decay;
      const AdamStep<T> step = {scale, added,  b1,           rest1, b2,
                                rest2, shrink, size_of_step, root,  eps};
      parallel_for(pool, size, kGrain, [&](int64_t begin, int64_t end) {
        adam(step, g + begin, s0 + begin, s1 + begin, p + begin, end - begin);
      });
      return;
    }
    case OptimizerType::kLion: {
      parallel_for(pool, size, kGrain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const T d = g[i] * scale;
          const T direction = b1 * s0[i] + rest1 * d;
          const T sign = static_cast<T>((direction > 0) - (direction < 0));
          p[i] -= rate * (sign + decay * p[i]);
          s0[i] = b2 * s0[i] + rest2 * d;
        }
      });
      return;
    }
    case OptimizerType::kAdafactor:
      return;
  }
}

}  // namespace hugot
