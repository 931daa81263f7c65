// Random bits by counter: every block of them depends on its key and its number alone.
#ifndef HUGOT_KERNELS_PHILOX_H_
#define HUGOT_KERNELS_PHILOX_H_

#include <array>
#include <cstdint>

namespace hugot {

// Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"):
// 128 bits for a counter and a key.
inline std::array<uint32_t, 4> philox(const std::array<uint32_t, 4>& counter, uint64_t key) {
  std::array<uint32_t, 4> x = counter;
  auto low = static_cast<uint32_t>(key), high = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * x[0], b = uint64_t{0xCD9E8D57u} * x[2];
    x = {static_cast<uint32_t>(b >> 32) ^ x[1] ^ low, static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ x[3] ^ high, static_cast<uint32_t>(a)};
    low += 0x9E3779B9u;
    high += 0xBB67AE85u;
  }
  return x;
}

}  // namespace hugot

#endif  // HUGOT_KERNELS_PHILOX_H_
