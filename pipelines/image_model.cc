#include "pipelines/image_model.h"

#include <algorithm>
#include <atomic>

#include "base/error.h"
#include "base/file.h"
#include "graph/passes/passes.h"
#include "images/decode.h"
#include "models/encoder_output.h"
#include "onnx/loader.h"
#include "pipelines/model_outputs.h"
#include "pipelines/session.h"
#include "pipelines/stopwatch.h"

namespace hugot {
namespace {

// Images that one thread takes all the way at once: enough to fill the model's micro-batches, few
// enough that their pixels stay small.
constexpr int64_t kImagesAtOnce = 8;

Image image_of(const RgbPixels& pixels) {
  constexpr auto kMost = static_cast<size_t>(kMaxPixels);
  require(pixels.data != nullptr && pixels.width <= kMost && pixels.height <= kMost,
          ErrorCode::kInvalidArgument, "an image of ", pixels.width, " x ", pixels.height,
          " pixels");
  Image image = make_image(static_cast<int64_t>(pixels.width), static_cast<int64_t>(pixels.height));
  std::copy_n(pixels.data, image.rgb.size(), image.rgb.begin());
  return image;
}

Image read_image(const ImageInput& input) {
  if (const auto* pixels = std::get_if<RgbPixels>(&input)) return image_of(*pixels);
  if (const auto* encoded = std::get_if<EncodedImage>(&input)) return decode_image(encoded->bytes);
  const auto& file = std::get<std::filesystem::path>(input);
  return with_context([&] { return file.string(); },
                      [&] {
                        const std::string bytes = read_file(file);
                        return decode_image(std::as_bytes(std::span(bytes)));
                      });
}

Shape shape_of(const ImageSize& size) { return {Image::kChannels, size.height, size.width}; }

}  // namespace

ImageModel::ImageModel(const Session::Impl& session, ModelDirectory directory,
                       const ModelOptions& options, const ChooseOutputs& choose)
    : directory_(std::move(directory)), processor_(ImageProcessor::read(directory_.transformer)) {
  LoadedModel loaded = load_model(directory_.onnx_file(options.onnx_filename), session.ops);
  const std::vector<std::string> names = choose(loaded);
  declared_ = model_outputs(loaded, names);
  std::vector<int> kept;
  for (const std::string& name : names) {
    kept.push_back(find_output(loaded.graph, name));
    outputs_.push_back(loaded.outputs[static_cast<size_t>(kept.back())].fact);
  }
  const auto size = processor_.fixed_size();
  Graph tower = loaded.graph;
  keep_outputs(tower, kept);
  if (size && names.size() == 1 && suits_encoder(tower)) {
    ImageEncoderOptions encoder;
    encoder.output = names[0];
    encoder.image = shape_of(*size);
    encoder.precision = options.precision;
    encoder.cache_directory = session.cache_directory;
    encoder_ = ImageEncoder::load(std::move(loaded), session.ops, encoder);
    return;
  }
  require(options.precision == Precision::kModel || options.precision == Precision::kFloat32,
          ErrorCode::kUnsupported, "precision ", precision_name(options.precision),
          " needs images of one size and a model with one output");
  graph_ = std::make_unique<const ImageGraph>(std::move(loaded), session.ops, names);
}

std::shared_ptr<const ImageModel> ImageModel::shared(Session::Impl& session,
                                                     const std::filesystem::path& directory,
                                                     const ModelOptions& options,
                                                     const std::string& purpose,
                                                     const ChooseOutputs& choose) {
  const auto make = [&](ModelDirectory read) {
    return std::make_shared<const ImageModel>(session, std::move(read), options, choose);
  };
  return session.share(session.image_models, directory, options, purpose, make);
}

void ImageModel::run(std::span<const ImagePixels* const> images, ThreadPool& pool, const Sink& sink,
                     const std::stop_token& stop) const {
  if (encoder_) {
    std::vector<std::span<const float>> pixels;
    for (const ImagePixels* image : images) pixels.emplace_back(image->values);
    encoder_->run(
        pixels, pool,
        [&](size_t i, const float* data, int64_t rows, int64_t width) {
          const ImageRows output{data, rows, width};
          sink(i, {&output, 1});
        },
        stop);
    return;
  }
  for (size_t i = 0; i < images.size(); ++i) {
    const auto tensors =
        graph_->run(*images[i], {.pool = pool.size() > 1 ? &pool : nullptr, .stop = stop});
    std::vector<std::vector<float>> floats(tensors.size());
    std::vector<ImageRows> outputs;
    for (size_t k = 0; k < tensors.size(); ++k) {
      const int64_t width = tensors[k].rank() > 1 ? tensors[k].shape().back() : 1;
      outputs.push_back({as_floats(tensors[k], 0, tensors[k].size(), floats[k]),
                         width > 0 ? tensors[k].size() / width : 0, width});
    }
    sink(i, outputs);
  }
}

// ---------------------------------------------------------------------------------------------

// An image on its way.
struct ImageRunner::Item {
  ImagePixels pixels;
  ImageSize size;  // of the picture
};

ImageRunner::ImageRunner(std::shared_ptr<Session::Impl> session,
                         std::shared_ptr<const ImageModel> model)
    : session_(std::move(session)), model_(std::move(model)) {}

void ImageRunner::prepare(const ImageInput& image, Item& item, std::string& error) const {
  if (!error.empty()) return;
  try {
    Image picture = read_image(image);
    item.size = {picture.height, picture.width};
    item.pixels = model_->processor().apply(std::move(picture));
  } catch (const Error& thrown) {
    error = thrown.what();
  } catch (const std::bad_alloc&) {
    error = "out of memory";
  }
}

void ImageRunner::compute(std::span<Item> items, size_t first, std::span<std::string> errors,
                          ThreadPool& pool, const Sink& sink, const std::stop_token& stop) const {
  std::vector<size_t> todo;
  for (size_t i = 0; i < items.size(); ++i) {
    if (errors[first + i].empty()) todo.push_back(i);
  }
  const auto run_some = [&](std::span<const size_t> which) {
    std::vector<const ImagePixels*> images;
    for (const size_t i : which) images.push_back(&items[i].pixels);
    model_->run(
        images, pool,
        [&](size_t k, std::span<const ImageRows> outputs) {
          sink(first + which[k], outputs, items[which[k]].size);
        },
        stop);
  };
  try {
    if (!todo.empty()) run_some(todo);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kCancelled) throw;
    // One image can spoil a batch; alone each gets its own error.
    for (const size_t i : todo) {
      try {
        run_some({&i, 1});
      } catch (const Error& own) {
        if (own.code() == ErrorCode::kCancelled) throw;
        errors[first + i] = own.what();
      }
    }
  }
}

void ImageRunner::run(std::span<const ImageInput* const> images, std::span<std::string> errors,
                      const Sink& sink, const std::stop_token& stop) const {
  const auto check = [&] { require(!stop.stop_requested(), ErrorCode::kCancelled, "cancelled"); };
  check();
  const Stopwatch watch;
  // Summed over threads.
  std::atomic<double> prepare_seconds = 0, model_seconds = 0;
  const auto prepare_some = [&](std::span<Item> items, size_t first, size_t begin, size_t end) {
    const Stopwatch own;
    for (size_t i = begin; i < end; ++i) {
      check();
      prepare(*images[first + i], items[i], errors[first + i]);
    }
    prepare_seconds += own.seconds();
  };
  const auto compute_all = [&](std::span<Item> items, size_t first, ThreadPool& pool) {
    const Stopwatch own;
    compute(items, first, errors, pool, sink, stop);
    model_seconds += own.seconds();
  };

  const int64_t count = std::ssize(images), threads = session_->pool.size();
  if (count < threads) {
    std::vector<Item> items(images.size());
    session_->pool.parallel_for(count, 1, [&](int64_t begin, int64_t end) {
      prepare_some(items, 0, static_cast<size_t>(begin), static_cast<size_t>(end));
    });
    compute_all(items, 0, session_->pool);
  } else {
    int64_t parts = (count + kImagesAtOnce - 1) / kImagesAtOnce;
    parts = std::min((parts + threads - 1) / threads * threads, count);
    session_->pool.parallel_for(parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part) {
        const auto first = static_cast<size_t>(part * count / parts);
        std::vector<Item> items(static_cast<size_t>((part + 1) * count / parts) - first);
        prepare_some(items, first, 0, items.size());
        compute_all(items, first, own_thread_);
      }
    });
  }

  const double share = prepare_seconds / std::max(prepare_seconds + model_seconds, 1e-9);
  const double seconds = watch.seconds();
  const std::lock_guard lock(statistics_mutex_);
  statistics_.texts += images.size();
  for (const std::string& error : errors) statistics_.failed_texts += !error.empty();
  statistics_.tokenize_seconds += seconds * share;
  statistics_.model_seconds += seconds * (1 - share);
}

PipelineStatistics ImageRunner::statistics() const {
  const std::lock_guard lock(statistics_mutex_);
  return statistics_;
}

std::vector<const ImageInput*> pointers(std::span<const ImageInput> images) {
  std::vector<const ImageInput*> out;
  for (const ImageInput& image : images) out.push_back(&image);
  return out;
}

}  // namespace hugot
