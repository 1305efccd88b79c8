#!/usr/bin/env bash
# make_venv.sh PYTHON VENV: makes the virtual environment when it is missing, with what building
# needs: pip, scikit-build-core, pybind11, and CMake and Ninja where the system has none.
set -euo pipefail
python=$1
venv=$2
cd "$(dirname "$0")/.."

fail() {
  echo "veilsum: $*" >&2
  exit 1
}

if [ ! -x "$venv/bin/python" ]; then
  command -v "$python" >/dev/null || fail "no '$python' here; name a Python >= 3.10 with PYTHON=..."
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "'$python' is $("$python" --version); Veilsum needs Python >= 3.10: make PYTHON=python3.x ..."
  "$python" -m venv "$venv" ||
    fail "'$python -m venv' failed; on Debian and Ubuntu it needs the package python3-venv"
fi
"$venv/bin/python" - <<'PY' || fail "the Python headers are missing; on Debian and Ubuntu: python3-dev"
import pathlib, sys, sysconfig
sys.exit(not (pathlib.Path(sysconfig.get_path("include")) / "Python.h").exists())
PY
if ! command -v "${CXX:-c++}" >/dev/null && ! command -v g++ >/dev/null && ! command -v clang++ >/dev/null; then
  fail "no C++ compiler here; install GCC >= 12 or Clang >= 15 (on Debian and Ubuntu: g++)"
fi

tools=("scikit-build-core" "pybind11")
# at_least PROGRAM VERSION: is it there outside the venv, and new enough?
at_least() {
  local found
  found=$(PATH=${PATH//"$PWD/$venv/bin:"/} "$1" --version 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1) &&
    [ "$(printf '%s\n' "$2" "$found" | sort -V | head -n 1)" = "$2" ]
}
at_least cmake 3.22 || tools+=("cmake>=3.22")
at_least ninja 1.5 || tools+=("ninja>=1.5")

pip=("$venv/bin/python" -m pip --disable-pip-version-check install --quiet)
"${pip[@]}" --upgrade "pip>=24"
"${pip[@]}" -c constraints.txt "${tools[@]}"
