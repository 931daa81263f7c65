// Numpy's archives and arrays: read, and written back.
#include "base/npz.h"
#include "tests/fuzz/fuzz.h"

namespace hugot::fuzz {

InputKind input_kind() { return InputKind::kBinary; }

}  // namespace hugot::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hugot;
  const auto input = fuzz::scratch_file(data, size);
  const auto again = fuzz::scratch_folder() / "again.npz";
  fuzz::only_errors([&] { read_npy(input); });
  return fuzz::only_errors([&] {
    const NamedTensors arrays = read_npz(input);
    write_npz(again, arrays);
    require(read_npz(again).size() == arrays.size(), ErrorCode::kInternal, "arrays were lost");
  });
}
