#include "graph/dim.h"

#include <algorithm>
#include <functional>
#include <ios>
#include <set>

#include "base/error.h"

namespace hugot {
namespace {

// Expressions of hostile models must not grow without bound: a chain of nodes can double their size
// with every node. Beyond these limits a product is a new symbol; a sum, which may be negative,
// cannot be one.
constexpr size_t kMaxTerms = 64;
constexpr size_t kMaxDegree = 16;
constexpr size_t kMaxSumTerms = 1024;
// Longer names are replaced by what tells them apart.
constexpr size_t kMaxName = 256;

void check_terms(size_t terms) {
  require(terms <= kMaxSumTerms, ErrorCode::kUnsupported, "a dimension is a sum of more than ",
          kMaxSumTerms, " terms");
}

std::string short_name(std::string_view name) {
  uint64_t other = 0xcbf29ce484222325u;  // FNV-1a
  for (const char c : name) other = (other ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  return str("expression#", std::hex, std::hash<std::string_view>()(name), "-", other);
}

int64_t checked_mul(int64_t a, int64_t b) {
  int64_t result = 0;
  require(!__builtin_mul_overflow(a, b, &result), ErrorCode::kInvalidData,
          "a dimension overflows 64 bits");
  return result;
}

int64_t checked_add(int64_t a, int64_t b) {
  int64_t result = 0;
  require(!__builtin_add_overflow(a, b, &result), ErrorCode::kInvalidData,
          "a dimension overflows 64 bits");
  return result;
}

}  // namespace

Dim Dim::symbol(std::string_view name) {
  Dim dim;
  dim.terms_[{name.size() > kMaxName ? short_name(name) : std::string(name)}] = 1;
  return dim;
}

std::optional<int64_t> Dim::number() const {
  if (terms_.empty()) return 0;
  if (!is_number()) return std::nullopt;
  return terms_.begin()->second;
}

void Dim::add(const Monomial& monomial, int64_t coefficient) {
  if (coefficient == 0) return;
  const auto [it, inserted] = terms_.try_emplace(monomial, coefficient);
  if (inserted) return;
  it->second = checked_add(it->second, coefficient);
  if (it->second == 0) terms_.erase(it);
}

size_t Dim::degree() const {
  size_t degree = 0;
  for (const auto& [monomial, coefficient] : terms_) degree = std::max(degree, monomial.size());
  return degree;
}

Dim operator+(const Dim& a, const Dim& b) {
  Dim result = a;
  for (const auto& [monomial, coefficient] : b.terms_) result.add(monomial, coefficient);
  check_terms(result.terms_.size());
  return result;
}

Dim operator-(const Dim& a, const Dim& b) {
  Dim result = a;
  for (const auto& [monomial, coefficient] : b.terms_) {
    result.add(monomial, checked_mul(coefficient, -1));
  }
  check_terms(result.terms_.size());
  return result;
}

Dim operator*(const Dim& a, const Dim& b) {
  if (a.terms_.size() * b.terms_.size() > kMaxTerms || a.degree() + b.degree() > kMaxDegree) {
    return Dim::symbol(str("(", a.to_string(), ")*(", b.to_string(), ")"));
  }
  Dim result;
  for (const auto& [ma, ca] : a.terms_) {
    for (const auto& [mb, cb] : b.terms_) {
      Dim::Monomial product;
      std::merge(ma.begin(), ma.end(), mb.begin(), mb.end(), std::back_inserter(product));
      result.add(product, checked_mul(ca, cb));
    }
  }
  return result;
}

Dim Dim::divide(const Dim& a, const Dim& b) {
  const auto na = a.number();
  const auto nb = b.number();
  if (na && nb) {
    require(*nb != 0 && !(*na == INT64_MIN && *nb == -1), ErrorCode::kInvalidData,
            "division of dimension ", *na, " by ", *nb);
    return *na / *nb;
  }
  if (a == b) return 1;
  if (b.terms_.size() == 1) {
    const auto& [divisor, coefficient] = *b.terms_.begin();
    Dim quotient;
    bool exact = true;
    for (const auto& [monomial, factor] : a.terms_) {
      Monomial rest;
      std::set_difference(monomial.begin(), monomial.end(), divisor.begin(), divisor.end(),
                          std::back_inserter(rest));
      const bool overflows = factor == INT64_MIN && coefficient == -1;
      if (overflows || factor % coefficient != 0 ||
          rest.size() + divisor.size() != monomial.size()) {
        exact = false;
        break;
      }
      quotient.add(rest, factor / coefficient);
    }
    if (exact) return quotient;
  }
  return symbol(str("(", a.to_string(), ")/(", b.to_string(), ")"));
}

Dim Dim::min(const Dim& a, const Dim& b) {
  if ((b - a).provably_at_least(0)) return a;
  if ((a - b).provably_at_least(0)) return b;
  return symbol(str("min(", std::min(a, b).to_string(), ",", std::max(a, b).to_string(), ")"));
}

Dim Dim::max(const Dim& a, const Dim& b) {
  if ((b - a).provably_at_least(0)) return b;
  if ((a - b).provably_at_least(0)) return a;
  return symbol(str("max(", std::min(a, b).to_string(), ",", std::max(a, b).to_string(), ")"));
}

bool Dim::provably_at_least(int64_t bound) const {
  int64_t constant = 0;
  for (const auto& [monomial, coefficient] : terms_) {
    if (monomial.empty()) {
      constant = coefficient;
    } else if (coefficient < 0) {
      return false;
    }
  }
  return constant >= bound;
}

bool Dim::provably_different(const Dim& a, const Dim& b) {
  const Dim difference = a - b;
  if (const auto number = difference.number()) return *number != 0;
  return difference.provably_at_least(1) || (b - a).provably_at_least(1);
}

std::vector<std::string> Dim::symbols() const {
  std::set<std::string> names;
  for (const auto& [monomial, coefficient] : terms_) names.insert(monomial.begin(), monomial.end());
  return {names.begin(), names.end()};
}

bool Dim::contains(std::string_view symbol) const {
  return std::any_of(terms_.begin(), terms_.end(), [&](const auto& term) {
    return std::find(term.first.begin(), term.first.end(), symbol) != term.first.end();
  });
}

int64_t Dim::evaluate(const std::function<std::optional<int64_t>(std::string_view)>& lookup) const {
  int64_t sum = 0;
  for (const auto& [monomial, coefficient] : terms_) {
    int64_t product = coefficient;
    for (const std::string& name : monomial) {
      const auto value = lookup(name);
      require(value.has_value(), ErrorCode::kInternal, "dimension ", to_string(), ": symbol ", name,
              " has no value");
      product = checked_mul(product, *value);
    }
    sum = checked_add(sum, product);
  }
  return sum;
}

std::vector<int64_t> Dim::coefficients(std::string_view symbol) const {
  std::vector<int64_t> result(1, 0);
  for (const auto& [monomial, coefficient] : terms_) {
    for (const std::string& name : monomial) {
      if (name != symbol) return {};
    }
    if (monomial.size() >= result.size()) result.resize(monomial.size() + 1, 0);
    result[monomial.size()] = coefficient;
  }
  return result;
}

Dim Dim::substitute(std::string_view symbol, const Dim& value) const {
  Dim result;
  for (const auto& [monomial, coefficient] : terms_) {
    Dim term = coefficient;
    for (const std::string& name : monomial) {
      term = term * (name == symbol ? value : Dim::symbol(name));
    }
    result = result + term;
  }
  return result;
}

std::string Dim::to_string() const {
  if (terms_.empty()) return "0";
  std::string text;
  // Highest terms first, the constant last.
  for (auto it = terms_.rbegin(); it != terms_.rend(); ++it) {
    const auto& [monomial, coefficient] = *it;
    std::string term;
    if (monomial.empty() || (coefficient != 1 && coefficient != -1)) {
      term = std::to_string(coefficient);
    } else if (coefficient == -1) {
      term = "-";
    }
    for (const std::string& name : monomial) {
      if (!term.empty() && term != "-") term += '*';
      term += name;
    }
    if (!text.empty() && term[0] != '-') text += '+';
    text += term;
  }
  return text;
}

std::string to_string(const Dims& dims) {
  std::string text = "[";
  for (size_t i = 0; i < dims.size(); ++i) {
    if (i > 0) text += ',';
    text += dims[i].to_string();
  }
  return text + "]";
}

}  // namespace hugot
