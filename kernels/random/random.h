// Operators that draw random numbers.
#ifndef HUGOT_KERNELS_RANDOM_RANDOM_H_
#define HUGOT_KERNELS_RANDOM_RANDOM_H_

#include <cstdint>

#include "graph/op.h"

namespace hugot::random {

// Random numbers by their position: number i of a stream depends on the stream's key and i alone,
// so any thread can draw any of them.
class Stream {
 public:
  explicit Stream(uint64_t key) : key_(mix(key)) {}
  // The stream of a node: by attribute `seed`, which gives the same numbers in every run, or one
  // that no other run has had.
  explicit Stream(const Node& node);

  uint64_t bits(uint64_t i) const { return mix(key_ + (i + 1) * 0x9E3779B97F4A7C15u); }
  // Evenly from [0, 1), multiples of 2^-53.
  double uniform(uint64_t i) const { return static_cast<double>(bits(i) >> 11) * 0x1p-53; }
  // With mean 0 and variance 1 (Box and Muller, 1958). Uses numbers 2 i and 2 i + 1.
  double normal(uint64_t i) const;

 private:
  // The finalizer of SplitMix64 (Steele, Lea, Flood, 2014).
  static uint64_t mix(uint64_t x) {
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
  }

  uint64_t key_;
};

// RandomNormal, RandomUniform and their forms that take the shape of an input.
void normal(KernelContext& ctx);
void uniform(KernelContext& ctx);
// 1 with the probability that the input says, else 0.
void bernoulli(KernelContext& ctx);
// Classes drawn by their unnormalized log-probabilities.
void multinomial(KernelContext& ctx);

// The element type of output 0: attribute `dtype`, or `fallback`. Throws kInvalidData for what is
// no type.
DType output_dtype(const Node& node, DType fallback);
// The shape of RandomNormal and RandomUniform.
Shape given_shape(const Node& node);

}  // namespace hugot::random

#endif  // HUGOT_KERNELS_RANDOM_RANDOM_H_
