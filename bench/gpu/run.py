"""Runs the parts, each in a process and with a time limit of its own, and writes one JSON; see bench/gpu/run.sh.

A part that fails, hangs or runs out of time leaves what it had found, and the others run all the same.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

# Parts in the order of their weight, and the seconds that each may take.
PARTS: Mapping[str, int] = {
    "machine": 40,
    "speed_hubert_large": 110,
    "correctness": 80,
    "others": 60,
    "night": 110,
    "speed_default": 30,
    "speed_hubert_base": 40,
    "speed_whisper_base": 30,
    "trouble": 40,
}
_STARTS_S = 15.0  # a part is not begun with less left


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--size", choices=("tiny", "full"), default="full")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("gpu.json"),
        help="where the JSON goes, written again after each part",
    )
    parser.add_argument("--only", nargs="*", choices=tuple(PARTS), default=tuple(PARTS))
    parser.add_argument("--minutes", type=float, default=7.5, help="in all")
    arguments = parser.parse_args()
    found = run(arguments.only, arguments.device, arguments.size, arguments.minutes * 60, arguments.out)
    ended = [part["ended"] for part in found["parts"].values()]
    print(f"{ended.count('whole')} of {len(ended)} parts are whole; {arguments.out}")
    sys.exit(0 if "whole" in ended else 1)


def run(parts: list[str], device: str, size: str, total_s: float, out: Path) -> dict[str, Any]:
    """Run parts and return what they found, which is written to a file after each."""
    deadline = monotonic() + total_s
    is_rehearsal = size == "tiny" or not device.startswith("cuda")
    found: dict[str, Any] = {
        "format": 1, "device": device, "size": size, "rehearsal": is_rehearsal, "commit": _commit(), "parts": {}
    }  # fmt: skip
    for name in parts:
        left = min(PARTS[name], deadline - monotonic())
        print(f"{name}: at most {max(0, left):.0f} s", flush=True)
        nothing: dict[str, Any] = {"ended": "not begun: no time was left", "cases": []}
        found["parts"][name] = nothing if left < _STARTS_S else _part(name, device, size, left)
        out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    return found


def _part(name: str, device: str, size: str, limit_s: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "cases.json")
        command = [sys.executable, "-m", "bench.gpu.part", name, device, size, str(path)]
        began = monotonic()
        # its temporary files go with the folder, also when it is killed
        process = subprocess.Popen(command, start_new_session=True, env={**os.environ, "TMPDIR": folder})
        try:
            status = process.wait(limit_s)
            ended = "whole" if status == 0 else f"failed with status {status}"
        except subprocess.TimeoutExpired:
            ended = f"stopped after {limit_s:.0f} s"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and its decoders
            process.wait()
        cases = json.loads(path.read_text("utf-8")) if path.is_file() else []
    return {"ended": ended, "seconds": round(monotonic() - began, 1), "cases": cases}


def _commit() -> str:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
