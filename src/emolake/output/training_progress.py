"""One progress bar for whatever is trained, on standard error."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Bar:
    """Steps done, with the last loss and the rate in clips per second."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("training", total=total, loss="", rate="")
        self._clips = 0

    def advance(self, name: str, *, clips: int, loss: float | None = None, steps: int = 1) -> None:
        """Show `steps` more steps of what is called `name`, in which `clips` clips were heard."""
        self._clips += clips
        elapsed = self._progress.tasks[0].elapsed or 0.0
        self._progress.update(
            self._task,
            advance=steps,
            description=name,
            loss="" if loss is None else f", loss {loss:.3f}",
            rate=f", {self._clips / elapsed:.0f} clips/s" if elapsed else "",
        )


@contextmanager
def progress_bar(total: int, unit: str) -> Iterator[Bar]:
    """Show a bar of `total` steps that are called `unit`."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit + "{task.fields[loss]}{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield Bar(progress, total)
