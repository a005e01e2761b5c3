"""What every classifier family promises to the engine."""

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch


class Batching(StrEnum):
    """Which batches leave a segment's probabilities as they are when it is alone."""

    MASKED = "masked"  # any batch, zero-padded to the longest member
    EQUAL_LENGTH = "equal_length"  # members of one exact length, nothing padded
    SINGLE = "single"  # one segment at a time


class EmotionModel(Protocol):
    """A loaded classifier.

    `labels` is the order of the outputs, in the model's own words. Segments have `min_samples` to
    `max_samples` (None: no upper bound) samples at `sampling_rate`. A batch that `batching` allows changes no
    member's probabilities by more than 1e-4. Weights are in eval mode and never change. `device` and
    `precision` are those that the forward pass runs in.
    """

    family: str
    labels: tuple[str, ...]
    sampling_rate: int
    min_samples: int
    max_samples: int | None
    batching: Batching
    device: str
    precision: str

    def predict(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> "torch.Tensor":
        """[B, T] float32 zero-padded and [B] int64, any device -> logits [B, len(labels)] float32 on the CPU.

        Calibration is in the logits already; the softmax is the engine's.
        """
        ...
