"""Runs one part of `bench.gpu.run` in this process: name, device, size, and the file that takes its cases."""

import sys
from pathlib import Path

from bench.gpu import nights, parts


def main() -> None:
    name, device, size, path = sys.argv[1:]
    report = parts.Report(Path(path))
    if name.startswith("speed_"):
        parts.speed(report, device, size, name.removeprefix("speed_"))
        return
    {
        "machine": parts.machine,
        "correctness": parts.correctness,
        "trouble": parts.trouble,
        "others": nights.others,
        "night": nights.night,
    }[name](report, device, size)


if __name__ == "__main__":
    main()
