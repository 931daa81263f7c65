// Time for statistics.
#ifndef HUGOT_PIPELINES_STOPWATCH_H_
#define HUGOT_PIPELINES_STOPWATCH_H_

#include <chrono>

namespace hugot {

// Runs from the moment that it is made.
class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace hugot

#endif  // HUGOT_PIPELINES_STOPWATCH_H_
