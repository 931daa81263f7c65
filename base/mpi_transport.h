// MPI as transport, where the build has it (option `mpi`).
#ifndef HUGOT_BASE_MPI_TRANSPORT_H_
#define HUGOT_BASE_MPI_TRANSPORT_H_

#include <memory>

#include "base/communicator.h"

namespace hugot {

// All processes of MPI_COMM_WORLD. Initializes MPI unless the program has, with
// MPI_THREAD_SERIALIZED, and then finalizes it when the process exits. Throws kUnsupported in a
// build without MPI, kInvalidArgument when MPI has been initialized for one thread only or has been
// finalized.
std::unique_ptr<Transport> open_mpi();

// Whether a launcher of MPI (Open MPI's or MPICH's) has started several processes, of which this is
// one: told by its environment variables.
bool started_by_mpi();

}  // namespace hugot

#endif  // HUGOT_BASE_MPI_TRANSPORT_H_
