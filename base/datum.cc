#include "base/datum.h"

#include <algorithm>

#include "base/error.h"

namespace hugot {

Datum::Datum(Kind kind, Tensor keys, std::vector<Datum> items)
    : kind_(kind), tensor_(std::move(keys)) {
  for (const Datum& item : items) depth_ = std::max(depth_, item.depth_ + 1);
  require(depth_ <= kMaxDepth, ErrorCode::kUnsupported, "values are nested more than ", kMaxDepth,
          " deep");
  items_ = std::make_shared<const std::vector<Datum>>(std::move(items));
}

Datum Datum::optional(Datum value) {
  std::vector<Datum> items;
  items.push_back(std::move(value));
  return Datum(Kind::kOptional, {}, std::move(items));
}

Datum Datum::map(Tensor keys, std::vector<Datum> values) {
  require(keys.rank() == 1 && static_cast<size_t>(keys.size()) == values.size(),
          ErrorCode::kInvalidArgument, "a map of ", values.size(), " values has keys ",
          hugot::describe(keys));
  return Datum(Kind::kMap, std::move(keys), std::move(values));
}

const Tensor& Datum::tensor() const {
  if (!is_tensor()) fail(ErrorCode::kInvalidArgument, "expected a tensor, got ", describe(*this));
  return tensor_;
}

Tensor& Datum::writable() {
  if (!is_tensor()) fail(ErrorCode::kInternal, "not a tensor: ", describe(*this));
  return tensor_;
}

const Tensor& Datum::keys() const {
  if (kind_ != Kind::kMap) {
    fail(ErrorCode::kInvalidArgument, "expected a map, got ", describe(*this));
  }
  return tensor_;
}

Datum Datum::owned() const {
  if (is_tensor()) return !tensor_.defined() || tensor_.owns() ? *this : Datum(tensor_.clone());
  std::vector<Datum> copies;
  copies.reserve(items_->size());
  for (const Datum& item : *items_) copies.push_back(item.owned());
  return Datum(kind_, tensor_.defined() && !tensor_.owns() ? tensor_.clone() : tensor_,
               std::move(copies));
}

std::string describe(const Datum& datum) {
  const size_t count = datum.items().size();
  switch (datum.kind()) {
    case Kind::kTensor:
      return datum.defined() ? std::string(describe(datum.tensor())) : "nothing";
    case Kind::kSequence:
      return count == 0 ? "an empty sequence"
                        : str("a sequence of ", count, " x ", describe(datum.items()[0]));
    case Kind::kOptional:
      return count == 0 ? "an optional without value"
                        : str("an optional of ", describe(datum.items()[0]));
    case Kind::kMap:
      return str("a map of ", count, " values");
  }
  return "";
}

}  // namespace hugot
