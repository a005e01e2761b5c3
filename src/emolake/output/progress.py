"""Progress of a run that is shown to a person; silent unless somebody shows it.

Shards run in threads of Prefect, which take no objects as parameters: the bars are the process' own.
"""

from collections.abc import Iterator, Sequence
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
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    track,
)
from rich.text import Text

T = TypeVar("T")


class _AudioColumn(ProgressColumn):
    """Decoded audio, and how much faster than real time it went."""

    def render(self, task: Task) -> Text:
        seconds = float(task.fields.get("audio_seconds", 0.0))
        speed = f" at {seconds / task.elapsed:.0f}x" if task.elapsed else ""
        return Text(f"{seconds / 60:.1f} min{speed}")


class _Bars:
    """One bar per day, made when its first recordings are planned."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._lock = Lock()

    def expect(self, day: str, recordings: int) -> None:
        with self._lock:
            if day not in self._tasks:
                self._tasks[day] = self._progress.add_task(day, total=0, audio_seconds=0.0)
            task = self._progress.tasks[self._tasks[day]]
            self._progress.update(task.id, total=(task.total or 0) + recordings)

    def advance(self, day: str, audio_seconds: float) -> None:
        with self._lock:
            if day in self._tasks:
                task = self._progress.tasks[self._tasks[day]]
                self._progress.update(
                    task.id, advance=1, audio_seconds=task.fields["audio_seconds"] + audio_seconds
                )


_bars: _Bars | None = None


@contextmanager
def shown() -> Iterator[None]:
    """Show the bars on standard error while the block runs."""
    global _bars
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("recordings,"),
        _AudioColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        _bars = _Bars(progress)
        try:
            yield
        finally:
            _bars = None


def expect(day: str, recordings: int) -> None:
    """Tell that so many recordings of a day are to be analysed."""
    if _bars is not None:
        _bars.expect(day, recordings)


def advance(day: str, audio_seconds: float) -> None:
    """Tell that one recording of a day was analysed."""
    if _bars is not None:
        _bars.advance(day, audio_seconds)


def through(items: Sequence[T], what: str) -> Iterator[T]:
    """Yield the items, with a bar on standard error where a person looks at it."""
    console = Console(stderr=True)
    yield from track(items, what, console=console, transient=True, disable=not console.is_terminal)
