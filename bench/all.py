"""Runs the benches one after another, each in a process of its own, and writes bench/RESULTS.md.

python -m bench.all --size short --only limit precision

A bench that is not run keeps the section that it has there.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

from bench.common import SIZES

HERE = Path(__file__).parent
BENCHES = (
    "overhead",
    "against",
    "limit",
    "operators",
    "precision",
    "memory",
    "planning",
    "warehouse",
    "decode",
    "robustness",
)
_SECTION = re.compile(r"<!-- (\w+) -->\n(.*?)(?=\n<!-- |\Z)", re.DOTALL)
_HEAD = """\
# What was measured

Written by `make bench`; every section by its own command, alone on its machine or not as its load average says.
Work that is compared ran in turns in one process. Figures are medians, in brackets the least and the largest.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="short")
    parser.add_argument("--only", nargs="*", choices=BENCHES, default=BENCHES)
    arguments = parser.parse_args()
    results = HERE / "RESULTS.md"
    sections = dict(_SECTION.findall(results.read_text("utf-8"))) if results.is_file() else {}
    for name in arguments.only:
        print(f"bench: {name}", file=sys.stderr)
        done = subprocess.run(
            [sys.executable, "-m", f"bench.{name}", "--size", arguments.size],
            stdout=subprocess.PIPE, text=True, check=True, cwd=HERE.parent,
        )  # fmt: skip
        sections[name] = done.stdout.strip() + "\n"
        known = [each for each in BENCHES if each in sections]
        text = "\n".join([_HEAD, *(f"<!-- {each} -->\n{sections[each].strip()}\n" for each in known)])
        results.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
