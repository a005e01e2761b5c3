"""Batches hold every segment once, only what may share one, and arrays as they are, padded with zeros."""

from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from emolake.models.protocol import Batching
from emolake.tasks.featurize import batches, padded, pools
from emolake.tasks.segment import Segment

lengths_drawn = st.lists(st.integers(1, 60_000), max_size=40)


@given(lengths=lengths_drawn, batch_samples=st.integers(1, 200_000), batching=st.sampled_from(Batching))
def test_every_position_is_in_one_batch_that_its_batching_allows(
    lengths: list[int], batch_samples: int, batching: Batching
) -> None:
    made = list(batches(lengths, batching=batching, batch_samples=batch_samples))
    assert sorted(position for batch in made for position in batch) == list(range(len(lengths)))
    for batch in made:
        longest = max(lengths[position] for position in batch)
        assert len(batch) == 1 or longest * len(batch) <= batch_samples
        if batching is Batching.EQUAL_LENGTH:
            assert {lengths[position] for position in batch} == {longest}
        if batching is Batching.SINGLE:
            assert len(batch) == 1


@given(st.lists(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=50), min_size=1, max_size=8))
def test_padding_is_zeros_behind_what_was_given(values: list[list[float]]) -> None:
    waves = [np.array(each, np.float32) for each in values]
    batch, lengths = padded(waves)
    assert (batch.dtype, batch.shape) == (torch.float32, (len(waves), max(map(len, waves))))
    for row, length, wave in zip(batch, lengths.tolist(), waves, strict=True):
        assert length == len(wave)
        assert np.array_equal(row[:length].numpy(), wave)
        assert not row[length:].any()


def piece(samples: int) -> Segment:
    return Segment(0, 0, 0, samples, 0.0, samples / 16_000, np.ones(samples, np.float32), 1.0)


@given(st.lists(st.none() | st.integers(0, 30), max_size=60), st.integers(1, 100))
def test_pools_are_runs_of_the_stream_that_end_when_they_are_full(
    sizes: list[int | None], samples: int
) -> None:
    """None stands for a mark between segments, which comes through in its place."""
    stream: list[tuple[int, Any]] = [
        (number, "mark" if size is None else piece(size)) for number, size in enumerate(sizes)
    ]
    found = list(pools(iter(stream), samples=lambda: samples))
    assert [each for pool in found for each in pool] == stream
    for pool in found[:-1]:
        held = [len(each.samples) for _, each in pool if isinstance(each, Segment)]
        assert sum(held) >= samples
        assert sum(held[:-1]) < samples


def test_silence_fills_no_memory_without_end() -> None:
    """Segments below the gate come without samples: a pool of them ends by their number."""
    taken = 0

    def silence() -> Any:
        nonlocal taken
        while True:
            taken += 1
            yield 0, piece(0)

    next(pools(silence(), samples=lambda: 1000))
    assert taken <= 5000
