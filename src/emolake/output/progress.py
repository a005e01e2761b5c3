"""Progress bars on standard error: the one way in which long work shows how far it is."""

from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from threading import Lock
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")
_WIDTH = 24


class Bar:
    """One bar: steps done of those expected, and a note behind them; safe to use from several threads."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task
        self._expected = progress.tasks[task].total or 0.0
        self._lock = Lock()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the bar was added."""
        return self._progress.tasks[self._task].elapsed or 0.0

    def expect(self, steps: int) -> None:
        """Expect so many steps more."""
        with self._lock:
            self._expected += steps
            self._progress.update(self._task, total=self._expected)

    def advance(self, steps: int = 1, *, description: str | None = None, note: str = "") -> None:
        """Take so many steps; `description` replaces the text before the bar, and `note` the one behind it."""
        self._progress.update(self._task, advance=steps, description=description, note=note)


class Bars:
    """Bars one below the other, of one unit."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def add(self, description: str, total: int = 0) -> Bar:
        """Add a bar of `total` steps."""
        return Bar(self._progress, self._progress.add_task(description, total=total, note=""))


@contextmanager
def progress_bars(unit: str, *, remaining: bool = True, transient: bool = False) -> Iterator[Bars]:
    """Show bars while the block runs.

    Args:
        unit: what the steps are called.
        remaining: show the time that is left, estimated from the time so far.
        transient: remove the bars in the end, and show none where nobody looks at a terminal.
    """
    console = Console(stderr=True)
    columns: list[ProgressColumn] = [
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=_WIDTH),
        MofNCompleteColumn(),
        TextColumn(f"{unit}{{task.fields[note]}}"),
        TimeElapsedColumn(),
        *([TimeRemainingColumn()] if remaining else []),
    ]
    disable = transient and not console.is_terminal
    with Progress(*columns, console=console, transient=transient, disable=disable) as progress:
        yield Bars(progress)


def track(
    items: Iterable[T], description: str, *, unit: str, total: int | None = None, transient: bool = False
) -> Iterator[T]:
    """Yield the items, with a bar that counts them; see `progress_bars`.

    Args:
        items: what is worked on.
        description: what is done, before the bar.
        unit: what the items are called.
        total: how many items there are, where they have no length.
        transient: as of `progress_bars`.
    """
    if total is None:
        total = len(items) if isinstance(items, Sized) else 0
    with progress_bars(unit, transient=transient) as bars:
        bar = bars.add(description, total)
        for item in items:
            yield item
            bar.advance()
