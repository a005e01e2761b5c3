"""The protocols between classifier families and the engine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, JsonValue

if TYPE_CHECKING:
    import torch

    from emolake.models.runtimes.graphs import Graphs

Runtime = Literal["torch", "onnx"]
"""What executes a network."""
TORCH_FP32: Mapping[Runtime, tuple[str, ...]] = {"torch": ("fp32",)}
"""The precisions of a family that runs on torch alone, in float32."""
ENCODER_PRECISIONS: Mapping[Runtime, tuple[str, ...]] = {
    "torch": ("fp32", "tf32", "bf16", "fp16", "int8"),
    "onnx": ("fp32",),
}
"""The precisions of the families that are a transformer encoder under a head."""
AFFECT_DIMENSIONS = ("arousal", "dominance", "valence")


@dataclass(frozen=True)
class PersonalCache:
    """The mark of an option that names a folder of what was computed from recordings, features or transcripts.

    `emolake erase` removes from it the entries that a `emolake.models.disk_cache.DiskCache` wrote, and nothing else.
    """


PersonalCacheFolder = Annotated[Path, PersonalCache()]
"""The type of such an option."""


class Batching(StrEnum):
    """Which batches leave a segment's probabilities as they are when it is alone."""

    MASKED = "masked"  # any batch, zero-padded to the longest member
    EQUAL_LENGTH = "equal_length"  # members of one exact length, nothing padded
    SINGLE = "single"  # one segment at a time


@dataclass(frozen=True)
class Prediction:
    """A model's answer to a batch of B segments, on the CPU.

    `logits` [B, labels] float32: their softmax, taken by the engine, gives the probabilities. A family whose
    network ends in probabilities gives their logarithms, and one without categories has no labels and [B, 0].
    `affect` [B, 3] float32 holds arousal, dominance and valence of models that give them. `labelled` [B] bool is
    False where the model itself gives a segment no label; None means that every segment has one. `transcripts`
    [B] are those of models that write one down (see `Transcribing`).
    """

    logits: "torch.Tensor"
    affect: "torch.Tensor | None" = None
    labelled: "torch.Tensor | None" = None
    transcripts: tuple[str, ...] | None = None


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

    def predict(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> Prediction:
        """Return the prediction for waves [B, T] float32, zero-padded, of `lengths` [B] int64 samples, on any device.

        Calibration is in the logits already.
        """
        ...


@runtime_checkable
class Staged(Protocol):
    """A classifier whose answer can be waited for later: `predict` in two halves.

    `outputs` takes waves [B, T] on the model's device, their lengths [B] int64 on the host, and returns a tensor
    [B, n] on the device that may still be computed. `prediction` takes it on the CPU in float32.
    """

    def outputs(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> "torch.Tensor":
        """Return what the network gives, without waiting for it."""
        ...

    def prediction(self, outputs: "torch.Tensor") -> Prediction:
        """Return what outputs mean."""
        ...


@runtime_checkable
class Transcribing(Protocol):
    """A classifier that transcribes a segment before it classifies it; its predictions carry `transcripts`."""

    def transcripts(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> tuple[str, ...]:
        """Return the transcripts of waves [B, T] float32, zero-padded, of `lengths` [B] int64, on any device."""
        ...


@runtime_checkable
class Inspectable(Protocol):
    """A model of torch modules that shows its inside."""

    def modules(self) -> "Mapping[str, torch.nn.Module]":
        """Return the networks by name."""
        ...

    def layer_weights(self) -> "Mapping[str, torch.Tensor]":
        """Return the weights that hidden states are summed with, after the softmax, by name; empty without any."""
        ...


@dataclass(frozen=True)
class Description:
    """What is known of a model before its weights are loaded.

    `labels` is the order of the outputs. `files` are all that a load reads, by a name that does not depend on
    where they lie, and `parameters` the options that change a number: both make the model's fingerprint.
    """

    labels: tuple[str, ...]
    files: Mapping[str, Path]
    parameters: Mapping[str, JsonValue] = field(default_factory=dict)
    licence: str = "not stated"


class Family(Protocol):
    """A classifier family: one class of one file, whose instances are its loaded models.

    `Options` are the keys of [models.NAME] beside `family`; a folder that `emolake train` wrote comes as the
    key `path`. `precisions` are the values of inference.precision that `load` takes, by what executes the
    network: the one place that declares what a family can do.
    """

    Options: type[BaseModel]
    precisions: Mapping[Runtime, tuple[str, ...]]

    def describe(self, options: Any) -> Description:
        """Find the model's files and labels; raises ConfigurationError naming what is missing."""
        ...

    def load(self, options: Any, *, device: str, precision: str) -> EmotionModel:
        """Load the weights; raises ConfigurationError when they do not fit the options exactly."""
        ...


class ExportableFamily(Family, Protocol):
    """A family whose precisions name onnx: its network can be run as a graph."""

    def load(
        self, options: Any, *, device: str, precision: str, graphs: "Graphs | None" = None
    ) -> EmotionModel:
        """Load the weights onto torch, or with `graphs` the graph that was exported of them.

        Raises:
            ConfigurationError: as of `Family`.
            GraphRefusedError: the model cannot be run as a graph.
        """
        ...
