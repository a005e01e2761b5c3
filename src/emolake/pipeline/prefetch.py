"""An iterator that runs ahead in a thread of its own, through a bounded queue."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Generic, TypeVar

T = TypeVar("T")


_END = object()


class _Failed:
    """What the items raised, for the consumer's thread."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _WeightedQueue(Queue[tuple[object, int]]):
    """A queue of items and their weights that is full when these add up to `maxsize`."""

    def _init(self, maxsize: int) -> None:
        self.queue = deque()
        self._held = 0

    def _qsize(self) -> int:
        return self._held

    def _put(self, item: tuple[object, int]) -> None:
        self.queue.append(item)
        self._held += item[1]

    def _get(self) -> tuple[object, int]:
        item: tuple[object, int] = self.queue.popleft()
        self._held -= item[1]
        return item


class _Producer(Generic[T]):
    """A thread that puts items into a queue until they end, or nobody wants more."""

    def __init__(self, items: Iterable[T], capacity: int, name: str, weight: Callable[[T], int]) -> None:
        self._items = items
        self._weight = weight
        self._queue = _WeightedQueue(capacity)
        self._stopped = Event()
        self._thread = Thread(target=self._produce, name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and wait for its end."""
        self._stopped.set()
        self._thread.join()

    def consume(self) -> Iterator[T]:
        """Yield the items; raise what they raised."""
        while True:
            try:
                item, _ = self._queue.get(timeout=1.0)
            except Empty:
                if not self._thread.is_alive() and self._queue.empty():
                    raise RuntimeError(f"the thread {self._thread.name} ended without a word") from None
                continue
            if item is _END:
                return
            if isinstance(item, _Failed):
                raise item.error
            yield item  # type: ignore[misc]  # what `_produce` put is an item

    def _produce(self) -> None:
        try:
            for item in self._items:
                if not self._put(item, self._weight(item)):
                    break
            else:
                self._put(_END)
        except BaseException as error:  # noqa: BLE001 - it is raised again in the consumer's thread
            self._put(_Failed(error))
        finally:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()

    def _put(self, item: object, weight: int = 1) -> bool:
        """Put an item when there is room; return False when nobody wants it any more."""
        while not self._stopped.is_set():
            try:
                self._queue.put((item, weight), timeout=0.1)
            except Full:
                continue
            return True
        return False


@contextmanager
def ahead(
    items: Iterable[T], *, capacity: int, name: str, weight: Callable[[T], int] = lambda item: 1
) -> Iterator[Iterator[T]]:
    """Give the items in order while a thread makes more; what it raises is raised here.

    Leaving the block ends the thread, and closes `items` in it when they are a generator.

    Args:
        items: what the thread makes.
        capacity: the weight of what may wait; the item that exceeds it waits too, and the next one is in the making.
        name: the thread's.
        weight: what an item counts, 1 at least.
    """
    producer = _Producer(items, capacity, name, weight)
    try:
        yield producer.consume()
    finally:
        producer.stop()
