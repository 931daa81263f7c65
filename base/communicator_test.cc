#include "base/communicator.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "base/mpi_transport.h"
#include "base/testing.h"
#include "tests/rank_threads.h"

namespace hugot {
namespace {

using test::run_ranks;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

const std::vector<std::string> kNoErrors3(3);

TEST_CASE("one process alone waits for nobody") {
  Communicator alone;
  CHECK(alone.leads());
  CHECK(alone.size() == 1);
  CHECK(text_of(alone.all_gather(bytes_of("abc"))) == "abc");
  CHECK(text_of(alone.broadcast(bytes_of("abc"))) == "abc");
  alone.check_equal(3, "numbers");
  alone.agree_on_cancellation();
  alone.start_sum({{Tensor::from<float>({1}, {2.0f}), 0, 1}});
  alone.finish_sums();
  CHECK(alone.together([] { return 5; }) == 5);
  CHECK(processors_per_rank(alone) >= 1);
}

TEST_CASE("bytes of all ranks come in their order, whatever their number") {
  CHECK(run_ranks(3, [](Communicator& ranks) {
          const std::string own(static_cast<size_t>(ranks.rank()),
                                static_cast<char>('a' + ranks.rank()));
          require(text_of(ranks.all_gather(bytes_of(own))) == "bcc", ErrorCode::kInternal,
                  "gather");
          // More than travels at once.
          std::string large(Transport::kMostBytes / 2 + 100 * static_cast<size_t>(ranks.rank()),
                            static_cast<char>('x' + ranks.rank()));
          const std::string all = text_of(ranks.all_gather(bytes_of(large)));
          const size_t half = Transport::kMostBytes / 2;
          require(all == std::string(half, 'x') + std::string(half + 100, 'y') +
                             std::string(half + 200, 'z'),
                  ErrorCode::kInternal, "a large gather");
          require(text_of(ranks.broadcast(bytes_of(own + "!"))) == "!", ErrorCode::kInternal,
                  "broadcast");
          ranks.barrier();
        }) == kNoErrors3);
}

TEST_CASE_TEMPLATE("sums are added up in the order of the ranks", T, float, double) {
  // 1e20 + 1 - 1e20 tells the order.
  constexpr int64_t kSize = 1001;
  for (const int size : {2, 3, 4}) {
    const auto errors = run_ranks(size, [&](Communicator& ranks) {
      Tensor a(dtype_of<T>, {kSize}), b(dtype_of<T>, {2});
      const T mine[] = {T(1e20), T(1), T(-1e20), T(3)};
      for (int64_t i = 0; i < kSize; ++i) a.data<T>()[i] = mine[ranks.rank()];
      b.data<T>()[0] = b.data<T>()[1] = T(ranks.rank() + 1);
      ranks.start_sum({{a, 0, 1000}, {b, 1, 1}});
      ranks.start_sum({{a, 1000, 1}});
      ranks.finish_sums();
      T expected = mine[0];
      for (int i = 1; i < size; ++i) expected += mine[i];
      for (int64_t i = 0; i < kSize; ++i) {
        require(a.data<T>()[i] == expected, ErrorCode::kInternal, "element ", i);
      }
      require(b.data<T>()[0] == T(ranks.rank() + 1), ErrorCode::kInternal, "not to be touched");
      require(b.data<T>()[1] == T(size * (size + 1) / 2), ErrorCode::kInternal, "b");
    });
    CHECK(errors == std::vector<std::string>(static_cast<size_t>(size)));
  }
}

TEST_CASE("what ends one rank ends all") {
  const auto errors = run_ranks(3, [](Communicator& ranks) {
    ranks.together([&] {
      Tensor sum(DType::kFloat32, {1});
      sum.data<float>()[0] = 1;
      if (ranks.rank() != 1) ranks.start_sum({{sum, 0, 1}});
      require(ranks.rank() != 1, ErrorCode::kInvalidData, "row 7 is bad");
      ranks.finish_sums();
      ranks.all_gather({});
      return 0;
    });
  });
  CHECK(errors[0] == "rank 1 of 3: row 7 is bad");
  CHECK(errors[1] == "row 7 is bad");
  CHECK(errors[2] == errors[0]);
  // At the end, too.
  CHECK(run_ranks(2, [](Communicator& ranks) {
          ranks.together([&] {
            if (ranks.leads()) throw std::runtime_error("disk full");
            return 0;
          });
        }) == std::vector<std::string>{"disk full", "rank 0 of 2: disk full"});
  // What all say they say once.
  CHECK(run_ranks(2, [](Communicator& ranks) {
          ranks.together([&]() -> int { fail(ErrorCode::kInvalidData, "no rows"); });
        }) == std::vector<std::string>{"no rows", "no rows"});
  CHECK(run_ranks(2, [](Communicator& ranks) {
          ranks.together([&] {
            ranks.check_equal(ranks.leads() ? 1 : 2, "weights");
            return 0;
          });
        })[0] == "rank 1 has other weights than rank 0");
}

TEST_CASE("an interruption reaches all, and an error is worse") {
  for (const bool error : {false, true}) {
    const auto errors = run_ranks(3, [&](Communicator& ranks) {
      ranks.together([&] {
        try {
          require(ranks.rank() != 2, ErrorCode::kCancelled, "cancelled");
          require(ranks.rank() != 1 || !error, ErrorCode::kIo, "disk full");
          ranks.barrier();
        } catch (const Error& caught) {
          if (caught.code() != ErrorCode::kCancelled) throw;
          ranks.agree_on_cancellation();
          fail(ErrorCode::kCancelled, "stopped");
        }
        return 0;
      });
    });
    const std::string all = error ? "rank 1 of 3: disk full" : "stopped";
    CHECK(errors == std::vector<std::string>{all, error ? "disk full" : all, all});
  }
}

TEST_CASE("calls that do not belong together are an error") {
  const auto errors = run_ranks(2, [](Communicator& ranks) {
    ranks.together([&] {
      if (ranks.leads()) {
        ranks.barrier();
      } else {
        Tensor sum(DType::kFloat32, {1});
        ranks.start_sum({{sum, 0, 1}});
        ranks.finish_sums();
      }
      return 0;
    });
  });
  CHECK(errors[0] == "the processes do different things");
  CHECK(errors[1] == errors[0]);
}

TEST_CASE("ranks of one machine share its processors") {
  CHECK(run_ranks(3, [](Communicator& ranks) {
          Communicator alone;
          const int all = processors_per_rank(alone);
          require(processors_per_rank(ranks) == std::max(1, all / 3), ErrorCode::kInternal, all);
        }) == kNoErrors3);
}

TEST_CASE("a launcher is told by its environment") {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}) {
    REQUIRE(std::getenv(name) == nullptr);
    setenv(name, "1", 1);
    CHECK_FALSE(started_by_mpi());
    setenv(name, "2", 1);
    CHECK(started_by_mpi());
    unsetenv(name);
  }
  CHECK_FALSE(started_by_mpi());
}

}  // namespace
}  // namespace hugot
