#include "models/pooling.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/safetensors.h"
#include "models/json_file.h"
#include "models/weights.h"

namespace hugot {
namespace {

constexpr std::array<std::pair<std::string_view, Pooling>, 6> kNames = {{
    {"mean", Pooling::kMean},
    {"cls", Pooling::kCls},
    {"max", Pooling::kMax},
    {"last", Pooling::kLast},
    {"mean-sqrt-len", Pooling::kMeanSqrtLen},
    {"weighted-mean", Pooling::kWeightedMean},
}};

// out = sum of weight(row) * row over [first, count), divided by `divisor`.
template <class Weight>
void weighted_sum(const float* rows, int64_t first, int64_t count, int64_t width, double divisor,
                  const Weight& weight, double* out) {
  for (int64_t row = first; row < count; ++row) {
    const float* from = rows + row * width;
    const double factor = weight(row);
    for (int64_t i = 0; i < width; ++i) out[i] += factor * double{from[i]};
  }
  for (int64_t i = 0; i < width; ++i) out[i] /= divisor;
}

void maximum(const float* rows, int64_t first, int64_t count, int64_t width, double* out) {
  std::copy(rows + first * width, rows + (first + 1) * width, out);
  for (int64_t row = first + 1; row < count; ++row) {
    const float* from = rows + row * width;
    for (int64_t i = 0; i < width; ++i) out[i] = std::max(out[i], double{from[i]});
  }
}

}  // namespace

Pooling pooling_from_name(std::string_view name) {
  std::string known;
  for (const auto& [text, pooling] : kNames) {
    if (text == name) return pooling;
    known += (known.empty() ? "" : ", ") + std::string(text);
  }
  fail(ErrorCode::kInvalidArgument, "unknown pooling '", name, "'; known are ", known);
}

void pool(std::span<const Pooling> modes, const float* rows, int64_t count, int64_t width,
          int64_t skip, double* out) {
  std::fill_n(out, static_cast<int64_t>(modes.size()) * width, 0.0);
  const int64_t first = std::min(skip, count);
  const auto counted = static_cast<double>(count - first);
  const auto one = [](int64_t) { return 1.0; };
  const auto position = [](int64_t row) { return static_cast<double>(row + 1); };
  for (const Pooling mode : modes) {
    if (mode == Pooling::kCls && count > 0) {
      std::copy_n(rows, width, out);
    } else if (first < count) {
      switch (mode) {
        case Pooling::kMean:
          weighted_sum(rows, first, count, width, counted, one, out);
          break;
        case Pooling::kMeanSqrtLen:
          weighted_sum(rows, first, count, width, std::sqrt(counted), one, out);
          break;
        case Pooling::kWeightedMean:
          // The sum of first + 1 .. count.
          weighted_sum(rows, first, count, width,
                       0.5 * counted * static_cast<double>(first + 1 + count), position, out);
          break;
        case Pooling::kMax:
          maximum(rows, first, count, width, out);
          break;
        case Pooling::kLast:
          std::copy_n(rows + (count - 1) * width, width, out);
          break;
        case Pooling::kCls:
          break;
      }
    }
    out += width;
  }
}

void normalize_l2(std::span<double> vector) {
  const double squares = std::inner_product(vector.begin(), vector.end(), vector.begin(), 0.0);
  const double norm = std::max(1e-12, std::sqrt(squares));
  for (double& x : vector) x /= norm;
}

Dense::Dense(const std::filesystem::path& folder) {
  with_json(folder / "config.json", [&](const nlohmann::json& config) {
    const auto type = member<std::string>(config, "activation_function")
                          .value_or("torch.nn.modules.activation.Tanh");
    const std::string name = type.substr(type.rfind('.') + 1);
    const std::array<std::pair<std::string_view, Activation>, 4> known = {
        {{"Identity", Activation::kIdentity},
         {"Tanh", Activation::kTanh},
         {"ReLU", Activation::kRelu},
         {"Sigmoid", Activation::kSigmoid}}};
    const auto it = std::find_if(known.begin(), known.end(),
                                 [&](const auto& entry) { return entry.first == name; });
    require(it != known.end(), ErrorCode::kUnsupported, "activation_function ", type,
            " is not implemented");
    activation_ = it->second;
  });
  const auto file = folder / "model.safetensors";
  require(std::filesystem::exists(file), ErrorCode::kUnsupported, folder.string(),
          ": weights of a Dense module are read from model.safetensors, which is not there");
  with_context(
      [&] { return file.string(); },
      [&] {
        const auto tensors = read_safetensors(file);
        const auto weight = tensors.find("linear.weight");
        require(weight != tensors.end() && weight->second.rank() == 2 && weight->second.size() > 0,
                ErrorCode::kInvalidData, "no matrix linear.weight");
        const Tensor matrix = to_float32(weight->second);
        inputs_ = static_cast<size_t>(matrix.shape()[1]);
        weight_.assign(matrix.data<float>(), matrix.data<float>() + matrix.size());
        if (const auto bias = tensors.find("linear.bias"); bias != tensors.end()) {
          require(bias->second.size() == matrix.shape()[0], ErrorCode::kInvalidData,
                  "linear.bias does not fit linear.weight");
          const Tensor vector = to_float32(bias->second);
          bias_.assign(vector.data<float>(), vector.data<float>() + vector.size());
        }
      });
}

std::vector<double> Dense::apply(std::span<const double> input) const {
  std::vector<double> output(outputs());
  for (size_t row = 0; row < output.size(); ++row) {
    const float* weight = weight_.data() + row * inputs_;
    double sum = bias_.empty() ? 0.0 : double{bias_[row]};
    for (size_t i = 0; i < inputs_; ++i) sum += double{weight[i]} * input[i];
    switch (activation_) {
      case Activation::kIdentity:
        break;
      case Activation::kTanh:
        sum = std::tanh(sum);
        break;
      case Activation::kRelu:
        sum = std::max(0.0, sum);
        break;
      case Activation::kSigmoid:
        sum = 1.0 / (1.0 + std::exp(-sum));
        break;
    }
    output[row] = sum;
  }
  return output;
}

}  // namespace hugot
