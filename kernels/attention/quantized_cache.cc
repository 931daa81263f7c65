#include "kernels/attention/quantized_cache.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"

namespace hugot::attention {
namespace {

constexpr int kOffset = 8;  // of codes of 4 bits

// The scales of one head, and how far apart they are.
struct Scales {
  const float* data;
  int64_t step;
};

Scales scales_of(const CacheCodes& codes, const Tensor& scale, int64_t heads, int64_t size,
                 int64_t head) {
  const int64_t wanted = codes.per_channel ? heads * size : 1;
  require(scale.dtype() == DType::kFloat32 && scale.size() == wanted, ErrorCode::kInvalidArgument,
          "the scale of a cache is ", describe(scale), ", needed are ", wanted, " float32");
  return {scale.data<float>() + (codes.per_channel ? head * size : 0), codes.per_channel ? 1 : 0};
}

int code_of(const CacheCodes& codes, float x, float scale) {
  const float limit = codes.bits == 8 ? 128.0f : 8.0f;
  const float code = scale == 0 ? 0.0f : std::nearbyint(x / scale);
  if (std::isnan(code)) return 0;
  return static_cast<int>(std::clamp(code, -limit, limit - 1));
}

}  // namespace

CacheCodes cache_codes(const Node& node) {
  const auto key = node.get<std::string>("k_quant_type", "NONE");
  const auto value = node.get<std::string>("v_quant_type", "NONE");
  for (const std::string& type : {key, value}) {
    require(type == "NONE" || type == "PER_TENSOR" || type == "PER_CHANNEL",
            ErrorCode::kInvalidData, "a cache is quantized ", type);
  }
  require(key == value, ErrorCode::kUnsupported, "keys that are quantized ", key, " and values ",
          value, " are not supported");
  if (key == "NONE") return {};
  const CacheCodes codes{node.get<int64_t>("kv_cache_bit_width", 0), key == "PER_CHANNEL"};
  require(codes.bits == 4 || codes.bits == 8, ErrorCode::kInvalidData,
          "attribute kv_cache_bit_width is ", codes.bits);
  return codes;
}

Tensor decode_cache(const CacheCodes& codes, const Tensor& cache, const Tensor& scale,
                    int64_t size) {
  const Shape& shape = cache.shape();
  Tensor result(DType::kFloat32, shape.with(3, size));
  float* to = result.data<float>();
  const int64_t width = shape[3];
  const auto* bytes = static_cast<const uint8_t*>(cache.raw());
  for (int64_t plane = 0; plane < shape[0] * shape[1]; ++plane) {
    const Scales scales = scales_of(codes, scale, shape[1], size, plane % shape[1]);
    for (int64_t row = 0; row < shape[2]; ++row, bytes += width, to += size) {
      for (int64_t i = 0; i < size; ++i) {
        const int code = codes.bits == 8 ? static_cast<int8_t>(bytes[i])
                                         : (bytes[i / 2] >> (i % 2 * 4) & 15) - kOffset;
        to[i] = static_cast<float>(code) * scales.data[i * scales.step];
      }
    }
  }
  return result;
}

void encode_cache(const CacheCodes& codes, const Tensor& numbers, const Tensor& scale,
                  Tensor& out) {
  const Shape& shape = numbers.shape();
  const int64_t size = shape[3], width = out.shape()[3];
  const float* from = numbers.data<float>();
  auto* bytes = static_cast<uint8_t*>(out.raw());
  std::fill_n(bytes, out.bytes(), uint8_t{0});
  for (int64_t plane = 0; plane < shape[0] * shape[1]; ++plane) {
    const Scales scales = scales_of(codes, scale, shape[1], size, plane % shape[1]);
    for (int64_t row = 0; row < shape[2]; ++row, bytes += width, from += size) {
      for (int64_t i = 0; i < size; ++i) {
        const int code = code_of(codes, from[i], scales.data[i * scales.step]);
        if (codes.bits == 8) {
          bytes[i] = static_cast<uint8_t>(code);
        } else {
          bytes[i / 2] = static_cast<uint8_t>(bytes[i / 2] | (code + kOffset) << (i % 2 * 4));
        }
      }
    }
  }
}

void round_as_cached(const CacheCodes& codes, const Tensor& scale, Tensor& rows) {
  const int rank = rows.rank();
  const int64_t heads = rows.shape()[rank - 2], size = rows.shape()[rank - 1];
  float* x = rows.data<float>();
  for (int64_t row = 0; size > 0 && row < rows.size() / size; ++row, x += size) {
    const Scales scales = scales_of(codes, scale, heads, size, row % heads);
    for (int64_t i = 0; i < size; ++i) {
      const float unit = scales.data[i * scales.step];
      x[i] = static_cast<float>(code_of(codes, x[i], unit)) * unit;
    }
  }
}

}  // namespace hugot::attention
