"""Which model runs and how: the keys of [inference]."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from emolake.environment import cache_folder
from emolake.options import Options

DEFAULT_MODEL = "default"
SHIPPED: Mapping[str, str] = {DEFAULT_MODEL: "emolake.models.default", "small": "emolake.models.small"}
"""Name of each model that comes with the program -> package that holds its folder."""
_BATCH_S_CPU, _BATCH_S_GPU = 20.0, 160.0
_IN_FLIGHT_GPU = 3


class InferenceOptions(Options):
    """Which model runs, and how."""

    model: str = DEFAULT_MODEL
    """Name of a model: `default`, or one of [models.NAME]."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    precision: Literal["fp32", "tf32", "bf16", "fp16", "int8"] = "fp32"
    """Arithmetic of the forward pass; fp32 is exact, on a GPU without TF32 too."""
    runtime: Literal["auto", "torch", "onnx"] = "auto"
    """What executes the network; auto is onnxruntime on a processor for families that it can run, unless torch was
    measured to be much quicker there, and else torch."""
    graph_cache: str = ""
    """Folder of the graphs that onnxruntime runs, made of the weights once; `graphs` in EMOLAKE_CACHE when empty."""
    graph_cache_gb: float = Field(10.0, gt=0)
    """Space that the folder may take; graphs unused for longest make room. One has the size of its model's weights."""
    batch_seconds: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    """Seconds of audio, padding included, that make a batch; auto is what suits the device."""
    batches_in_flight: Annotated[int, Field(ge=0, le=8)] | Literal["auto"] = "auto"
    """Batches under way to the device and back at once, which all shards of a process share; 0: each shard makes its
    own, one after the other (in fp32; below it a GPU has one for all shards). auto is 3 on a GPU and 0 on a
    processor."""
    cuda_graphs: bool = False
    """Record the forward pass of each full shape of batch once, and replay it: a GPU then waits for no launches. Needs
    the memory of a batch for each shape, and batches_in_flight of 1 or more; a processor has no use for it."""
    abstain_below: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = "auto"
    """A segment whose best probability is below it is marked `uncertain`, with its label kept; 0 marks none, auto is
    what the model recommends for itself, if anything."""
    store_transcripts: bool = False
    """Keep the transcript of each segment in the lake, of models that write one: personal data."""

    def seconds_in_batch(self, device: str) -> float:
        """Return the seconds of audio in a batch on a device.

        A GPU is idle between small batches. A processor is faster on few windows than on many (`bench.limit`), and
        needs less memory for them.
        """
        if self.batch_seconds == "auto":
            return _BATCH_S_CPU if device == "cpu" else _BATCH_S_GPU
        return self.batch_seconds

    def batches_at_once(self, device: str) -> int:
        """Return how many batches are under way on a device at once; 0 where each shard makes its own."""
        if self.batches_in_flight == "auto":
            return 0 if device == "cpu" else _IN_FLIGHT_GPU
        return self.batches_in_flight

    @property
    def graph_folder(self) -> Path:
        """Folder of the graphs."""
        return Path(self.graph_cache) if self.graph_cache else cache_folder() / "graphs"
