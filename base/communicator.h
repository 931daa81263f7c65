// Processes that work on one thing together.
#ifndef HUGOT_BASE_COMMUNICATOR_H_
#define HUGOT_BASE_COMMUNICATOR_H_

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/tensor.h"

namespace hugot {

// How the bytes travel. Calls are collective: all ranks make the same ones in the same order, one
// at a time, maybe from different threads. Throws kIo when the others cannot be reached any more.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // Afterwards `all` holds the `own` of all ranks in their order; `sizes` are their bytes, at most
  // kMostBytes in all.
  virtual void gather(std::span<const std::byte> own, std::byte* all,
                      std::span<const size_t> sizes) = 0;
  // `send` has a part for each rank, `sizes_sent` are their bytes. `received` gets the parts that
  // are for this rank, in the order of the ranks they come from. At most kMostBytes in all.
  virtual void exchange(const std::byte* send, std::span<const size_t> sizes_sent,
                        std::byte* received, std::span<const size_t> sizes_received) = 0;

  static constexpr size_t kMostBytes = size_t{16} << 20;
};

// The processes ("ranks") of one job. What ends one of them ends all of them, with its message:
// each call that the others wait in also tells whether all is well. Numbers are added up in the
// order of the ranks, whatever the transport does, so equal jobs give equal bytes, and the same
// bytes to all ranks.
//
// All ranks make the same calls in the same order, from one thread at a time.
class Communicator {
 public:
  // Without transport one process is alone, and no call waits for anybody.
  explicit Communicator(std::unique_ptr<Transport> transport = nullptr);
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  // One of the ranks does what has to be done once: files, messages.
  bool leads() const { return rank_ == 0; }

  // The bytes of all ranks in their order.
  std::vector<std::byte> all_gather(std::span<const std::byte> own);
  // The bytes that the leading rank gives; those of the others are not looked at.
  std::vector<std::byte> broadcast(std::span<const std::byte> bytes);
  void barrier() { all_gather({}); }
  // Throws kInternal naming a rank whose number is another one than that of the leading rank.
  void check_equal(uint64_t number, std::string_view what);

  // Elements of a float32 or float64 tensor.
  struct Piece {
    Tensor tensor;
    int64_t first = 0, count = 0;
  };
  // Begins to replace each element by the sum over all ranks, while the caller goes on. `pieces`
  // have one element type, and no more than Transport::kMostBytes in all. Nobody may look at them
  // before finish_sums().
  void start_sum(std::vector<Piece> pieces);
  void finish_sums();

  // Calls `work`, in which all ranks communicate, and returns when all have done it. When it throws
  // for one of them it throws for all: what lets the others know is the next call that they make.
  template <class Work>
  auto together(const Work& work) {
    if (size_ == 1) return work();
    try {
      auto result = work();
      barrier();
      return result;
    } catch (const Error& error) {
      // An error that has come from another rank may have got a context here, which says nothing.
      const bool others = agreed_ && error.code() != ErrorCode::kCancelled;
      share_failure(error.code(), error.what());
      if (agreed_ && (others || agreed_->code() != error.code())) throw *agreed_;
      throw;
    } catch (const std::exception& error) {
      share_failure(ErrorCode::kInternal, error.what());
      throw;
    }
  }

  // For a rank that has caught kCancelled and is going to end: the others get to know. Throws what
  // another rank has failed with, if that is something worse.
  void agree_on_cancellation();

 private:
  class Worker;
  struct Header;

  void share_failure(ErrorCode code, std::string_view text);
  void exchange_headers(const Header& own, std::string_view text);
  template <class T>
  void sum_elements(const std::vector<Piece>& pieces);

  int rank_, size_;
  std::unique_ptr<Transport> transport_;
  std::optional<Error> agreed_;  // what all ranks have failed with; from then on nobody waits
  std::vector<std::byte> ours_, theirs_;  // memory of sums
  std::vector<uint64_t> their_bytes_;     // by rank: what the last headers announced
  std::unique_ptr<Worker> worker_;        // does all that waits for others
};

// Threads for each rank where the ranks of one machine share its processors: those this process may
// use, divided by the ranks that may use some of them, at least 1. All ranks call it.
int processors_per_rank(Communicator& ranks);

}  // namespace hugot

#endif  // HUGOT_BASE_COMMUNICATOR_H_
