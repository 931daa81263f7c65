// Run states that threads share.
#ifndef HUGOT_GRAPH_EXEC_STATE_POOL_H_
#define HUGOT_GRAPH_EXEC_STATE_POOL_H_

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace hugot {

// Run states, lent to one thread at a time and kept for the next. Thread-safe.
// take() is null when none is free.
template <class State>
class StatePool {
 public:
  std::unique_ptr<State> take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return nullptr;
    std::unique_ptr<State> state = std::move(free_.back());
    free_.pop_back();
    return state;
  }
  void give(std::unique_ptr<State> state) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(state));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<State>> free_;
};

}  // namespace hugot

#endif  // HUGOT_GRAPH_EXEC_STATE_POOL_H_
