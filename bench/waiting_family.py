"""Family "waiting": a model that only waits, and notes when: a cluster can have more workers than there are cores."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import Field

from emolake.models.protocol import TORCH_FP32, Batching, Description, Prediction
from emolake.options import Options

if TYPE_CHECKING:
    import torch


class WaitingOptions(Options):
    """How long it waits."""

    notes: Path
    """Folder in which each process notes when its batches began and ended."""
    segment_s: float = Field(1.0, gt=0)
    """How long a segment takes."""


class Waiting:
    """See `emolake.models.protocol.EmotionModel`."""

    Options = WaitingOptions
    family, labels, sampling_rate = "waiting", ("neutral", "anger"), 16_000
    min_samples, max_samples, batching, device = 400, None, Batching.MASKED, "cpu"
    precision, precisions = "fp32", TORCH_FP32

    def __init__(self, options: WaitingOptions) -> None:
        self._options = options
        self._notes = options.notes / str(os.getpid())

    @classmethod
    def describe(cls, options: WaitingOptions) -> Description:
        return Description(cls.labels, files={})

    @classmethod
    def load(cls, options: WaitingOptions, *, device: str, precision: str) -> Self:
        return cls(options)

    def predict(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> Prediction:
        """Answer after as long as so many segments take."""
        import torch

        began = time.monotonic()
        time.sleep(self._options.segment_s * len(waves))
        with self._notes.open("a") as file:
            file.write(f"{began} {time.monotonic()}\n")
        return Prediction(torch.stack([lengths / 16_000, torch.zeros(len(waves))], dim=1))
