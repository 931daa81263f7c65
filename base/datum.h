// What a value of a graph holds at run time: a tensor, a sequence, an optional or a map.
#ifndef HUGOT_BASE_DATUM_H_
#define HUGOT_BASE_DATUM_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/tensor.h"

namespace hugot {

// The kinds of types that ONNX has (TypeProto).
enum class Kind : uint8_t { kTensor, kSequence, kOptional, kMap };

// A value type: copies share the elements, which never change. Items of a sequence, the value of
// an optional and the values of a map are data themselves, nested up to kMaxDepth deep; more throws
// kUnsupported.
class Datum {
 public:
  static constexpr int kMaxDepth = 32;

  Datum() = default;                                    // an undefined tensor
  Datum(Tensor tensor) : tensor_(std::move(tensor)) {}  // NOLINT: the usual case

  static Datum sequence(std::vector<Datum> items) {
    return Datum(Kind::kSequence, {}, std::move(items));
  }
  static Datum optional(Datum value);
  static Datum empty_optional() { return Datum(Kind::kOptional, {}, {}); }
  // `keys`: a list of strings or integers; values[i] belongs to its element i. Throws
  // kInvalidArgument when the numbers differ.
  static Datum map(Tensor keys, std::vector<Datum> values);

  Kind kind() const { return kind_; }
  bool is_tensor() const { return kind_ == Kind::kTensor; }
  // False for a default-constructed one.
  bool defined() const { return !is_tensor() || tensor_.defined(); }

  // The tensor. Throws kInvalidArgument for other kinds.
  const Tensor& tensor() const;
  // The same, to be written by whoever made it.
  Tensor& writable();
  // Items of a sequence, 0 or 1 value of an optional, values of a map; empty for a tensor.
  std::span<const Datum> items() const {
    return items_ == nullptr ? std::span<const Datum>() : std::span<const Datum>(*items_);
  }
  // Keys of a map. Throws kInvalidArgument for other kinds.
  const Tensor& keys() const;

  // This datum, with copies of the tensors in it whose memory somebody else owns.
  Datum owned() const;

 private:
  Datum(Kind kind, Tensor keys, std::vector<Datum> items);

  Kind kind_ = Kind::kTensor;
  int depth_ = 0;  // of data in data
  Tensor tensor_;  // of a map: the keys
  std::shared_ptr<const std::vector<Datum>> items_;
};

// "float32[2,3]", "sequence of 3", "optional without value"
std::string describe(const Datum& datum);

}  // namespace hugot

#endif  // HUGOT_BASE_DATUM_H_
