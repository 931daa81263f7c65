// Files of weights.
#include <numeric>

#include "base/safetensors.h"
#include "tests/fuzz/fuzz.h"

namespace hugot::fuzz {

InputKind input_kind() { return InputKind::kBinary; }

}  // namespace hugot::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hugot;
  return fuzz::only_errors([&] {
    size_t sum = 0;
    for (const auto& [name, tensor] : read_safetensors(fuzz::scratch_file(data, size))) {
      // Every byte has to be there.
      const auto* bytes = static_cast<const uint8_t*>(tensor.raw());
      sum += std::accumulate(bytes, bytes + tensor.bytes(), name.size());
    }
    require(sum != 1, ErrorCode::kInvalidData, "for the compiler: the sum is used");
  });
}
