#!/usr/bin/env bash
# Builds hugot, gets the default model, and embeds a few sentences.
. "$(dirname "$0")/setup.sh"

install_packages "${BUILD_PACKAGES[@]}"
build_options=()
[ -f "$BUILD/build.ninja" ] || build_options=(-Dtests=disabled)
build_in "$BUILD" -- "${build_options[@]}"
get_model

say "embedding examples/quickstart.jsonl"
"$BUILD/hugot" run --model "$MODEL" --type featureExtraction --normalize \
  --input "$ROOT/examples/quickstart.jsonl" --output "$BUILD/quickstart"
python3 "$ROOT/tools/nearest.py" "$BUILD/quickstart/result_0.jsonl"
