// Kernels of Linear and LinearGroup.
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "kernels/cpu/gemm_bf16.h"
#include "kernels/cpu/gemm_int8.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/multiply.h"

namespace hugot::matmul {

cpu::Activation activation_of(const Node& node) {
  if (!node.has("activation")) return cpu::Activation::kNone;
  const std::string& name = node.at<std::string>("activation");
  if (name == "none") return cpu::Activation::kNone;
  if (name == "relu") return cpu::Activation::kRelu;
  if (name == "gelu") return cpu::Activation::kGelu;
  if (name == "gelu_tanh") return cpu::Activation::kGeluTanh;
  if (name == "tanh") return cpu::Activation::kTanh;
  if (name == "sigmoid") return cpu::Activation::kSigmoid;
  if (name == "silu") return cpu::Activation::kSilu;
  fail(ErrorCode::kUnsupported, "activation ", name, " of Linear is not supported");
}

WeightPrecision precision_of(const Node& node) {
  if (!node.has("precision")) return WeightPrecision::kFloat32;
  const std::string& name = node.at<std::string>("precision");
  if (name == "fp32") return WeightPrecision::kFloat32;
  if (name == "bf16") return WeightPrecision::kBFloat16;
  if (name == "int8") return WeightPrecision::kInt8;
  fail(ErrorCode::kUnsupported, "precision ", name, " of Linear is not supported");
}

namespace {

std::shared_ptr<const cpu::PackedMatrix> pack_matrix(const Tensor& b, bool transposed,
                                                     WeightPrecision precision, BlockStore& store) {
  const int64_t rows = b.shape()[b.rank() - 2], cols = b.shape().back();
  const int64_t k = transposed ? cols : rows, n = transposed ? rows : cols;
  switch (precision) {
    case WeightPrecision::kFloat32:
      break;
    case WeightPrecision::kBFloat16:
      return std::make_shared<cpu::Bf16Matrix>(b, k, n, cols, transposed, store);
    case WeightPrecision::kInt8:
      return std::make_shared<cpu::Int8Matrix>(b, k, n, cols, transposed, store);
  }
  return cpu::simd_gemm().pack(b, k, n, cols, transposed, store);
}

bool transposed_weight(const Node& node) { return node.get<int64_t>("trans_w", 0) != 0; }

}  // namespace

std::shared_ptr<const PackedWeights> pack_weights(std::span<const Tensor* const> constants,
                                                  size_t count, bool transposed, BlockStore& store,
                                                  WeightPrecision precision) {
  PackedWeights::Matrices matrices;
  for (size_t i = 1; i < 2 * count; i += 2) {
    const Tensor* b = i < constants.size() ? constants[i] : nullptr;
    if (b == nullptr || b->dtype() != DType::kFloat32 || b->rank() < 2 || b->size() == 0) return {};
    const int64_t rows = b->shape()[b->rank() - 2], cols = b->shape().back();
    if (rows * cols != b->size()) return {};
    // The matrices of a group have the same k.
    if (precision == WeightPrecision::kInt8 && (transposed ? cols : rows) > cpu::kInt8MaxDepth) {
      precision = WeightPrecision::kFloat32;
    }
    matrices.push_back(pack_matrix(*b, transposed, precision, store));
  }
  return std::make_shared<PackedWeights>(precision, std::move(matrices));
}

std::shared_ptr<const Prepared> prepare_linear(const Node& node,
                                               std::span<const Tensor* const> constants,
                                               BlockStore& store) {
  return pack_weights(constants, 1, transposed_weight(node), store, precision_of(node));
}

std::shared_ptr<const Prepared> prepare_linear_group(const Node& node,
                                                     std::span<const Tensor* const> constants,
                                                     BlockStore& store) {
  return pack_weights(constants, constants.size() / 2, transposed_weight(node), store,
                      precision_of(node));
}

namespace {

double activated(cpu::Activation activation, double x) {
  switch (activation) {
    case cpu::Activation::kNone:
      return x;
    case cpu::Activation::kRelu:
      return x < 0 ? 0 : x;
    case cpu::Activation::kGelu:
      return x / 2 * (1 + std::erf(x * std::numbers::sqrt2 / 2));
    case cpu::Activation::kGeluTanh:
      return x / 2 * (1 + std::tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    case cpu::Activation::kTanh:
      return std::tanh(x);
    case cpu::Activation::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case cpu::Activation::kSilu:
      return x / (1 + std::exp(-x));
  }
  return x;
}

// One product of a node, its inputs checked.
struct Layer {
  Product product;
  const Tensor* w;
  const Tensor* bias;  // or null
  Shape shape;         // of the result
};

Layer layer_of(const KernelContext& ctx, int weight_input, int bias_input) {
  const Tensor& x = ctx.input(0);
  const Tensor& w = ctx.input(weight_input);
  require((x.dtype() == DType::kFloat64 || x.dtype() == DType::kFloat32) && w.dtype() == x.dtype(),
          ErrorCode::kUnsupported, "Linear computes in float32 and float64, got ", describe(x),
          " and ", describe(w));
  const bool transposed = transposed_weight(ctx.node());
  require(x.rank() > 0 && w.rank() == 2 && w.shape()[transposed ? 1 : 0] == x.shape().back(),
          ErrorCode::kInvalidArgument, "input ", describe(x), " and weight ", describe(w),
          " do not fit");
  const int64_t k = x.shape().back(), n = w.shape()[transposed ? 0 : 1];
  const int64_t m = x.shape().product(0, x.rank() - 1);
  const bool has_bias = bias_input < ctx.num_inputs() && ctx.has_input(bias_input);
  if (has_bias) {
    require(ctx.input(bias_input).shape() == Shape{n}, ErrorCode::kInvalidArgument, "the bias is ",
            describe(ctx.input(bias_input)), " for ", n, " columns");
  }
  return {.product = {m, n, k, transposed},
          .w = &w,
          .bias = has_bias ? &ctx.input(bias_input) : nullptr,
          .shape = x.shape().with(x.rank() - 1, n)};
}

// For exactness rather than speed.
void multiply_f64(const KernelContext& ctx, const Layer& layer, cpu::Activation activation,
                  const double* residual, double* y) {
  const Product& p = layer.product;
  const double* bias = layer.bias != nullptr ? layer.bias->data<double>() : nullptr;
  multiply(p, ctx.input(0).data<double>(), layer.w->data<double>(), y, nullptr, ctx.pool());
  for (int64_t i = 0; i < p.m * p.n; ++i) {
    y[i] = activated(activation, bias != nullptr ? y[i] + bias[i % p.n] : y[i]);
    if (residual != nullptr) y[i] += residual[i];
  }
}

// y = activation(x . weight + bias) + residual for m rows and weights of the same kind.
void multiply_packed(KernelContext& ctx, WeightPrecision precision, int64_t m,
                     std::span<const cpu::GemmProduct> products) {
  const float* x = ctx.input(0).data<float>();
  const int64_t k = products[0].b->k();
  switch (precision) {
    case WeightPrecision::kFloat32: {
      const auto* upcoming = dynamic_cast<const PackedWeights*>(ctx.upcoming());
      std::span<const std::shared_ptr<const cpu::PackedMatrix>> next;
      if (upcoming != nullptr && upcoming->precision() == precision) next = upcoming->matrices();
      return cpu::simd_gemm_group(m, x, k, products, ctx.pool(), next);
    }
    case WeightPrecision::kBFloat16: {
      const auto& bf16 = static_cast<const cpu::Bf16Matrix&>(*products[0].b);
      std::byte* workspace = ctx.scratch_of<std::byte>(bf16.workspace(m));
      return cpu::gemm_bf16(m, x, k, products, workspace, ctx.pool());
    }
    case WeightPrecision::kInt8: {
      const auto& int8 = static_cast<const cpu::Int8Matrix&>(*products[0].b);
      std::byte* workspace = ctx.scratch_of<std::byte>(int8.workspace(m));
      return cpu::gemm_int8(m, x, k, products, workspace, ctx.pool());
    }
  }
}

void multiply_unpacked(KernelContext& ctx, const Layer& layer, float* y,
                       const cpu::Epilogue& epilogue) {
  const auto& [m, n, k, transposed] = layer.product;
  if (m >= cpu::kGemmPackedRows) {
    return cpu::gemm_of_packed(m, n, k, ctx.input(0).data<float>(), k, layer.w->data<float>(),
                               transposed ? k : n, transposed, y, n, epilogue,
                               ctx.scratch_of<float>(cpu::gemm_packed_floats(n, k)), ctx.pool());
  }
  cpu::gemm(m, n, k, ctx.input(0).data<float>(), k, layer.w->data<float>(), transposed ? k : n,
            transposed, y, n, epilogue, ctx.scratch_of<float>(cpu::gemm_workspace(k, ctx.pool())),
            ctx.pool());
}

}  // namespace

void linear(KernelContext& ctx) {
  const Layer layer = layer_of(ctx, 1, 2);
  const cpu::Activation activation = activation_of(ctx.node());
  const Tensor* residual = ctx.num_inputs() > 3 && ctx.has_input(3) ? &ctx.input(3) : nullptr;
  const Tensor& x = ctx.input(0);
  if (residual != nullptr &&
      (!(residual->shape() == layer.shape) || residual->dtype() != x.dtype())) {
    fail(ErrorCode::kInvalidArgument, "the residual is ", describe(*residual), " for a result ",
         layer.shape.to_string());
  }
  Tensor& y = ctx.output(0, x.dtype(), layer.shape);
  if (x.dtype() == DType::kFloat64) {
    return multiply_f64(ctx, layer, activation,
                        residual != nullptr ? residual->data<double>() : nullptr, y.data<double>());
  }
  cpu::Epilogue epilogue;
  epilogue.activation = activation;
  if (layer.bias != nullptr) epilogue.bias = layer.bias->data<float>();
  if (residual != nullptr) {
    epilogue.residual = residual->data<float>();
    epilogue.residual_stride = layer.product.n;
  }
  // A weight that is no constant is packed for this run only.
  std::shared_ptr<const Prepared> own;
  const PackedWeights* weight = packed_weights(ctx);
  if (weight == nullptr && precision_of(ctx.node()) != WeightPrecision::kFloat32) {
    const Tensor* const inputs[] = {nullptr, layer.w};
    own = prepare_linear(ctx.node(), inputs, fresh_blocks());
    weight = static_cast<const PackedWeights*>(own.get());
  }
  if (weight == nullptr) return multiply_unpacked(ctx, layer, y.data<float>(), epilogue);
  const cpu::GemmProduct product = {&weight->matrix(), y.data<float>(), layer.product.n, epilogue};
  multiply_packed(ctx, weight->precision(), layer.product.m, std::span(&product, 1));
}

void linear_group(KernelContext& ctx) {
  const int count = ctx.num_outputs();
  require(ctx.num_inputs() == 2 * count + 1 && count <= kMaxGroup, ErrorCode::kInvalidArgument,
          "LinearGroup has ", ctx.num_inputs(), " inputs for ", count, " products");
  std::shared_ptr<const Prepared> own;
  const PackedWeights* weights = packed_weights(ctx);
  if (weights == nullptr && precision_of(ctx.node()) != WeightPrecision::kFloat32) {
    std::array<const Tensor*, 2 * kMaxGroup + 1> inputs{};
    for (int i = 0; i < count; ++i) inputs[static_cast<size_t>(2 * i + 1)] = &ctx.input(2 * i + 1);
    own = prepare_linear_group(
        ctx.node(), std::span(inputs).first(static_cast<size_t>(2 * count + 1)), fresh_blocks());
    weights = static_cast<const PackedWeights*>(own.get());
  }
  std::array<cpu::GemmProduct, kMaxGroup> products{};
  size_t used = 0;
  int64_t m = 0;
  const DType dtype = ctx.input(0).dtype();
  for (int i = 0; i < count; ++i) {
    const Layer layer = layer_of(ctx, 1 + 2 * i, 2 + 2 * i);
    m = layer.product.m;
    if (!ctx.wants_output(i)) continue;
    Tensor& y = ctx.output(i, dtype, layer.shape);
    if (dtype == DType::kFloat64) {
      multiply_f64(ctx, layer, cpu::Activation::kNone, nullptr, y.data<double>());
      continue;
    }
    cpu::Epilogue epilogue;
    if (layer.bias != nullptr) epilogue.bias = layer.bias->data<float>();
    if (weights == nullptr) {
      multiply_unpacked(ctx, layer, y.data<float>(), epilogue);
    } else {
      products[used++] = {&weights->matrix(static_cast<size_t>(i)), y.data<float>(),
                          layer.product.n, epilogue};
    }
  }
  if (used > 0) multiply_packed(ctx, weights->precision(), m, std::span(products).first(used));
}

}  // namespace hugot::matmul
