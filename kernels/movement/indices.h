// Indices of the gather and scatter operators.
#ifndef HUGOT_KERNELS_MOVEMENT_INDICES_H_
#define HUGOT_KERNELS_MOVEMENT_INDICES_H_

#include <cstdint>

#include "base/error.h"
#include "base/tensor.h"

namespace hugot::movement {

// Reads int32 and int64 indices alike.
class Indices {
 public:
  explicit Indices(const Tensor& tensor) {
    if (tensor.dtype() == DType::kInt32) {
      narrow_ = tensor.data<int32_t>();
    } else {
      require(tensor.dtype() == DType::kInt64, ErrorCode::kInvalidArgument,
              "indices have to be int32 or int64, but are ", describe(tensor));
      wide_ = tensor.data<int64_t>();
    }
  }

  // Index number i on an axis of length `dim`, counted from the front. Throws kInvalidArgument when
  // it is outside of [-dim, dim).
  int64_t get(int64_t i, int64_t dim) const {
    const int64_t given = narrow_ != nullptr ? narrow_[i] : wide_[i];
    const int64_t index = given < 0 ? given + dim : given;
    if (index < 0 || index >= dim) [[unlikely]]
      out_of_range(given, dim);
    return index;
  }

 private:
  [[noreturn]] static void out_of_range(int64_t index, int64_t dim) {
    fail(ErrorCode::kInvalidArgument, "index ", index, " is outside of an axis of length ", dim);
  }

  const int32_t* narrow_ = nullptr;
  const int64_t* wide_ = nullptr;
};

// Where the elements of an index tensor lie in a data tensor for GatherElements and
// ScatterElements: like the index tensor's own position, but with `axis` from the index. Throws
// kInvalidArgument when the shapes do not fit.
void require_elements_fit(const Tensor& data, const Tensor& indices, int axis);

// How index tuples address blocks of a data tensor (GatherND, ScatterND).
struct TupleLayout {
  int64_t batches = 1;         // product of the batch dimensions
  int64_t tuples = 0;          // index tuples per batch
  int64_t depth = 0;           // indices in a tuple
  int64_t block = 1;           // elements that a tuple addresses
  int64_t batch_elements = 1;  // data elements per batch
  int batch_dims = 0;
  Shape shape;  // of all blocks together
};
TupleLayout tuple_layout(const Shape& data, const Shape& indices, int64_t batch_dims);

// First element, within its batch, of the block that tuple number i addresses.
int64_t tuple_offset(const TupleLayout& layout, const Shape& data, const Indices& indices,
                     int64_t i);

}  // namespace hugot::movement

#endif  // HUGOT_KERNELS_MOVEMENT_INDICES_H_
