#!/usr/bin/env bash
# The tests of the CPU kernels on AArch64 with NEON: cross-compiled, and run under emulation.
#
#   neon_test.sh FOLDER     objects and the program go to FOLDER
#
# Needs Debian's g++-aarch64-linux-gnu and qemu-user-static, and the headers of Highway and doctest,
# which are the same for every processor. The rest of the engine needs libraries of that processor
# and is not built.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p "$1"
FOLDER=$(cd "$1" && pwd)
export FOLDER

compile() {  # SOURCE[=ISA,TARGET,FLAG]
  local source=${1%%=*} variant=${1#*=} object flags=()
  object=$FOLDER/$(tr '/=,' '___' <<<"$1").o
  if [ "$variant" != "$1" ]; then
    IFS=, read -r isa target flag <<<"$variant"
    flags=(-DHUGOT_ISA="$isa" -DHUGOT_HWY_TARGET="$target" "$flag")
  fi
  "${CCACHE[@]}" aarch64-linux-gnu-g++ -std=c++20 -O2 -DNDEBUG -ffp-contract=off -Wall -Wextra \
    -Wshadow -Wconversion -Wno-sign-conversion -Werror -I. -Iinclude -idirafter /usr/include \
    "${flags[@]}" -c "$source" -o "$object" || { echo "FAIL: $source does not compile"; return 255; }
}
export -f compile

sources=(base/{allocate,block_store,datum,dtype,shape,tensor,thread_pool}.cc
  kernels/cpu/{attention,gemm,gemm_bf16,gemm_int8,gemm_quantized,gemm_no_onednn,isa,isa_arm,pieces}.cc
  kernels/cpu/*_test.cc tests/doctest_main.cc
  kernels/cpu/simd/kernels.cc=scalar,HWY_SCALAR,-DHWY_COMPILE_ONLY_SCALAR
  kernels/cpu/simd/kernels.cc=neon,HWY_NEON,-march=armv8-a+crypto)
rm -f "$FOLDER"/*.o
printf '%s\n' "${sources[@]}" | xargs -P "$(nproc)" -I{} bash -c \
  'CCACHE=(); ! command -v ccache >/dev/null || CCACHE=(ccache); compile "$1"' _ {}
aarch64-linux-gnu-g++ -static -pthread "$FOLDER"/*.o -o "$FOLDER/test_kernels_cpu"
qemu-aarch64-static -cpu max "$FOLDER/test_kernels_cpu"
