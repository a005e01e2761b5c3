"""Iterators that run side by side, each in a thread of its own, and whose items come out one iterator after the other.

What is made too early waits, so that the order is that of the jobs however long each takes. What waits of all of them
together is bounded, and the first of them, whose items are wanted next, always has room.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from itertools import count
from threading import Condition, Lock, Thread
from typing import Generic, TypeVar

from emolake import telemetry

J = TypeVar("J")
T = TypeVar("T")

# What iterators behind the first one leave of the room, so that this one never waits for them.
_FIRSTS_SHARE = 0.25


class Places:
    """Places to run in, which a process has so many of: each use of `abreast` has one, and takes more that are free."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._taken = 0
        self._users: set[Callable[[], None]] = set()

    def enter(self, notify: Callable[[], None]) -> None:
        """Take the place that every user has; `notify` is called when one may have become free."""
        with self._lock:
            self._taken += 1
            self._users.add(notify)

    def leave(self, notify: Callable[[], None]) -> None:
        """Give the user's own place back."""
        with self._lock:
            self._users.discard(notify)
        self.give_back()

    def take(self, limit: int) -> bool:
        """Take one more place if fewer than `limit` are taken; return whether it was."""
        with self._lock:
            free = self._taken < limit
            self._taken += free
            return free

    def give_back(self) -> None:
        """Give one place back."""
        with self._lock:
            self._taken -= 1
            users = list(self._users)
        for notify in users:
            notify()


class _Lane(Generic[T]):
    """An iterator at work, and what it has made that nobody has taken yet."""

    def __init__(self) -> None:
        self.items: deque[tuple[T, int]] = deque()
        self.ended = False
        self.error: BaseException | None = None


class _Abreast(Generic[J, T]):
    """See `abreast`. One condition guards the lanes; it is never held where another user's may be taken."""

    def __init__(
        self,
        jobs: Iterable[J],
        work: Callable[[J], Iterator[T]],
        places: Places,
        limit: int,
        capacity: int,
        name: str,
        weight: Callable[[T], int],
    ) -> None:
        self._jobs, self._work, self._weight = jobs, work, weight
        self._places, self._limit, self._capacity, self._name = places, limit, capacity, name
        self._changed = Condition()
        self._lanes: deque[_Lane[T]] = deque()
        self._own_place_is_free = True
        self._held = self._waiting = 0
        self._depth = telemetry.Part("emolake.queue.depth", queue=name)
        self._all_begun = False
        self._stopped = False
        self._fillers: list[Thread] = []
        places.enter(self._notify)
        self._beginner = Thread(target=copy_context().run, args=(self._begin_lanes,), name=name, daemon=True)
        self._beginner.start()

    def stop(self) -> None:
        """End every thread, and wait for their ends."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._beginner.join()
        for filler in self._fillers:
            filler.join()
        self._depth.set(0)
        self._places.leave(self._notify)

    def consume(self) -> Iterator[T]:
        """Yield the items; raise what an iterator raised behind what it gave."""
        while True:
            with self._changed:
                self._changed.wait_for(self._can_go_on)
                if not self._lanes:
                    return
                first = self._lanes[0]
                if not first.items:
                    self._lanes.popleft()
                    self._changed.notify_all()  # the next one is the first now, and has room
                    if first.error is not None:
                        raise first.error
                    continue
                item, weight = first.items.popleft()
                self._held -= weight
                self._waiting -= 1
                self._depth.set(self._waiting)
                self._changed.notify_all()
            yield item

    def _can_go_on(self) -> bool:
        if not self._lanes:
            return self._all_begun
        return self._lanes[0].ended or bool(self._lanes[0].items)

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _begin_lanes(self) -> None:
        """Begin a lane for each job, as soon as there is a place for it."""
        last = _Lane[T]()  # for what the jobs themselves raise
        last.ended = True
        jobs = iter(self._jobs)
        try:
            for number in count():
                is_extra = self._place()
                if is_extra is None:
                    break
                try:
                    job = next(jobs)
                except BaseException:
                    self._free(is_extra=is_extra)
                    raise
                lane = _Lane[T]()
                with self._changed:
                    self._lanes.append(lane)
                filler = Thread(
                    target=copy_context().run,  # logs are about the shard in these threads too
                    args=(self._fill, lane, job, is_extra),
                    name=f"{self._name}_{number}",
                    daemon=True,
                )
                self._fillers = [*(each for each in self._fillers if each.is_alive()), filler]
                filler.start()
        except StopIteration:
            pass
        except BaseException as error:  # noqa: BLE001 - it is raised again in the consumer's thread
            last.error = error
        finally:
            _close(jobs)
        with self._changed:
            self._lanes.append(last)
            self._all_begun = True
            self._changed.notify_all()

    def _place(self) -> bool | None:
        """Wait for a place; return whether it is one beside the user's own, or None when nobody wants more."""
        with self._changed:
            while not self._stopped:
                if self._own_place_is_free:
                    self._own_place_is_free = False
                    return False
                if self._places.take(self._limit):
                    return True
                self._changed.wait()
        return None

    def _free(self, *, is_extra: bool) -> None:
        if is_extra:
            self._places.give_back()
            return
        with self._changed:
            self._own_place_is_free = True
            self._changed.notify_all()

    def _fill(self, lane: _Lane[T], job: J, is_extra: bool) -> None:
        try:
            items = self._work(job)
            try:
                for item in items:
                    if not self._put(lane, item):
                        break
            finally:
                _close(items)
        except BaseException as error:  # noqa: BLE001 - it is raised again in the consumer's thread
            lane.error = error
        with self._changed:
            lane.ended = True
            self._changed.notify_all()
        self._free(is_extra=is_extra)

    def _put(self, lane: _Lane[T], item: T) -> bool:
        """Put an item when there is room; return False when nobody wants it any more."""
        weight = self._weight(item)
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._has_room(lane))
            if self._stopped:
                return False
            lane.items.append((item, weight))
            self._held += weight
            self._waiting += 1
            self._depth.set(self._waiting)
            self._changed.notify_all()
        return True

    def _has_room(self, lane: _Lane[T]) -> bool:
        if lane is self._lanes[0]:
            return self._held < self._capacity or not lane.items
        return self._held < self._capacity * (1 - _FIRSTS_SHARE)


def _close(items: object) -> None:
    close = getattr(items, "close", None)
    if close is not None:
        close()


@contextmanager
def abreast(
    jobs: Iterable[J],
    work: Callable[[J], Iterator[T]],
    *,
    places: Places,
    limit: int,
    capacity: int,
    name: str,
    weight: Callable[[T], int] = lambda item: 1,
) -> Iterator[Iterator[T]]:
    """Give what `work` makes of each job, job after job, while that of later ones is made too; raise what it raises.

    Leaving the block ends the threads, and closes in them the generators that they are at.

    Args:
        jobs: what is asked for when there is a place for it.
        work: returns an iterator, which is run through in a thread of its own.
        places: what all users of a process share.
        limit: how many may run at once in the process, one for each user apart.
        capacity: the weight of what may wait of all iterators; the item that exceeds it waits too, and each iterator
            has one more in the making.
        name: of the threads.
        weight: what an item counts, 1 at least.
    """
    lanes = _Abreast(jobs, work, places, limit, capacity, name, weight)
    try:
        yield lanes.consume()
    finally:
        lanes.stop()
