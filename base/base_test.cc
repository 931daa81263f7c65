#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <thread>
#include <vector>

#include "base/dtype.h"
#include "base/error.h"
#include "base/shape.h"
#include "base/tensor.h"

namespace hugot {

TEST_CASE("float16 converts every bit pattern back and forth") {
  int wrong = 0;
  for (uint32_t bits = 0; bits < 0x10000u; ++bits) {
    Float16 half;
    half.bits = static_cast<uint16_t>(bits);
    const auto value = static_cast<float>(half);
    const Float16 back(value);
    wrong += std::isnan(value) ? !std::isnan(static_cast<float>(back)) : back.bits != half.bits;
  }
  CHECK(wrong == 0);
}

TEST_CASE("float16 and bfloat16 round to nearest even") {
  CHECK(Float16(1.0f + 0x1p-11f).bits == 0x3c00);
  CHECK(Float16(1.0f + 3 * 0x1p-11f).bits == 0x3c02);
  CHECK(Float16(65519.0f).bits == 0x7bff);
  CHECK(Float16(65520.0f).bits == 0x7c00);
  CHECK(Float16(0x1p-25f).bits == 0);
  CHECK(Float16(0x1.8p-24f).bits == 2);
  CHECK(BFloat16(1.0f + 0x1p-8f).bits == 0x3f80);
  CHECK(BFloat16(1.0f + 3 * 0x1p-8f).bits == 0x3f82);
}

TEST_CASE("shapes check rank, sign and overflow") {
  CHECK(Shape({2, 3}).size() == 6);
  CHECK(Shape({2, 0, 3}).size() == 0);
  CHECK(Shape().size() == 1);
  CHECK_THROWS_AS(Shape({-1}), Error);
  CHECK_THROWS_AS(Shape({int64_t{1} << 40, int64_t{1} << 40}), Error);
  CHECK(broadcast({3, 1}, {4}) == Shape({3, 4}));
  CHECK(broadcast({0, 1}, {1, 5}) == Shape({0, 5}));
  CHECK_THROWS_AS(broadcast({3}, {4}), Error);
}

TEST_CASE("tensors that no machine can hold are errors") {
  const auto code = [](DType dtype, const Shape& shape) {
    try {
      Tensor tensor(dtype, shape);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kInternal;
  };
  CHECK(code(DType::kUInt8, {int64_t{1} << 50}) == ErrorCode::kOutOfMemory);
  CHECK(code(DType::kFloat32, {1 << 20, 1 << 30}) == ErrorCode::kOutOfMemory);
  CHECK(code(DType::kString, {int64_t{1} << 45}) == ErrorCode::kOutOfMemory);
  CHECK(code(DType::kFloat64, {int64_t{1} << 60}) == ErrorCode::kInvalidArgument);
  CHECK(code(DType::kString, {int64_t{1} << 60}) == ErrorCode::kInvalidArgument);
}

TEST_CASE("errors carry their contexts in front") {
  CHECK_THROWS_WITH_AS(with_context([] { return "a node"; }, [] { throw std::bad_alloc(); }),
                       "a node: out of memory", Error);
  try {
    with_context([] { return std::string("loading x"); },
                 [] { fail(ErrorCode::kInvalidData, "bad ", 7); });
    FAIL("no exception");
  } catch (const Error& error) {
    CHECK(std::string(error.what()) == "loading x: bad 7");
    CHECK(error.code() == ErrorCode::kInvalidData);
  }
}

TEST_CASE("threads may ask a deferred tensor at the same time") {
  std::atomic<int> made = 0, right = 0;
  const Tensor tensor = Tensor::deferred(DType::kFloat32, {1}, [&] {
    ++made;
    return Tensor::scalar<float>(7);
  });
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&right, copy = tensor] { right += *copy.data<float>() == 7 ? 1 : 0; });
    }
  }
  CHECK(made == 1);
  CHECK(right == 4);
}

TEST_CASE("a deferred tensor is made once, for all its copies") {
  int made = 0;
  const Tensor tensor = Tensor::deferred(DType::kFloat32, {2, 2}, [&] {
    ++made;
    return Tensor::from<float>({2, 2}, {1, 2, 3, 4});
  });
  const Tensor flat = tensor.reshaped({4});
  CHECK(made == 0);
  CHECK(flat.is_deferred());
  CHECK(flat.bytes() == 16);
  CHECK(flat.data<float>()[3] == 4);
  CHECK(tensor.data<float>() == flat.data<float>());
  CHECK(identical(tensor.clone(), Tensor::from<float>({2, 2}, {1, 2, 3, 4})));
  CHECK(made == 1);

  // Whoever asks for it gets the error, each time.
  const Tensor broken = Tensor::deferred(DType::kFloat32, {1},
                                         []() -> Tensor { fail(ErrorCode::kIo, "no weights"); });
  for (int i = 0; i < 2; ++i) CHECK_THROWS_AS(broken.raw(), Error);
  const Tensor other =
      Tensor::deferred(DType::kFloat32, {1}, [] { return Tensor(DType::kInt8, {1}); });
  CHECK_THROWS_AS(other.raw(), Error);
}

}  // namespace hugot
