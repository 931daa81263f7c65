#!/usr/bin/env bash
# Sets up and builds like quickstart.sh, then runs every test. The last line is
# `N passed, N failed[, N skipped]`; the exit code is 0 when nothing failed.
#
#   test.sh           everything
#   test.sh --quick   the release build and its suites only
. "$(dirname "$0")/setup.sh"

QUICK=${1:-}
SHARED=$ROOT/../shared
COUNTS=$BUILD/test-counts
LOGS=$BUILD/test-logs
START=$SECONDS

# Failures that are gaps, not errors: they count as skipped.
ONNX_GAPS='is not implemented$'

# -- counting

# suite NAME COMMAND..: runs a test program in the background, beside as many others as there are
# processors.
suite() {
  while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n || true; done
  echo "0 1 0" >"$COUNTS/$1"  # until it has counts of its own
  set -m  # without job control a program in the background ignores Ctrl-C, which some tests send
  run_suite "$@" &
  set +m
}
trap 'for job in $(jobs -rp); do kill -- "-$job"; done' EXIT

# run_suite NAME COMMAND..: the counts of a test program are the last line of the form
# `N passed, N failed[, N skipped]` or doctest's summary; a program that dies without one, or fails
# without saying so, is one failure.
run_suite() {
  local name=$1 log=$LOGS/$1.log code=0 passed failed skipped line begin=$SECONDS
  shift
  "$@" >"$log" 2>&1 || code=$?
  line=$(sed -nE 's/^\[doctest\] test cases: *[0-9]+ \| *([0-9]+) passed \| *([0-9]+) failed.*/\1 passed, \2 failed/p
    /^[0-9]+ passed, [0-9]+ failed/p' "$log" | tail -n 1)
  read -r passed failed skipped < <(sed -E 's/[^0-9]+/ /g' <<<"$line") || true
  passed=${passed:-0} failed=${failed:-0} skipped=${skipped:-0}
  if [ -z "$line" ] || { [ "$code" != 0 ] && [ "$failed" = 0 ]; }; then
    failed=$((failed + 1))
  fi
  echo "$passed $failed $skipped" >"$COUNTS/$name"
  printf '%-28s %6d passed %4d failed %5d skipped  %4d s\n' "$name" "$passed" "$failed" "$skipped" \
    $((SECONDS - begin))
  if [ "$failed" != 0 ]; then
    grep -E '^FAIL|ERROR|error:|FAILED|differs|Error|exit code' "$log" | head -n 20 || tail -n 20 "$log"
  fi
}

# skip NAME REASON: one skipped case.
skip() {
  echo "0 0 1" >"$COUNTS/$1"
  printf '%-28s skipped: %s\n' "$1" "$2"
}

total() {
  cat "$COUNTS"/* | awk '{p += $1; f += $2; s += $3}
    END {printf "%d passed, %d failed", p, f; if (s) printf ", %d skipped", s; print ""; exit f > 0 || p == 0}'
}

# compiles NAME COMMAND..: a build is a case of its own, and uses all processors itself.
compiles() {
  local name=$1
  shift
  wait
  run_suite "$name" bash -c '"$@" && echo "1 passed, 0 failed" || { echo "FAIL build"; exit 1; }' _ "$@"
}
# clang COMMAND..: with the second compiler.
clang() { CC=clang-14 CXX=clang++-14 "$@"; }
export -f build_in say clang
export ROOT

# -- suites

doctest_suites() {  # FOLDER PREFIX
  local program
  for program in "$1"/tests/test_*; do
    if [ -f "$program" ] && [ -x "$program" ]; then
      suite "$2${program##*/test_}" "$program"
    fi
  done
}

# The kernels once more for every instruction set that this machine has.
isa_suites() {
  local isa flag
  for isa in scalar:fpu sse4:sse4_2 avx2:avx2 avx512:avx512vl avx512vnni:avx512_vnni \
    avx512bf16:avx512_bf16; do
    flag=${isa#*:} isa=${isa%:*}
    if grep -qwm1 "$flag" /proc/cpuinfo; then
      HUGOT_ISA=$isa suite "kernels-$isa" "$BUILD/tests/test_kernels"
    else
      skip "kernels-$isa" "this processor does not have it"
    fi
  done
}

# The folder of the onnx wheel's cases.
node_cases() {
  "$BUILD/venv/bin/python" -c \
    'import onnx, pathlib; print(pathlib.Path(onnx.__file__).parent / "backend/test/data/node")'
}

conformance() {
  local data archive name
  data=$(node_cases)
  suite onnx-node-wheel python3 tools/count_gaps.py "$ONNX_GAPS" "$BUILD/hugot" onnx-test "$data"
  for name in onnx-node-latest onnx-simple-and-pytorch-operator; do
    archive=$SHARED/data/onnx/$name.tar.xz
    if [ -f "$archive" ]; then
      mkdir -p "$BUILD/test-data/$name"
      tar -xJf "$archive" -C "$BUILD/test-data/$name"
      suite "$name" python3 tools/count_gaps.py "$ONNX_GAPS" \
        "$BUILD/hugot" onnx-test "$BUILD/test-data/$name"
    else
      skip "$name" "no shared data"
    fi
  done
}

# fuzz TARGET MUTATIONS DRIVER_ARGUMENTS..: changed copies of small files, the same in every run.
# What fails is left in the folder of the logs.
fuzz() {
  local target=$1 mutations=$2
  shift 2
  suite "fuzz-$target" "$ROOT/build-sanitizers/tests/fuzz/fuzz_$target" --seed 1 \
    --mutations "$mutations" --failures "$LOGS" "$@"
}

fuzz_suites() {
  local data=tests/data seeds=tests/fuzz/seeds
  fuzz onnx 3000 --suffix .onnx --max-bytes 4000 "$data/onnx" "$data/onnx-cases" "$(node_cases)"
  fuzz tokenizer_json 1500 --max-bytes 8000 "$data/tokenizer" "$data/tiny-bert/tokenizer.json" \
    "$seeds/tokenizer"
  fuzz tokenizer_text 500 "$seeds/text"
  fuzz images 3000 --max-bytes 8000 "$data/images"
  fuzz npz 3000 "$data/arrays"
  fuzz safetensors 1000 --suffix .safetensors "$data/tiny-bert"
  fuzz jsonl 1500 --suffix .jsonl "$seeds/jsonl" examples
}

# Suites of the shared acceptance script: accept PREFIX HUGOT FILTER SUITE..
accept() {
  local prefix=$1 command=$2 filter=$3 name
  shift 3
  for name in "$@"; do
    if [ -f "$SHARED/accept/accept.py" ]; then
      HUGOT_MINILM=$MODEL suite "$prefix$name" "$BUILD/venv/bin/python" "$SHARED/accept/accept.py" \
        --hugot "$command" --data "$SHARED/data" --suite "$name" --filter "$filter" --show 20
    else
      skip "$prefix$name" "no shared data"
    fi
  done
}

# All graphs of the shared zoo.
accept_graphs() {
  if [ -f "$SHARED/accept/accept.py" ]; then
    suite graphs python3 tools/count_gaps.py "$ONNX_GAPS" "$BUILD/venv/bin/python" "$SHARED/accept/accept.py" \
      --hugot "$BUILD/hugot" --data "$SHARED/data" --suite graphs --show 10000
  else
    skip graphs "no shared data"
  fi
}

# The programs and commands of README.md and examples/.
examples() {
  local a b c
  a=$("$BUILD/examples/example_embed" "$MODEL")
  b=$("$BUILD/examples/example_embed_c" "$MODEL")
  c=$(sed -n '/^```cpp/,/^```/{/^```/d;p}' README.md)
  echo "$a" && echo "$b"
  [ "$(wc -l <<<"$a")" = 2 ] && [ "$a" = "$b" ]
  # The example of the README is the file in examples/.
  diff <(grep -v '^ *//' examples/embed.cc | sed '/^$/d') <(grep -v '^ *//' <<<"$c" | sed '/^$/d')
  "$BUILD/hugot" run --model "$MODEL" --type featureExtraction --normalize \
    --input examples/quickstart.jsonl --output "$BUILD/quickstart"
  python3 tools/nearest.py "$BUILD/quickstart/result_0.jsonl"
  python3 tools/coverage.py --check README.md
  "$BUILD/examples/example_train" "$MODEL" examples/pairs.jsonl "$BUILD/tuned"
  local pair name
  for pair in classify:cls-distilbert-sst2 entities:ner-bert-cased rank:cross-bert-identity \
    zero_shot:zero-bert-nli answer:qa-bert fill_mask:fill-bert; do
    name=$SHARED/data/zoo/${pair#*:}
    [ ! -d "$name" ] || "$BUILD/examples/example_${pair%%:*}" "$name"
  done
  name=$SHARED/data/zoo/tabular
  [ ! -d "$name" ] || "$BUILD/examples/example_table" "$name" tree_strings_zipmap.onnx
  for pair in texts:cls-distilbert-sst2 entities:ner-bert-cased rank:cross-bert-identity \
    labels:zero-bert-nli; do
    name=$SHARED/data/zoo/${pair#*:}
    [ ! -d "$name" ] || "$BUILD/examples/example_pipelines_c" "${pair%%:*}" "$name"
  done
  for pair in classify_images:image-vit detect_objects:detr zero_shot_images:clip embed_images:clip; do
    name=$SHARED/data/zoo/${pair#*:}
    [ ! -d "$name" ] || "$BUILD/examples/example_${pair%%:*}" "$name" "$name"/images/{gray.png,shapes.jpg}
  done
}

# -- work

install_packages "${BUILD_PACKAGES[@]}" cmake doctest-dev xz-utils git binutils libopenmpi-dev openmpi-bin
# What is packed here is used by these tests alone.
export HUGOT_CACHE=$BUILD/test-cache
rm -rf "$COUNTS" "$LOGS" "$HUGOT_CACHE"
mkdir -p "$COUNTS" "$LOGS"
build_in "$BUILD" -- -Dtests=enabled -Dmpi=enabled
get_model
say "Python packages of the reference suites"
make_venv "$BUILD/venv" numpy onnx==1.22.0

doctest_suites "$BUILD" ""
isa_suites
suite cli python3 tests/cli_test.py "$BUILD/hugot"
suite cli-tokenizer python3 tests/cli_tokenizer_test.py "$BUILD/hugot"
suite cli-run python3 tests/cli_run_test.py "$BUILD/hugot"
suite cli-pipelines python3 tests/cli_pipelines_test.py "$BUILD/hugot"
suite cli-train python3 tests/cli_train_test.py "$BUILD/hugot"
suite mpi-train "$BUILD/venv/bin/python" tests/mpi_train_test.py "$BUILD/hugot"
suite bench python3 tests/bench_test.py "$BUILD/hugot"
conformance
suite onnx-cases "$BUILD/hugot" onnx-test tests/data/onnx-cases
accept "" "$BUILD/hugot" "" minilm embeddings stable classify cross zeroshot entities questions fillmask images \
  training tokenizers
accept_graphs
if [ -d "$SHARED/data/zoo/tabular" ]; then
  suite tabular "$BUILD/venv/bin/python" tests/tabular_golden.py --hugot "$BUILD/hugot" \
    --data "$SHARED/data/zoo/tabular"
else
  skip tabular "no shared data"
fi
if [ -d "$SHARED/data/zoo" ]; then
  suite zoo-ragged "$BUILD/venv/bin/python" tests/zoo_ragged.py --hugot "$BUILD/hugot" \
    --zoo "$SHARED/data/zoo"
else
  skip zoo-ragged "no shared data"
fi
if [ -d "$SHARED/data/zoo-generation" ]; then
  suite zoo-generation "$BUILD/venv/bin/python" tests/zoo_generation.py --hugot "$BUILD/hugot" \
    --zoo "$SHARED/data/zoo-generation"
else
  skip zoo-generation "no shared data"
fi
for name in steps wordnet; do
  if [ -d "$SHARED/data/training-golden/wordnet" ] && [ -d "$SHARED/data/hugot" ]; then
    suite "train-minilm-$name" "$BUILD/venv/bin/python" tests/train_minilm.py \
      --hugot "$BUILD/hugot" --model "$MODEL" --data "$SHARED/data" --suite "$name"
  else
    skip "train-minilm-$name" "no shared data"
  fi
done
if [ -d "$SHARED/data/hugot" ] && [ -d "$SHARED/data/zoo" ]; then
  suite hugot-samples python3 tests/hugot_samples.py --hugot "$BUILD/hugot" --shared "$SHARED" \
    --minilm "$MODEL"
else
  skip hugot-samples "no shared data"
fi
suite examples bash -ec "$(declare -f examples); BUILD='$BUILD' MODEL='$MODEL' SHARED='$SHARED'; examples; echo '1 passed, 0 failed'"

if [ "$QUICK" != --quick ]; then
  install_packages clang-format-14
  suite rules python3 tools/check_rules.py --build "$BUILD"

  compiles build-minimal build_in "$ROOT/build-minimal" hugot -- -Dprofile=minimal
  suite minimal-cli python3 tests/cli_test.py "$ROOT/build-minimal/hugot"
  suite minimal-cli-tokenizer python3 tests/cli_tokenizer_test.py "$ROOT/build-minimal/hugot"
  suite minimal-cli-run python3 tests/cli_run_test.py "$ROOT/build-minimal/hugot"
  suite minimal-cli-train python3 tests/cli_train_test.py "$ROOT/build-minimal/hugot"
  accept minimal- "$ROOT/build-minimal/hugot" "" minilm

  # Also the build that shows the warnings of a second compiler.
  install_packages clang-14 libclang-rt-14-dev llvm-14
  compiles build-sanitizers clang build_in "$ROOT/build-sanitizers" -- -Dbuildtype=plain \
    -Doptimization=1 -Dcpp_args=-g1 -Db_sanitize=address,undefined -Db_lundef=false \
    -Donednn=disabled -Dcuda=emulated -Dtests=enabled
  export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
  doctest_suites "$ROOT/build-sanitizers" sanitizers-
  suite sanitizers-cli python3 tests/cli_test.py "$ROOT/build-sanitizers/hugot"
  suite sanitizers-cli-tokenizer python3 tests/cli_tokenizer_test.py "$ROOT/build-sanitizers/hugot"
  suite sanitizers-cli-run python3 tests/cli_run_test.py "$ROOT/build-sanitizers/hugot"
  suite sanitizers-cli-train python3 tests/cli_train_test.py "$ROOT/build-sanitizers/hugot"
  suite sanitizers-bench python3 tests/bench_test.py "$ROOT/build-sanitizers/hugot"
  suite sanitizers-onnx-node python3 tools/count_gaps.py "$ONNX_GAPS" \
    "$ROOT/build-sanitizers/hugot" onnx-test "$(node_cases)"
  fuzz_suites

  install_packages g++-aarch64-linux-gnu qemu-user-static
  suite kernels-neon tests/neon_test.sh "$BUILD/neon"

  # What runs in several threads; the fibers of the CUDA emulator are beyond this sanitizer.
  compiles build-tsan clang build_in "$ROOT/build-tsan" tests/test_{base,engine,models,pipelines} -- \
    -Dbuildtype=plain -Doptimization=1 -Dcpp_args=-g1 -Db_sanitize=thread -Db_lundef=false \
    -Donednn=disabled -Dtests=enabled
  export TSAN_OPTIONS=halt_on_error=1
  doctest_suites "$ROOT/build-tsan" tsan-

  if nvcc=$(command -v nvcc); then
    compiles cuda-nvcc bash -ec 'for source in kernels/*/*.cu; do
      "$0" -std=c++20 -arch=sm_80 -I. -Iinclude -c -o "$1/nvcc.o" "$source"; done' "$nvcc" "$BUILD"
  else
    skip cuda-nvcc "nvcc is not installed"
  fi
fi

wait
say "$((SECONDS - START)) seconds"
total
