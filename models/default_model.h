// The small sentence-embedding model that comes with hugot (docs/default_model.md).
#ifndef HUGOT_MODELS_DEFAULT_MODEL_H_
#define HUGOT_MODELS_DEFAULT_MODEL_H_

#include <filesystem>
#include <span>

#include "models/embedded_model.h"

namespace hugot {

// Its name, wherever a model is asked for.
inline constexpr const char* kDefaultModel = "default";

// Its directory: models/default beside the program, ../share/hugot/models/default from there (an
// installation) or ../models/default (a build), the same below the prefix that the build was
// configured for, or else the model inside of the program, unpacked. Throws kNotFound naming the
// places; kIo.
std::filesystem::path find_default_model();

// A directory with these files: one below `cache`, which later calls find again and repair when its
// contents are not the same, or, when nothing can be written there or `cache` is empty, one that is
// removed when the process ends. Safe to call from many threads and processes. Throws kIo.
std::filesystem::path unpack_model(std::span<const EmbeddedFile> files,
                                   const std::filesystem::path& cache);

}  // namespace hugot

#endif  // HUGOT_MODELS_DEFAULT_MODEL_H_
