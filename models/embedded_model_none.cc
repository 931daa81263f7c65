// Of builds without embed_model.
#include "models/embedded_model.h"

namespace hugot {

std::span<const EmbeddedFile> embedded_model() { return {}; }

}  // namespace hugot
