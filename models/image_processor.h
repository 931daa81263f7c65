// What preprocessor_config.json says: pictures to the numbers that a model takes.
//
// Format and arithmetic: the image processors of transformers with Pillow behind them.
#ifndef HUGOT_MODELS_IMAGE_PROCESSOR_H_
#define HUGOT_MODELS_IMAGE_PROCESSOR_H_

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "images/image.h"

namespace hugot {

struct ImageSize {
  int64_t height = 0;
  int64_t width = 0;
  friend bool operator==(const ImageSize&, const ImageSize&) = default;
};

// A picture as a model takes it: three planes of size.height x size.width numbers.
struct ImagePixels {
  std::vector<float> values;
  ImageSize size;
  // The upper left part that is the picture; the rest is padding.
  ImageSize valid;
};

// Immutable.
class ImageProcessor {
 public:
  // Reads preprocessor_config.json in `folder`, or the image_processor of processor_config.json.
  // Throws kNotFound when there is neither, kInvalidData for malformed JSON and sizes that cannot
  // be, kUnsupported for steps that this version does not have.
  static ImageProcessor read(const std::filesystem::path& folder);
  static bool is_in(const std::filesystem::path& folder);

  // The size that every picture gets; empty when it depends on the picture.
  std::optional<ImageSize> fixed_size() const;

  // Throws kInvalidData for a picture that would become empty or too large.
  ImagePixels apply(Image image) const;

  // How the size of a picture is found.
  enum class Resize {
    kNone,
    kExact,     // size.height x size.width
    kShortest,  // the shorter side becomes `edge`, the other one follows
    kLimited,   // the same, unless the longer side would become more than `longest`
    kInside,    // as large as fits into size.height x size.width, which one side becomes
  };
  struct Steps {
    bool crop_first = false;  // a square part in the middle of the picture, before everything else
    ImageSize crop_of = {};   // ... of which `size` is the share
    Resize resize = Resize::kNone;
    ImageSize size = {};
    int64_t edge = 0;
    int64_t longest = 0;
    int64_t multiple = 1;  // both sides are rounded down to multiples of it
    Resample resample = Resample::kBilinear;
    std::optional<ImageSize> crop = {};  // in the middle; black where the picture is smaller
    bool flip_channels = false;          // blue first
    std::optional<ImageSize> pad = {};   // with zeros at the right and below, at last
    // What each of the 256 numbers of a channel becomes.
    std::array<std::array<float, 256>, 3> values = {};
  };
  explicit ImageProcessor(const Steps& steps) : steps_(steps) {}

 private:
  ImageSize size_of(const ImageSize& image) const;

  Steps steps_;
};

}  // namespace hugot

#endif  // HUGOT_MODELS_IMAGE_PROCESSOR_H_
