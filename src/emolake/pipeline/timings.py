"""Where the time of a shard goes."""

from collections.abc import Iterable, Iterator
from threading import Lock
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")


class Timings:
    """Seconds by stage of one shard; stages run side by side, so their sum may pass the wall time."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lock = Lock()

    def add(self, stage: str, seconds: float) -> None:
        """Add seconds to a stage."""
        with self._lock:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def of(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """Yield the items, adding the time that each took to come to a stage."""
        iterator = iter(items)
        while True:
            started = perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self.add(stage, perf_counter() - started)
            yield item
