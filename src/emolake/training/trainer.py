"""What every kind of training promises to `emolake train`, and the names that can be trained.

A kind is one file in `training/kinds` and a line in `KINDS` for each of its names.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TypedDict

import numpy as np
from pydantic import BaseModel, JsonValue, ValidationError

from emolake.errors import ConfigurationError
from emolake.evaluation.dataset import Clip
from emolake.training.folds import Part
from emolake.training.training_run import Run

# name -> module:instance, imported when the name is asked for.
KINDS: dict[str, str] = {
    "logmel_cnn": "emolake.training.trainers.spectrogram_trainer:LOGMEL",
    "mfcc_cnn": "emolake.training.trainers.spectrogram_trainer:MFCC",
    "mfcc_mlp": "emolake.training.trainers.mfcc_mlp_trainer:MFCC_MLP",
    "wav2vec2_frozen": "emolake.training.trainers.encoder_trainer:FROZEN",
    "wav2vec2_finetune": "emolake.training.trainers.encoder_trainer:FINETUNE",
    "hf_finetune": "emolake.training.trainers.hf_trainer:HF_FINETUNE",
    "s3prl_head": "emolake.training.trainers.s3prl_trainer:S3PRL_HEAD",
    "whisper_head": "emolake.training.trainers.encoder_trainer:WHISPER",
    "classical": "emolake.training.trainers.classical_trainer:CLASSICAL",
    "multimodal": "emolake.training.trainers.multimodal_trainer:MULTIMODAL",
}


class HistoryRow(TypedDict):
    """An epoch of one fit; what was not measured is None."""

    run: str
    epoch: int
    train_loss: float
    valid_loss: float | None
    valid_uar: float | None
    learning_rate: float


@dataclass(frozen=True)
class Hearing:
    """What a kind takes of a clip: mono at `sampling_rate`, at least `min_samples`, cut off at `max_samples`."""

    sampling_rate: int = 16_000
    min_samples: int = 400
    max_samples: int | None = None


@dataclass(frozen=True)
class Corpus:
    """N labelled clips in memory."""

    clips: Sequence[Clip]
    waves: Sequence[np.ndarray]  # each [samples] float32
    targets: np.ndarray  # [N] int64: indices into labels
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Fitted:
    """A trained state of a kind's own, and what it answers to the part's clips before any calibration."""

    state: Any
    logits: np.ndarray  # [members, asked, labels]
    history: list[HistoryRow] = field(default_factory=list)
    parameters: int = 0  # that were trained, of one member


@dataclass(frozen=True)
class Facts:
    """What the written configuration says beside the recipe."""

    labels: tuple[str, ...]
    temperature: float
    licence: str
    training: dict[str, JsonValue]


class Kind(Protocol):
    """A way to train. `recipe` holds its options with their defaults, a frozen pydantic model.

    `folds` is the cross-validation that is asked for by default, 1 for one train/validation/test split. `validates`
    says whether a fit wants clips of its own to stop by.
    """

    recipe: Any
    folds: int
    validates: bool

    def hearing(self, recipe: Any) -> Hearing:
        """What it takes of a clip; raises ConfigurationError when something that it needs is missing."""
        ...

    def fit(self, recipe: Any, corpus: Corpus, parts: Sequence[Part], run: Run) -> list[Fitted]:
        """Train once for each part, in order, and answer what the part asks, as inference will.

        What `run` keeps of an earlier, killed call is taken up, and the outcome is as if there had been none.
        """
        ...

    def write(self, recipe: Any, fitted: Fitted, folder: Path, facts: Facts) -> Path:
        """Write a folder that [models.NAME] path can name; returns the file of the weights."""
        ...

    def describe(self, recipe: Any, fitted: Fitted) -> str:
        """Return a sentence or two on what the model is, for its card."""
        ...


def find_kind(model: str) -> Kind:
    """Return the kind that a name stands for; raises ConfigurationError when there is none."""
    if model not in KINDS:
        raise ConfigurationError(f"there is no model {model!r} to train; known are {', '.join(KINDS)}")
    module, _, name = KINDS[model].partition(":")
    kind: Kind = getattr(import_module(module), name)
    return kind


def with_options(model: str, recipe: BaseModel, options: Mapping[str, JsonValue]) -> Any:
    """Return a recipe with some of its options changed, named as `loop.epochs`.

    Raises:
        ConfigurationError: the recipe has no such option, or cannot have this value.
    """
    content = recipe.model_dump(mode="json")
    for name, value in options.items():
        place: Any = content
        *path, last = name.split(".")
        for step in path:
            place = place.get(step) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            known = ", ".join(option for option, _ in flat(recipe.model_dump(mode="json")))
            raise ConfigurationError(f"{model} has no option {name!r}; its options are {known}")
        place[last] = value
    try:
        return type(recipe).model_validate(content)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors()
        )
        raise ConfigurationError(f"{model} cannot be trained with these options: {problems}") from error


def flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, JsonValue]]:
    """Yield the options of a dumped recipe by dotted name.

    >>> list(flat({"a": 1, "b": {"c": [2]}}))
    [('a', 1), ('b.c', [2])]
    """
    for name, value in content.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def changed_options(recipe: BaseModel, default: BaseModel) -> dict[str, JsonValue]:
    """Return the options in which a recipe differs from the default of its kind, by dotted name."""
    usual = dict(flat(default.model_dump(mode="json")))
    return {
        name: value
        for name, value in flat(recipe.model_dump(mode="json"))
        if name not in usual or usual[name] != value
    }
