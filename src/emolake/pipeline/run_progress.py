"""How far a run is, shown to a person: a bar for each of its days, or a line now and then; silent unless somebody asks.

Shards run in threads of Prefect, which take no objects as parameters: the bars are the process' own.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from threading import Event, Lock, Thread
from time import monotonic
from typing import Protocol

from emolake.output.progress import Bar, Bars, progress_bars

_log = logging.getLogger(__name__)


class _Sink(Protocol):
    """Where the progress of a run goes."""

    def expect(self, day: str, recordings: int) -> None: ...

    def advance(self, day: str, audio_seconds: float, recordings: int = 1) -> None: ...


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

    def advance(self, day: str, audio_seconds: float, recordings: int = 1) -> None:
        with self._lock:
            if day in self._by_day:
                bar = self._by_day[day]
                self._audio_seconds[day] += audio_seconds
                seconds = self._audio_seconds[day]
                speed = f" at {seconds / bar.elapsed_s:.0f}x" if bar.elapsed_s else ""
                bar.advance(recordings, note=f", {seconds / 60:.1f} min{speed}")


class _Lines:
    """One line for all of the days: how many recordings of those planned so far, and the audio decoded."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._started = monotonic()
        self._expected = self._decoded = 0
        self._audio_seconds = 0.0
        self._day = ""

    def expect(self, day: str, recordings: int) -> None:
        with self._lock:
            self._expected += recordings

    def advance(self, day: str, audio_seconds: float, recordings: int = 1) -> None:
        with self._lock:
            self._decoded += recordings
            self._audio_seconds += audio_seconds
            self._day = day

    def say(self) -> None:
        with self._lock:
            if self._expected:
                speed = self._audio_seconds / max(monotonic() - self._started, 1e-3)
                of = f"{self._decoded} of {self._expected} recordings"
                at = f", now at {self._day}" if self._day else ""
                _log.info("%s, %.1f min of audio at %.0fx%s", of, self._audio_seconds / 60, speed, at)


class Advanced:
    """What an attempt at a shard has advanced, in whatever thread, to be taken back should it fail."""

    def __init__(self) -> None:
        self._advanced: list[tuple[str, float, int]] = []

    def note(self, day: str, audio_seconds: float, recordings: int) -> None:
        """Note so much that was shown."""
        self._advanced.append((day, audio_seconds, recordings))

    def take_back(self) -> None:
        """Show that nothing of it counts."""
        for day, audio_seconds, recordings in self._advanced:
            add(day, -audio_seconds, -recordings)


class Collected:
    """The progress of a process that others show; taken by one thread, and added to in any."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._advanced: dict[str, tuple[float, int]] = {}
        self.signs = 0
        """Grows whenever anything got further, be it by a segment."""

    def expect(self, day: str, recordings: int) -> None:
        """Note nothing: who plans shows it."""

    def advance(self, day: str, audio_seconds: float, recordings: int = 1) -> None:
        """Note what was decoded."""
        with self._lock:
            seconds, number = self._advanced.get(day, (0.0, 0))
            self._advanced[day] = seconds + audio_seconds, number + recordings
            self.signs += 1

    def sign(self) -> None:
        """Note that something got further."""
        with self._lock:
            self.signs += 1

    def take(self) -> dict[str, tuple[float, int]]:
        """Return by day the seconds and the recordings since the last call."""
        with self._lock:
            taken, self._advanced = self._advanced, {}
            return taken


_days: _Sink | None = None
_attempt: ContextVar[Advanced | None] = ContextVar("attempt", default=None)


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


@contextmanager
def reported(every_s: float) -> Iterator[None]:
    """Log a line now and then while the block runs, and one at its end; nothing where the run is shown already."""
    global _days
    if _days is not None:
        yield
        return
    lines, ended = _Lines(), Event()

    def repeat() -> None:
        while not ended.wait(every_s):
            lines.say()

    _days = lines
    thread = Thread(target=copy_context().run, args=(repeat,), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        _days = None
        ended.set()
        thread.join()
        lines.say()


def is_shown() -> bool:
    """Return whether somebody shows or logs the progress of this process already."""
    return _days is not None


def expect(day: str, recordings: int) -> None:
    """Expect so many more recordings of a day."""
    if _days is not None:
        _days.expect(day, recordings)


def advance(day: str, audio_seconds: float) -> None:
    """Note that one recording of a day was decoded, or could not be."""
    if _days is not None:
        _days.advance(day, audio_seconds)
        if (attempt := _attempt.get()) is not None:
            attempt.note(day, audio_seconds, 1)


def sign() -> None:
    """Note that a shard got further, be it by a segment: whoever watches this process takes it for alive."""
    if isinstance(_days, Collected):
        _days.sign()


def add(day: str, audio_seconds: float, recordings: int) -> None:
    """Add the progress that another process has collected of a day."""
    if _days is not None:
        _days.advance(day, audio_seconds, recordings)


def collect() -> Collected:
    """Let the progress of this process be collected from now on, for another one to show."""
    global _days
    _days = collected = Collected()
    return collected


@contextmanager
def taken_back_on_failure() -> Iterator[None]:
    """Take back what the block advanced when it fails: where it is tried again, it advances again."""
    attempt = Advanced()
    token = _attempt.set(attempt)
    try:
        yield
    except BaseException:
        attempt.take_back()
        raise
    finally:
        _attempt.reset(token)
