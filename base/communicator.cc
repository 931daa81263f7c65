#include "base/communicator.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>

#include "base/thread_pool.h"

namespace hugot {
namespace {

enum Kind : uint32_t { kFailure, kGather, kSum };

constexpr size_t kLongestText = 1 << 16;

}  // namespace

// What each rank says before anything travels.
struct Communicator::Header {
  uint32_t kind = kFailure;
  int32_t code = 0;    // kFailure: of the error
  uint64_t bytes = 0;  // that come from this rank; kFailure: of its text
};

// A thread that runs tasks in their order. After one has failed none is run any more.
class Communicator::Worker {
 public:
  using Task = std::function<void()>;

  Worker() : thread_([this] { work(); }) {}
  ~Worker() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  void start(Task task) {
    {
      const std::lock_guard lock(mutex_);
      if (failure_ != nullptr) std::rethrow_exception(failure_);
      tasks_.push_back(std::move(task));
    }
    changed_.notify_all();
  }

  // Waits for all tasks; throws what one has thrown.
  void finish() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return tasks_.empty() || failure_ != nullptr; });
    if (failure_ != nullptr) std::rethrow_exception(failure_);
  }

  void run(Task task) {
    start(std::move(task));
    finish();
  }

  bool failed() {
    const std::lock_guard lock(mutex_);
    return failure_ != nullptr;
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return closed_ || (!tasks_.empty() && failure_ == nullptr); });
      if (closed_) return;
      const Task task = std::move(tasks_.front());
      lock.unlock();
      std::exception_ptr failure;
      try {
        task();
      } catch (...) {
        failure = std::current_exception();
      }
      lock.lock();
      failure_ = failure;
      tasks_.pop_front();
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> tasks_;  // the first one is being run
  std::exception_ptr failure_;
  bool closed_ = false;
  std::thread thread_;
};

Communicator::Communicator(std::unique_ptr<Transport> transport)
    : rank_(transport ? transport->rank() : 0),
      size_(transport ? transport->size() : 1),
      transport_(std::move(transport)) {
  if (size_ > 1) worker_ = std::make_unique<Worker>();
}

Communicator::~Communicator() = default;

void Communicator::exchange_headers(const Header& own, std::string_view text) {
  const auto ranks = static_cast<size_t>(size_);
  std::vector<Header> all(ranks);
  const std::vector<size_t> sizes(ranks, sizeof(Header));
  transport_->gather(std::as_bytes(std::span(&own, 1)), reinterpret_cast<std::byte*>(all.data()),
                     sizes);
  their_bytes_.resize(ranks);
  std::transform(all.begin(), all.end(), their_bytes_.begin(),
                 [](const Header& header) { return header.bytes; });
  const bool same = std::all_of(all.begin(), all.end(),
                                [&](const Header& header) { return header.kind == own.kind; });
  const auto failed = [](const Header& header) { return header.kind == kFailure; };
  if (std::none_of(all.begin(), all.end(), failed)) {
    require(same, ErrorCode::kInternal, "the processes do different things");
    return;
  }
  // Everybody gets all texts and makes the same choice: an error rather than an interruption, and
  // the first of several.
  std::vector<size_t> lengths;
  for (const Header& header : all) lengths.push_back(failed(header) ? header.bytes : 0);
  std::string texts(std::accumulate(lengths.begin(), lengths.end(), size_t{0}), '\0');
  transport_->gather(std::as_bytes(std::span(text)), reinterpret_cast<std::byte*>(texts.data()),
                     lengths);
  std::optional<size_t> chosen;
  constexpr auto kCancelled = static_cast<int32_t>(ErrorCode::kCancelled);
  for (size_t i = 0; i < ranks; ++i) {
    if (!failed(all[i])) continue;
    if (!chosen || (all[*chosen].code == kCancelled && all[i].code != kCancelled)) chosen = i;
  }
  const auto text_of = [&](size_t i) {
    const size_t begin =
        std::accumulate(lengths.begin(), lengths.begin() + static_cast<long>(i), size_t{0});
    return texts.substr(begin, lengths[i]);
  };
  std::string message = text_of(*chosen);
  bool common = same;
  for (size_t i = 0; common && i < ranks; ++i) common = text_of(i) == message;
  if (!common) message = str("rank ", *chosen, " of ", ranks, ": ", message);
  agreed_.emplace(static_cast<ErrorCode>(all[*chosen].code), message);
  throw *agreed_;
}

std::vector<std::byte> Communicator::all_gather(std::span<const std::byte> own) {
  if (size_ == 1) return {own.begin(), own.end()};
  std::vector<std::byte> result;
  worker_->run([&] {
    exchange_headers({kGather, 0, own.size()}, {});
    const auto ranks = static_cast<size_t>(size_);
    std::vector<size_t> offsets(ranks);
    std::exclusive_scan(their_bytes_.begin(), their_bytes_.end(), offsets.begin(), size_t{0});
    result.resize(offsets.back() + their_bytes_.back());
    const size_t most = *std::max_element(their_bytes_.begin(), their_bytes_.end());
    const size_t round = std::max<size_t>(1, Transport::kMostBytes / ranks);
    std::vector<size_t> sizes(ranks);
    std::vector<std::byte> part;
    for (size_t done = 0; done < most; done += round) {
      for (size_t i = 0; i < ranks; ++i) {
        sizes[i] = std::min(round, their_bytes_[i] - std::min<size_t>(done, their_bytes_[i]));
      }
      const auto mine = own.subspan(std::min(done, own.size())).first(sizes[rank_]);
      if (most <= round) {
        transport_->gather(mine, result.data(), sizes);
        return;
      }
      part.resize(std::accumulate(sizes.begin(), sizes.end(), size_t{0}));
      transport_->gather(mine, part.data(), sizes);
      const std::byte* from = part.data();
      for (size_t i = 0; i < ranks; from += sizes[i++]) {
        if (sizes[i] > 0) std::memcpy(result.data() + offsets[i] + done, from, sizes[i]);
      }
    }
  });
  return result;
}

std::vector<std::byte> Communicator::broadcast(std::span<const std::byte> bytes) {
  return all_gather(leads() ? bytes : std::span<const std::byte>());
}

void Communicator::check_equal(uint64_t number, std::string_view what) {
  const auto all = all_gather(std::as_bytes(std::span(&number, 1)));
  for (size_t i = 0; i < all.size(); i += sizeof(number)) {
    require(std::memcmp(all.data() + i, all.data(), sizeof(number)) == 0, ErrorCode::kInternal,
            "rank ", i / sizeof(number), " has other ", what, " than rank 0");
  }
}

void Communicator::start_sum(std::vector<Piece> pieces) {
  if (size_ == 1 || pieces.empty()) return;
  worker_->start([this, pieces = std::move(pieces)] {
    if (pieces[0].tensor.dtype() == DType::kFloat64) {
      sum_elements<double>(pieces);
    } else {
      sum_elements<float>(pieces);
    }
  });
}

void Communicator::finish_sums() {
  if (size_ > 1) worker_->finish();
}

// Each rank adds up its share of the elements, and gets the other shares ready-made.
template <class T>
void Communicator::sum_elements(const std::vector<Piece>& pieces) {
  int64_t count = 0;
  for (const Piece& piece : pieces) count += piece.count;
  const size_t bytes = static_cast<size_t>(count) * sizeof(T);
  require(bytes <= Transport::kMostBytes, ErrorCode::kInternal, "a sum of ", bytes, " bytes");
  exchange_headers({kSum, 0, bytes}, {});
  for (const uint64_t theirs : their_bytes_) {
    require(theirs == bytes, ErrorCode::kInternal, "the processes add up different things");
  }
  std::vector<size_t> shares;
  for (int i = 0; i < size_; ++i) {
    shares.push_back(static_cast<size_t>(count * (i + 1) / size_ - count * i / size_) * sizeof(T));
  }
  const size_t share = shares[static_cast<size_t>(rank_)];
  ours_.resize(bytes);
  theirs_.resize(share * static_cast<size_t>(size_));
  std::byte* to = ours_.data();
  for (const Piece& piece : pieces) {
    const size_t size = static_cast<size_t>(piece.count) * sizeof(T);
    std::memcpy(to, piece.tensor.data<T>() + piece.first, size);
    to += size;
  }
  transport_->exchange(ours_.data(), shares, theirs_.data(),
                       std::vector<size_t>(static_cast<size_t>(size_), share));
  T* const sums = reinterpret_cast<T*>(theirs_.data());
  const size_t elements = share / sizeof(T);
  for (size_t rank = 1; rank < static_cast<size_t>(size_); ++rank) {
    const T* const x = sums + rank * elements;
    for (size_t i = 0; i < elements; ++i) sums[i] += x[i];
  }
  transport_->gather(std::span(theirs_).first(share), ours_.data(), shares);
  const std::byte* from = ours_.data();
  for (const Piece& piece : pieces) {
    const size_t size = static_cast<size_t>(piece.count) * sizeof(T);
    Tensor tensor = piece.tensor;
    std::memcpy(tensor.data<T>() + piece.first, from, size);
    from += size;
  }
}

void Communicator::share_failure(ErrorCode code, std::string_view text) {
  if (worker_->failed()) return;
  text = text.substr(0, kLongestText / static_cast<size_t>(size_));
  try {
    worker_->run([&] {
      exchange_headers({kFailure, static_cast<int32_t>(code), text.size()}, text);
    });
  } catch (const std::exception&) {
    // What is agreed on, or that the others cannot be reached.
  }
}

void Communicator::agree_on_cancellation() {
  if (size_ == 1) return;
  share_failure(ErrorCode::kCancelled, "cancelled");
  if (agreed_ && agreed_->code() != ErrorCode::kCancelled) throw *agreed_;
}

int processors_per_rank(Communicator& ranks) {
  struct Place {
    std::array<char, 256> host{};
    cpu_set_t processors;
  };
  Place own;
  gethostname(own.host.data(), own.host.size() - 1);
  CPU_ZERO(&own.processors);
  sched_getaffinity(0, sizeof(own.processors), &own.processors);
  const auto all = ranks.all_gather(std::as_bytes(std::span(&own, 1)));
  int sharing = 0;
  for (size_t i = 0; i < all.size(); i += sizeof(Place)) {
    Place place;
    std::memcpy(&place, all.data() + i, sizeof(Place));
    cpu_set_t both;
    CPU_AND(&both, &own.processors, &place.processors);
    if (place.host == own.host && CPU_COUNT(&both) > 0) ++sharing;
  }
  return std::max(1, available_processors() / std::max(1, sharing));
}

}  // namespace hugot
