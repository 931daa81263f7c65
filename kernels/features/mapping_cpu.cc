// Kernels that look things up: LabelEncoder, CategoryMapper, and the operators on maps.
#include <algorithm>
#include <bit>
#include <numeric>
#include <optional>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "kernels/convert.h"
#include "kernels/dispatch.h"
#include "kernels/features/features.h"
#include "kernels/number_text.h"
#include "kernels/prepared.h"

namespace hugot::features {
namespace {

using LabelTypes = Types<std::string, int64_t, float, int32_t, int16_t, double>;

template <class T>
Tensor list_of(const std::vector<T>& values) {
  return Tensor::from<T>({static_cast<int64_t>(values.size())}, std::span<const T>(values));
}

// `stem` is keys or values: the attribute of one of the possible types; undefined when there is
// none.
Tensor labels(const Node& node, const std::string& stem) {
  Tensor found;
  const auto take = [&](const std::string& name, auto&& read) {
    if (!node.has(name)) return;
    require(!found.defined(), ErrorCode::kInvalidData, "only one of the attributes ", stem,
            "_* may be there");
    found = read(name);
  };
  take(stem + "_strings",
       [&](const std::string& name) { return list_of(node.at<std::vector<std::string>>(name)); });
  take(stem + "_int64s",
       [&](const std::string& name) { return list_of(node.at<std::vector<int64_t>>(name)); });
  take(stem + "_floats",
       [&](const std::string& name) { return list_of(node.at<std::vector<float>>(name)); });
  take(stem + "_tensor", [&](const std::string& name) { return node.at<Tensor>(name); });
  return found;
}

// What stands for keys that are not there.
Tensor default_value(const Node& node, DType dtype) {
  if (node.has("default_tensor")) {
    const auto& value = node.at<Tensor>("default_tensor");
    require(value.dtype() == dtype && value.size() == 1, ErrorCode::kInvalidData,
            "the default has to be one ", dtype_name(dtype), ", but is ", describe(value));
    return value;
  }
  switch (dtype) {
    case DType::kString:
      return Tensor::scalar(node.get<std::string>("default_string", "_Unused"));
    case DType::kFloat32:
      return Tensor::scalar(node.get("default_float", -0.0f));
    case DType::kFloat64:
      return Tensor::scalar(-0.0);
    case DType::kInt32:
      return Tensor::scalar(int32_t{-1});
    case DType::kInt16:
      return Tensor::scalar(int16_t{-1});
    default:
      return Tensor::scalar(node.get<int64_t>("default_int64", -1));
  }
}

struct Dictionary {
  Tensor keys, values, fallback;
};

// The dictionary that a node has for inputs of type `keys`.
Dictionary dictionary_of(const Node& node, DType keys) {
  Dictionary result;
  const bool category_mapper = node.op->name == "CategoryMapper";
  if (category_mapper || node.op->since_version < 2) {  // strings and integers, either way
    const Tensor strings = list_of(
        node.at<std::vector<std::string>>(category_mapper ? "cats_strings" : "classes_strings"));
    Tensor integers;
    if (category_mapper) {
      integers = list_of(node.at<std::vector<int64_t>>("cats_int64s"));
    } else {
      integers = Tensor(DType::kInt64, strings.shape());
      std::iota(integers.data<int64_t>(), integers.data<int64_t>() + integers.size(), 0);
    }
    const bool from_text = keys == DType::kString;
    result.keys = from_text ? strings : integers;
    result.values = from_text ? integers : strings;
  } else {
    result.keys = labels(node, "keys");
    result.values = labels(node, "values");
  }
  require(result.keys.defined() && result.values.defined() &&
              result.keys.size() == result.values.size(),
          ErrorCode::kInvalidData, "there have to be as many keys as values");
  result.fallback = default_value(node, result.values.dtype());
  return result;
}

// Equal keys have equal forms: -0 is 0, and every NaN the same.
template <class T>
auto key_form(const T& key) {
  if constexpr (std::is_floating_point_v<T>) {
    const double value = key == 0 ? 0.0 : static_cast<double>(key);
    return value == value ? std::bit_cast<uint64_t>(value) : ~uint64_t{0};
  } else {
    return key;
  }
}

template <class T>
using Places = std::unordered_map<decltype(key_form(T{})), int64_t>;

// Where each key has its value; the last one of equal keys counts.
template <class T>
Places<T> places_of(const Tensor& keys) {
  Places<T> places;
  int64_t place = 0;
  for (const T& key : keys.values<T>()) places.insert_or_assign(key_form(key), place++);
  return places;
}

class PreparedLabels : public Prepared {
 public:
  // Some operators map both ways.
  explicit PreparedLabels(const Node& node) {
    for (const DType keys : {DType::kString, DType::kInt64}) add(dictionary_of(node, keys));
  }

  // Throws kInvalidArgument when the keys have another type.
  const Dictionary& dictionary(DType keys) const {
    for (const Dictionary& one : dictionaries_) {
      if (one.keys.dtype() == keys) return one;
    }
    fail(ErrorCode::kInvalidArgument, "there are no keys of type ", dtype_name(keys));
  }

  template <class T>
  const Places<T>& places() const {
    return std::get<Places<T>>(places_);
  }

 private:
  void add(Dictionary dictionary) {
    for (const Dictionary& one : dictionaries_) {
      if (one.keys.dtype() == dictionary.keys.dtype()) return;
    }
    dispatch(LabelTypes{}, dictionary.keys.dtype(),
             [&]<class T>() { std::get<Places<T>>(places_) = places_of<T>(dictionary.keys); });
    dictionaries_.push_back(std::move(dictionary));
  }

  std::vector<Dictionary> dictionaries_;
  // double and float have the same form.
  std::tuple<Places<std::string>, Places<int64_t>, Places<double>, Places<int32_t>, Places<int16_t>>
      places_;
};

}  // namespace

DType label_value_type(const Node& node, DType keys) {
  if (node.op->name == "LabelEncoder" && node.op->since_version >= 2) {
    return labels(node, "values").dtype();
  }
  if (keys == DType::kUndefined) return DType::kUndefined;
  return keys == DType::kString ? DType::kInt64 : DType::kString;
}

std::shared_ptr<const Prepared> prepare_label_encoder(const Node& node,
                                                      std::span<const Tensor* const> constants,
                                                      BlockStore& store) {
  return prepare_from_node<PreparedLabels>(node, constants, store);
}

void label_encoder(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  std::optional<PreparedLabels> own;
  const PreparedLabels& prepared = prepared_or(ctx, own);
  const Dictionary& dictionary = prepared.dictionary(x.dtype());
  dispatch(LabelTypes{}, x.dtype(), [&]<class K>() {
    dispatch(LabelTypes{}, dictionary.values.dtype(), [&]<class V>() {
      const auto& places = prepared.places<K>();
      const V* values = dictionary.values.data<V>();
      const V& fallback = *dictionary.fallback.data<V>();
      V* y = ctx.output(0, dictionary.values.dtype(), x.shape()).template data<V>();
      for (int64_t i = 0; i < x.size(); ++i) {
        const auto found = places.find(key_form(x.data<K>()[i]));
        y[i] = found == places.end() ? fallback : values[found->second];
      }
    });
  });
}

// ---------------------------------------------------------------------------------------------
// Maps

namespace {

using MapTypes = Types<float, double, int64_t, std::string>;

Datum map_input(const KernelContext& ctx, DType keys) {
  Datum map = ctx.datum(0);
  require(map.kind() == Kind::kMap && map.keys().dtype() == keys, ErrorCode::kInvalidArgument,
          "the input has to be a map with keys of type ", dtype_name(keys), ", but is ",
          describe(map));
  return map;
}

template <class T>
const T& value_of(const Datum& item) {
  require(item.is_tensor() && item.tensor().size() == 1, ErrorCode::kInvalidArgument,
          "the values of the map have to be single elements");
  return *item.tensor().data<T>();
}

// Numbers and texts become each other as in Cast.
template <class To, class From>
To as_value(const From& value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else if constexpr (std::is_same_v<To, std::string>) {
    return number_to_text(value);
  } else if constexpr (std::is_same_v<From, std::string>) {
    return text_to_number<To>(value);
  } else {
    return convert<To>(value);
  }
}

// The type of all values; `fallback` when there is none.
DType value_type(const Datum& map, DType fallback) {
  const auto items = map.items();
  if (items.empty()) return fallback;
  const DType dtype = items[0].tensor().dtype();
  for (const Datum& item : items) {
    require(item.tensor().dtype() == dtype, ErrorCode::kInvalidArgument,
            "the values of the map have different types");
  }
  return dtype;
}

}  // namespace

DType cast_map_type(const Node& node) {
  const std::string type = node.get<std::string>("cast_to", "TO_FLOAT");
  if (type == "TO_FLOAT") return DType::kFloat32;
  if (type == "TO_INT64") return DType::kInt64;
  require(type == "TO_STRING", ErrorCode::kInvalidData, "cast_to ", type,
          " is not TO_FLOAT, TO_INT64 or TO_STRING");
  return DType::kString;
}

void cast_map(KernelContext& ctx) {
  const Datum map = map_input(ctx, DType::kInt64);
  const auto keys = map.keys().values<int64_t>();
  const std::string form = ctx.node().get<std::string>("map_form", "DENSE");
  const bool sparse = form == "SPARSE";
  require(sparse || form == "DENSE", ErrorCode::kInvalidData, "map_form ", form,
          " is not DENSE or SPARSE");
  std::vector<size_t> order(keys.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return keys[a] < keys[b]; });
  auto length = static_cast<int64_t>(keys.size());
  if (sparse) {
    length = ctx.node().get<int64_t>("max_map", 1);
    require(length >= 0, ErrorCode::kInvalidData, "max_map is ", length);
    for (const int64_t key : keys) {
      require(key >= 0 && key < length, ErrorCode::kInvalidArgument, "key ", key,
              " is outside of a map of ", length);
    }
  }
  const DType target = cast_map_type(ctx.node());
  Tensor& out = ctx.output(0, target, {1, length});
  dispatch(Types<float, int64_t, std::string>{}, target, [&]<class To>() {
    To* y = out.data<To>();
    std::fill_n(y, length, To{});
    dispatch(MapTypes{}, value_type(map, target), [&]<class From>() {
      for (size_t i = 0; i < order.size(); ++i) {
        const auto place = sparse ? static_cast<size_t>(keys[order[i]]) : i;
        y[place] = as_value<To>(value_of<From>(map.items()[order[i]]));
      }
    });
  });
}

void dict_vectorizer(KernelContext& ctx) {
  const Tensor words = labels_of(ctx.node(), "string_vocabulary", "int64_vocabulary");
  const Datum map = map_input(ctx, words.dtype());
  dispatch(MapTypes{}, value_type(map, DType::kFloat32), [&]<class V>() {
    V* y = ctx.output(0, dtype_of<V>, {1, words.size()}).template data<V>();
    std::fill_n(y, words.size(), V{});
    dispatch(Types<int64_t, std::string>{}, words.dtype(), [&]<class K>() {
      const Places<K> places = places_of<K>(words);
      const auto keys = map.keys().values<K>();
      for (size_t i = 0; i < keys.size(); ++i) {
        const auto found = places.find(keys[i]);
        if (found != places.end()) y[found->second] = value_of<V>(map.items()[i]);
      }
    });
  });
}

void zip_map(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  const Tensor labels = labels_of(ctx.node(), "classlabels_strings", "classlabels_int64s");
  const int64_t columns = labels.size();
  require(x.dtype() == DType::kFloat32 && (x.rank() == 1 || x.rank() == 2) &&
              x.shape().back() == columns,
          ErrorCode::kInvalidArgument, "the values have to be float32[n,", columns, "], but are ",
          describe(x));
  std::vector<Datum> maps;
  const float* from = x.data<float>();
  for (int64_t row = 0; row < (x.rank() == 1 ? 1 : x.shape()[0]); ++row, from += columns) {
    std::vector<Datum> values;
    for (int64_t i = 0; i < columns; ++i) values.emplace_back(Tensor::scalar(from[i]));
    maps.push_back(Datum::map(labels, std::move(values)));
  }
  ctx.set_output(0, Datum::sequence(std::move(maps)));
}

}  // namespace hugot::features
