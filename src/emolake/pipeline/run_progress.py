"""How far a run is, shown to a person: a bar for each of its days; silent unless somebody shows it.

Shards run in threads of Prefect, which take no objects as parameters: the bars are the process' own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from emolake.output.progress import Bar, Bars, progress_bars


class _Days:
    """A bar for each day, added when its first recordings are planned, with the audio decoded so far."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._by_day: dict[str, Bar] = {}
        self._audio_seconds: dict[str, float] = {}
        self._lock = Lock()

    def expect(self, day: str, recordings: int) -> None:
        with self._lock:
            if day not in self._by_day:
                self._by_day[day], self._audio_seconds[day] = self._bars.add(day), 0.0
            self._by_day[day].expect(recordings)

    def advance(self, day: str, audio_seconds: float) -> None:
        with self._lock:
            if day in self._by_day:
                bar = self._by_day[day]
                self._audio_seconds[day] += audio_seconds
                seconds = self._audio_seconds[day]
                speed = f" at {seconds / bar.elapsed_s:.0f}x" if bar.elapsed_s else ""
                bar.advance(note=f", {seconds / 60:.1f} min{speed}")


_days: _Days | None = None


@contextmanager
def shown() -> Iterator[None]:
    """Show the bars on standard error while the block runs."""
    global _days
    with progress_bars("recordings", remaining=False) as bars:
        _days = _Days(bars)
        try:
            yield
        finally:
            _days = None


def expect(day: str, recordings: int) -> None:
    """Expect so many more recordings of a day."""
    if _days is not None:
        _days.expect(day, recordings)


def advance(day: str, audio_seconds: float) -> None:
    """Note that one recording of a day was decoded, or could not be."""
    if _days is not None:
        _days.advance(day, audio_seconds)
