// Changed copies of inputs, the same ones for the same seed everywhere.
#ifndef HUGOT_TESTS_FUZZ_MUTATOR_H_
#define HUGOT_TESTS_FUZZ_MUTATOR_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/fuzz/fuzz.h"

namespace hugot::fuzz {

// Numbers that do not depend on the standard library (splitmix64).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next();
  // In [0, count). REQUIRES: count > 0
  size_t below(size_t count) { return static_cast<size_t>(next() % count); }
  template <class T>
  const T& pick(const std::vector<T>& items) {
    return items[below(items.size())];
  }

 private:
  uint64_t state_;
};

// Numbers at which code that counts breaks.
int64_t interesting_integer(Random& random);

// What changes an input may take from.
struct Material {
  std::vector<std::string> corpus;
  std::vector<std::string> tokens;  // words of the corpus and those that the format has
};

// Bytes without regard to what they mean: flips, cuts, repetitions, pieces of other inputs, tokens.
void mutate_bytes(std::string& bytes, const Material& material, Random& random);

// Changes that keep an input well formed, so that they get behind the parser: fields of a protobuf
// message, values of a JSON text. False, and nothing changed, when the input is not well formed.
bool mutate_protobuf(std::string& bytes, const Material& material, Random& random);
bool mutate_json(std::string& text, const Material& material, Random& random);

class Mutator {
 public:
  Mutator(std::vector<std::string> corpus, InputKind kind);

  const std::vector<std::string>& corpus() const { return material_.corpus; }
  // One of the corpus with one to a few changes.
  std::string mutate(uint64_t seed) const;

 private:
  Material material_;
  InputKind kind_;
};

}  // namespace hugot::fuzz

#endif  // HUGOT_TESTS_FUZZ_MUTATOR_H_
