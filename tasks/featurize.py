"""Featurize: form the input of a model: segments of like lengths that share a batch, padded to the longest of them.

What a model computes of a waveform first (log-mel, MFCC, normalisation) belongs to its family, and runs on its device:
see `emolake.audio.features`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from emolake.models.protocol import Batching
from emolake.tasks.segment import Segment

if TYPE_CHECKING:
    import torch

# Pieces without samples take memory too: a pool holds no more than so many.
_MOST_PIECES = 4096

Owner = TypeVar("Owner")
Mark = TypeVar("Mark")


def pools(
    pieces: Iterable[tuple[Owner, Segment | Mark]], *, samples: Callable[[], int]
) -> Iterator[list[tuple[Owner, Segment | Mark]]]:
    """Cut a stream of segments into runs, within which they are sorted into batches.

    Args:
        pieces: segments with whatever they belong to, and marks between them; taken as they are needed.
        samples: how many samples make a run, asked for with each piece.
    """
    pool: list[tuple[Owner, Segment | Mark]] = []
    pooled = 0
    for owner, piece in pieces:
        pool.append((owner, piece))
        pooled += len(piece.samples) if isinstance(piece, Segment) else 0
        if pooled >= samples() or len(pool) >= _MOST_PIECES:
            yield pool
            pool, pooled = [], 0
    yield pool


def batches(lengths: Sequence[int], *, batching: Batching, batch_samples: int) -> Iterator[list[int]]:
    """Yield positions of `lengths` that share a batch, longest first.

    A masked batch holds like lengths, padded to its longest, within `batch_samples` (or one that alone exceeds it).

    >>> list(batches([4, 9, 4, 8], batching=Batching.MASKED, batch_samples=20))
    [[1, 3], [0, 2]]
    >>> list(batches([4, 9, 4, 8], batching=Batching.EQUAL_LENGTH, batch_samples=20))
    [[1], [3], [0, 2]]
    """
    by_length = sorted(range(len(lengths)), key=lambda position: (-lengths[position], position))
    if batching is Batching.SINGLE:
        yield from ([position] for position in by_length)
        return
    groups: dict[int, list[int]] = defaultdict(list)
    for position in by_length:
        groups[lengths[position] if batching is Batching.EQUAL_LENGTH else 0].append(position)
    for group in groups.values():
        remaining = iter(group)
        for first in remaining:
            fitting = max(1, batch_samples // lengths[first])
            yield list(chain([first], islice(remaining, fitting - 1)))


def padded(waves: Sequence[np.ndarray]) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Return a batch of arrays [samples] float32: [B, T] float32, padded with zeros on the right, and lengths [B]."""
    import torch

    lengths = torch.tensor([len(wave) for wave in waves])
    batch = torch.zeros(len(waves), int(lengths.max()), dtype=torch.float32)
    for row, wave in zip(batch, waves, strict=True):
        row[: len(wave)] = torch.from_numpy(wave)
    return batch, lengths
