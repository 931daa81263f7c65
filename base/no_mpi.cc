#include "base/mpi_transport.h"

namespace hugot {

std::unique_ptr<Transport> open_mpi() {
  fail(ErrorCode::kUnsupported, "this build has no MPI (meson option mpi)");
}

}  // namespace hugot
