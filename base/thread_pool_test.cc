#include "base/thread_pool.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <numeric>
#include <thread>
#include <vector>

#include "base/error.h"

namespace hugot {

TEST_CASE("parallel_for covers the range once") {
  ThreadPool pool(4);
  for (const int64_t count : {0, 1, 3, 1000}) {
    for (const int64_t grain : {1, 7, 5000}) {
      std::vector<std::atomic<int>> hits(static_cast<size_t>(count));
      pool.parallel_for(count, grain, [&](int64_t begin, int64_t end) {
        CHECK(end - begin <= grain);
        for (int64_t i = begin; i < end; ++i) ++hits[static_cast<size_t>(i)];
      });
      for (const auto& hit : hits) CHECK(hit == 1);
    }
  }
}

TEST_CASE("parallel_for rethrows and the pool stays usable") {
  ThreadPool pool(3);
  const auto throwing = [](int64_t begin, int64_t) {
    if (begin == 17) fail(ErrorCode::kInvalidData, "seventeen");
  };
  CHECK_THROWS_AS(pool.parallel_for(100, 1, throwing), Error);
  std::atomic<int64_t> sum = 0;
  pool.parallel_for(100, 1, [&](int64_t begin, int64_t) { sum += begin; });
  CHECK(sum == 4950);
}

TEST_CASE("loops nest and run from several threads") {
  ThreadPool pool(3);
  std::atomic<int> count = 0;
  const auto work = [&] {
    pool.parallel_for(8, 1, [&](int64_t, int64_t) {
      pool.parallel_for(8, 1, [&](int64_t, int64_t) { ++count; });
    });
  };
  std::thread other(work);
  work();
  other.join();
  CHECK(count == 128);
}

TEST_CASE("many threads, nested loops and errors at once") {
  ThreadPool pool(4);
  std::atomic<int64_t> sum = 0;
  std::atomic<int> errors = 0;
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 6; ++caller) {
    callers.emplace_back([&, caller] {
      for (int round = 0; round < 50; ++round) {
        const bool throws = (caller + round) % 5 == 0;
        std::vector<int64_t> written(64);  // by whoever of the team gets the range
        try {
          pool.parallel_for(64, 1 + round % 7, [&](int64_t begin, int64_t end) {
            if (throws && begin > 30) fail(ErrorCode::kInvalidData, "beyond");
            pool.parallel_for(end - begin, 1, [&](int64_t b, int64_t e) {
              for (int64_t i = begin + b; i < begin + e; ++i) written[static_cast<size_t>(i)] = i;
            });
          });
          sum += std::accumulate(written.begin(), written.end(), int64_t{0});
        } catch (const Error&) {
          ++errors;
        }
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(errors == 60);
  CHECK(sum == 240 * 2016);
}

TEST_CASE("a thread takes ranges that follow each other") {
  ThreadPool pool(2);
  std::vector<int> order[2];  // by thread
  std::atomic<int> done = 0;
  pool.parallel_for_workers(10, 1, [&](int64_t begin, int64_t, int worker) {
    order[worker].push_back(static_cast<int>(begin));
    // Both have to take part.
    for (++done; done < 2;) std::this_thread::yield();
  });
  for (const std::vector<int>& ranges : order) {
    // Its own half in order, then perhaps what the other has left.
    CHECK(!ranges.empty());
    const auto half = [](int range) { return range / 5; };
    int changes = 0, steps_back = 0;
    for (size_t i = 1; i < ranges.size(); ++i) {
      const bool same = half(ranges[i]) == half(ranges[i - 1]);
      changes += same ? 0 : 1;
      steps_back += same && ranges[i] < ranges[i - 1] ? 1 : 0;
    }
    CHECK(changes <= 1);
    CHECK(steps_back == 0);
  }
  CHECK(order[0].front() == 0);
  CHECK(order[1].front() == 5);
}

TEST_CASE("loops of regions: several threads, pools and sizes, nested, with errors") {
  ThreadPool small(2), large(4);
  std::atomic<int64_t> sum = 0;
  std::atomic<int> errors = 0;
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&, caller] {
      for (int round = 0; round < 40; ++round) {
        ThreadPool& pool = (caller + round) % 2 == 0 ? small : large;
        const ThreadPool::Region region(round % 7 == 0 ? nullptr : &pool);
        const ThreadPool::Region inner(round % 3 == 0 ? &large : &pool);
        for (int loop = 0; loop < 10; ++loop) {
          const bool throws = loop == 5 && round % 5 == 0;
          try {
            pool.parallel_for(16, 1 + loop % 3, [&](int64_t begin, int64_t end) {
              if (throws && begin > 7) fail(ErrorCode::kInvalidData, "beyond");
              large.parallel_for(end - begin, 1, [&](int64_t b, int64_t e) { sum += e - b; });
            });
            if (throws) ++errors;  // none came
          } catch (const Error&) {
            ++errors;
            sum -= 1000000;  // what was done before is not known
          }
        }
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(errors == 4 * 8);
  const int64_t failed_loops = 4 * 8, whole = 4 * 40 * 10 - failed_loops;
  CHECK(sum >= 16 * whole - 1000000 * failed_loops);
  CHECK(sum < 16 * (whole + failed_loops) - 1000000 * failed_loops);
}

TEST_CASE("nobody waits actively for long") {
  const auto cpu = [] { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; };
  ThreadPool one(available_processors()), other(available_processors());
  const ThreadPool::Region region(&one);  // open all the time
  for (int round = 0; round < 3; ++round) {
    std::atomic<int> count = 0;
    one.parallel_for(8, 1, [&](int64_t, int64_t) { ++count; });
    other.parallel_for(8, 1, [&](int64_t, int64_t) { ++count; });
    CHECK(count == 16);
    const double start = cpu();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    CHECK(cpu() - start < 0.02);
  }
}

TEST_CASE("the machine has at least one processor") { CHECK(available_processors() >= 1); }

}  // namespace hugot
