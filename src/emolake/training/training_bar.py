"""The progress bar of whatever is trained."""

from collections.abc import Iterator
from contextlib import contextmanager

from emolake.output.progress import Bar, progress_bars


class TrainingBar:
    """Steps done, with the last loss and the rate in clips per second."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._clips = 0

    def advance(self, name: str, *, clips: int, loss: float | None = None, steps: int = 1) -> None:
        """Show `steps` more steps of what is called `name`, for which the network took `clips` clips."""
        self._clips += clips
        elapsed_s = self._bar.elapsed_s
        known = "" if loss is None else f", loss {loss:.3f}"
        rate = f", {self._clips / elapsed_s:.0f} clips/s" if elapsed_s else ""
        self._bar.advance(steps, description=name, note=known + rate)


@contextmanager
def training_bar(total: int, unit: str) -> Iterator[TrainingBar]:
    """Show a bar of `total` steps that are called `unit`."""
    with progress_bars(unit) as bars:
        yield TrainingBar(bars.add("training", total))
