// Dense tensors in host memory.
#ifndef HUGOT_BASE_TENSOR_H_
#define HUGOT_BASE_TENSOR_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <iosfwd>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/shape.h"

namespace hugot {

// A contiguous row-major array: element type, shape, pointer, and an optional owner that keeps the
// memory alive (heap block, mapped file). Copies share the memory. A tensor without owner is a view
// whose memory must outlive it. Distinct tensors may be used from several threads; writing to one
// memory block from two threads is the caller's race. Elements of kString are std::string objects.
class Tensor {
 public:
  Tensor() = default;

  // Allocates; the memory is 64-byte aligned and uninitialised (strings: empty).
  Tensor(DType dtype, const Shape& shape);

  // View on foreign memory. `owner` keeps it alive; null when somebody else does.
  Tensor(DType dtype, const Shape& shape, const void* data, std::shared_ptr<const void> owner = {});

  // A tensor whose elements `make` computes when somebody looks at them for the first time, in
  // whatever thread that is. `make` gives a tensor of this type and shape, and is released then.
  static Tensor deferred(DType dtype, const Shape& shape, std::function<Tensor()> make);

  // Copies `values` into a new tensor.
  template <class T>
  static Tensor from(const Shape& shape, std::span<const T> values);
  template <class T>
  static Tensor from(const Shape& shape, std::initializer_list<T> values) {
    return from<T>(shape, std::span<const T>(values.begin(), values.size()));
  }
  template <class T>
  static Tensor scalar(const T& value) {
    return from<T>({}, std::span<const T>(&value, 1));
  }

  bool defined() const { return dtype_ != DType::kUndefined; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int rank() const { return shape_.rank(); }
  int64_t size() const { return shape_.size(); }
  size_t bytes() const { return byte_size(dtype_, shape_); }
  bool owns() const { return owner_ != nullptr; }
  bool is_deferred() const { return deferred_; }
  // True when this is the only tensor on memory that a constructor has allocated: it may be
  // written.
  bool unique() const { return allocated_ && owner_.use_count() == 1; }

  void* raw() { return deferred_ ? deferred_data() : data_; }
  const void* raw() const { return deferred_ ? deferred_data() : data_; }

  // The elements; throws kInternal when T is not the element type.
  template <class T>
  T* data() {
    check_dtype(dtype_of<T>);
    return static_cast<T*>(raw());
  }
  template <class T>
  const T* data() const {
    check_dtype(dtype_of<T>);
    return static_cast<const T*>(raw());
  }
  template <class T>
  std::span<const T> values() const {
    return {data<T>(), static_cast<size_t>(size())};
  }

  // The same memory under another shape of equal size.
  Tensor reshaped(const Shape& shape) const;

  // Element type and shape alone: nobody may look at the elements.
  Tensor without_data() const { return Tensor(dtype_, shape_, nullptr); }

  // A deep copy that owns its memory.
  Tensor clone() const;

  // Bytes of a tensor; sub-byte types are packed. Strings count sizeof(std::string) each.
  static size_t byte_size(DType dtype, const Shape& shape);

 private:
  void check_dtype(DType wanted) const;
  void* deferred_data() const;

  DType dtype_ = DType::kUndefined;
  Shape shape_;
  void* data_ = nullptr;
  std::shared_ptr<const void> owner_;
  bool allocated_ = false;  // not somebody's memory that is only kept alive
  bool deferred_ = false;   // owner_ is a Deferred, which has the data
};

template <class T>
Tensor Tensor::from(const Shape& shape, std::span<const T> values) {
  Tensor out(dtype_of<T>, shape);
  std::copy(values.begin(), values.end(), out.data<T>());
  return out;
}

// Sets the first `count` elements of a tensor to the one element of `value`, which has the same
// type. Throws kInternal for strings and packed types.
void fill(Tensor& tensor, const Tensor& value, int64_t count);

// All elements of a tensor of any integer or bool type as int64. Throws kInvalidArgument otherwise.
std::vector<int64_t> to_int64s(const Tensor& tensor);

// Element type, shape and bytes equal (NaN equals itself when the bits do).
bool identical(const Tensor& a, const Tensor& b);

// "float32[2,3]", made only when somebody wants the text: for the arguments of require().
class TensorText {
 public:
  explicit TensorText(const Tensor& tensor) : tensor_(tensor) {}
  operator std::string() const;  // NOLINT: it is a text
  friend std::ostream& operator<<(std::ostream& out, const TensorText& text);
  friend bool operator==(const TensorText& a, const std::string& b) { return std::string(a) == b; }

 private:
  const Tensor& tensor_;
};
inline TensorText describe(const Tensor& tensor) { return TensorText(tensor); }

// All elements of a tensor of any integer or bool type as int64, short lists without allocation.
// Throws kInvalidArgument for other types.
class Int64List {
 public:
  Int64List() = default;
  explicit Int64List(const Tensor& tensor);
  explicit Int64List(std::span<const int64_t> values);
  void push_back(int64_t value);

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const int64_t* begin() const { return long_.empty() ? short_.data() : long_.data(); }
  const int64_t* end() const { return begin() + size_; }
  int64_t operator[](size_t i) const { return begin()[i]; }
  int64_t front() const { return *begin(); }

 private:
  size_t size_ = 0;
  std::array<int64_t, 16> short_{};
  std::vector<int64_t> long_;  // when they are more
};

}  // namespace hugot

#endif  // HUGOT_BASE_TENSOR_H_
