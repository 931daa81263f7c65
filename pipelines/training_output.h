// What a training leaves in its output directory.
#ifndef HUGOT_PIPELINES_TRAINING_OUTPUT_H_
#define HUGOT_PIPELINES_TRAINING_OUTPUT_H_

#include <filesystem>
#include <span>
#include <string>

#include "hugot/training.hpp"
#include "pipelines/training_setup.h"

namespace hugot {

// Writes the model directory with the parameters that `setup` has now: the graph with new weights
// where the source has it, what describes it, README.md, and head.npz for the loss softmax. The
// graph comes last.
void write_trained_directory(TrainingSetup& setup, const TrainingResult& result);

// A chart of loss over steps as SVG, `title` above it. Numbers that are not finite are left out.
std::string plot_loss(std::span<const double> losses, const std::string& title);

}  // namespace hugot

#endif  // HUGOT_PIPELINES_TRAINING_OUTPUT_H_
