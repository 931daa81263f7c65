#include "autodiff/adafactor.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "autodiff/train_graph.h"

namespace hugot {
namespace {

constexpr int64_t kBlockElements = 1 << 15;  // rows of a task; the order of sums depends on it

// A tensor as matrices [rows, columns] one after the other; a vector is one column.
struct Layout {
  int64_t matrices = 1, rows = 1, columns = 1;
  bool factored = false;

  explicit Layout(const Shape& shape) {
    const int rank = shape.rank();
    factored = rank >= 2;
    if (!factored) {
      rows = rank == 0 ? 1 : shape[0];
      return;
    }
    rows = shape[rank - 2];
    columns = shape[rank - 1];
    for (int i = 0; i < rank - 2; ++i) matrices *= shape[i];
  }
  int64_t all_rows() const { return matrices * rows; }
  int64_t size() const { return all_rows() * columns; }
};

// The sum over rows [0, rows) of what `of_rows(first, last)` says, block after block.
template <class OfRows>
double sum_of_rows(ThreadPool* pool, int64_t rows, int64_t columns, const OfRows& of_rows) {
  const int64_t each = std::max<int64_t>(1, kBlockElements / std::max<int64_t>(1, columns));
  const int64_t blocks = (rows + each - 1) / each;
  std::vector<double> sums(static_cast<size_t>(blocks));
  parallel_for(pool, blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      sums[static_cast<size_t>(block)] = of_rows(block * each, std::min(rows, (block + 1) * each));
    }
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

template <class T>
double root_mean_square(const T* x, const Layout& l, ThreadPool* pool) {
  const double sum = sum_of_rows(pool, l.all_rows(), l.columns, [&](int64_t begin, int64_t end) {
    double squares = 0;
    for (int64_t i = begin * l.columns; i < end * l.columns; ++i) {
      squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    }
    return squares;
  });
  return std::sqrt(sum / static_cast<double>(std::max<int64_t>(1, l.size())));
}

template <class T>
class Update {
 public:
  Update(const AdafactorOptions& options, const AdafactorStep& step, Parameter& parameter,
         Tensor* state, ThreadPool* pool)
      : o_(options),
        s_(step),
        l_(parameter.value.shape()),
        pool_(pool),
        p_(parameter.value.data<T>()),
        g_(parameter.gradient.data<T>()),
        row_(state[0].data<T>()),
        column_(l_.factored ? state[1].data<T>() : nullptr),
        moment_(options.beta1 ? state[2].data<T>() : nullptr) {}

  void run() {
    if (l_.size() == 0) return;
    const double scale =
        o_.scale_parameter ? std::max(o_.eps_scale, root_mean_square(p_, l_, pool_)) : 1.0;
    const double lr = s_.lr * scale;
    for (int64_t matrix = 0; l_.factored && matrix < l_.matrices; ++matrix) add_squares(matrix);
    if (!l_.factored) add_squares_of_vector();
    find_factors();
    const double squares =
        sum_of_rows(pool_, l_.all_rows(), l_.columns, [&](int64_t begin, int64_t end) {
          double sum = 0;
          for_rows(begin, end, [&](int64_t, double u) { sum += u * u; });
          return sum;
        });
    const double rms = std::sqrt(squares / static_cast<double>(l_.size()));
    apply(lr, lr / std::max(1.0, rms / o_.clip_threshold));
  }

 private:
  double square(int64_t i) const {
    const double g = static_cast<double>(g_[i]) * s_.gradient_scale;
    return g * g + o_.eps_square;
  }

  double beta2() const { return 1 - std::pow(static_cast<double>(s_.t), o_.decay_rate); }

  static void mix(T& mean, double keep, double fresh) {
    mean = static_cast<T>(static_cast<double>(mean) * keep + fresh * (1 - keep));
  }

  void add_squares_of_vector() {
    const double keep = beta2();
    for (int64_t i = 0; i < l_.rows; ++i) mix(row_[i], keep, square(i));
  }

  // Rows are taken in blocks, and what each adds to the columns is added in their order.
  void add_squares(int64_t matrix) {
    const double keep = beta2();
    const int64_t each = std::max<int64_t>(1, kBlockElements / l_.columns);
    const int64_t blocks = (l_.rows + each - 1) / each;
    const auto width = static_cast<size_t>(l_.columns);
    std::vector<double> columns(static_cast<size_t>(blocks) * width, 0.0);
    parallel_for(pool_, blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) {
        double* const sums = columns.data() + static_cast<size_t>(block) * width;
        for (int64_t i = block * each; i < std::min(l_.rows, (block + 1) * each); ++i) {
          const int64_t row = matrix * l_.rows + i;
          double sum = 0;
          for (int64_t j = 0; j < l_.columns; ++j) {
            const double x = square(row * l_.columns + j);
            sum += x;
            sums[j] += x;
          }
          mix(row_[row], keep, sum / static_cast<double>(l_.columns));
        }
      }
    });
    for (size_t j = 0; j < width; ++j) {
      double sum = 0;
      for (size_t block = 0; block < static_cast<size_t>(blocks); ++block) {
        sum += columns[block * width + j];
      }
      mix(column_[static_cast<size_t>(matrix) * width + j], keep,
          sum / static_cast<double>(l_.rows));
    }
  }

  // 1 / sqrt(mean of squares): rows over their own mean, times columns.
  void find_factors() {
    row_factors_.resize(static_cast<size_t>(l_.all_rows()));
    column_factors_.assign(static_cast<size_t>(l_.matrices * l_.columns), 1.0);
    for (int64_t matrix = 0; matrix < l_.matrices; ++matrix) {
      double mean = 1;
      if (l_.factored) {
        double sum = 0;
        for (int64_t i = 0; i < l_.rows; ++i) {
          sum += static_cast<double>(row_[matrix * l_.rows + i]);
        }
        mean = sum / static_cast<double>(l_.rows);
      }
      for (int64_t i = matrix * l_.rows; i < (matrix + 1) * l_.rows; ++i) {
        row_factors_[static_cast<size_t>(i)] = 1 / std::sqrt(static_cast<double>(row_[i]) / mean);
      }
    }
    for (size_t j = 0; l_.factored && j < column_factors_.size(); ++j) {
      column_factors_[j] = 1 / std::sqrt(static_cast<double>(column_[j]));
    }
  }

  // visit(element, its update before clipping)
  template <class Visit>
  void for_rows(int64_t begin, int64_t end, const Visit& visit) const {
    for (int64_t row = begin; row < end; ++row) {
      const double factor = row_factors_[static_cast<size_t>(row)] * s_.gradient_scale;
      const double* const columns = column_factors_.data() + row / l_.rows * l_.columns;
      for (int64_t j = 0; j < l_.columns; ++j) {
        const int64_t i = row * l_.columns + j;
        visit(i, factor * columns[j] * static_cast<double>(g_[i]));
      }
    }
  }

  void apply(double lr, double rate) {
    const double shrink = 1 - s_.weight_decay * lr;
    const int64_t grain = std::max<int64_t>(1, kBlockElements / l_.columns);
    parallel_for(pool_, l_.all_rows(), grain, [&](int64_t begin, int64_t end) {
      for_rows(begin, end, [&](int64_t i, double u) {
        double update = rate * u;
        if (moment_ != nullptr) {
          mix(moment_[i], *o_.beta1, update);
          update = static_cast<double>(moment_[i]);
        }
        p_[i] = static_cast<T>(static_cast<double>(p_[i]) * shrink - update);
      });
    });
  }

  const AdafactorOptions& o_;
  const AdafactorStep& s_;
  Layout l_;
  ThreadPool* pool_;
  T* p_;
  const T* g_;
  T *row_, *column_, *moment_;
  std::vector<double> row_factors_, column_factors_;
};

}  // namespace

double adafactor_rate(const AdafactorOptions& options, int64_t t) {
  const auto step = static_cast<double>(t);
  return std::min(options.warmup_init ? 1e-6 * step : 1e-2, 1 / std::sqrt(step));
}

int adafactor_states(const AdafactorOptions& options) { return options.beta1 ? 3 : 2; }

Shape adafactor_state_shape(const Shape& parameter, int i) {
  const std::vector<int64_t> all(parameter.begin(), parameter.end());
  if (i == 2) return parameter;
  if (all.size() < 2) return i == 0 ? parameter : Shape{0};
  std::vector<int64_t> dims(all.begin(), all.end() - 2);
  dims.push_back(i == 0 ? all[all.size() - 2] : all.back());
  return Shape(std::span<const int64_t>(dims));
}

void adafactor_step(const AdafactorOptions& options, const AdafactorStep& step,
                    Parameter& parameter, Tensor* state, ThreadPool* pool) {
  if (parameter.value.dtype() == DType::kFloat64) {
    Update<double>(options, step, parameter, state, pool).run();
  } else {
    Update<float>(options, step, parameter, state, pool).run();
  }
}

}  // namespace hugot
