#include "tests/fuzz/mutator.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <set>

namespace hugot::fuzz {
namespace {

constexpr size_t kMaxSize = size_t{1} << 17;
constexpr size_t kMaxTokens = 4096;

// Words, numbers and names in the inputs are what their format is made of.
void collect_tokens(std::string_view bytes, std::set<std::string>& tokens) {
  for (size_t begin = 0; begin < bytes.size() && tokens.size() < kMaxTokens;) {
    size_t end = begin;
    while (end < bytes.size() && end - begin < 64 &&
           (std::isalnum(static_cast<unsigned char>(bytes[end])) != 0 || bytes[end] == '_')) {
      ++end;
    }
    if (end - begin >= 2) tokens.emplace(bytes.substr(begin, end - begin));
    begin = end + 1;
  }
}

std::vector<std::string> tokens_of_kind(InputKind kind) {
  using namespace std::string_literals;
  switch (kind) {
    case InputKind::kText:
      return {"[CLS]",
              "[UNK]",
              "\xcc\x81"s,
              "\xe2\x80\x8d"s,
              "\xf0\x9f\x98\x80"s,
              "\xef\xbb\xbf"s,
              "\xed\xa0\x80"s,
              "\xc0\x80"s,
              "\xff"s,
              "\0"s,
              "\xe4\xb8\xad"s,
              "\xf4\x90\x80\x80"s,
              "\r\n",
              "\t",
              "##",
              "\xef\xbf\xbd"s};
    case InputKind::kJson:
      return {"null", "true", "-1",   "1e999",   "18446744073709551616",
              "{}",   "[]",   "\"\"", "\\u0000", "\\ud800",
              "\n",   "{",    "}",    "[",       "]",
              ",",    ":",    "\"",   "\xff"s};
    default:
      return {"\0\0\0\0"s, "\xff\xff\xff\xff"s, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"s};
  }
}

}  // namespace

uint64_t Random::next() {
  state_ += 0x9e3779b97f4a7c15u;
  uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

int64_t interesting_integer(Random& random) {
  static const std::vector<int64_t> kNumbers = {
      0,         1,         -1,           2,         3,         7,         8,
      16,        -2,        -7,           127,       128,       255,       256,
      1024,      32767,     -32768,       65535,     65536,     1 << 20,   1 << 24,
      INT32_MAX, INT32_MIN, 1ll << 32,    1ll << 33, 1ll << 40, 1ll << 56, 1ll << 61,
      INT64_MAX, INT64_MIN, INT64_MAX / 8};
  return random.pick(kNumbers);
}

void mutate_bytes(std::string& bytes, const Material& material, Random& random) {
  if (bytes.empty()) bytes = "\n";
  const size_t at = random.below(bytes.size());
  const size_t rest = bytes.size() - at;
  // Short pieces mostly: they change one thing.
  const size_t length = 1 + random.below(std::min(rest, random.below(4) == 0 ? rest : 16));
  switch (random.below(10)) {
    case 0:
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.below(8)));
      break;
    case 1:
      bytes[at] = static_cast<char>(random.below(256));
      break;
    case 2:
      bytes.resize(at);
      break;
    case 3:
      bytes.erase(at, length);
      break;
    case 4: {
      const std::string piece = bytes.substr(at, length);
      // Now and then so often that recursion and quadratic time show.
      const size_t times = random.below(8) == 0 ? (size_t{1} << 15) / length : 1 + random.below(4);
      std::string many;
      for (size_t i = 0; i < times; ++i) many += piece;
      bytes.insert(at, many);
      break;
    }
    case 5: {
      const std::string& other = random.pick(material.corpus);
      if (other.empty()) break;
      const size_t from = random.below(other.size());
      const std::string piece = other.substr(from, 1 + random.below(other.size() - from));
      bytes.replace(at, random.below(2) == 0 ? 0 : std::min(piece.size(), rest), piece);
      break;
    }
    case 6: {
      const int64_t number = interesting_integer(random);
      const size_t width = std::min<size_t>(size_t{1} << random.below(4), rest);
      std::memcpy(bytes.data() + at, &number, width);
      break;
    }
    case 7: {
      const std::string token = random.pick(material.tokens);
      bytes.replace(at, random.below(2) == 0 ? 0 : std::min(token.size(), rest), token);
      break;
    }
    case 8: {
      const std::string text = std::to_string(interesting_integer(random));
      const size_t digit = bytes.find_first_of("0123456789", at);
      if (digit == std::string::npos) break;
      const size_t end = bytes.find_first_not_of("0123456789", digit);
      bytes.replace(digit, (end == std::string::npos ? bytes.size() : end) - digit, text);
      break;
    }
    default:
      std::swap(bytes[at], bytes[random.below(bytes.size())]);
      break;
  }
}

Mutator::Mutator(std::vector<std::string> corpus, InputKind kind) : kind_(kind) {
  std::set<std::string> tokens;
  for (const std::string& input : corpus) collect_tokens(input, tokens);
  material_.tokens.assign(tokens.begin(), tokens.end());
  for (std::string& token : tokens_of_kind(kind)) material_.tokens.push_back(std::move(token));
  material_.corpus = std::move(corpus);
}

std::string Mutator::mutate(uint64_t seed) const {
  Random random(seed);
  random.next();
  std::string input = random.pick(material_.corpus);
  const size_t changes = 1 + random.below(3);
  for (size_t i = 0; i < changes; ++i) {
    bool done = false;
    // Well-formed ones first: after a change of bytes there often is no structure left.
    if (kind_ == InputKind::kProtobuf && random.below(4) != 0) {
      done = mutate_protobuf(input, material_, random);
    }
    if (kind_ == InputKind::kJson && random.below(2) != 0) {
      done = mutate_json(input, material_, random);
    }
    if (!done) mutate_bytes(input, material_, random);
    if (input.size() > kMaxSize) input.resize(kMaxSize);
  }
  return input;
}

}  // namespace hugot::fuzz
