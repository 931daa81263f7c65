#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>

#include "images/codecs.h"

namespace hugot::codecs {
namespace {

int orientation_of(const WebPData& file) {
  const std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)> demuxer(WebPDemux(&file),
                                                                         WebPDemuxDelete);
  if (!demuxer) return 0;
  const auto chunk = [&](const char* name) {
    WebPChunkIterator iterator;
    Bytes bytes;
    if (WebPDemuxGetChunk(demuxer.get(), name, 1, &iterator) != 0) {
      bytes = {reinterpret_cast<const std::byte*>(iterator.chunk.bytes), iterator.chunk.size};
      WebPDemuxReleaseChunkIterator(&iterator);  // the bytes are the file's
    }
    return bytes;
  };
  if (const int orientation = exif_orientation(chunk("EXIF"))) return orientation;
  const Bytes xmp = chunk("XMP ");
  return xmp_orientation({reinterpret_cast<const char*>(xmp.data()), xmp.size()});
}

}  // namespace

Decoded decode_webp(Bytes bytes, int64_t max_pixels) {
  const auto* const data = reinterpret_cast<const uint8_t*>(bytes.data());
  WebPBitstreamFeatures features;
  require(WebPGetFeatures(data, bytes.size(), &features) == VP8_STATUS_OK, ErrorCode::kInvalidData,
          "the header is damaged");
  Decoded decoded{make_image(features.width, features.height, max_pixels), 1};

  // The decoder of animations reads still pictures, too, and puts a first picture that is smaller
  // than the canvas in its place.
  const WebPData file{data, bytes.size()};
  WebPAnimDecoderOptions options;
  require(WebPAnimDecoderOptionsInit(&options) != 0, ErrorCode::kInternal,
          "libwebpdemux has another version than its header");
  options.color_mode = MODE_RGBA;
  options.use_threads = 0;
  const std::unique_ptr<WebPAnimDecoder, decltype(&WebPAnimDecoderDelete)> decoder(
      WebPAnimDecoderNew(&file, &options), WebPAnimDecoderDelete);
  WebPAnimInfo info;
  uint8_t* pixels = nullptr;
  int time = 0;
  require(decoder && WebPAnimDecoderGetInfo(decoder.get(), &info) != 0 &&
              info.canvas_width == static_cast<uint32_t>(features.width) &&
              info.canvas_height == static_cast<uint32_t>(features.height) &&
              WebPAnimDecoderGetNext(decoder.get(), &pixels, &time) != 0,
          ErrorCode::kInvalidData, "the image file is damaged or ends too early");
  uint8_t* to = decoded.image.rgb.data();
  for (int64_t i = 0; i < decoded.image.width * decoded.image.height; ++i, pixels += 4) {
    *to++ = pixels[0];
    *to++ = pixels[1];
    *to++ = pixels[2];
  }
  decoded.orientation = orientation_of(file);
  return decoded;
}

}  // namespace hugot::codecs
