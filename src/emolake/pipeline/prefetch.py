"""An iterator that runs ahead in a thread of its own, through a bounded queue."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


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
    queue = _WeightedQueue(capacity)
    stopped = Event()

    def put(item: object, weight: int = 1) -> bool:
        while not stopped.is_set():
            try:
                queue.put((item, weight), timeout=0.1)
            except Full:
                continue
            return True
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put(item, weight(item)):
                    break
            else:
                put(_END)
        except BaseException as error:  # noqa: BLE001 - it is raised again in the consumer's thread
            put(_Failed(error))
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    def consume() -> Iterator[T]:
        while True:
            try:
                item, _ = queue.get(timeout=1.0)
            except Empty:
                if not thread.is_alive() and queue.empty():
                    raise RuntimeError(f"the thread {name} ended without a word") from None
                continue
            if item is _END:
                return
            if isinstance(item, _Failed):
                raise item.error
            yield item  # type: ignore[misc]  # what `produce` put is an item of `items`

    thread = Thread(target=produce, name=name, daemon=True)
    thread.start()
    try:
        yield consume()
    finally:
        stopped.set()
        thread.join()
