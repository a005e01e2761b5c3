"""Runs the benches one after another, each in a process of its own, and writes bench/RESULTS.md.

python -m bench.all --size short --only limit precision

A bench has a section there for each processor that it ran on; what is not run, and what ran elsewhere, is kept.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

from bench.common import SIZES
from emolake.models.runtimes.quicker_runtime import processor

HERE = Path(__file__).parent
BENCHES = (
    "start",
    "overhead",
    "against",
    "limit",
    "operators",
    "precision",
    "memory",
    "planning",
    "commits",
    "commit_cost",
    "growth",
    "cluster_growth",
    "aggregating",
    "warehouse",
    "decode",
    "feed",
    "robustness",
    "reporting",
    "ray_engine",
)
ELSEWHERE = ("gpu",)
"""Benches with a script of their own, on another machine: `bench.gpu.results` writes their sections."""
_SECTION = re.compile(r"<!-- (\w+) on (.+?) -->\n(.*?)(?=\n<!-- |\Z)", re.DOTALL)
_HEAD = """\
# What was measured

Written by `make bench`; every section by its own command, alone on its machine or not as its load average says.
Work that is compared ran in turns in one process. Figures are medians, in brackets the least and the largest.
A figure, and a factor too, holds on the processor that its section names: each processor has sections of its own.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="short")
    parser.add_argument("--only", nargs="*", choices=BENCHES, default=BENCHES)
    arguments = parser.parse_args()
    results = HERE / "RESULTS.md"
    for name in arguments.only:
        print(f"bench: {name}", file=sys.stderr)
        done = subprocess.run(
            [sys.executable, "-m", f"bench.{name}", "--size", arguments.size],
            stdout=subprocess.PIPE, text=True, check=True, cwd=HERE.parent,
        )  # fmt: skip
        before = results.read_text("utf-8") if results.is_file() else ""
        results.write_text(with_section(before, name, processor(), done.stdout), "utf-8")


def with_section(text: str, bench: str, processor: str, section: str) -> str:
    """Return RESULTS.md with a bench's section of a processor in place of the one that it has, if any."""
    sections = {(name, where): found for name, where, found in _SECTION.findall(text)}
    sections[bench, processor] = section
    known = sorted(sections, key=lambda key: ((*BENCHES, *ELSEWHERE).index(key[0]), key[1]))
    parts = [f"<!-- {name} on {where} -->\n{sections[name, where].strip()}\n" for name, where in known]
    return "\n".join([_HEAD, *parts])


if __name__ == "__main__":
    main()
