"""Why a model answers as it does: layer weights, the shape and norm of every stage, logits and the health verdict."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emolake.errors import BadRecordingError, Reason
from emolake.models.health_gate import Health, HealthOptions, judge
from emolake.models.protocol import EmotionModel, Inspectable
from emolake.models.registry import ModelEntry
from emolake.pipeline.loaded_models import loaded_model, speech_detector
from emolake.settings import Settings
from emolake.tasks.classify import score_alone
from emolake.tasks.decode import AudioReader
from emolake.tasks.segment import segment

if TYPE_CHECKING:
    import torch

_DEPTH = 3
_SEGMENTS_DIAGNOSED = 32


@dataclass(frozen=True)
class Stage:
    """Output of one module in the forward pass of one segment: root mean square and largest magnitude."""

    name: str
    shape: tuple[int, ...]
    rms: float
    peak: float


@dataclass(frozen=True)
class Diagnosis:
    """What a model did with a file's segments."""

    layer_weights: dict[str, list[float]]
    stages: list[Stage]
    logits: np.ndarray
    labels: tuple[str, ...]
    health: Health


def diagnose_file(path: Path, *, settings: Settings, entry: ModelEntry) -> Diagnosis:
    """Run a model over the segments of one file, silent ones too, and look into the first of them.

    Raises:
        BadRecordingError: the file cannot be decoded.
        ModelError: the model gave something else than finite numbers, or has no room.
    """
    # What is looked into are torch's modules, which a graph does not have.
    model = loaded_model(
        entry, settings.inference.model_copy(update={"runtime": "torch", "precision": "fp32"})
    )
    with AudioReader(path, settings.decode.options) as reader:
        pieces = segment(
            reader.blocks(),
            options=settings.segmentation.ungated(),
            excluded_channels=settings.policy.exclude_channels,
            vad=speech_detector(),
        )
        waves = [
            piece.samples
            for piece in islice(pieces, _SEGMENTS_DIAGNOSED)
            if len(piece.samples) >= model.min_samples
        ]
    if not waves:
        raise BadRecordingError(
            Reason.TOO_SHORT, f"expected at least {model.min_samples} samples", stage="segment"
        )
    return diagnose(model, waves, settings.health)


def diagnose(model: EmotionModel, waves: list[np.ndarray], options: HealthOptions) -> Diagnosis:
    """Run a model over segments [samples] float32 one by one, and look into the first of them."""
    weights = model.layer_weights() if isinstance(model, Inspectable) else {}
    with _recorded(model) as stages:
        scores = [score_alone(model, waves[0])]
    scores += [score_alone(model, wave) for wave in waves[1:]]
    logits = np.stack([each.logits for each in scores])
    ranges = [each.logit_range for each in scores]
    return Diagnosis(
        layer_weights={name: values.tolist() for name, values in weights.items()},
        stages=stages,
        logits=logits,
        labels=model.labels,
        # One file is looked at on purpose: however few its segments, there is a verdict.
        health=judge(len(ranges), float(np.mean(ranges)), options.model_copy(update={"min_segments": 1})),
    )


@contextmanager
def _recorded(model: EmotionModel) -> Iterator[list[Stage]]:
    """Record the output of every module down to a few levels, in the order in which they run."""
    stages: list[Stage] = []
    hooks = []
    for root, network in (model.modules() if isinstance(model, Inspectable) else {}).items():
        for name, module in network.named_modules():
            path = f"{root}.{name}" if name else root
            if name.count(".") < _DEPTH:
                hooks.append(module.register_forward_hook(_recorder(path, stages)))
    try:
        yield stages
    finally:
        for hook in hooks:
            hook.remove()


def _recorder(path: str, stages: list[Stage]) -> Any:
    def record(_module: object, _inputs: object, output: Any) -> None:
        tensor = _first_tensor(output)
        if tensor is not None and tensor.numel():
            values = tensor.detach().float()
            rms, peak = values.square().mean().sqrt(), values.abs().max()
            stages.append(Stage(path, tuple(tensor.shape), float(rms), float(peak)))

    return record


def _first_tensor(output: Any) -> "torch.Tensor | None":
    import torch

    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, Mapping):  # a ModelOutput of transformers
        output = tuple(output.values())
    if isinstance(output, tuple | list) and output:
        return _first_tensor(output[0])
    return None
