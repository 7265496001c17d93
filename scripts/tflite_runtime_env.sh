#!/bin/sh
# Make an environment with tflite-runtime instead of ai-edge-litert, as 32-bit boards have it:
#
#     scripts/tflite_runtime_env.sh [FOLDER]      default: build/tflite-runtime
#     build/tflite-runtime/venv/bin/python -c "import tflite_runtime"
#
# FOLDER/venv gets tflite-runtime 2.14.0, NumPy 1.26 and what else edgesep needs, but not edgesep;
# FOLDER/numpy2 gets a NumPy 2, to see what happens with it. Needs Python 3.10 or 3.11, with venv,
# and a package index. About 25 MB of wheels. A folder that is complete is left as it is.
set -eu

repository=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$repository/build/tflite-runtime}
wanted="tflite-runtime==2.14.0 numpy>=1.26,<2 pyyaml>=6,<7 soundfile>=0.12.1,<1 soxr>=0.5,<2
    cffi>=1.16,<3 setuptools>=77"

if [ -f "$folder/complete" ] && [ "$(cat "$folder/complete")" = "$wanted" ]; then
    echo "tflite_runtime_env: $folder is complete"
    exit 0
fi

fits() { # the last tflite-runtime has wheels up to Python 3.11
    "$1" -c "import sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 11))" 2>/dev/null
}
python=
for candidate in ${PYTHON:+"$PYTHON"} python3 python3.11 python3.10; do
    if fits "$candidate"; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || {
    echo "tflite_runtime_env: tflite-runtime needs Python 3.10 or 3.11 with venv" >&2
    exit 1
}

rm -rf "$folder"
mkdir -p "$folder"
"$python" -m venv "$folder/venv"
pip() {
    "$folder/venv/bin/python" -m pip --disable-pip-version-check install --quiet \
        --only-binary :all: "$@"
}
# shellcheck disable=SC2086 # one requirement each
pip $wanted
pip --target "$folder/numpy2" --no-deps 'numpy>=2,<3'
"$folder/venv/bin/python" -c "import tflite_runtime.interpreter"
echo "$wanted" >"$folder/complete"
echo "tflite_runtime_env: $folder/venv is ready"
