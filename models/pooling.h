// From the vectors of a text's tokens to one vector.
// Formulas: sentence_transformers.models.Pooling, Dense and Normalize.
#ifndef HUGOT_MODELS_POOLING_H_
#define HUGOT_MODELS_POOLING_H_

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "hugot/hugot.hpp"

namespace hugot {

// "mean", "cls", "max", "last", "mean-sqrt-len", "weighted-mean". Throws kInvalidArgument listing
// them.
Pooling pooling_from_name(std::string_view name);

// Pools `rows` x `width` numbers into modes.size() * width numbers at `out`, one mode after the
// other. The first `skip` rows belong to a prompt that does not count, except that kCls always
// takes row 0 and the weights of kWeightedMean keep counting from it. Nothing left to count: zeros.
// Sums are made in double precision in the order of the rows.
void pool(std::span<const Pooling> modes, const float* rows, int64_t count, int64_t width,
          int64_t skip, double* out);

// x / max(1e-12, |x|)
void normalize_l2(std::span<double> vector);

// A linear layer with activation behind the pooling. Immutable.
class Dense {
 public:
  // Reads config.json and model.safetensors of a Dense module. Throws kUnsupported for other
  // activations than Identity, Tanh, ReLU, Sigmoid and for weights in pickle files only.
  explicit Dense(const std::filesystem::path& folder);

  size_t inputs() const { return inputs_; }
  size_t outputs() const { return weight_.size() / inputs_; }

  std::span<const float> weight() const { return weight_; }  // [outputs, inputs]
  std::span<const float> bias() const { return bias_; }      // [outputs] or empty
  enum class Activation { kIdentity, kTanh, kRelu, kSigmoid };
  Activation activation() const { return activation_; }

  // REQUIRES: input.size() == inputs()
  std::vector<double> apply(std::span<const double> input) const;

 private:
  size_t inputs_ = 0;
  std::vector<float> weight_;
  std::vector<float> bias_;
  Activation activation_ = Activation::kIdentity;
};

}  // namespace hugot

#endif  // HUGOT_MODELS_POOLING_H_
