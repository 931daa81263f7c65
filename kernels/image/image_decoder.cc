// ImageDecoder: the bytes of an image file to its pixels.
#include <algorithm>
#include <optional>
#include <string>

#include "base/error.h"
#include "images/decode.h"
#include "kernels/define.h"
#include "kernels/infer_helpers.h"
#include "kernels/ops.h"

namespace hugot {
namespace {

enum class PixelFormat { kRgb, kBgr, kGray };

PixelFormat pixel_format(const Node& node) {
  const auto name = node.get<std::string>("pixel_format", "RGB");
  if (name == "RGB") return PixelFormat::kRgb;
  if (name == "BGR") return PixelFormat::kBgr;
  require(name == "Grayscale", ErrorCode::kInvalidData, "pixel_format ", name,
          " is not RGB, BGR or Grayscale");
  return PixelFormat::kGray;
}

int64_t channels(PixelFormat format) { return format == PixelFormat::kGray ? 1 : Image::kChannels; }

void infer(InferContext& ctx) {
  Fact& out = ctx.output(0);
  out.dtype = DType::kUInt8;
  out.shape =
      Dims{unknown_dim(ctx, 0, 0), unknown_dim(ctx, 0, 1), channels(pixel_format(ctx.node()))};
}

// What is no picture gives an empty one, as the specification has it; a format that this build
// cannot read is an error.
std::optional<Image> decode(const Tensor& bytes) {
  try {
    return decode_image(
        std::as_bytes(std::span(bytes.data<uint8_t>(), static_cast<size_t>(bytes.size()))),
        {.orient = false});
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kInvalidData) throw;
    return std::nullopt;
  }
}

// ITU-R BT.601 in 16 fractional bits, rounded.
uint8_t luma(const uint8_t* rgb) {
  return static_cast<uint8_t>((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16);
}

void run(KernelContext& ctx) {
  const PixelFormat format = pixel_format(ctx.node());
  const Tensor& bytes = ctx.input(0);
  require(bytes.dtype() == DType::kUInt8 && bytes.rank() == 1, ErrorCode::kInvalidArgument,
          "the file is ", describe(bytes), ", not a list of bytes");
  const auto image = decode(bytes);
  Tensor& out =
      ctx.output(0, DType::kUInt8,
                 Shape{image ? image->height : 0, image ? image->width : 0, channels(format)});
  if (!image) return;
  const uint8_t* from = image->rgb.data();
  uint8_t* to = out.data<uint8_t>();
  if (format == PixelFormat::kRgb) {
    std::copy(image->rgb.begin(), image->rgb.end(), to);
    return;
  }
  for (int64_t i = 0; i < image->width * image->height; ++i, from += Image::kChannels) {
    if (format == PixelFormat::kGray) {
      *to++ = luma(from);
    } else {
      to = std::reverse_copy(from, from + Image::kChannels, to);
    }
  }
}

}  // namespace

namespace ops {

OpDef onnx_ImageDecoder(int) { return define({1, 1}, infer, run); }

}  // namespace ops
}  // namespace hugot
