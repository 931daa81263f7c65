// Copies of what stands beside the graph in a model directory.
#ifndef HUGOT_MODELS_DIRECTORY_FILES_H_
#define HUGOT_MODELS_DIRECTORY_FILES_H_

#include <filesystem>

#include "models/model_directory.h"

namespace hugot {

// Copies the files of `model` that describe it or state its licence (JSON, vocabularies, README),
// and those of its modules with their weights, to the same places below `target`, whose folders are
// made. Graphs and weights of the transformer stay behind. Throws kIo.
void copy_model_files(const ModelDirectory& model, const std::filesystem::path& target);

}  // namespace hugot

#endif  // HUGOT_MODELS_DIRECTORY_FILES_H_
