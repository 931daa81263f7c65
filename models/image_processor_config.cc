// preprocessor_config.json to the steps of an ImageProcessor.
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "models/image_processor.h"
#include "models/json_file.h"

namespace hugot {
namespace {

using nlohmann::json;
using Resize = ImageProcessor::Resize;
using Steps = ImageProcessor::Steps;
using Channels = std::array<double, 3>;

constexpr int64_t kMostSide = 1 << 16;

constexpr Channels kHalf = {0.5, 0.5, 0.5};
constexpr Channels kImageNetMean = {0.485, 0.456, 0.406};
constexpr Channels kImageNetStd = {0.229, 0.224, 0.225};
constexpr Channels kClipMean = {0.48145466, 0.4578275, 0.40821073};
constexpr Channels kClipStd = {0.26862954, 0.26130258, 0.27577711};

// What is special about a class of processors.
enum class Rule {
  kPlain,
  kCropPct,     // below 384 pixels scaled to edge / crop_pct and cropped, else squeezed to a square
  kCropPctAny,  // scaled to edge / crop_pct, whatever the edge
  kLevit,       // scaled to 256 / 224 of the edge
  kCropFirst,   // cropped before it is scaled
  kMultiple16,  // sides rounded down to multiples of 16
};

// A class of processors and what it does where the file says nothing.
struct Family {
  std::string_view name;
  Rule rule;
  bool square;  // a single number as size means both sides, and not the shorter one
  int64_t edge;
  int64_t longest;  // 0: no limit
  Resample resample;
  int64_t crop;  // 0: no crop unless the file asks for it
  Channels mean, std;
};

constexpr auto kLinear = Resample::kBilinear;
constexpr auto kCubic = Resample::kBicubic;
constexpr Family kFamilies[] = {
    {"ViT", Rule::kPlain, true, 224, 0, kLinear, 0, kHalf, kHalf},
    {"DeiT", Rule::kPlain, true, 256, 0, kCubic, 224, kHalf, kHalf},
    {"Beit", Rule::kPlain, true, 224, 0, kCubic, 0, kHalf, kHalf},
    {"CLIP", Rule::kPlain, false, 224, 0, kCubic, 224, kClipMean, kClipStd},
    {"ChineseCLIP", Rule::kPlain, false, 224, 0, kCubic, 224, kClipMean, kClipStd},
    {"Bit", Rule::kPlain, false, 224, 0, kCubic, 224, kClipMean, kClipStd},
    {"ViTHybrid", Rule::kPlain, false, 224, 0, kCubic, 224, kClipMean, kClipStd},
    {"Siglip", Rule::kPlain, true, 224, 0, kCubic, 0, kHalf, kHalf},
    {"Blip", Rule::kPlain, true, 384, 0, kCubic, 0, kClipMean, kClipStd},
    {"Flava", Rule::kPlain, true, 224, 0, kCubic, 224, kClipMean, kClipStd},
    {"ConvNext", Rule::kCropPct, false, 384, 0, kCubic, 0, kHalf, kHalf},
    {"MobileNetV1", Rule::kPlain, false, 256, 0, kLinear, 224, kHalf, kHalf},
    {"MobileNetV2", Rule::kPlain, false, 256, 0, kLinear, 224, kHalf, kHalf},
    {"MobileViT", Rule::kPlain, false, 224, 0, kCubic, 256, {}, {1, 1, 1}},
    {"EfficientNet", Rule::kPlain, true, 346, 0, kCubic, 0, kHalf, kHalf},
    {"Levit", Rule::kLevit, false, 224, 0, kCubic, 224, kImageNetMean, kImageNetStd},
    {"PoolFormer", Rule::kCropPctAny, false, 224, 0, kCubic, 224, kImageNetMean, kImageNetStd},
    {"Perceiver", Rule::kCropFirst, true, 224, 0, kCubic, 256, kImageNetMean, kImageNetStd},
    {"Pvt", Rule::kPlain, true, 224, 0, kCubic, 0, kImageNetMean, kImageNetStd},
    {"Segformer", Rule::kPlain, true, 512, 0, kLinear, 0, kImageNetMean, kImageNetStd},
    {"VideoMAE", Rule::kPlain, false, 224, 0, kLinear, 224, kHalf, kHalf},
    {"DINOv3ViT", Rule::kPlain, true, 224, 0, kLinear, 0, kImageNetMean, kImageNetStd},
    {"Detr", Rule::kPlain, false, 800, 1333, kLinear, 0, kImageNetMean, kImageNetStd},
    {"ConditionalDetr", Rule::kPlain, false, 800, 1333, kLinear, 0, kImageNetMean, kImageNetStd},
    {"DeformableDetr", Rule::kPlain, false, 800, 1333, kLinear, 0, kImageNetMean, kImageNetStd},
    {"Deta", Rule::kPlain, false, 800, 1333, kLinear, 0, kImageNetMean, kImageNetStd},
    {"GroundingDino", Rule::kPlain, false, 800, 1333, kLinear, 0, kImageNetMean, kImageNetStd},
    {"Yolos", Rule::kMultiple16, false, 800, 1333, kLinear, 0, kImageNetMean, kImageNetStd},
    {"RTDetr", Rule::kPlain, true, 640, 0, kLinear, 0, {}, {1, 1, 1}},
    {"OwlViT", Rule::kPlain, true, 768, 0, kCubic, 0, kClipMean, kClipStd},
};
// A class that is not known follows the keys of its file, and ViT where they are silent.
constexpr const Family& kOther = kFamilies[0];

const Family& family_of(const json& config) {
  for (const char* key : {"image_processor_type", "feature_extractor_type"}) {
    std::string name = member<std::string>(config, key).value_or("");
    for (const std::string_view ending : {"Fast", "Pil", "ImageProcessor", "FeatureExtractor"}) {
      if (name.ends_with(ending)) name.resize(name.size() - ending.size());
    }
    const auto* const found =
        std::find_if(std::begin(kFamilies), std::end(kFamilies),
                     [&](const Family& family) { return family.name == name; });
    if (found != std::end(kFamilies)) return *found;
  }
  return kOther;
}

int64_t side(const json& value, const char* what) {
  require(value.is_number_integer(), ErrorCode::kInvalidData, "'", what, "' is no whole number");
  const auto number = value.get<int64_t>();
  require(number > 0 && number <= kMostSide, ErrorCode::kInvalidData, "'", what, "' ", number,
          " is not between 1 and ", kMostSide);
  return number;
}

std::optional<int64_t> optional_side(const json& sizes, const char* name) {
  const auto it = sizes.find(name);
  if (it == sizes.end() || it->is_null()) return std::nullopt;
  return side(*it, name);
}

// Height and width of a crop or padding: an object, both sides in one number, or a pair.
ImageSize both_sides(const json& value, const char* what) {
  if (value.is_number()) return {side(value, what), side(value, what)};
  if (value.is_array() && value.size() == 2) return {side(value[0], what), side(value[1], what)};
  require(value.is_object(), ErrorCode::kInvalidData, "'", what, "' is no size");
  if (const auto edge = optional_side(value, "shortest_edge")) return {*edge, *edge};
  const auto height = optional_side(value, "height"), width = optional_side(value, "width");
  require(height && width, ErrorCode::kInvalidData, "'", what, "' has no height and width");
  return {*height, *width};
}

std::optional<ImageSize> optional_sides(const json& config, const char* name) {
  const auto it = config.find(name);
  if (it == config.end() || it->is_null()) return std::nullopt;
  return both_sides(*it, name);
}

void set_shortest(Steps& steps, int64_t edge, int64_t longest) {
  steps.resize = longest > 0 ? Resize::kLimited : Resize::kShortest;
  steps.edge = edge;
  steps.longest = longest;
}

void read_size(const json& config, const Family& family, Steps& steps) {
  const auto exact = [&](ImageSize size) {
    steps.resize = Resize::kExact;
    steps.size = size;
  };
  const auto it = config.find("size");
  if (it == config.end() || it->is_null()) {
    if (family.square) return exact({family.edge, family.edge});
    return set_shortest(steps, family.edge, family.longest);
  }
  const json& size = *it;
  if (size.is_number()) {
    const int64_t edge = side(size, "size");
    if (family.square) return exact({edge, edge});
    const auto longest = family.longest > 0 ? optional_side(config, "max_size") : std::nullopt;
    return set_shortest(steps, edge, longest.value_or(family.longest));
  }
  if (size.is_array()) return exact(both_sides(size, "size"));
  require(size.is_object(), ErrorCode::kInvalidData, "'size' is no size");
  if (const auto edge = optional_side(size, "shortest_edge")) {
    return set_shortest(steps, *edge, optional_side(size, "longest_edge").value_or(0));
  }
  const auto height = optional_side(size, "max_height"), width = optional_side(size, "max_width");
  if (height && width) {
    steps.resize = Resize::kInside;
    steps.size = {*height, *width};
    return;
  }
  require(size.contains("height") && size.contains("width"), ErrorCode::kUnsupported,
          "'size' has neither height and width nor shortest_edge nor max_height and max_width");
  exact(both_sides(size, "size"));
}

// edge / crop_pct as Python's int() cuts it.
int64_t enlarged(int64_t edge, double share) {
  const double size = static_cast<double>(edge) / share;
  require(size >= 1 && size <= static_cast<double>(kMostSide), ErrorCode::kInvalidData,
          "'crop_pct' ", share, " makes images of ", size, " pixels");
  return static_cast<int64_t>(size);
}

void apply_rule(const json& config, const Family& family, Steps& steps) {
  const auto pct = member<double>(config, "crop_pct");
  switch (family.rule) {
    case Rule::kPlain:
      return;
    case Rule::kMultiple16:
      steps.multiple = 16;
      return;
    case Rule::kCropFirst:
      if (!steps.crop) return;
      require(steps.resize == Resize::kExact, ErrorCode::kInvalidData,
              "'size' has no height and width");
      steps.crop_first = true;
      steps.crop_of = *std::exchange(steps.crop, std::nullopt);
      return;
    case Rule::kLevit:
      if (steps.resize == Resize::kShortest) {
        steps.edge = static_cast<int64_t>(256.0 / 224.0 * static_cast<double>(steps.edge));
      }
      return;
    case Rule::kCropPct:
      if (steps.resize != Resize::kShortest) return;
      if (steps.edge >= 384) {
        steps.resize = Resize::kExact;
        steps.size = {steps.edge, steps.edge};
      } else {
        if (!steps.crop) steps.crop = ImageSize{steps.edge, steps.edge};
        steps.edge = enlarged(steps.edge, pct.value_or(224.0 / 256.0));
      }
      return;
    case Rule::kCropPctAny: {
      const double share = pct.value_or(0.9);
      if (config.contains("crop_pct") && !pct) return;
      if (steps.resize == Resize::kExact && steps.size.height == steps.size.width) {
        set_shortest(steps, enlarged(steps.size.height, share), 0);
      } else if (steps.resize == Resize::kExact) {
        steps.size = {enlarged(steps.size.height, share), enlarged(steps.size.width, share)};
      } else {
        steps.edge = enlarged(steps.edge, share);
      }
      return;
    }
  }
}

Channels channels(const json& config, const char* name, const Channels& otherwise) {
  const auto it = config.find(name);
  if (it == config.end() || it->is_null()) return otherwise;
  if (it->is_number()) return {it->get<double>(), it->get<double>(), it->get<double>()};
  const auto numbers = member<std::vector<double>>(config, name).value_or(std::vector<double>());
  require(numbers.size() == 3, ErrorCode::kInvalidData, "'", name, "' has ", numbers.size(),
          " numbers and not one per channel");
  return {numbers[0], numbers[1], numbers[2]};
}

// In float32 like numpy, but for the product, which numpy makes of float64.
void read_values(const json& config, const Family& family, Steps& steps) {
  const auto on = [&](const char* name, bool otherwise) {
    return member<bool>(config, name).value_or(otherwise);
  };
  const bool rescale = on("do_rescale", true);
  const double factor = member<double>(config, "rescale_factor").value_or(1 / 255.0);
  const bool normalize = on("do_normalize", family.mean != Channels{});
  const Channels mean = channels(config, "image_mean", family.mean);
  const Channels std = channels(config, "image_std", family.std);
  const bool efficient = family.name == "EfficientNet";
  const bool offset = efficient && rescale && on("rescale_offset", false);
  const bool again = efficient && on("include_top", true);
  for (const double x : std) {
    require(x != 0, ErrorCode::kInvalidData, "'image_std' has a zero");
  }
  for (size_t c = 0; c < 3; ++c) {
    for (size_t i = 0; i < 256; ++i) {
      auto value = static_cast<float>(static_cast<double>(i) * (rescale ? factor : 1.0));
      if (offset) value -= 1;
      if (normalize) value = (value - static_cast<float>(mean[c])) / static_cast<float>(std[c]);
      if (again) value /= static_cast<float>(std[c]);
      steps.values[c][i] = value;
    }
  }
}

Steps read_steps(const json& config) {
  const Family& family = family_of(config);
  const auto on = [&](const char* name, bool otherwise) {
    return member<bool>(config, name).value_or(otherwise);
  };
  require(!on("do_grayscale", false), ErrorCode::kUnsupported, "'do_grayscale' is not implemented");
  Steps steps;
  const auto crop = optional_sides(config, "crop_size");
  if (on("do_center_crop", family.crop > 0)) {
    require(crop || family.crop > 0, ErrorCode::kInvalidData,
            "'do_center_crop' is on, and there is no 'crop_size'");
    steps.crop = crop.value_or(ImageSize{family.crop, family.crop});
  }
  if (on("do_resize", true)) {
    read_size(config, family, steps);
    apply_rule(config, family, steps);
  }
  if (on("do_pad", on("pad_and_return_pixel_mask", true))) {
    steps.pad = optional_sides(config, "pad_size");
  }
  const auto resample = member<int>(config, "resample");
  require(!resample || (*resample >= 0 && *resample <= 5), ErrorCode::kInvalidData, "'resample' ",
          resample.value_or(0), " is no filter of Pillow (0 to 5)");
  steps.resample = resample ? static_cast<Resample>(*resample) : family.resample;
  steps.flip_channels = on("do_flip_channel_order", family.name == "MobileViT");
  read_values(config, family, steps);
  return steps;
}

constexpr const char* kFile = "preprocessor_config.json";
constexpr const char* kJointFile = "processor_config.json";

}  // namespace

bool ImageProcessor::is_in(const std::filesystem::path& folder) {
  return std::filesystem::exists(folder / kFile) || std::filesystem::exists(folder / kJointFile);
}

ImageProcessor ImageProcessor::read(const std::filesystem::path& folder) {
  if (!std::filesystem::exists(folder / kFile) && std::filesystem::exists(folder / kJointFile)) {
    return with_json(folder / kJointFile, [&](const json& config) {
      require(config.is_object() && config.contains("image_processor"), ErrorCode::kInvalidData,
              "it has no 'image_processor'");
      return ImageProcessor(read_steps(config["image_processor"]));
    });
  }
  require(std::filesystem::exists(folder / kFile), ErrorCode::kNotFound, "model directory ",
          folder.string(), " has no ", kFile,
          ", which says how images have to be prepared for the model");
  return with_json(folder / kFile, [&](const json& config) {
    require(config.is_object(), ErrorCode::kInvalidData, "an object is expected");
    return ImageProcessor(read_steps(config));
  });
}

}  // namespace hugot
