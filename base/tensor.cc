#include "base/tensor.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <ostream>

#include "base/allocate.h"
#include "base/error.h"

namespace hugot {
namespace {

constexpr std::align_val_t kAlignment{64};

// At least one byte, so that data pointers of empty tensors are valid.
std::shared_ptr<const void> allocate(size_t bytes, void** data) {
  *data = allocate_aligned(bytes, kAlignment);
  return {*data, [](const void* p) { ::operator delete(const_cast<void*>(p), kAlignment); }};
}

std::shared_ptr<std::vector<std::string>> allocate_strings(size_t count) {
  try {
    return std::make_shared<std::vector<std::string>>(count);
  } catch (const std::bad_alloc&) {
    fail(ErrorCode::kOutOfMemory, "cannot allocate a tensor of ", count, " strings");
  }
}

// What the copies of a deferred tensor share.
struct Deferred {
  std::atomic<bool> made = false;
  std::mutex mutex;  // not std::call_once: the thread sanitizer loses calls that throw
  std::function<Tensor()> make;
  Tensor tensor;
};

}  // namespace

Tensor::Tensor(DType dtype, const Shape& shape) : dtype_(dtype), shape_(shape), allocated_(true) {
  require(dtype != DType::kUndefined, ErrorCode::kInternal, "a tensor needs an element type");
  if (dtype == DType::kString) {
    require_memory(byte_size(dtype, shape));
    auto strings = allocate_strings(static_cast<size_t>(std::max<int64_t>(shape.size(), 1)));
    data_ = strings->data();
    owner_ = std::move(strings);
  } else {
    owner_ = allocate(byte_size(dtype, shape), &data_);
  }
}

Tensor::Tensor(DType dtype, const Shape& shape, const void* data, std::shared_ptr<const void> owner)
    : dtype_(dtype), shape_(shape), data_(const_cast<void*>(data)), owner_(std::move(owner)) {}

Tensor Tensor::deferred(DType dtype, const Shape& shape, std::function<Tensor()> make) {
  auto deferred = std::make_shared<Deferred>();
  deferred->make = std::move(make);
  Tensor tensor(dtype, shape, nullptr, std::move(deferred));
  tensor.deferred_ = true;
  return tensor;
}

void* Tensor::deferred_data() const {
  auto& deferred = *const_cast<Deferred*>(static_cast<const Deferred*>(owner_.get()));
  if (deferred.made.load(std::memory_order_acquire)) return deferred.tensor.raw();
  const std::lock_guard lock(deferred.mutex);
  if (!deferred.made.load(std::memory_order_relaxed)) {
    Tensor made = deferred.make();
    require(made.dtype() == dtype_ && made.size() == size(), ErrorCode::kInternal,
            "a deferred tensor became ", describe(made), " and not ", describe(*this));
    deferred.tensor = std::move(made);
    deferred.make = nullptr;
    deferred.made.store(true, std::memory_order_release);
  }
  return deferred.tensor.raw();
}

Tensor Tensor::reshaped(const Shape& shape) const {
  require(shape.size() == size(), ErrorCode::kInvalidArgument, "cannot view ", describe(*this),
          " as ", shape.to_string());
  Tensor out = *this;
  out.shape_ = shape;
  return out;
}

Tensor Tensor::clone() const {
  Tensor out(dtype_, shape_);
  if (dtype_ == DType::kString) {
    std::copy_n(data<std::string>(), size(), out.data<std::string>());
  } else if (bytes() > 0) {
    std::memcpy(out.raw(), raw(), bytes());
  }
  return out;
}

size_t Tensor::byte_size(DType dtype, const Shape& shape) {
  const auto count = static_cast<uint64_t>(shape.size());
  require(count <= (uint64_t{1} << 56), ErrorCode::kInvalidArgument, "a tensor of shape ",
          shape.to_string(), " is too large");
  if (dtype == DType::kString) return count * sizeof(std::string);
  const auto bits = static_cast<uint64_t>(dtype_bits(dtype));
  return (count * bits + 7) / 8;
}

void Tensor::check_dtype(DType wanted) const {
  require(wanted == dtype_, ErrorCode::kInternal, "tensor is ", dtype_name(dtype_),
          " but was accessed as ", dtype_name(wanted));
}

void fill(Tensor& tensor, const Tensor& value, int64_t count) {
  require(value.dtype() == tensor.dtype() && value.size() == 1 && count <= tensor.size() &&
              dtype_bits(value.dtype()) >= 8,
          ErrorCode::kInternal, "cannot fill ", describe(tensor), " with ", describe(value));
  const size_t width = value.bytes();
  auto* to = static_cast<std::byte*>(tensor.raw());
  for (int64_t i = 0; i < count; ++i, to += width) std::memcpy(to, value.raw(), width);
}

namespace {

void copy_int64s(const Tensor& tensor, int64_t* out) {
  const auto copy = [&]<class T>(const T*) {
    std::transform(tensor.data<T>(), tensor.data<T>() + tensor.size(), out,
                   [](T v) { return static_cast<int64_t>(v); });
  };
  switch (tensor.dtype()) {
    case DType::kInt64:
      copy(static_cast<const int64_t*>(nullptr));
      break;
    case DType::kInt32:
      copy(static_cast<const int32_t*>(nullptr));
      break;
    case DType::kInt16:
      copy(static_cast<const int16_t*>(nullptr));
      break;
    case DType::kInt8:
      copy(static_cast<const int8_t*>(nullptr));
      break;
    case DType::kUInt64:
      copy(static_cast<const uint64_t*>(nullptr));
      break;
    case DType::kUInt32:
      copy(static_cast<const uint32_t*>(nullptr));
      break;
    case DType::kUInt16:
      copy(static_cast<const uint16_t*>(nullptr));
      break;
    case DType::kUInt8:
      copy(static_cast<const uint8_t*>(nullptr));
      break;
    case DType::kBool:
      copy(static_cast<const bool*>(nullptr));
      break;
    default:
      fail(ErrorCode::kInvalidArgument, "expected integers, got ", describe(tensor));
  }
}

}  // namespace

std::vector<int64_t> to_int64s(const Tensor& tensor) {
  std::vector<int64_t> out(static_cast<size_t>(tensor.size()));
  copy_int64s(tensor, out.data());
  return out;
}

Int64List::Int64List(const Tensor& tensor) : size_(static_cast<size_t>(tensor.size())) {
  if (size_ > short_.size()) long_.resize(size_);
  copy_int64s(tensor, long_.empty() ? short_.data() : long_.data());
}

Int64List::Int64List(std::span<const int64_t> values) : size_(values.size()) {
  if (size_ > short_.size()) long_.resize(size_);
  std::copy(values.begin(), values.end(), long_.empty() ? short_.data() : long_.data());
}

void Int64List::push_back(int64_t value) {
  if (long_.empty() && size_ < short_.size()) {
    short_[size_++] = value;
    return;
  }
  if (long_.empty()) long_.assign(short_.begin(), short_.end());
  long_.push_back(value);
  ++size_;
}

bool identical(const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype() || !(a.shape() == b.shape())) return false;
  if (a.dtype() == DType::kString) {
    return std::equal(a.data<std::string>(), a.data<std::string>() + a.size(),
                      b.data<std::string>());
  }
  return a.bytes() == 0 || std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

TensorText::operator std::string() const {
  return std::string(dtype_name(tensor_.dtype())) + tensor_.shape().to_string();
}

std::ostream& operator<<(std::ostream& out, const TensorText& text) {
  return out << std::string(text);
}

}  // namespace hugot
