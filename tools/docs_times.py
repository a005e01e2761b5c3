"""The table of a page's steps with the time that each takes, between `<!-- times -->` and `<!-- /times -->`."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

WORDS_A_MINUTE = 200
"""Read by somebody whose language it is not."""
KEYS_A_MINUTE = 120
"""Typed with two fingers."""

_STEP = re.compile(r"^## (.+)$", re.MULTILINE)
_BLOCK = re.compile(r"^(`{3,})\w*[^\n]*\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_TABLE = re.compile(r"(?<=<!-- times -->\n).*?(?=<!-- /times -->)", re.DOTALL)


class Step(NamedTuple):
    """A section of a page, in seconds."""

    title: str
    reading: float
    typing: float
    machine: float


def steps(page: str, machine: Sequence[float]) -> list[Step]:
    """Return the numbered sections of a page ("1. Install").

    Args:
        page: the Markdown.
        machine: seconds of the commands that the page shows and that were run, in their order.
    """
    left = iter(machine)
    return [_step(title, text, left) for title, text in _sections(_TABLE.sub("", page))]


def with_times(page: str, machine: Sequence[float]) -> str:
    """Return a page with its table of times, if it has one."""
    return _TABLE.sub(lambda _: _table(steps(page, machine)), page)


def _sections(page: str) -> Iterator[tuple[str, str]]:
    titles = list(_STEP.finditer(page))
    for title, following in zip(titles, [*titles[1:], None], strict=True):
        if title[1][0].isdigit():
            yield title[1], page[title.end() : following.start() if following else len(page)]


def _step(title: str, text: str, machine: Iterator[float]) -> Step:
    typed = output = 0
    seconds = 0.0
    for block in _BLOCK.finditer(text):
        is_run = _line_before(text, block.start()).startswith("<!-- run")
        for line in block[2].splitlines():
            if line.startswith("$ "):
                typed += len(line) - 2
                seconds += next(machine) if is_run else 0
            else:
                output += 1
    words = len(_COMMENT.sub("", _BLOCK.sub("", text)).split())
    return Step(title, words / WORDS_A_MINUTE * 60 + output, typed / KEYS_A_MINUTE * 60, seconds)


def _line_before(text: str, place: int) -> str:
    return text[:place].rstrip("\n").rpartition("\n")[2]


def _table(found: Sequence[Step]) -> str:
    rows = [(step.title, step.reading, step.typing, step.machine) for step in found]
    total = ("**all**", *(sum(column) for column in list(zip(*rows, strict=True))[1:]))
    lines = ["| step | reading | typing | the machine |", "|---|---|---|---|"]
    for title, reading, typing, machine in (*rows, total):
        lines.append(f"| {title} | {_clock(reading)} | {_clock(typing)} | {machine:.0f} s |")
    return "\n".join(lines) + "\n"


def _clock(seconds: float) -> str:
    return f"{seconds // 60:.0f} min {seconds % 60:02.0f}"
