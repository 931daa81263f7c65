#include "kernels/recurrent/activation.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <optional>
#include <string_view>
#include <type_traits>

#include "base/error.h"
#include "kernels/cpu/isa.h"

namespace hugot::recurrent {
namespace {

using Kind = Activation::Kind;

struct Named {
  std::string_view name;
  Kind kind;
  std::optional<float> alpha, beta;  // what they are by default, for functions that have them
};

constexpr Named kFunctions[] = {
    {"affine", Kind::kAffine, 1.0f, 0.0f},
    {"elu", Kind::kElu, 1.0f, {}},
    {"hardsigmoid", Kind::kHardSigmoid, 0.2f, 0.5f},
    {"leakyrelu", Kind::kLeakyRelu, 0.01f, {}},
    {"relu", Kind::kRelu, {}, {}},
    {"scaledtanh", Kind::kScaledTanh, 1.0f, 1.0f},
    {"sigmoid", Kind::kSigmoid, {}, {}},
    {"softplus", Kind::kSoftplus, {}, {}},
    {"softsign", Kind::kSoftsign, {}, {}},
    {"tanh", Kind::kTanh, {}, {}},
    {"thresholdedrelu", Kind::kThresholdedRelu, 1.0f, {}},
};

const Named& function_named(std::string name) {
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const auto* found = std::find_if(std::begin(kFunctions), std::end(kFunctions),
                                   [&](const Named& f) { return f.name == name; });
  require(found != std::end(kFunctions), ErrorCode::kInvalidArgument, "there is no activation ",
          name);
  return *found;
}

template <class T, class F>
void map(T* x, int64_t n, const F& f) {
  for (int64_t i = 0; i < n; ++i) x[i] = f(x[i]);
}

// The functions that every layer has by default.
void sigmoid(float* x, int64_t n) { cpu::active_kernels().sigmoid(x, x, n); }
void tanh(float* x, int64_t n) { cpu::active_kernels().tanh(x, x, n); }
void sigmoid(double* x, int64_t n) {
  map(x, n, [](double v) { return 1 / (1 + std::exp(-v)); });
}
void tanh(double* x, int64_t n) {
  map(x, n, [](double v) { return std::tanh(v); });
}

template <class T>
void apply_in(const Activation& f, float clip, T* x, int64_t n) {
  if (clip > 0) {
    const auto limit = static_cast<T>(clip);
    map(x, n, [&](T v) { return v > limit ? limit : v < -limit ? -limit : v; });
  }
  const auto alpha = static_cast<T>(f.alpha), beta = static_cast<T>(f.beta);
  switch (f.kind) {
    case Kind::kAffine:
      return map(x, n, [&](T v) { return alpha * v + beta; });
    case Kind::kElu:
      return map(x, n, [&](T v) { return v >= 0 ? v : alpha * std::expm1(v); });
    case Kind::kHardSigmoid:
      return map(x, n, [&](T v) { return std::min(std::max(alpha * v + beta, T{0}), T{1}); });
    case Kind::kLeakyRelu:
      return map(x, n, [&](T v) { return v >= 0 ? v : alpha * v; });
    case Kind::kRelu:
      return map(x, n, [](T v) { return v < 0 ? T{0} : v; });
    case Kind::kScaledTanh:
      map(x, n, [&](T v) { return beta * v; });
      tanh(x, n);
      return map(x, n, [&](T v) { return alpha * v; });
    case Kind::kSigmoid:
      return sigmoid(x, n);
    case Kind::kSoftplus:
      return map(x, n, [](T v) { return std::max(v, T{0}) + std::log1p(std::exp(-std::abs(v))); });
    case Kind::kSoftsign:
      return map(x, n, [](T v) { return v / (1 + std::abs(v)); });
    case Kind::kTanh:
      return tanh(x, n);
    case Kind::kThresholdedRelu:
      return map(x, n, [&](T v) { return v >= alpha ? v : T{0}; });
  }
}

template <class T>
T slope(const Activation& f, T v) {
  const auto alpha = static_cast<T>(f.alpha), beta = static_cast<T>(f.beta);
  switch (f.kind) {
    case Kind::kAffine:
      return alpha;
    case Kind::kElu:
      return v >= 0 ? T{1} : alpha * std::exp(v);
    case Kind::kHardSigmoid: {
      const T at = alpha * v + beta;
      return at > 0 && at < 1 ? alpha : T{0};
    }
    case Kind::kLeakyRelu:
      return v >= 0 ? T{1} : alpha;
    case Kind::kRelu:
      return v > 0 ? T{1} : T{0};
    case Kind::kScaledTanh: {
      const T at = std::tanh(beta * v);
      return alpha * beta * (1 - at * at);
    }
    case Kind::kSigmoid: {
      const T at = 1 / (1 + std::exp(-v));
      return at * (1 - at);
    }
    case Kind::kSoftplus:
      return 1 / (1 + std::exp(-v));
    case Kind::kSoftsign: {
      const T at = 1 / (1 + std::abs(v));
      return at * at;
    }
    case Kind::kTanh: {
      const T at = std::tanh(v);
      return 1 - at * at;
    }
    case Kind::kThresholdedRelu:
      return v >= alpha ? T{1} : T{0};
  }
  return T{0};
}

template <class T>
void slopes_in(const Activation& f, float clip, const T* x, T* y, int64_t n) {
  const auto limit = static_cast<T>(clip);
  for (int64_t i = 0; i < n; ++i) {
    const bool cut = clip > 0 && (x[i] > limit || x[i] < -limit);
    y[i] = cut ? T{0} : slope(f, x[i]);
  }
}

}  // namespace

std::vector<Activation> activations_of(const Node& node, size_t count,
                                       const std::vector<std::string>& fallback) {
  std::vector<std::string> names;
  while (names.size() < count) names.insert(names.end(), fallback.begin(), fallback.end());
  if (node.has("activations")) names = node.at<std::vector<std::string>>("activations");
  // The schema of RNN has two names by default, whatever the number of directions.
  require(names.size() >= count, ErrorCode::kInvalidArgument, names.size(), " activations for ",
          count, " gates");
  const auto alphas = node.get<std::vector<float>>("activation_alpha", {});
  const auto betas = node.get<std::vector<float>>("activation_beta", {});
  size_t next_alpha = 0, next_beta = 0;
  std::vector<Activation> result;
  for (size_t i = 0; i < count; ++i) {
    const Named& f = function_named(names[i]);
    Activation activation{f.kind, f.alpha.value_or(0), f.beta.value_or(0)};
    if (f.alpha && next_alpha < alphas.size()) activation.alpha = alphas[next_alpha++];
    if (f.beta && next_beta < betas.size()) activation.beta = betas[next_beta++];
    result.push_back(activation);
  }
  return result;
}

void apply(const Activation& f, float clip, float* x, int64_t n) { apply_in(f, clip, x, n); }
void apply(const Activation& f, float clip, double* x, int64_t n) { apply_in(f, clip, x, n); }

void slopes(const Activation& f, float clip, const float* x, float* y, int64_t n) {
  slopes_in(f, clip, x, y, n);
}
void slopes(const Activation& f, float clip, const double* x, double* y, int64_t n) {
  slopes_in(f, clip, x, y, n);
}

}  // namespace hugot::recurrent
