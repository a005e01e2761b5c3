#!/usr/bin/env bash
# Collects into bench/gpu/wheels what bench/gpu/run.sh needs beside the packages of a bare GPU machine: about 25 MB.
# The versions are those of requirements.lock; cp312 and manylinux, whatever this machine has.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
needed=(annotated-types cffi espeakng-loader pycparser pydantic pydantic-core pydantic-settings python-dotenv silero-vad soundfile soxr tenacity typing-inspection)
platforms=()
for each in manylinux_2_28 manylinux_2_27 manylinux_2_17 manylinux2014 manylinux1; do platforms+=(--platform "${each}_x86_64"); done
pinned=()
for name in "${needed[@]}"; do
    pin=$(grep -iE "^${name//-/[-_]}==" "$root/requirements.lock" | head -1 | sed 's/[ ;\\].*//')
    [ -n "$pin" ] || { echo "requirements.lock has no $name" >&2; exit 1; }
    pinned+=("$pin")
done
rm -rf "$root/bench/gpu/wheels"
python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp "${platforms[@]}" -d "$root/bench/gpu/wheels" "${pinned[@]}"
du -sh "$root/bench/gpu/wheels"
