"""Family "perilous", for tests of workers: some levels of a recording end, hang or fill the process that is at it."""

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import Field

from emolake.models.protocol import TORCH_FP32, Batching, Description, Prediction
from emolake.options import Options

if TYPE_CHECKING:
    import torch

KILLS, HANGS_ONCE, FILLS = 0.9, 0.8, 0.7
"""Mean of a segment's absolute values that does so."""
_SAME = 0.01


class PerilousOptions(Options):
    """What else it does."""

    notes: Path
    """Folder in which each process notes that it has loaded the model, and its last segment."""
    wait_s: float = Field(0.0, ge=0)
    """How long a batch takes."""


class Perilous:
    """A loaded model; see `emolake.models.protocol.EmotionModel`."""

    Options = PerilousOptions
    family, labels, sampling_rate = "perilous", ("neutral", "anger"), 16_000
    min_samples, max_samples, batching, device = 400, None, Batching.MASKED, "cpu"
    precision, precisions = "fp32", TORCH_FP32

    def __init__(self, options: PerilousOptions) -> None:
        self._options = options

    @classmethod
    def describe(cls, options: PerilousOptions) -> Description:
        """Return labels; where notes go changes no number."""
        return Description(cls.labels, files={})

    @classmethod
    def load(cls, options: PerilousOptions, *, device: str, precision: str) -> Self:
        """Note that it is loaded, and which GPUs are this process' own."""
        options.notes.mkdir(exist_ok=True)
        with (options.notes / f"loads-{os.getpid()}").open("a") as file:
            file.write(f"loaded {os.environ.get('CUDA_VISIBLE_DEVICES', '')}\n")
        return cls(options)

    def predict(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> Prediction:
        """Return logits by loudness, if that is how it ends."""
        import torch

        (self._options.notes / f"at-{os.getpid()}").touch()
        time.sleep(self._options.wait_s)
        levels = waves.abs().sum(dim=1) / lengths
        if _any_is(levels, KILLS):
            os.kill(os.getpid(), signal.SIGKILL)
        hung = self._options.notes / "hung"
        if _any_is(levels, HANGS_ONCE) and not hung.exists():
            hung.touch()
            time.sleep(3600)
        if _any_is(levels, FILLS):
            held = [torch.ones(20_000_000) for _ in range(50)]  # 4 GB
            time.sleep(3600 * len(held))
        return Prediction(torch.stack([0.5 - levels, levels - 0.5], dim=1))


def _any_is(levels: "torch.Tensor", level: float) -> bool:
    return bool(((levels - level).abs() < _SAME).any())
