// Ranks that are threads of this process: the communication of a training without MPI.
#ifndef HUGOT_TESTS_RANK_THREADS_H_
#define HUGOT_TESTS_RANK_THREADS_H_

#include <barrier>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "base/communicator.h"

namespace hugot::test {

class ThreadTransport final : public Transport {
 public:
  // What the ranks of one job share.
  struct Job {
    explicit Job(int ranks) : sends(static_cast<size_t>(ranks)), everybody(ranks) {}
    struct Send {
      const std::byte* data = nullptr;
      std::vector<size_t> sizes;
    };
    std::vector<Send> sends;  // by rank
    std::barrier<> everybody;
  };

  ThreadTransport(std::shared_ptr<Job> job, int rank) : job_(std::move(job)), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(job_->sends.size()); }

  void gather(std::span<const std::byte> own, std::byte* all,
              std::span<const size_t> sizes) override {
    own_send() = {own.data(), {own.size()}};
    job_->everybody.arrive_and_wait();
    for (size_t i = 0; i < sizes.size(); all += sizes[i++]) {
      require(job_->sends[i].sizes.at(0) == sizes[i], ErrorCode::kInternal, "other sizes");
      if (sizes[i] > 0) std::memmove(all, job_->sends[i].data, sizes[i]);
    }
    job_->everybody.arrive_and_wait();
  }

  void exchange(const std::byte* send, std::span<const size_t> sizes_sent, std::byte* received,
                std::span<const size_t> sizes_received) override {
    own_send() = {send, {sizes_sent.begin(), sizes_sent.end()}};
    job_->everybody.arrive_and_wait();
    for (size_t i = 0; i < sizes_received.size(); received += sizes_received[i++]) {
      const Job::Send& from = job_->sends[i];
      const size_t before =
          std::accumulate(from.sizes.begin(), from.sizes.begin() + rank_, size_t{0});
      require(from.sizes.at(static_cast<size_t>(rank_)) == sizes_received[i], ErrorCode::kInternal,
              "other sizes");
      if (sizes_received[i] > 0) std::memcpy(received, from.data + before, sizes_received[i]);
    }
    job_->everybody.arrive_and_wait();
  }

 private:
  Job::Send& own_send() { return job_->sends[static_cast<size_t>(rank_)]; }

  std::shared_ptr<Job> job_;
  int rank_;
};

// Runs `work` as each of `ranks` ranks, in a thread each. Returns what each has thrown: the text of
// the exception, or nothing.
inline std::vector<std::string> run_ranks(int ranks,
                                          const std::function<void(Communicator&)>& work) {
  const auto job = std::make_shared<ThreadTransport::Job>(ranks);
  std::vector<std::string> errors(static_cast<size_t>(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      Communicator communicator(std::make_unique<ThreadTransport>(job, rank));
      try {
        work(communicator);
      } catch (const std::exception& error) {
        errors[static_cast<size_t>(rank)] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return errors;
}

}  // namespace hugot::test

#endif  // HUGOT_TESTS_RANK_THREADS_H_
