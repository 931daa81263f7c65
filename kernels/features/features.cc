#include "kernels/features/features.h"

#include "base/error.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace features {

Tensor labels_of(const Node& node, std::string_view strings, std::string_view integers) {
  const auto list = [&]<class T>(std::string_view name, const std::vector<T>& values) {
    require(!values.empty(), ErrorCode::kInvalidData, "attribute ", name, " is empty");
    return Tensor::from<T>({static_cast<int64_t>(values.size())}, std::span<const T>(values));
  };
  const auto texts = node.get<std::vector<std::string>>(strings, {});
  const auto numbers = node.get<std::vector<int64_t>>(integers, {});
  require(texts.empty() != numbers.empty(), ErrorCode::kInvalidData, "exactly one of ", strings,
          " and ", integers, " is needed");
  return texts.empty() ? list(integers, numbers) : list(strings, texts);
}

namespace {

void infer_extractor(InferContext& ctx) {
  const auto& x = ctx.input(0).shape;
  const auto& indices = ctx.input(1).shape;
  Fact& out = ctx.output(0);
  out.dtype = ctx.input(0).dtype;
  if (!x || x->empty()) return;
  Dim count = 1;
  if (indices) {
    for (const Dim& dim : *indices) count = count * dim;
  } else {
    count = unknown_dim(ctx, 0, 0);
  }
  out.shape = x->size() == 1 ? Dims{1, 0} : *x;
  out.shape->back() = count;
}

void infer_float(InferContext& ctx) {
  ctx.output(0).dtype = DType::kFloat32;
  ctx.output(0).shape = ctx.input(0).shape;
}

void infer_feature_vectorizer(InferContext& ctx) {
  Dim rows = unknown_dim(ctx, 0, 0), columns = 0;
  const auto widths = ctx.node().get<std::vector<int64_t>>("inputdimensions", {});
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    const auto& shape = ctx.input(i).shape;
    if (!shape) {
      if (widths.empty()) columns = unknown_dim(ctx, 0, 1);
      continue;
    }
    require(shape->size() == 1 || shape->size() == 2, ErrorCode::kInvalidArgument, "input ", i,
            " has to be [n,c] or [c], but has rank ", shape->size());
    rows = shape->size() == 2 ? shape->front() : Dim(1);
    columns = columns + shape->back();
  }
  if (!widths.empty()) {
    columns = 0;
    for (const int64_t width : widths) columns = columns + Dim(width);
  }
  ctx.output(0) = Fact::of(DType::kFloat32, {rows, columns});
}

void infer_one_hot(InferContext& ctx) {
  const Tensor categories = labels_of(ctx.node(), "cats_strings", "cats_int64s");
  ctx.output(0).dtype = DType::kFloat32;
  ctx.output(0).shape = ctx.input(0).shape;
  if (ctx.output(0).shape) ctx.output(0).shape->emplace_back(categories.size());
}

void infer_label_encoder(InferContext& ctx) {
  ctx.output(0).dtype = label_value_type(ctx.node(), ctx.input(0).dtype);
  ctx.output(0).shape = ctx.input(0).shape;
}

void infer_cast_map(InferContext& ctx) {
  ctx.output(0) = Fact::of(cast_map_type(ctx.node()), {1, unknown_dim(ctx, 0, 1)});
}

void infer_dict_vectorizer(InferContext& ctx) {
  const Tensor words = labels_of(ctx.node(), "string_vocabulary", "int64_vocabulary");
  ctx.output(0).dtype = ctx.input(0).item().dtype;
  ctx.output(0).shape = Dims{1, words.size()};
}

void infer_zip_map(InferContext& ctx) {
  const Tensor labels = labels_of(ctx.node(), "classlabels_strings", "classlabels_int64s");
  ctx.output(0) = Fact::sequence_of(Fact::map_of(labels.dtype(), Fact::of(DType::kFloat32, {})));
}

// Along the last axis only.
Batching batch_last_axis(const BatchQuery& query) {
  constexpr int64_t kLast = -1;
  return query.input_fact(0).rank() > 1 ? batch_over_axes(query, std::span(&kLast, 1))
                                        : Batching::kLoop;
}

OpDef define_map(InferFunction infer, KernelFunction cpu) { return define({1, 1}, infer, cpu); }

}  // namespace
}  // namespace features

namespace ops {

OpDef ml_ArrayFeatureExtractor(int) {
  return with_gradient(define({2, 2}, features::infer_extractor, features::array_feature_extractor),
                       features::rule::ArrayFeatureExtractor);
}

OpDef ml_Binarizer(int) {
  return define({1, 1}, infer_same_as_input, features::binarizer, batch_elementwise);
}

OpDef ml_FeatureVectorizer(int) {
  return define({1, OpDef::kVariadic}, features::infer_feature_vectorizer,
                features::feature_vectorizer);
}

OpDef ml_Imputer(int) {
  return define({1, 1}, infer_same_as_input, features::imputer, features::batch_last_axis);
}

OpDef ml_Normalizer(int) {
  return define({1, 1}, features::infer_float, features::normalizer, features::batch_last_axis);
}

OpDef ml_OneHotEncoder(int) {
  return define({1, 1}, features::infer_one_hot, features::one_hot_encoder);
}

OpDef ml_Scaler(int) {
  return with_gradient(
      define({1, 1}, features::infer_float, features::scaler, features::batch_last_axis),
      features::rule::Scaler);
}

OpDef ml_CategoryMapper(int) {
  OpDef op =
      define({1, 1}, features::infer_label_encoder, features::label_encoder, batch_elementwise);
  op.prepare = features::prepare_label_encoder;
  return op;
}

OpDef ml_LabelEncoder(int) { return ml_CategoryMapper(1); }

OpDef ml_CastMap(int) { return features::define_map(features::infer_cast_map, features::cast_map); }

OpDef ml_DictVectorizer(int) {
  return features::define_map(features::infer_dict_vectorizer, features::dict_vectorizer);
}

OpDef ml_ZipMap(int) { return features::define_map(features::infer_zip_map, features::zip_map); }

}  // namespace ops
}  // namespace hugot
