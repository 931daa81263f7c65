// What dropout sets to zero (Srivastava et al. 2014), as a function of keys: the same on the way
// back, in every thread, and when something is computed again.
//
// A text has a key for every step of a training, a token one of its text's and its position, and an
// element is dropped or kept by its token's key, the place in the graph, the row among those of its
// token (a head) and its number in that row.
#ifndef HUGOT_KERNELS_DROPOUT_MASK_H_
#define HUGOT_KERNELS_DROPOUT_MASK_H_

#include <cstdint>

#include "graph/graph.h"

namespace hugot {

// Keys are never 0, which stands for texts and tokens of which nothing is dropped.
uint64_t text_dropout_key(uint64_t seed, uint64_t step, uint32_t row, uint32_t column);
uint64_t token_dropout_key(uint64_t text_key, uint32_t position);  // 0 for the text key 0

// The elements that one place in a graph drops.
class DropoutMask {
 public:
  // Drops with probability `ratio`, rounded to a multiple of 2^-16. Throws kInvalidArgument unless
  // 0 <= ratio < 1.
  DropoutMask(double ratio, uint32_t site);
  // Attributes `ratio` and `site`.
  explicit DropoutMask(const Node& node);

  // What an element that is kept is multiplied by, so that the mean stays.
  double scale() const { return scale_; }

  // to[i] = scale() where element i of the row is kept, else 0; 1 everywhere for key 0.
  template <class T>
  void factors(uint64_t key, uint32_t row, int64_t count, T* to) const;

 private:
  uint32_t threshold_ = 0;  // of 16 random bits: below is dropped
  double scale_ = 1;
  uint32_t site_ = 0;
};

}  // namespace hugot

#endif  // HUGOT_KERNELS_DROPOUT_MASK_H_
