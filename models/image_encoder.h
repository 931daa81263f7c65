// A vision graph as a function from images to vectors.
#ifndef HUGOT_MODELS_IMAGE_ENCODER_H_
#define HUGOT_MODELS_IMAGE_ENCODER_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "graph/exec/ragged.h"
#include "graph/op.h"
#include "graph/passes/passes.h"
#include "hugot/hugot.hpp"
#include "models/encoder.h"
#include "onnx/loader.h"

namespace hugot {

struct ImageEncoderOptions {
  std::string output = {};  // name of the graph output; empty: the first one
  // Channels, height and width of every image. May be empty when the graph says them.
  Shape image = {};
  PassObserver observer = {};               // sees the graph after every pass
  Precision precision = Precision::kModel;  // of linear layers
  // Where packed weights are remembered (models/packed_cache.h). Empty: nowhere.
  std::filesystem::path cache_directory = {};
};

// True when the output of a graph (named as in ImageEncoderOptions) is made from pixel_values and
// not from token ids. Throws as find_output().
bool takes_images(const Graph& graph, const std::string& output);

// Loads a vision graph (inputs pixel_values [batch, channels, height, width] and, where it has it,
// pixel_mask; any floating output with a batch axis) and runs it raggedly: each image as if alone,
// bitwise independent of what else is in the batch and of the number of threads. The mask of a
// single image is all ones. Graphs that do not qualify run image by image in exact mode; with a
// lower precision they are an error. `ops` has to outlive the encoder. Immutable; run() may be
// called from many threads.
class ImageEncoder {
 public:
  static std::shared_ptr<const ImageEncoder> load(const std::filesystem::path& onnx_file,
                                                  const OpRegistry& ops,
                                                  const ImageEncoderOptions& options);
  // The same from a model that has been loaded, which is used up.
  static std::shared_ptr<const ImageEncoder> load(LoadedModel model, const OpRegistry& ops,
                                                  const ImageEncoderOptions& options);
  virtual ~ImageEncoder() = default;

  // Runs all images, each image() floats, channel by channel as preprocessing leaves them, and
  // gives the result of each to `sink`: rows x width is the output without its batch axis, width
  // its last axis. Whole images go to the threads of `pool`; with fewer images than threads
  // operators are split instead. Throws the first error of any thread; kInvalidArgument for an
  // image of another size, kCancelled when `stop` is requested. `observer`, unless null, sees the
  // nodes of graph().
  virtual void run(std::span<const std::span<const float>> images, ThreadPool& pool,
                   const EncoderSink& sink, std::stop_token stop = {},
                   NodeObserver* observer = nullptr) const = 0;

  // The graph that runs, after all passes.
  virtual const Graph& graph() const = 0;
  // The ragged plan, or null when images run one by one; `why_not_ragged` tells the reason then.
  virtual const RaggedPlan* ragged_plan() const = 0;
  // Channels, height and width.
  const Shape& image() const { return image_; }
  const std::string& why_not_ragged() const { return why_not_ragged_; }
  // One line per fusion of the ragged plan: "layer_norm: Add '/encoder/Add_1'".
  const std::vector<std::string>& fusions() const { return fusions_; }

 protected:
  Shape image_;
  std::string why_not_ragged_;
  std::vector<std::string> fusions_;
};

}  // namespace hugot

#endif  // HUGOT_MODELS_IMAGE_ENCODER_H_
