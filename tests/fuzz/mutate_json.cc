// Changes of JSON texts that keep them JSON.
#include <nlohmann/json.hpp>

#include "tests/fuzz/mutator.h"

namespace hugot::fuzz {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxDepth = 200;  // of what is changed; deeper texts are changed as bytes

void collect(Json& json, std::vector<Json*>& all) {
  all.push_back(&json);
  if (json.is_structured()) {
    for (Json& item : json) collect(item, all);
  }
}

// One line of several, or the whole text.
std::pair<size_t, size_t> choose_part(const std::string& text, Random& random) {
  if (random.below(2) == 0) return {0, text.size()};
  const size_t at = random.below(text.size() + 1);
  const size_t before = text.rfind('\n', at);
  const size_t begin = before == std::string::npos ? 0 : before + 1;
  const size_t after = text.find('\n', begin);
  return {begin, (after == std::string::npos ? text.size() : after) - begin};
}

std::optional<Json> parse(std::string_view text) {
  int deepest = 0;
  const auto note = [&](int depth, Json::parse_event_t, const Json&) {
    deepest = std::max(deepest, depth);
    return deepest <= kMaxDepth;
  };
  Json json = Json::parse(text.begin(), text.end(), note, false);
  if (json.is_discarded() || deepest > kMaxDepth) return std::nullopt;
  return json;
}

Json new_value(const Material& material, Random& random) {
  switch (random.below(6)) {
    case 0:
      return interesting_integer(random);
    case 1:
      return random.below(2) == 0 ? Json(nullptr) : Json(random.below(2) == 0);
    case 2:
      return Json::array();
    case 3:
      return Json::object();
    case 4:
      return 0.5;
    default:
      return random.pick(material.tokens);
  }
}

void change(Json& root, const Material& material, Random& random) {
  std::vector<Json*> all;
  collect(root, all);
  Json& place = *random.pick(all);
  const Json other = *random.pick(all);
  switch (random.below(7)) {
    case 0:
      place = new_value(material, random);
      break;
    case 1:
      place = other;
      break;
    case 2:
      if (place.is_structured() && !place.empty()) {
        place.erase(
            std::next(place.begin(), static_cast<std::ptrdiff_t>(random.below(place.size()))));
      }
      break;
    case 3:
      if (place.is_array()) place.push_back(other);
      if (place.is_object()) place[random.pick(material.tokens)] = other;
      break;
    case 4: {
      const size_t depth = random.below(8) == 0 ? 1 + random.below(20000) : 1;
      std::string open;
      std::string close;
      for (size_t i = 0; i < depth && depth > 1; ++i) open += '[', close += ']';
      if (depth > 1) {
        place = "\x01" + open + close;  // put in as text by the caller
      } else {
        place = Json::array({place});
      }
      break;
    }
    case 5:
      if (place.is_string()) {
        auto text = place.get<std::string>();
        text += random.below(2) == 0 ? text : random.pick(material.tokens);
        place = text;
      } else if (place.is_number()) {
        place = interesting_integer(random);
      }
      break;
    default:
      if (place.is_array() && !place.empty()) {
        const Json item = place[random.below(place.size())];
        for (size_t i = random.below(300); i > 0; --i) place.push_back(item);
      }
      break;
  }
}

}  // namespace

bool mutate_json(std::string& text, const Material& material, Random& random) {
  const auto [begin, length] = choose_part(text, random);
  auto json = parse(std::string_view(text).substr(begin, length));
  if (!json) return false;
  change(*json, material, random);
  std::string changed = json->dump(-1, ' ', false, Json::error_handler_t::replace);
  // A nest that is too deep for the writer, which recurs.
  if (const size_t mark = changed.find("\"\\u0001["); mark != std::string::npos) {
    changed.erase(mark, 7);
    changed.erase(changed.find('"', mark), 1);
  }
  text.replace(begin, length, changed);
  return true;
}

}  // namespace hugot::fuzz
