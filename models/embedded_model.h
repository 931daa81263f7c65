// The files of the default model inside of the program, if the build put them there.
#ifndef HUGOT_MODELS_EMBEDDED_MODEL_H_
#define HUGOT_MODELS_EMBEDDED_MODEL_H_

#include <cstddef>
#include <span>
#include <string_view>

namespace hugot {

struct EmbeddedFile {
  std::string_view path;  // relative to the model directory
  std::string_view bytes;
};

// Empty unless the option embed_model was on. The build chooses the file that defines it.
std::span<const EmbeddedFile> embedded_model();

}  // namespace hugot

#endif  // HUGOT_MODELS_EMBEDDED_MODEL_H_
