"""What every trainer promises to `emolake train`.

A trainer is one file in `training/trainers`, and a line in `emolake.training.trainer_names.TRAINERS` for each of its
names.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from pydantic import JsonValue, ValidationError

from emolake.errors import ConfigurationError
from emolake.evaluation.dataset import Clip
from emolake.messages import validation_problems
from emolake.options import Options
from emolake.training.epochs import HistoryRow
from emolake.training.folds import Fold
from emolake.training.trainer_names import TRAINERS
from emolake.training.training_run import TrainingRun


@dataclass(frozen=True)
class InputSpec:
    """The clips that a trainer takes: mono at `sampling_rate`, at least `min_samples`, cut off at `max_samples`."""

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

    @property
    def corpora(self) -> tuple[str, ...]:
        """Corpus of every clip, [N]."""
        return tuple(clip.corpus for clip in self.clips)


@dataclass(frozen=True)
class FitResult:
    """A trained state of the trainer's own, and its predictions for the fold's clips before any calibration."""

    state: Any
    logits: np.ndarray  # [members, predicted, labels]
    history: list[HistoryRow] = field(default_factory=list)
    parameters: int = 0  # that were trained, of one member


@dataclass(frozen=True)
class ModelMetadata:
    """What the written configuration holds beside the recipe."""

    labels: tuple[str, ...]
    temperature: float
    licence: str
    training: dict[str, JsonValue]


class Trainer(Protocol):
    """A way to train. `recipe` holds its options with their defaults, an `emolake.options.Options`.

    `default_folds` is the number of folds of the cross-validation where none is asked for, 1 for one
    train/validation/test split.
    """

    recipe: Any
    default_folds: int

    def validates(self, recipe: Any) -> bool:
        """Return whether a fit needs clips of its own to stop by."""
        ...

    def input_spec(self, recipe: Any) -> InputSpec:
        """Return which clips it takes; raises ConfigurationError when something that it needs is missing."""
        ...

    def fit(self, recipe: Any, corpus: Corpus, folds: Sequence[Fold], run: TrainingRun) -> list[FitResult]:
        """Train once for each fold, in order, and predict the fold's clips as inference will.

        What `run` keeps of an earlier, killed call is resumed, and the result is as if there had been none.
        """
        ...

    def write(self, recipe: Any, result: FitResult, folder: Path, metadata: ModelMetadata) -> list[Path]:
        """Write a folder that [models.NAME] path can name, and return the files of the weights."""
        ...

    def describe(self, recipe: Any, result: FitResult) -> str:
        """Return a sentence or two on what the model is, for its card."""
        ...


def find_trainer(model: str) -> Trainer:
    """Return the trainer of a name; raises ConfigurationError when there is none."""
    if model not in TRAINERS:
        raise ConfigurationError(f"there is no model {model!r} to train; known are {', '.join(TRAINERS)}")
    module, _, name = TRAINERS[model].partition(":")
    trainer: Trainer = getattr(import_module(module), name)
    return trainer


def with_options(model: str, recipe: Options, options: Mapping[str, JsonValue]) -> Any:
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
        raise ConfigurationError(
            f"{model} cannot be trained with these options: {validation_problems(error)}"
        ) from error


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


def changed_options(recipe: Options, default: Options) -> dict[str, JsonValue]:
    """Return the options in which a recipe differs from the default of its trainer, by dotted name."""
    usual = dict(flat(default.model_dump(mode="json")))
    return {
        name: value
        for name, value in flat(recipe.model_dump(mode="json"))
        if name not in usual or usual[name] != value
    }
