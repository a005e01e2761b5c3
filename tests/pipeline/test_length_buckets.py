"""Batches of what waits for a device: in their bounds, of like lengths, and of fixed shapes where that is wanted."""

from collections import Counter
from dataclasses import dataclass
from itertools import count

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
