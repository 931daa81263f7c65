// What a model with two towers makes of their vectors.
#ifndef HUGOT_MODELS_JOINT_HEAD_H_
#define HUGOT_MODELS_JOINT_HEAD_H_

#include <memory>
#include <string>
#include <vector>

#include "graph/exec/executor.h"
#include "graph/exec/state_pool.h"
#include "onnx/loader.h"

namespace hugot {

// The part of a graph between image_embeds and text_embeds and the scores logits_per_image, so that
// each tower may run when it wants (CLIP: the scaled cosine). Immutable; run() may be called from
// many threads.
class JointHead {
 public:
  static constexpr const char* kImages = "image_embeds";
  static constexpr const char* kTexts = "text_embeds";
  static constexpr const char* kScores = "logits_per_image";

  // Uses the model up. Throws kUnsupported when one of the three outputs is missing, is not
  // float32, or the scores do not follow from the vectors alone. `ops` has to outlive the object.
  JointHead(LoadedModel model, const OpRegistry& ops);

  // A score per text. `texts` has as many vectors, each as long as that of the image, one after the
  // other.
  std::vector<float> run(std::span<const float> image, std::span<const float> texts,
                         const RunOptions& options) const;

 private:
  std::shared_ptr<const Plan> plan_;
  ValueId images_ = kNoValue;
  mutable StatePool<Executor> executors_;
};

}  // namespace hugot

#endif  // HUGOT_MODELS_JOINT_HEAD_H_
