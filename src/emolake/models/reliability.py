"""How far a trained model can be believed on data unlike its own: `reliability.json` beside its weights.

`emolake train` writes it from predictions for clips that did not train the networks that predicted them: of left-out
speakers or, with `--split corpus`, of corpora that were left out whole, which is what new data are like. The shipped
default has both.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, Self

import numpy as np
from pydantic import Field, ValidationError, model_validator

from emolake.errors import ConfigurationError
from emolake.options import Options

Split = Literal["corpus", "speaker", "random"]
RELIABILITY_FILE: Final = "reliability.json"


class CoveragePoint(Options):
    """What is left of a model's labels when those below a probability are set aside."""

    threshold: float = Field(ge=0, le=1)
    """The best probability that a clip needs."""
    coverage: float = Field(ge=0, le=1)
    """Share of clips that reach it."""
    accuracy: float = Field(ge=0, le=1)
    """Share of those whose label is right; 0 when there are none."""


class HeldOutAnswers(Options):
    """The answers of networks for one group of clips that did not train them: of a corpus, or of all speakers."""

    group: str
    """Name of the corpus."""
    split: Split
    """What the clips were left out by; of `corpus` the answers are those to data unlike the training data."""
    clips: tuple[int, ...]
    """Number of clips of each true label."""
    predicted: tuple[tuple[int, ...], ...]
    """Confusion matrix: rows the truth, columns the most likely label."""
    probability: tuple[tuple[float, ...], ...]
    """Mean calibrated probabilities, rows the truth; 0 in the row of a label without clips."""


class Reliability(Options):
    """The contents of `reliability.json`."""

    labels: tuple[str, ...] = Field(min_length=2)
    """The model's labels, in the order of rows and columns."""
    abstain_below: float = Field(default=0.0, ge=0, le=1)
    """The recommended value of `[inference] abstain_below`."""
    coverage: tuple[CoveragePoint, ...] = ()
    """Coverage against accuracy, by rising threshold, of left-out corpora where there are such answers."""
    held_out: tuple[HeldOutAnswers, ...] = Field(min_length=1)
    """Answers for the clips that were left out, by split and corpus."""

    @model_validator(mode="after")
    def _check_shapes(self) -> Self:
        size = len(self.labels)
        for own in self.held_out:
            shapes = {np.shape(own.predicted), np.shape(own.probability)}
            if shapes != {(size, size)} or len(own.clips) != size:
                raise ValueError(f"the matrices of {own.group} are not of {size} labels")
        return self

    def left_out_by(self, split: Split) -> tuple[HeldOutAnswers, ...]:
        """Return the answers for clips that were left out by speaker, by corpus or at random."""
        return tuple(own for own in self.held_out if own.split == split)


def read_reliability(folder: Path) -> Reliability | None:
    """Return what a trained folder says about its model; None where it has no such file.

    Raises:
        ConfigurationError: the file is broken.
    """
    path = folder / RELIABILITY_FILE
    try:
        return Reliability.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise ConfigurationError(
            f"{path} is no record of a model's reliability ({error}); train the model again, or remove the file"
        ) from error


def write_reliability(folder: Path, reliability: Reliability) -> None:
    """Write the record beside a model's weights."""
    content: Mapping[str, object] = reliability.model_dump(mode="json")
    (folder / RELIABILITY_FILE).write_text(json.dumps(content, indent=1) + "\n", "utf-8")
