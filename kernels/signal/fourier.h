// The discrete Fourier transform of any length.
#ifndef HUGOT_KERNELS_SIGNAL_FOURIER_H_
#define HUGOT_KERNELS_SIGNAL_FOURIER_H_

#include <cstdint>
#include <memory>
#include <vector>

namespace hugot::signal {

// A complex number without the cases for infinities that std::complex multiplies with.
template <class C>
struct Complex {
  C re = 0, im = 0;
  friend Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
  friend Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
  friend Complex operator*(Complex a, Complex b) {
    return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
  }
  friend Complex operator*(C a, Complex b) { return {a * b.re, a * b.im}; }
  friend Complex conj(Complex a) { return {a.re, -a.im}; }
};

// y[k] = sum over n of x[n] exp(-2 pi i k n / length), in the arithmetic of C. Lengths are taken
// apart into factors, as large as they are convenient; a length with a large prime is a convolution
// of another length (Bluestein), in float64. Immutable, so that threads may share it.
template <class C>
class Fourier {
 public:
  // Memory of one thread.
  struct Workspace {
    std::vector<Complex<C>> turn;
    std::vector<Complex<double>> padded, padded_turn;
  };

  // REQUIRES: length > 0.
  explicit Fourier(int64_t length);

  int64_t length() const { return length_; }
  // How many multiply-adds a transform takes, roughly.
  int64_t cost() const;
  Workspace workspace() const;
  // Transforms x [length] in place.
  void transform(Complex<C>* x, Workspace& workspace) const;

 private:
  void by_factors(Complex<C>* x, Complex<C>* turn) const;
  void by_convolution(Complex<C>* x, Workspace& workspace) const;

  int64_t length_;
  std::vector<int64_t> factors_;
  std::vector<Complex<C>> roots_;  // exp(-2 pi i k / length)
  // For lengths with a large prime: exp(-pi i n^2 / length), a transform of another length, and
  // that of what is convolved with.
  std::vector<Complex<double>> chirp_, convolver_;
  std::unique_ptr<const Fourier<double>> padded_;
};

extern template class Fourier<float>;
extern template class Fourier<double>;

}  // namespace hugot::signal

#endif  // HUGOT_KERNELS_SIGNAL_FOURIER_H_
