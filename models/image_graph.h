// A vision graph with several outputs, or for images of any size.
#ifndef HUGOT_MODELS_IMAGE_GRAPH_H_
#define HUGOT_MODELS_IMAGE_GRAPH_H_

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "graph/exec/executor.h"
#include "graph/exec/state_pool.h"
#include "models/image_processor.h"
#include "onnx/loader.h"

namespace hugot {

// The input of images: pixel_values, or else the only floating one of rank 4; kNoValue when there
// is none.
ValueId image_input(const Graph& graph);

// True when the graph wants no images larger or smaller than it declares, channels first, and its
// inputs are those of ImageEncoder (models/image_encoder.h).
bool suits_encoder(const Graph& graph);

// Runs image by image in exact mode, so that results do not depend on what else is in a batch.
// Immutable; run() may be called from many threads.
class ImageGraph {
 public:
  // Loads a graph whose inputs are images (channels first or last) and perhaps pixel_mask. Uses the
  // model up. Throws kInvalidArgument for an output that it does not have, kUnsupported for other
  // inputs. `ops` has to outlive the object.
  ImageGraph(LoadedModel model, const OpRegistry& ops, std::span<const std::string> outputs);

  // The outputs for one image, with a batch axis of 1, in the order asked for.
  std::vector<Tensor> run(const ImagePixels& image, const RunOptions& options) const;

  const Graph& graph() const { return plan_->graph(); }

 private:
  std::shared_ptr<const Plan> plan_;
  ValueId pixels_ = kNoValue;
  bool channels_last_ = false;
  mutable StatePool<Executor> executors_;
};

}  // namespace hugot

#endif  // HUGOT_MODELS_IMAGE_GRAPH_H_
