// Keys and values as a cache keeps them in few bits.
#ifndef HUGOT_KERNELS_ATTENTION_QUANTIZED_CACHE_H_
#define HUGOT_KERNELS_ATTENTION_QUANTIZED_CACHE_H_

#include "base/tensor.h"
#include "graph/graph.h"

namespace hugot::attention {

// How a node of GroupQueryAttention wants its cache: x = scale * code with a scale for all, or one
// for each channel of each head. Codes of 8 bits are int8; of 4 bits are pairs in a uint8, the
// first in the low bits, with 8 added.
struct CacheCodes {
  int64_t bits = 0;  // 0: the cache is float32
  bool per_channel = false;

  DType dtype() const {
    return bits == 0 ? DType::kFloat32 : bits == 8 ? DType::kInt8 : DType::kUInt8;
  }
  // How many elements of dtype() `size` numbers take.
  int64_t width(int64_t size) const { return bits == 4 ? (size + 1) / 2 : size; }
};

// From the attributes of a node. Throws kInvalidData for those that mean nothing, and kUnsupported
// for keys and values of two kinds.
CacheCodes cache_codes(const Node& node);

// Numbers [batch, heads, positions, size] of codes, and back: rounded to nearest, ties to even, and
// saturated. `scale` is float32 with one number, or heads * size of them; throws kInvalidArgument
// otherwise.
Tensor decode_cache(const CacheCodes& codes, const Tensor& cache, const Tensor& scale,
                    int64_t size);
void encode_cache(const CacheCodes& codes, const Tensor& numbers, const Tensor& scale, Tensor& out);

// Rounds rows [.., heads, size] to what the cache will hold of them, in place.
void round_as_cached(const CacheCodes& codes, const Tensor& scale, Tensor& rows);

}  // namespace hugot::attention

#endif  // HUGOT_KERNELS_ATTENTION_QUANTIZED_CACHE_H_
