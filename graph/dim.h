// Symbolic dimensions: polynomials with integer coefficients over named symbols.
#ifndef HUGOT_GRAPH_DIM_H_
#define HUGOT_GRAPH_DIM_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hugot {

// An int64 or an expression over symbols such as "batch" or "2*sequence+1". Every symbol stands for
// a non-negative number. Equal expressions compare equal, so "S*12*32" == "S*384". What a
// polynomial cannot say (quotients, minima) becomes a symbol named after the expression. A value
// type.
class Dim {
 public:
  Dim() = default;
  Dim(int64_t value) {  // NOLINT: numbers are dimensions
    if (value != 0) terms_[{}] = value;
  }
  static Dim symbol(std::string_view name);

  bool is_number() const { return terms_.empty() || (terms_.size() == 1 && has_constant_term()); }
  // The value, when it is a number.
  std::optional<int64_t> number() const;
  bool is(int64_t value) const { return number() == value; }

  friend bool operator==(const Dim& a, const Dim& b) { return a.terms_ == b.terms_; }
  friend bool operator<(const Dim& a, const Dim& b) { return a.terms_ < b.terms_; }

  friend Dim operator+(const Dim& a, const Dim& b);
  friend Dim operator-(const Dim& a, const Dim& b);
  friend Dim operator*(const Dim& a, const Dim& b);

  // Quotient rounded towards zero; exact when every term divides, otherwise a symbol "(a/b)".
  // REQUIRES: b is not the number 0.
  static Dim divide(const Dim& a, const Dim& b);
  static Dim min(const Dim& a, const Dim& b);
  static Dim max(const Dim& a, const Dim& b);

  // What can be proved with all symbols >= 0 (no symbol inside is >= 1 by itself).
  bool provably_at_least(int64_t bound) const;
  // True when a and b differ for every assignment (their difference is provably not 0).
  static bool provably_different(const Dim& a, const Dim& b);

  // The set of symbols that occur.
  std::vector<std::string> symbols() const;
  bool contains(std::string_view symbol) const;

  // The value for given symbols. Throws kInternal for a symbol that `lookup` does not know.
  int64_t evaluate(const std::function<std::optional<int64_t>(std::string_view)>& lookup) const;

  // Coefficients by power of `symbol`: result[p] is the factor of symbol^p. Empty when other
  // symbols occur.
  std::vector<int64_t> coefficients(std::string_view symbol) const;

  // Replaces a symbol by an expression.
  Dim substitute(std::string_view symbol, const Dim& value) const;

  // "384", "S", "2*S+1"
  std::string to_string() const;

 private:
  using Monomial =
      std::vector<std::string>;  // sorted; a symbol may repeat; empty: the constant term

  bool has_constant_term() const { return terms_.begin()->first.empty(); }
  size_t degree() const;  // symbols in the longest monomial
  void add(const Monomial& monomial, int64_t coefficient);

  std::map<Monomial, int64_t> terms_;  // no zero coefficients
};

using Dims = std::vector<Dim>;

// "[batch,12,S,32]"
std::string to_string(const Dims& dims);

}  // namespace hugot

#endif  // HUGOT_GRAPH_DIM_H_
