// Kernels that treat numbers.
#include <algorithm>
#include <cmath>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "kernels/convert.h"
#include "kernels/dispatch.h"
#include "kernels/element.h"
#include "kernels/features/features.h"

namespace hugot::features {
namespace {

using FeatureTypes = Types<float, double, int64_t, int32_t>;

// The length of the last axis; one element is a row of one.
int64_t columns_of(const Tensor& x) { return x.rank() == 0 ? 1 : x.shape().back(); }

// A parameter of one number for all columns, or one for each.
template <class T>
class ByColumn {
 public:
  ByColumn(std::string_view name, std::vector<T> values, int64_t columns)
      : values_(std::move(values)), step_(values_.size() == 1 ? 0 : 1) {
    require(values_.size() == 1 || values_.size() == static_cast<size_t>(columns),
            ErrorCode::kInvalidData, "attribute ", name, " has ", values_.size(), " numbers for ",
            columns, " columns");
  }
  T operator[](int64_t column) const { return values_[static_cast<size_t>(column * step_)]; }

 private:
  std::vector<T> values_;
  int64_t step_;
};

}  // namespace

void array_feature_extractor(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  const Tensor& indices = ctx.input(1);
  require(x.rank() >= 1 && indices.dtype() == DType::kInt64, ErrorCode::kInvalidArgument,
          "cannot pick ", describe(indices), " from ", describe(x));
  const int64_t columns = columns_of(x), count = indices.size();
  const int64_t rows = x.shape().product(0, x.rank() - 1);
  for (const int64_t index : indices.values<int64_t>()) {
    require(index >= 0 && index < columns, ErrorCode::kInvalidArgument, "index ", index,
            " is outside of ", columns, " columns");
  }
  const Shape shape = x.rank() == 1 ? Shape{1, count} : x.shape().with(x.rank() - 1, count);
  Tensor& y = ctx.output(0, x.dtype(), shape);
  const int64_t* picks = indices.data<int64_t>();
  with_element(x.dtype(), [&]<class T>() {
    T* to = elements<T>(y);
    for (int64_t row = 0; row < rows; ++row) {
      const T* from = elements<T>(x) + row * columns;
      for (int64_t i = 0; i < count; ++i) *to++ = from[picks[i]];
    }
  });
}

void binarizer(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  const auto threshold = static_cast<double>(ctx.node().get("threshold", 0.0f));
  dispatch(FeatureTypes{}, x.dtype(), [&]<class T>() {
    T* y = ctx.output(0, x.dtype(), x.shape()).template data<T>();
    std::transform(x.data<T>(), x.data<T>() + x.size(), y,
                   [&](T value) { return static_cast<T>(static_cast<double>(value) > threshold); });
  });
}

void feature_vectorizer(KernelContext& ctx) {
  std::vector<int64_t> widths = ctx.node().get<std::vector<int64_t>>("inputdimensions", {});
  const int inputs = ctx.num_inputs();
  require(widths.empty() || widths.size() == static_cast<size_t>(inputs), ErrorCode::kInvalidData,
          "attribute inputdimensions has ", widths.size(), " numbers for ", inputs, " inputs");
  const bool given = !widths.empty();
  int64_t rows = 0, columns = 0;
  for (int i = 0; i < inputs; ++i) {
    const Tensor& x = ctx.input(i);
    require(x.rank() == 1 || x.rank() == 2, ErrorCode::kInvalidArgument,
            "an input has to be [n,c] or [c], but is ", describe(x));
    const int64_t own = x.rank() == 2 ? x.shape()[0] : 1;
    require(i == 0 || own == rows, ErrorCode::kInvalidArgument, "inputs have ", rows, " and ", own,
            " rows");
    rows = own;
    if (!given) widths.push_back(columns_of(x));
    constexpr int64_t kMost = int64_t{1} << 32;
    const int64_t width = widths[static_cast<size_t>(i)];
    require(width >= 0 && width < kMost, ErrorCode::kInvalidData, "an input of ", width,
            " columns");
    columns += width;
  }
  Tensor& out = ctx.output(0, DType::kFloat32, {rows, columns});
  float* y = out.data<float>();
  std::fill_n(y, out.size(), 0.0f);
  for (int i = 0; i < inputs; ++i) {
    const Tensor& x = ctx.input(i);
    const int64_t own = columns_of(x), width = widths[static_cast<size_t>(i)];
    dispatch(FeatureTypes{}, x.dtype(), [&]<class T>() {
      for (int64_t row = 0; row < rows; ++row) {
        convert_all(x.data<T>() + row * own, y + row * columns, std::min(own, width));
      }
    });
    y += width;
  }
}

void imputer(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  const Node& node = ctx.node();
  const int64_t columns = columns_of(x);
  dispatch(FeatureTypes{}, x.dtype(), [&]<class T>() {
    using Given = std::conditional_t<std::is_integral_v<T>, int64_t, float>;
    constexpr bool kInteger = std::is_integral_v<T>;
    const auto* name = kInteger ? "imputed_value_int64s" : "imputed_value_floats";
    const ByColumn<Given> values(name, node.at<std::vector<Given>>(name), columns);
    const Given replaced =
        node.get<Given>(kInteger ? "replaced_value_int64" : "replaced_value_float", Given{0});
    if constexpr (kInteger) {
      for (const int64_t value : node.at<std::vector<int64_t>>(name)) {
        require(static_cast<int64_t>(static_cast<T>(value)) == value, ErrorCode::kInvalidData,
                "an imputed value of ", value, " is no ", dtype_name(x.dtype()));
      }
    }
    T* y = ctx.output(0, x.dtype(), x.shape()).template data<T>();
    for (int64_t i = 0; i < x.size(); ++i) {
      const T value = x.data<T>()[i];
      const auto as_given = static_cast<std::conditional_t<kInteger, int64_t, double>>(value);
      bool hit = as_given == replaced;
      if constexpr (!kInteger) hit = hit || (value != value && replaced != replaced);
      y[i] = hit ? static_cast<T>(values[i % columns]) : value;
    }
  });
}

void normalizer(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  const std::string norm = ctx.node().get<std::string>("norm", "MAX");
  const bool l1 = norm == "L1", l2 = norm == "L2";
  require(l1 || l2 || norm == "MAX", ErrorCode::kInvalidArgument, "norm ", norm,
          " is not MAX, L1 or L2");
  require(x.rank() == 1 || x.rank() == 2, ErrorCode::kInvalidArgument,
          "the input has to be [n,c] or [c], but is ", describe(x));
  const int64_t columns = columns_of(x);
  float* y = ctx.output(0, DType::kFloat32, x.shape()).data<float>();
  if (x.size() == 0) return;
  dispatch(FeatureTypes{}, x.dtype(), [&]<class T>() {
    for (int64_t row = 0; row < x.size() / columns; ++row) {
      const T* from = x.data<T>() + row * columns;
      double size = l1 || l2 ? 0 : static_cast<double>(from[0]);
      for (int64_t i = 0; i < columns; ++i) {
        const auto value = static_cast<double>(from[i]);
        size = l1 ? size + std::abs(value) : l2 ? size + value * value : std::max(size, value);
      }
      if (l2) size = std::sqrt(size);
      if (size == 0) size = 1;
      for (int64_t i = 0; i < columns; ++i) {
        y[row * columns + i] = static_cast<float>(static_cast<double>(from[i]) / size);
      }
    }
  });
}

void scaler(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  const int64_t columns = columns_of(x);
  const auto values = [&](const char* name, float fallback) {
    auto given = ctx.node().get<std::vector<float>>(name, {});
    if (given.empty()) given.push_back(fallback);
    return ByColumn<float>(name, std::move(given), columns);
  };
  const ByColumn<float> offset = values("offset", 0), scale = values("scale", 1);
  float* y = ctx.output(0, DType::kFloat32, x.shape()).data<float>();
  dispatch(FeatureTypes{}, x.dtype(), [&]<class T>() {
    for (int64_t i = 0; i < x.size(); ++i) {
      const auto value = static_cast<double>(x.data<T>()[i]);
      const int64_t column = i % columns;
      y[i] = static_cast<float>((value - static_cast<double>(offset[column])) *
                                static_cast<double>(scale[column]));
    }
  });
}

void one_hot_encoder(KernelContext& ctx) {
  const Tensor& x = ctx.input(0);
  const Tensor categories = labels_of(ctx.node(), "cats_strings", "cats_int64s");
  const bool lenient = ctx.node().get<int64_t>("zeros", 1) != 0;
  std::vector<int64_t> dims(x.shape().begin(), x.shape().end());
  dims.push_back(categories.size());
  Tensor& out = ctx.output(0, DType::kFloat32, Shape(dims));
  float* y = out.data<float>();
  std::fill_n(y, out.size(), 0.0f);
  const auto encode = [&]<class Key>(const auto* from, const Key*) {
    std::unordered_map<Key, int64_t> places;
    for (const Key& key : categories.values<Key>()) {
      places.emplace(key, static_cast<int64_t>(places.size()));
    }
    for (int64_t i = 0; i < x.size(); ++i) {
      const auto found = places.find(convert<Key>(from[i]));
      require(found != places.end() || lenient, ErrorCode::kInvalidArgument, "element ", i,
              " is in no category");
      if (found != places.end()) y[i * categories.size() + found->second] = 1;
    }
  };
  if (x.dtype() == DType::kString) {
    require(categories.dtype() == DType::kString, ErrorCode::kInvalidArgument,
            "the categories are no strings");
    return encode(x.data<std::string>(), static_cast<const std::string*>(nullptr));
  }
  require(categories.dtype() == DType::kInt64, ErrorCode::kInvalidArgument,
          "the categories are no numbers");
  dispatch(FeatureTypes{}, x.dtype(),
           [&]<class T>() { encode(x.data<T>(), static_cast<const int64_t*>(nullptr)); });
}

}  // namespace hugot::features
