// Random bits by counter: every block of them depends on its key and its number alone.
#ifndef HUGOT_KERNELS_PHILOX_H_
#define HUGOT_KERNELS_PHILOX_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace hugot {

// Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"):
// 128 bits for a counter and a key. Counter and bits are those of several blocks: word w of block
// b is x[w][b].
template <size_t kBlocks>
void philox(std::array<std::array<uint32_t, kBlocks>, 4>& x, uint64_t key) {
  auto low = static_cast<uint32_t>(key), high = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    for (size_t i = 0; i < kBlocks; ++i) {
      const uint64_t a = uint64_t{0xD2511F53u} * x[0][i], b = uint64_t{0xCD9E8D57u} * x[2][i];
      x[0][i] = static_cast<uint32_t>(b >> 32) ^ x[1][i] ^ low;
      x[1][i] = static_cast<uint32_t>(b);
      x[2][i] = static_cast<uint32_t>(a >> 32) ^ x[3][i] ^ high;
      x[3][i] = static_cast<uint32_t>(a);
    }
    low += 0x9E3779B9u;
    high += 0xBB67AE85u;
  }
}

}  // namespace hugot

#endif  // HUGOT_KERNELS_PHILOX_H_
