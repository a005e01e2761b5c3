"""Iterators that run side by side: order, bounds, places, errors and the end of their threads."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emolake import telemetry
from emolake.pipeline.abreast import Places, abreast

run = partial(abreast, name="lane")


def alive() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("lane")]


def wait_until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 5
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.005)
    return holds()


@given(
    jobs=st.lists(st.lists(st.integers(0, 5), max_size=12), max_size=8),
    limit=st.integers(1, 5),
    capacity=st.integers(1, 12),
    pauses=st.lists(st.sampled_from([0, 0, 0, 0.001]), min_size=1, max_size=7),
)
def test_order_is_that_of_the_jobs(
    jobs: list[list[int]], limit: int, capacity: int, pauses: list[float]
) -> None:
    def slowly(job: tuple[int, list[int]]) -> Iterator[tuple[int, int, int]]:
        number, items = job
        for place, item in enumerate(items):
            time.sleep(pauses[(number + place) % len(pauses)])
            yield number, place, item

    wanted = [(number, place, item) for number, job in enumerate(jobs) for place, item in enumerate(job)]
    with run(
        enumerate(jobs),
        slowly,
        places=Places(),
        limit=limit,
        capacity=capacity,
        weight=lambda each: each[2] + 1,
    ) as items:
        assert list(items) == wanted
    assert not alive()


@pytest.mark.parametrize("limit", [1, 3])
def test_an_error_comes_behind_what_came_before_it(limit: int) -> None:
    def work(job: int) -> Iterator[int]:
        yield job
        if job == 1:
            raise ValueError("the disk is full")

    with run(range(9), work, places=Places(), limit=limit, capacity=9) as items:
        assert [next(items), next(items)] == [0, 1]
        with pytest.raises(ValueError, match="the disk is full"):
            next(items)
    assert not alive()


def test_an_error_of_the_jobs_comes_behind_what_was_made_of_them() -> None:
    def jobs() -> Iterator[int]:
        yield 1
        raise KeyError("no listing")

    with run(jobs(), lambda job: iter([job, job]), places=Places(), limit=4, capacity=9) as items:
        assert [next(items), next(items)] == [1, 1]
        with pytest.raises(KeyError, match="no listing"):
            next(items)
    assert not alive()


@pytest.mark.parametrize("limit", [1, 3])
def test_leaving_early_ends_the_threads_and_closes_the_generators_in_them(limit: int) -> None:
    opened, closed = [], []

    def endless(job: int) -> Iterator[int]:
        opened.append(threading.current_thread().name)
        try:
            yield from iter(int, 1)
        finally:
            closed.append(threading.current_thread().name)

    with run(iter(int, 1), endless, places=Places(), limit=limit, capacity=4) as items:
        assert next(items) == 0
        assert wait_until(lambda: len(opened) == limit)
    assert not alive()
    assert sorted(closed) == sorted(opened)


def test_an_error_of_the_consumer_ends_the_threads() -> None:
    def consume() -> None:
        with run(range(9), lambda job: iter(int, 1), places=Places(), limit=3, capacity=2) as items:
            raise KeyError(next(items))

    with pytest.raises(KeyError):
        consume()
    assert not alive()


def test_no_more_is_made_than_there_is_room_for() -> None:
    made: list[tuple[int, int]] = []

    def work(job: int) -> Iterator[tuple[int, int]]:
        for number in range(40):
            made.append((job, number))
            yield job, number

    with run(range(3), work, places=Places(), limit=3, capacity=8) as items:
        # later ones leave the first a quarter, and each has one more in the making
        assert wait_until(lambda: len(made) == 8 + 3)
        time.sleep(0.05)
        assert len(made) == 8 + 3
        assert sum(job > 0 for job, _ in made) <= 6 + 2
        assert list(items) == [(job, number) for job in range(3) for number in range(40)]


def test_heavy_items_fill_the_room_before_many_wait() -> None:
    made: list[int] = []

    def work(job: int) -> Iterator[int]:
        for number in [5, 1, 1, 5, 5, 5, 5]:
            made.append(number)
            yield number

    with run([0], work, places=Places(), limit=1, capacity=12, weight=lambda number: number) as items:
        assert wait_until(lambda: len(made) == 5)
        time.sleep(0.05)
        assert made == [5, 1, 1, 5, 5], "12 wait, and one is in the making"
        assert list(items) == [5, 1, 1, 5, 5, 5, 5]


def test_the_first_goes_on_however_full_it_is_of_what_later_ones_made() -> None:
    begun = threading.Event()

    def work(job: int) -> Iterator[int]:
        if job == 0:
            begun.wait(5)
        yield from [job] * 50

    with run(range(4), work, places=Places(), limit=4, capacity=4) as items:
        time.sleep(0.05)
        begun.set()
        assert list(items) == [job for job in range(4) for _ in range(50)]


def test_a_job_is_asked_for_when_there_is_a_place_for_it() -> None:
    asked: list[int] = []

    def jobs() -> Iterator[int]:
        for number in range(5):
            asked.append(number)
            yield number

    with run(jobs(), lambda job: iter([job] * 3), places=Places(), limit=2, capacity=1) as items:
        assert wait_until(lambda: len(asked) == 2)
        time.sleep(0.05)
        assert asked == [0, 1]
        assert len(list(items)) == 15


def test_users_share_the_places_and_each_has_its_own() -> None:
    places, at_work, most = Places(), [0], [0]
    lock = threading.Lock()

    def work(job: int) -> Iterator[int]:
        with lock:
            at_work[0] += 1
            most[0] = max(most[0], at_work[0])
        time.sleep(0.002)
        yield job
        with lock:
            at_work[0] -= 1

    def jobs(everyone: threading.Barrier) -> Iterator[int]:
        everyone.wait(20)  # who is alone yet takes places that the others' own come on top of
        yield from range(20)

    def consume(found: list[Any], everyone: threading.Barrier) -> None:
        with run(jobs(everyone), work, places=places, limit=4, capacity=99) as items:
            found.extend(items)

    for users, expected in ((1, 4), (2, 4), (6, 6)):
        most[0] = 0
        found: list[list[int]] = [[] for _ in range(users)]
        everyone = threading.Barrier(users)
        threads = [threading.Thread(target=consume, args=[each, everyone]) for each in found]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert found == [list(range(20))] * users
        assert most[0] <= expected
        assert most[0] > 1


def test_what_waits_of_all_uses_is_one_figure_and_nothing_once_they_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Gauge:
        value = 0.0

        def set(self, value: float, labels: dict[str, str]) -> None:
            assert labels == {"queue": "lane"}
            self.value = value

    gauge = Gauge()
    active = telemetry._Active({"emolake.queue.depth": gauge})
    monkeypatch.setattr(telemetry, "_active", active)
    uses = [run(range(1), lambda _: iter("abcde"), places=Places(), limit=1, capacity=9) for _ in range(3)]
    with uses[0] as first, uses[1], uses[2]:
        assert wait_until(lambda: gauge.value == 15)
        next(first)
        assert gauge.value == 14
    assert gauge.value == 0


def test_nothing_is_summed_up_for_each_item() -> None:
    class Lanes(deque[Any]):
        def __iter__(self) -> Iterator[Any]:
            raise AssertionError("summed up")

    with run(range(2), lambda _: iter("abcde"), places=Places(), limit=1, capacity=9) as items:
        assert next(items) == "a"
        lanes: Any = items.gi_frame.f_locals["self"]  # type: ignore[attr-defined]
        with lanes._changed:
            lanes._lanes = Lanes(lanes._lanes)
        assert len(list(items)) == 9
