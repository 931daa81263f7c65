// What all pipelines of images have in common: the loaded model, and the way of a batch through it.
#ifndef HUGOT_PIPELINES_IMAGE_MODEL_H_
#define HUGOT_PIPELINES_IMAGE_MODEL_H_

#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "hugot/hugot.hpp"
#include "models/image_encoder.h"
#include "models/image_graph.h"
#include "models/image_processor.h"
#include "models/model_directory.h"

namespace hugot {

// An output for one image: rows x width numbers.
struct ImageRows {
  const float* data;
  int64_t rows;
  int64_t width;

  std::span<const float> all() const { return {data, static_cast<size_t>(rows * width)}; }
};

// A model directory whose graph takes images. Immutable; pipelines share it.
class HUGOT_LOCAL ImageModel {
 public:
  // The names of the outputs to use.
  using ChooseOutputs = std::function<std::vector<std::string>(const LoadedModel&)>;
  // outputs()[i] for the image that was given as number `index`.
  using Sink = std::function<void(size_t index, std::span<const ImageRows> outputs)>;

  ImageModel(const Session::Impl& session, ModelDirectory directory, const ModelOptions& options,
             const ChooseOutputs& choose);

  // The model that all pipelines of the session share that ask for the same files, precision and
  // `purpose`, which names what `choose` does.
  static std::shared_ptr<const ImageModel> shared(Session::Impl& session,
                                                  const std::filesystem::path& directory,
                                                  const ModelOptions& options,
                                                  const std::string& purpose,
                                                  const ChooseOutputs& choose);

  const ModelDirectory& directory() const { return directory_; }
  const ImageProcessor& processor() const { return processor_; }
  // As the model declares them.
  std::span<const Fact> outputs() const { return outputs_; }
  // All outputs of the graph.
  const std::vector<ModelOutput>& declared() const { return declared_; }
  std::string label(size_t id) const { return directory_.label(id); }

  // Runs the images, each as if alone. With fewer images than threads of the pool, operators are
  // split. Throws the first error.
  void run(std::span<const ImagePixels* const> images, ThreadPool& pool, const Sink& sink,
           const std::stop_token& stop) const;

 private:
  ModelDirectory directory_;
  ImageProcessor processor_;
  std::vector<Fact> outputs_;
  std::vector<ModelOutput> declared_;
  // One of the two: images of a single size and one output, or anything else.
  std::shared_ptr<const ImageEncoder> encoder_;
  std::unique_ptr<const ImageGraph> graph_;
};

// Runs batches through an ImageModel and counts. All functions are thread-safe.
class HUGOT_LOCAL ImageRunner {
 public:
  // `size` is that of the picture as it is seen.
  using Sink =
      std::function<void(size_t image, std::span<const ImageRows> outputs, const ImageSize& size)>;

  ImageRunner(std::shared_ptr<Session::Impl> session, std::shared_ptr<const ImageModel> model);

  const ImageModel& model() const { return *model_; }

  // Reads, prepares and runs the images that have no error, and gives the outputs of each to
  // `sink`, on any thread and more than once for an image when others of the batch fail. What is
  // wrong with an image, of the sink too, becomes its error. Every thread takes some images all the
  // way, so that some are read while others are computed. Throws kCancelled.
  void run(std::span<const ImageInput* const> images, std::span<std::string> errors,
           const Sink& sink, const std::stop_token& stop) const;

  PipelineStatistics statistics() const;

 private:
  struct Item;

  void prepare(const ImageInput& image, Item& item, std::string& error) const;
  void compute(std::span<Item> items, size_t first, std::span<std::string> errors, ThreadPool& pool,
               const Sink& sink, const std::stop_token& stop) const;

  std::shared_ptr<Session::Impl> session_;
  std::shared_ptr<const ImageModel> model_;
  // For threads of the session that are busy with images of their own.
  mutable ThreadPool own_thread_{1};
  mutable std::mutex statistics_mutex_;
  mutable PipelineStatistics statistics_;
};

// Pointers to the elements of a list: what ImageRunner::run() takes.
std::vector<const ImageInput*> pointers(std::span<const ImageInput> images);

}  // namespace hugot

#endif  // HUGOT_PIPELINES_IMAGE_MODEL_H_
