// Changes of protobuf messages that keep them messages: lengths are written anew.
#include <algorithm>
#include <cctype>
#include <cstring>
#include <optional>

#include "tests/fuzz/mutator.h"

namespace hugot::fuzz {
namespace {

constexpr int kMaxDepth = 40;

struct Field;
using Message = std::vector<Field>;

struct Field {
  uint32_t number = 0;
  uint32_t wire = 0;
  uint64_t value = 0;  // of wire types 0, 1 and 5
  std::string bytes;   // of wire type 2, unless it is a message
  bool is_message = false;
  Message message;
};

std::optional<uint64_t> read_varint(std::string_view& in) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && !in.empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(in.front());
    in.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  return std::nullopt;
}

bool is_text(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(),
                     [](char c) { return std::isprint(static_cast<unsigned char>(c)) != 0; });
}

// Whether bytes are a message nobody says; what can be read as one is taken for one.
bool parse(std::string_view in, int depth, Message& out) {
  while (!in.empty()) {
    const auto tag = read_varint(in);
    if (!tag || *tag >> 3 == 0 || *tag >> 3 > 10000) return false;
    Field& field = out.emplace_back();
    field.number = static_cast<uint32_t>(*tag >> 3);
    field.wire = static_cast<uint32_t>(*tag & 7);
    const size_t width = field.wire == 1 ? 8 : field.wire == 5 ? 4 : 0;
    if (field.wire == 0) {
      const auto value = read_varint(in);
      if (!value) return false;
      field.value = *value;
    } else if (width > 0) {
      if (in.size() < width) return false;
      std::memcpy(&field.value, in.data(), width);
      in.remove_prefix(width);
    } else if (field.wire == 2) {
      const auto length = read_varint(in);
      if (!length || *length > in.size()) return false;
      const std::string_view body = in.substr(0, static_cast<size_t>(*length));
      in.remove_prefix(body.size());
      field.is_message = !body.empty() && depth < kMaxDepth && !is_text(body) &&
                         parse(body, depth + 1, field.message);
      if (!field.is_message) {
        field.message.clear();
        field.bytes = body;
      }
    } else {
      return false;
    }
  }
  return true;
}

void write_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

std::string serialize(const Message& message) {
  std::string out;
  for (const Field& field : message) {
    write_varint(out, field.number << 3 | field.wire);
    if (field.wire == 0) {
      write_varint(out, field.value);
    } else if (field.wire == 2) {
      const std::string body = field.is_message ? serialize(field.message) : field.bytes;
      write_varint(out, body.size());
      out += body;
    } else {
      out.append(reinterpret_cast<const char*>(&field.value), field.wire == 1 ? 8 : 4);
    }
  }
  return out;
}

struct Place {
  Message* message;
  size_t index;
  Field& field() const { return (*message)[index]; }
};

void collect(Message& message, std::vector<Place>& places) {
  for (size_t i = 0; i < message.size(); ++i) {
    places.push_back({&message, i});
    if (message[i].is_message) collect(message[i].message, places);
  }
}

// A value of the same kind with something wrong about it.
void change_leaf(Field& field, const Material& material, Random& random) {
  if (field.wire != 2) {
    field.value = random.below(2) == 0 ? static_cast<uint64_t>(interesting_integer(random))
                                       : field.value + random.below(7) - 3;
    return;
  }
  if (field.is_message) {
    field.message.clear();
  } else if (is_text(field.bytes) && random.below(4) != 0) {
    field.bytes = random.pick(material.tokens);
  } else if (field.bytes.size() >= 8 && random.below(2) == 0) {  // shapes and axes are raw numbers
    const int64_t number = interesting_integer(random);
    const size_t at = random.below(field.bytes.size() / 8) * 8;
    std::memcpy(field.bytes.data() + at, &number, sizeof(number));
  } else {
    mutate_bytes(field.bytes, material, random);
  }
}

// A field with this number from another input, so that its type fits where it goes.
std::optional<Field> foreign_field(uint32_t number, uint32_t wire, const Material& material,
                                   Random& random) {
  Message other;
  if (!parse(random.pick(material.corpus), 0, other)) return std::nullopt;
  std::vector<Place> places;
  collect(other, places);
  std::erase_if(places, [&](const Place& place) {
    return place.field().number != number || place.field().wire != wire;
  });
  if (places.empty()) return std::nullopt;
  return random.pick(places).field();
}

}  // namespace

bool mutate_protobuf(std::string& bytes, const Material& material, Random& random) {
  Message root;
  if (!parse(bytes, 0, root) || root.empty()) return false;
  std::vector<Place> places;
  collect(root, places);
  const Place place = random.pick(places);
  Message& message = *place.message;
  const auto at = message.begin() + static_cast<std::ptrdiff_t>(place.index);
  switch (random.below(10)) {
    case 0:
      message.erase(at);
      break;
    case 1: {
      const Field copy = *at;
      message.insert(at, 1 + random.below(random.below(8) == 0 ? 500 : 3), copy);
      break;
    }
    case 2:
      std::swap(*at, message[random.below(message.size())]);
      break;
    case 3: {
      if (const auto field = foreign_field(at->number, at->wire, material, random)) *at = *field;
      break;
    }
    case 4: {
      if (const auto field = foreign_field(at->number, at->wire, material, random)) {
        message.insert(at, *field);
      }
      break;
    }
    case 5: {  // a message within itself, now and then deeper than anybody reads
      const Field original = *at;
      const size_t depth = random.below(8) == 0 ? 1 + random.below(150) : 1;
      for (size_t i = 0; i < depth && original.is_message; ++i) {
        Field outer = original;
        std::vector<Place> inner;
        collect(outer.message, inner);
        std::erase_if(inner, [&](const Place& p) { return p.field().number != original.number; });
        if (inner.empty()) break;
        random.pick(inner).field() = std::move(*at);
        *at = std::move(outer);
      }
      break;
    }
    case 6:
      at->number = 1 + static_cast<uint32_t>(random.below(30));
      break;
    default:
      change_leaf(*at, material, random);
      break;
  }
  bytes = serialize(root);
  return true;
}

}  // namespace hugot::fuzz
