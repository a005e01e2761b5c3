"""Run the commands of the documentation, and paste what they print.

    python -m tools.docs_output [--check] [PAGE…]

A page says by comments, which a reader does not see, what is run:

    <!-- run -->                 the commands (`$ …`) of the console block below; what each prints is written behind it
    <!-- run: head=9 tail=3 -->  the same, with the first and the last lines of a long output, and `…` between them
    <!-- run: match=A|B -->      the same, with only the lines that match the regular expression, and `…` for others
    <!-- run: fails -->          the same, with a command that is meant to fail: elsewhere that ends the tool
    <!-- file: emolake.toml -->  the code block below is written to a file first
    <!-- hidden: COMMAND -->     a command that is run and not shown
    <!-- not run: REASON -->     the console block below is pasted by hand, and why

All commands of a page run one after the other in a scratch folder, which is shown as /srv/emolake, with a clean
environment in which $REPOSITORY is the checkout. Where what they print differs in times, identifiers and the last
digits of a fraction only, the page stays as it is.
"""

import argparse
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from tools.docs_times import with_times

ROOT = Path(__file__).parents[1]
SHOWN_FOLDER = "/srv/emolake"
"""What the scratch folder is called in the pages; as long as its own name, so that tables keep their columns."""

_PART = re.compile(
    r"^<!-- (?P<kind>run|file|hidden|not run)(?:: (?P<text>.*?))? -->\n"
    r"(?:(?P<fence>`{3,})(?P<language>\w+)[^\n]*\n(?P<body>.*?)^(?P=fence)\n)?",
    re.MULTILINE | re.DOTALL,
)
_CONSOLE = re.compile(r"^```console\b", re.MULTILINE)
_LIMIT_S = 600

# What differs from one run to the next.
_VARYING = re.compile(
    "(?m)"
    r"\d{8}T\d{6}-[0-9a-f]{6}"  # of a run's id
    r"|\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(\.\d+)?([+-]\d{2}(:\d{2})?)?"
    r"|\d+:\d{2}:\d{2}"
    r"|\bat (the )?[\d.]+ ?x\b"
    r"|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"
    r"|\b[0-9a-f]{12,64}\b"
    r"|127\.0\.0\.1:\d+"
    r"|\b[\d.]+ [GM]B\b"
    r"|(?<=wall_s {9}│ )[\d.]+"
    r"|\b\d+ s(?= \|$)"  # of the table of times
)
# What a terminal shows as a bar: how many lines there are depends on the speed.
_PROGRESS = re.compile(r"\d{4}-\d{2}-\d{2}T\S+ info ")
_RULES = re.compile(r"[━╇┃│\s]+")
_FRACTION = re.compile(r"-?\d+\.\d+")
_NEAR = 0.021  # two last digits of a share that is shown with two


class Command(NamedTuple):
    """A command of a page, and how long it took."""

    text: str
    seconds: float


class Stale(Exception):
    """A page does not show what its commands print."""


def refreshed(page: str) -> tuple[str, list[Command]]:
    """Run the commands of a page; return the page with what they print, and the commands that it shows."""
    commands: list[Command] = []
    parts: list[str] = []
    end = 0
    with scratch_folder() as folder:
        for part in _PART.finditer(page):
            parts.append(page[end : part.start()])
            parts.append(_refreshed(part, folder, commands))
            end = part.end()
    new = "".join(parts) + page[end:]
    timed = with_times(new, [command.seconds for command in commands])
    return new if is_alike(new, timed) else timed, commands


def unmarked_blocks(page: str) -> list[int]:
    """Return the lines of the console blocks that are neither run nor say why they are not."""
    marked = {
        part.start("fence")
        for part in _PART.finditer(page)
        if part["kind"] in ("run", "not run") and part["fence"]
    }
    return [
        page.count("\n", 0, block.start()) + 1
        for block in _CONSOLE.finditer(page)
        if block.start() not in marked
    ]


def is_alike(before: str, after: str) -> bool:
    """Whether two outputs differ only in what differs from one run to the next."""
    old, new = (_RULES.sub(" ", _VARYING.sub("#", text)).split() for text in (before, after))
    return len(old) == len(new) and all(map(_are_near, old, new))


def _are_near(old: str, new: str) -> bool:
    if old == new:
        return True
    return bool(
        _FRACTION.fullmatch(old) and _FRACTION.fullmatch(new) and abs(float(old) - float(new)) <= _NEAR
    )


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder whose name is as long as the one that is shown."""
    folder = Path(f"/tmp/{secrets.token_hex(6)}"[: len(SHOWN_FOLDER)])
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _refreshed(part: re.Match[str], folder: Path, commands: list[Command]) -> str:
    kind, text, body = part["kind"], part["text"] or "", part["body"]
    if kind == "hidden":
        printed, status, _ = _run(text, folder)
        if status:
            raise SystemExit(f"{text}: exit {status}\n{printed}")
    elif kind == "file":
        (folder / text).write_text(body, "utf-8")
    elif kind == "run":
        options = {name: value for name, _, value in (word.partition("=") for word in text.split())}
        new = "".join(_shown(command, folder, commands, options) for command in _commands(body))
        if not is_alike(body, new):
            return part[0][: part.start("body") - part.start()] + new + f"{part['fence']}\n"
    return part[0]


def _commands(body: str) -> Iterator[str]:
    """Yield the commands of a console block, each with the lines that it goes on in."""
    lines = iter(body.splitlines())
    for line in lines:
        if line.startswith("$ "):
            command = line[2:]
            while command.endswith("\\"):
                command += "\n" + next(lines)
            yield command


def _shown(command: str, folder: Path, commands: list[Command], options: dict[str, str]) -> str:
    """Run a command; return it with what it prints, as the page shows it."""
    printed, status, seconds = _run(command, folder)
    commands.append(Command(command, seconds))
    output = printed.replace(str(folder), SHOWN_FOLDER).splitlines()
    lines = [line.rstrip() for line in output if not _PROGRESS.match(line)]
    head, tail = int(options.get("head", 0)), int(options.get("tail", 0))
    if "match" in options:
        lines = list(_matching(lines, re.compile(options["match"])))
    elif (head or tail) and len(lines) > head + tail + 1:
        lines = [*lines[:head], "…", *lines[len(lines) - tail :]]
    if status:
        if "fails" not in options:
            raise SystemExit(f"{command}: exit {status}, and its block does not say `fails`\n{printed}")
        lines.append(f"[exit {status}]")
    return "\n".join([f"$ {command}", *lines]) + "\n"


def _matching(lines: Sequence[str], wanted: re.Pattern[str]) -> Iterator[str]:
    """Yield the lines that match, and `…` for each stretch of others."""
    for matches, stretch in groupby(lines, lambda line: bool(wanted.search(line))):
        yield from stretch if matches else ["…"]


def _run(command: str, folder: Path) -> tuple[str, int, float]:
    """Return what a command prints, on either stream, its exit status and its seconds."""
    began = perf_counter()
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=_environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_LIMIT_S,
        check=False,
    )
    return done.stdout.decode("utf-8", "replace"), done.returncode, perf_counter() - began


def _environment(folder: Path) -> dict[str, str]:
    """Return an environment without anything of the person's own, in which `emolake` and `python` are ours."""
    kept = {name: os.environ[name] for name in ("LANG", "OMP_NUM_THREADS") if name in os.environ}
    paths = [os.environ.get("PYTHONPATH", ""), str(ROOT)]
    return kept | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "HOME": str(folder),
        "REPOSITORY": str(ROOT),
        "EMOLAKE_CACHE": str(folder / ".cache"),
        "TZ": "UTC",
        "COLUMNS": "200",
        "PYTHONWARNINGS": "ignore",
    }


def pages() -> list[Path]:
    """Return the pages that have console blocks: README and the like, and those of docs/."""
    others = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "deployments/README.md")]
    return [
        page
        for page in (*others, *sorted((ROOT / "docs").glob("*.md")))
        if _CONSOLE.search(page.read_text("utf-8"))
    ]


def main() -> None:
    """Bring pages up to date, or say which are not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "pages", nargs="*", type=Path, metavar="PAGE", help="all that show commands, when left out"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 where a page is not up to date"
    )
    arguments = parser.parse_args()
    stale = []
    for path in arguments.pages or pages():
        before = path.read_text("utf-8")
        after, commands = refreshed(before)
        seconds = sum(command.seconds for command in commands)
        state = "as before" if after == before else "stale" if arguments.check else "written"
        print(f"{path}: {len(commands)} commands in {seconds:.0f} s: {state}")
        if after != before:
            stale.append(shlex.quote(str(path)))
            if not arguments.check:
                path.write_text(after, "utf-8")
    if stale and arguments.check:
        sys.exit(f"run: python -m tools.docs_output {' '.join(stale)}")


if __name__ == "__main__":
    main()
