"""An iterator that runs ahead: order, bounds, errors and the end of its thread."""

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emolake.pipeline.prefetch import ahead


def alive(name: str) -> bool:
    return any(thread.name == name for thread in threading.enumerate())


def wait_until_full(made: list[int], count: int) -> None:
    """Give the producer time for so many items, and for one too many."""
    deadline = time.monotonic() + 5
    while len(made) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.15)  # longer than the producer's own patience with a full queue


@given(items=st.lists(st.integers(), max_size=30), capacity=st.integers(1, 5))
def test_order_is_kept(items: list[int], capacity: int) -> None:
    with ahead(items, capacity=capacity, name="order") as given_:
        assert list(given_) == items
    assert not alive("order")


def test_an_error_of_the_producer_reaches_the_consumer_after_what_came_before() -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("the disk is full")

    with ahead(broken(), capacity=1, name="broken") as items:
        assert [next(items), next(items)] == [1, 2]
        with pytest.raises(ValueError, match="the disk is full"):
            next(items)
    assert not alive("broken")


def test_leaving_early_ends_the_thread_and_closes_the_generator() -> None:
    closed_in = []

    def endless() -> Iterator[int]:
        try:
            yield from iter(int, 1)
        finally:
            closed_in.append(threading.current_thread().name)

    with ahead(endless(), capacity=2, name="endless") as items:
        assert next(items) == 0
        assert alive("endless")
    assert not alive("endless")
    assert closed_in == ["endless"]


def test_an_error_of_the_consumer_ends_the_thread() -> None:
    def consume() -> None:
        with ahead(iter(int, 1), capacity=2, name="consumer") as items:
            raise KeyError(next(items))

    with pytest.raises(KeyError):
        consume()
    assert not alive("consumer")


def test_no_more_is_made_than_the_queue_holds() -> None:
    made: list[int] = []

    def counted() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    with ahead(counted(), capacity=3, name="bounded") as items:
        wait_until_full(made, 4)
        assert len(made) == 4  # three wait, and one is in the producer's hand
        assert list(items) == list(range(100))


def test_heavy_items_fill_the_queue_before_many_wait() -> None:
    made: list[int] = []

    def counted() -> Iterator[int]:
        for number in [5, 0, 0, 5, 5, 5, 5]:
            made.append(number)
            yield number

    with ahead(counted(), capacity=11, name="weighed", weight=lambda number: max(number, 1)) as items:
        wait_until_full(made, 5)
        assert made == [5, 0, 0, 5, 5], "12 wait, and one is in the producer's hand"
        assert list(items) == [5, 0, 0, 5, 5, 5, 5]
