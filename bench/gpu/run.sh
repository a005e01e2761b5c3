#!/usr/bin/env bash
# Measures emolake on a GPU within eight minutes, on a bare machine without a network: bench/gpu/run.sh --out results.json
#
#   bench/gpu/run.sh --device cuda --size full --out results.json   on the GPU
#   bench/gpu/run.sh --device cpu --size tiny --out rehearsal.json  a rehearsal on the processor, no figure of a GPU
#   bench/gpu/run.sh --only machine speed_large                     some parts; --minutes 4 for less time in all
#
# It needs Python 3.12, torch, transformers, onnxruntime, onnx, pyarrow, scipy, rich, psutil, safetensors and, from the
# folder bench/gpu/wheels that bench/gpu/wheels.sh fills (WHEELS names another), what is missing beside them. Nothing
# is installed into the machine. PYTHON names another python3.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/path" "$work/path/emolake"
for each in "$root"/src/emolake/* "$root"/flows "$root"/tasks "$root"/schemas; do ln -s "$each" "$work/path/emolake/"; done
wheels=${WHEELS:-$root/bench/gpu/wheels}
if compgen -G "$wheels/*.whl" >/dev/null; then
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$work/site" "$wheels"/*.whl
fi
export PYTHONPATH="$work/path:$root:$work/site" EMOLAKE_CACHE="$work/cache" HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
export PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
cd "$root"
"$python" -m bench.gpu.run "$@"
