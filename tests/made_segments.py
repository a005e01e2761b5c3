"""Segments of noise, and a model that answers with what it is given and remembers its batches."""

import numpy as np
import torch

from emolake.models.protocol import Batching, Prediction
from emolake.tasks.segment import Segment


def piece(length: int, *, seed: int = 0) -> Segment:
    samples = np.random.default_rng(seed).normal(0, 0.1, length).astype(np.float32)
    return Segment(0, 0, 0, length, 0.0, length / 16_000, samples, 1.0)


class Recorder:
    """A model that answers with a segment's length and sum, and remembers every batch it was given."""

    family, device, precision = "recorder", "cpu", "fp32"
    labels: tuple[str, ...] = ("anger", "neutral")
    sampling_rate, min_samples = 16_000, 400
    max_samples: int | None = None

    def __init__(
        self,
        batching: Batching,
        *,
        room: int | None = None,
        error: Exception | None = None,
        answer: float | None = None,
        broken: int = 0,
    ) -> None:
        """`room` segments fit, or `error` is raised; of segments of at least `broken` samples `answer` is said."""
        self.batching = batching
        self._error = error or torch.OutOfMemoryError("made up: no room")
        self._broken = broken
        self.seen: list[list[int]] = []
        self.refused = 0
        self._room = room
        self._answer = answer

    def predict(self, waves: torch.Tensor, lengths: torch.Tensor) -> Prediction:
        if self._room is not None and len(waves) > self._room:
            self.refused += 1
            raise self._error
        self.seen.append(lengths.tolist())
        assert all(not wave[length:].any() for wave, length in zip(waves, lengths.tolist(), strict=True))
        sums = waves.sum(dim=1)
        if self._answer is not None:
            sums = torch.where(lengths >= self._broken, self._answer, sums)
        return Prediction(torch.stack([lengths.float(), sums], dim=1))
