#include "base/mpi_transport.h"

// Without MPI's old C++ interface, which would want a library of its own.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

namespace hugot {
namespace {

// A call has failed: the others cannot be waited for any more.
std::atomic<bool> broken = false;

void check(int code, const char* what) {
  if (code == MPI_SUCCESS) return;
  broken = true;
  std::string text(MPI_MAX_ERROR_STRING, '\0');
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  text.resize(static_cast<size_t>(length));
  fail(ErrorCode::kIo, what, ": ", text);
}

// MPI's own waiting keeps a processor busy, which another rank or the computation may need.
void wait(MPI_Request& request) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::microseconds kActive(50), kSleep(20);
  const auto start = Clock::now();
  while (true) {
    int done = 0;
    check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test");
    if (done != 0) return;
    if (Clock::now() - start < kActive) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(kSleep);
    }
  }
}

// When the others cannot be reached the process ends without goodbye, and its launcher ends them.
void finalize() {
  if (broken) return;
  MPI_Request request = MPI_REQUEST_NULL;
  MPI_Ibarrier(MPI_COMM_WORLD, &request);
  wait(request);
  MPI_Finalize();
}

void initialize() {
  int is = 0, provided = MPI_THREAD_SINGLE;
  MPI_Finalized(&is);
  require(is == 0, ErrorCode::kInvalidArgument, "MPI has been finalized already");
  MPI_Initialized(&is);
  if (is != 0) {
    MPI_Query_thread(&provided);
  } else {
    check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread");
    std::atexit(finalize);
  }
  require(provided >= MPI_THREAD_SERIALIZED, ErrorCode::kInvalidArgument,
          "MPI has to be initialized with MPI_THREAD_SERIALIZED or more");
}

std::vector<int> to_ints(std::span<const size_t> sizes) { return {sizes.begin(), sizes.end()}; }

std::vector<int> offsets_of(const std::vector<int>& sizes) {
  std::vector<int> result;
  int sum = 0;
  for (const int size : sizes) {
    result.push_back(sum);
    sum += size;
  }
  return result;
}

class MpiTransport final : public Transport {
 public:
  MpiTransport() {
    initialize();
    check(MPI_Comm_dup(MPI_COMM_WORLD, &world_), "MPI_Comm_dup");
    MPI_Comm_set_errhandler(world_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(world_, &rank_);
    MPI_Comm_size(world_, &size_);
  }
  // Freeing the communicator would wait for the others; there is one in the life of a process, or a
  // few.
  ~MpiTransport() override = default;

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void gather(std::span<const std::byte> own, std::byte* all,
              std::span<const size_t> sizes) override {
    const std::vector<int> counts = to_ints(sizes), offsets = offsets_of(counts);
    MPI_Request request = MPI_REQUEST_NULL;
    check(MPI_Iallgatherv(own.data(), static_cast<int>(own.size()), MPI_BYTE, all, counts.data(),
                          offsets.data(), MPI_BYTE, world_, &request),
          "MPI_Iallgatherv");
    wait(request);
  }

  void exchange(const std::byte* send, std::span<const size_t> sizes_sent, std::byte* received,
                std::span<const size_t> sizes_received) override {
    const std::vector<int> out = to_ints(sizes_sent), in = to_ints(sizes_received);
    const std::vector<int> out_offsets = offsets_of(out), in_offsets = offsets_of(in);
    MPI_Request request = MPI_REQUEST_NULL;
    check(MPI_Ialltoallv(send, out.data(), out_offsets.data(), MPI_BYTE, received, in.data(),
                         in_offsets.data(), MPI_BYTE, world_, &request),
          "MPI_Ialltoallv");
    wait(request);
  }

 private:
  MPI_Comm world_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 1;
};

}  // namespace

std::unique_ptr<Transport> open_mpi() { return std::make_unique<MpiTransport>(); }

}  // namespace hugot
