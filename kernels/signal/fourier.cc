#include "kernels/signal/fourier.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace hugot::signal {
namespace {

constexpr int64_t kMaxLength = int64_t{1} << 40;
constexpr int64_t kMaxFactor = 61;

// exp(-2 pi i part / whole)
template <class C>
Complex<C> root(int64_t part, int64_t whole) {
  const double angle =
      -2 * std::numbers::pi * static_cast<double>(part) / static_cast<double>(whole);
  return {static_cast<C>(std::cos(angle)), static_cast<C>(std::sin(angle))};
}

// Factors of a length; empty when one is a large prime. A single 2 comes first, where its sums and
// differences are of the numbers themselves.
std::vector<int64_t> factors_of(int64_t length) {
  std::vector<int64_t> factors;
  for (; length % 4 == 0; length /= 4) factors.push_back(4);
  if (length % 2 == 0) {
    factors.insert(factors.begin(), 2);
    length /= 2;
  }
  for (int64_t prime = 3; prime <= kMaxFactor && length > 1; prime += 2) {
    for (; length % prime == 0; length /= prime) factors.push_back(prime);
  }
  if (length > 1) factors.clear();
  return factors;
}

template <class C>
Complex<C> turned(Complex<C> a) {  // times -i
  return {a.im, -a.re};
}

// The transform of 2, 4 or an odd number of values, in place.
template <class C>
void transform_few(Complex<C>* x, int64_t count, const std::array<Complex<C>, kMaxFactor>& roots) {
  if (count == 2) {
    const Complex<C> a = x[0], b = x[1];
    x[0] = a + b;
    x[1] = a - b;
    return;
  }
  if (count == 4) {
    const Complex<C> even = x[0] + x[2], odd = x[1] + x[3], a = x[0] - x[2],
                     b = turned(x[1] - x[3]);
    x[0] = even + odd;
    x[1] = a + b;
    x[2] = even - odd;
    x[3] = a - b;
    return;
  }
  // Values at equal distances from the first one share their products.
  std::array<Complex<C>, kMaxFactor / 2 + 1> sum, difference;
  const int64_t half = count / 2;
  for (int64_t n = 1; n <= half; ++n) {
    sum[static_cast<size_t>(n)] = x[n] + x[count - n];
    difference[static_cast<size_t>(n)] = x[n] - x[count - n];
  }
  const Complex<C> first = x[0];
  for (int64_t n = 1; n <= half; ++n) x[0] = x[0] + sum[static_cast<size_t>(n)];
  for (int64_t k = 1; k <= half; ++k) {
    Complex<C> even = first, odd;
    for (int64_t n = 1; n <= half; ++n) {
      const Complex<C>& w = roots[static_cast<size_t>(k * n % count)];
      even = even + w.re * sum[static_cast<size_t>(n)];
      odd = odd + w.im * difference[static_cast<size_t>(n)];
    }
    const Complex<C> rotated{-odd.im, odd.re};
    x[k] = even + rotated;
    x[count - k] = even - rotated;
  }
}

}  // namespace

template <class C>
Fourier<C>::Fourier(int64_t length) : length_(length), factors_(factors_of(length)) {
  require(length < kMaxLength, ErrorCode::kInvalidArgument, "a transform of length ", length);
  if (length == 1) return;
  if (!factors_.empty()) {
    for (int64_t k = 0; k < length; ++k) roots_.push_back(root<C>(k, length));
    return;
  }
  const auto padded = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(2 * length - 1)));
  padded_ = std::make_unique<const Fourier<double>>(padded);
  // k n = (k^2 + n^2 - (k - n)^2) / 2. Squares are taken modulo 2 length, so that angles are exact.
  int64_t square = 0;
  for (int64_t n = 0; n < length; ++n) {
    chirp_.push_back(root<double>(square, 2 * length));
    square = (square + 2 * n + 1) % (2 * length);
  }
  convolver_.resize(static_cast<size_t>(padded));
  for (int64_t n = 0; n < length; ++n) {
    const Complex<double> value = conj(chirp_[static_cast<size_t>(n)]);
    convolver_[static_cast<size_t>(n)] = value;
    if (n > 0) convolver_[static_cast<size_t>(padded - n)] = value;
  }
  auto workspace = padded_->workspace();
  padded_->transform(convolver_.data(), workspace);
}

template <class C>
int64_t Fourier<C>::cost() const {
  if (padded_ != nullptr) return 2 * padded_->cost();
  int64_t sum = 4;
  for (const int64_t factor : factors_) sum += 4 * factor;
  return length_ * sum;
}

template <class C>
typename Fourier<C>::Workspace Fourier<C>::workspace() const {
  Workspace result;
  if (padded_ == nullptr) {
    result.turn.resize(static_cast<size_t>(length_));
  } else {
    result.padded.resize(convolver_.size());
    result.padded_turn.resize(convolver_.size());
  }
  return result;
}

template <class C>
void Fourier<C>::transform(Complex<C>* x, Workspace& workspace) const {
  if (padded_ != nullptr) return by_convolution(x, workspace);
  by_factors(x, workspace.turn.data());
}

// Before each factor there are `done` transforms of what is left, `rest * factor` values each.
template <class C>
void Fourier<C>::by_factors(Complex<C>* x, Complex<C>* turn) const {
  Complex<C>*from = x, *to = turn;
  int64_t done = 1;
  for (const int64_t factor : factors_) {
    const int64_t rest = length_ / (done * factor);
    std::array<Complex<C>, kMaxFactor> roots, values;
    for (int64_t k = 0; k < factor; ++k) {
      roots[static_cast<size_t>(k)] = roots_[static_cast<size_t>(k * (length_ / factor))];
    }
    for (int64_t part = 0; part < done; ++part) {
      for (int64_t i = 0; i < rest; ++i) {
        for (int64_t m = 0; m < factor; ++m) {
          values[static_cast<size_t>(m)] = from[i + rest * (m + factor * part)];
        }
        transform_few(values.data(), factor, roots);
        to[i + rest * part] = values[0];
        for (int64_t m = 1; m < factor; ++m) {
          const Complex<C> value = values[static_cast<size_t>(m)];
          to[i + rest * (part + done * m)] =
              i == 0 ? value : value * roots_[static_cast<size_t>(done * m * i)];
        }
      }
    }
    std::swap(from, to);
    done *= factor;
  }
  if (from != x) std::copy_n(from, length_, x);
}

template <class C>
void Fourier<C>::by_convolution(Complex<C>* x, Workspace& workspace) const {
  std::vector<Complex<double>>& line = workspace.padded;
  std::fill(line.begin(), line.end(), Complex<double>{});
  for (size_t n = 0; n < chirp_.size(); ++n) {
    const Complex<double> value{static_cast<double>(x[n].re), static_cast<double>(x[n].im)};
    line[n] = value * chirp_[n];
  }
  typename Fourier<double>::Workspace inner;
  inner.turn = std::move(workspace.padded_turn);
  padded_->transform(line.data(), inner);
  // The inverse transform is the transform of the conjugate, conjugated.
  for (size_t k = 0; k < line.size(); ++k) line[k] = conj(line[k] * convolver_[k]);
  padded_->transform(line.data(), inner);
  workspace.padded_turn = std::move(inner.turn);
  const double share = 1 / static_cast<double>(line.size());
  for (size_t k = 0; k < chirp_.size(); ++k) {
    const Complex<double> value = share * conj(line[k]) * chirp_[k];
    x[k] = {static_cast<C>(value.re), static_cast<C>(value.im)};
  }
}

template class Fourier<float>;
template class Fourier<double>;

}  // namespace hugot::signal
