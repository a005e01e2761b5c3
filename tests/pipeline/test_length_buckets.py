"""Batches of what waits for a device: in their bounds, of like lengths, and of fixed shapes where that is wanted."""

import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emolake.models.protocol import Batching
from emolake.pipeline.length_buckets import Batch, LengthBuckets

RATE = 100


@dataclass(frozen=True)
class Piece:
    number: int
    length: int


def buckets(
    batching: Batching = Batching.MASKED, *, fixed: bool = False, whole: int | None = 1000, most: int = 4000
) -> LengthBuckets[Piece]:
    return LengthBuckets(batching, batch_samples=most, step=RATE, fixed=fixed, whole=whole)


lengths_of_a_call = st.lists(
    st.one_of(st.just(1000), st.integers(4, 1200), st.sampled_from([300, 600, 1000])), max_size=60
)


@given(
    lengths=lengths_of_a_call, batching=st.sampled_from(Batching), fixed=st.booleans(), data=st.data(),
    most=st.sampled_from([1, 900, 4000, 10**6]),
)  # fmt: skip
def test_every_segment_goes_once_in_a_batch_that_the_model_allows(
    lengths: list[int], batching: Batching, fixed: bool, data: st.DataObject, most: int
) -> None:
    """Full batches first or not, in whatever order segments are waited for."""
    waiting, numbers = buckets(batching, fixed=fixed, most=most), count(1)
    pieces = [Piece(next(numbers), length) for length in lengths]
    gone: list[Piece] = []

    def check(batch: Batch[Piece]) -> None:
        gone.extend(batch.members)
        own = [each.length for each in batch.members]
        assert 1 <= len(own) <= batch.rows
        assert max(own) <= batch.samples
        assert batch.rows == 1 or batch.rows * batch.samples <= most
        assert [each.number for each in batch.members] == sorted(each.number for each in batch.members)
        if batching is Batching.SINGLE:
            assert batch.rows == 1
        if batching is Batching.EQUAL_LENGTH:
            assert set(own) == {batch.samples}
        if not fixed:
            assert (batch.rows, batch.samples) == (len(own), max(own))
            assert min(own) >= 0.8 * max(own)

    for piece in pieces:
        waiting.add(piece)
        if data.draw(st.booleans()) and (batch := waiting.full()) is not None:
            check(batch)
    while len(waiting):
        left = [each for each in pieces if each not in gone]
        check(waiting.full() or waiting.around(data.draw(st.sampled_from(left))))
    assert Counter(gone) == Counter(pieces)


@given(lengths_of_a_call, lengths_of_a_call, st.integers(4, 1200), st.sampled_from(list(Batching)))
def test_a_fixed_shape_is_the_segments_own_whoever_is_beside_it(
    some: list[int], others: list[int], length: int, batching: Batching
) -> None:
    def shape(mates: list[int]) -> tuple[int, int, bool]:
        waiting, numbers = buckets(batching, fixed=True), count(1)
        for each in mates:
            waiting.add(Piece(next(numbers), each))
        piece = Piece(next(numbers), length)
        waiting.add(piece)
        batch = waiting.around(piece)
        assert piece in batch.members
        # whether anything is padded decides which operators run
        return batch.rows, batch.samples, any(each.length < batch.samples for each in batch.members)

    assert shape(some) == shape(others)


def test_of_full_batches_the_one_that_waits_longest_goes_first() -> None:
    waiting = buckets()
    for number, length in enumerate([300] * 12 + [1000] * 4 + [999]):
        waiting.add(Piece(number, length))
    assert [each.number for each in waiting.full().members] == [12, 13, 14, 15]  # type: ignore[union-attr]
    assert waiting.full() is None
    assert not waiting.has_full
    waiting.add(Piece(17, 300))
    assert [each.number for each in waiting.full().members] == [*range(12), 17]  # type: ignore[union-attr]


def test_tails_of_like_lengths_go_together_and_a_full_window_is_not_padded_to() -> None:
    waiting = buckets()
    pieces = [Piece(number, length) for number, length in enumerate([1000, 480, 500, 430, 1190, 90, 510])]
    for each in pieces:
        waiting.add(each)
    batch = waiting.around(pieces[2])
    assert [each.length for each in batch.members] == [480, 500, 430, 510]
    assert (batch.rows, batch.samples) == (4, 510)
    assert [each.length for each in waiting.around(pieces[5]).members] == [90]


def test_what_is_forgotten_is_in_no_batch() -> None:
    waiting = buckets()
    pieces = [Piece(number, 1000) for number in range(5)]
    for each in pieces:
        waiting.add(each)
    waiting.remove(pieces[0])
    waiting.remove(Piece(9, 77))
    assert [each.number for each in waiting.full().members] == [1, 2, 3, 4]  # type: ignore[union-attr]
    assert len(waiting) == 0


def test_a_full_window_is_never_padded_whatever_its_length() -> None:
    waiting = buckets(fixed=True, whole=1050)
    for number, length in enumerate([1050, 1049, 1051]):
        waiting.add(Piece(number, length))
    assert waiting.around(Piece(0, 1050)) == Batch([Piece(0, 1050)], 3, 1050)


@pytest.mark.parametrize(("most", "rows"), [(4000, 4), (999, 1), (16_000, 16)])
def test_a_batch_of_a_fixed_shape_is_filled_up(most: int, rows: int) -> None:
    waiting = buckets(fixed=True, most=most)
    waiting.add(piece := Piece(1, 1000))
    assert waiting.around(piece) == Batch([piece], rows, 1000)


def windows_of(length: int, _: random.Random) -> Iterator[int]:
    """Yield the lengths of a call's windows of 10 s, and of its tail."""
    yield from [1000] * (length // 1000)
    if length % 1000:
        yield length % 1000


def speech_of(length: int, chance: random.Random) -> Iterator[int]:
    """Yield lengths of stretches of speech, 0.5 to 15 s."""
    while length > 50:
        piece = min(length, int(chance.choice([chance.uniform(50, 400), chance.uniform(200, 1500)])))
        yield piece
        length -= piece


def share_computed(waiting: LengthBuckets[Piece], shards: list[deque[int]], ahead: int) -> float:
    """Return the samples that batches have per sample of speech, of shards that are always ahead of the device."""
    numbers, done = count(1), set[int]()
    windows = [deque[Piece]() for _ in shards]
    computed = real = 0

    def is_blocked(lengths: deque[int], window: deque[Piece]) -> bool:
        return not lengths or sum(each.length for each in window) >= ahead

    while any(shards) or len(waiting):
        for lengths, window in zip(shards, windows, strict=True):
            while window and window[0].number in done:
                window.popleft()
            if not is_blocked(lengths, window):
                window.append(piece := Piece(next(numbers), lengths.popleft()))
                waiting.add(piece)
        batch = waiting.full()
        if batch is None:
            blocked = [
                window[0]
                for lengths, window in zip(shards, windows, strict=True)
                if is_blocked(lengths, window) and window and window[0].number not in done
            ]
            if not blocked:
                continue
            batch = waiting.around(min(blocked, key=lambda each: each.number))
        computed += batch.rows * batch.samples
        real += sum(each.length for each in batch.members)
        done |= {each.number for each in batch.members}
    return computed / real


@pytest.mark.parametrize(
    ("cut", "whole", "shards", "most"),
    [(windows_of, 1000, 1, 1.06), (windows_of, 1000, 2, 1.05), (windows_of, 1000, 8, 1.04),
     (speech_of, None, 1, 1.35), (speech_of, None, 4, 1.30)],
)  # fmt: skip
def test_little_silence_is_computed_with_tails_of_fixed_shapes(
    cut: Callable[[int, random.Random], Iterator[int]], whole: int | None, shards: int, most: float
) -> None:
    """Of 100 calls of 30 to 300 s in batches of 160 s; were all batches as large, it would be 1.2 to 2.0."""
    chance = random.Random(0)
    calls = [[*cut(chance.randrange(3_000, 30_000), chance)] for _ in range(100)]
    lengths = [deque(chain.from_iterable(calls[first::shards])) for first in range(shards)]
    waiting = buckets(fixed=True, whole=whole, most=16_000)
    assert 1 <= share_computed(waiting, lengths, ahead=8 * 16_000) <= most


@pytest.mark.parametrize(("length", "fixed"), [(1000, True), (300, True), (250, True), (300, False)])
def test_a_batch_that_had_no_room_comes_with_half_the_rows(length: int, fixed: bool) -> None:
    waiting = buckets(fixed=fixed, most=40_000)
    for number in range(200):
        waiting.add(Piece(number, length))
    batch = waiting.full()
    assert batch is not None
    waiting.lower(batch)
    waiting.lower(batch)  # of another of the shape that was under way
    assert waiting.around(Piece(199, length)).rows == batch.rows // 2
    if length != 1000 and fixed:
        waiting.add(whole := Piece(300, 1000))
        assert waiting.around(whole).rows >= 15, "no eighth of what full windows have room for"
