"""One prediction for each whole recording: what evaluation, competitions and counts need of a model.

For a recording longer than a window it is the mean of its segments' probabilities, weighted by their seconds of
speech (by their seconds where there is none).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np

from emolake.errors import ConfigurationError
from emolake.models.registry import ModelEntry
from emolake.pipeline.rows import SegmentRow, speech_of_each
from emolake.prediction.files import analyses_of
from emolake.settings import Settings


@dataclass(frozen=True)
class ClipPrediction:
    """A model's prediction for a recording: `probabilities` [emotions], in the order of `emotions_of` the model.

    They are None where nothing could be predicted: `error` says why, and is None itself where there was no speech.
    Where a recording breaks off there are both.
    """

    path: Path
    probabilities: np.ndarray | None
    error: str | None


def emotions_of(entry: ModelEntry) -> tuple[str, ...]:
    """Return the emotions of the shared taxonomy that a model can give, in order of name.

    Raises:
        ConfigurationError: the model gives none.
    """
    if not entry.labels:
        raise ConfigurationError(
            f"the model {entry.name!r} gives no labels, so nothing can be counted; choose another with --model"
        )
    return tuple(sorted(set(entry.emotions().values())))


def predict_clips(
    files: Sequence[Path], *, settings: Settings, entry: ModelEntry, gated: bool
) -> Iterator[ClipPrediction]:
    """Yield the prediction for each recording, in order.

    Args:
        files: the recordings; one that is not there has an error for a prediction.
        settings: segmentation and inference.
        entry: the model; probabilities of labels that are the same emotion are added up.
        gated: leave out what the voice-activity gate, or the model itself, gives no label. Without, every
            recording that can be decoded has a prediction.
    """
    if not gated:
        settings = settings.model_copy(update={"segmentation": settings.segmentation.ungated()})
    emotions, of_label = emotions_of(entry), entry.emotions()
    # [labels, emotions]: which label is which emotion.
    places = np.array([[of_label[label] == emotion for emotion in emotions] for label in entry.labels], float)
    there = [path.is_file() for path in files]
    analyses = analyses_of(compress(files, there), settings=settings, entry=entry)
    for path, found in zip(files, there, strict=True):
        if not found:
            yield ClipPrediction(path, None, f"there is no file {path}")
            continue
        _, analysis = next(analyses)
        mean = mean_probabilities(analysis.rows, gated=gated)
        error = analysis.reason
        if mean is None and error is None and not gated:
            error = "no part of it is as long as the model needs"
        yield ClipPrediction(path, None if mean is None else mean @ places, error)


def mean_probabilities(rows: Sequence[SegmentRow], *, gated: bool) -> np.ndarray | None:
    """Return the mean probabilities [labels] of a recording's segments, by their seconds of speech; None without any.

    `gated` leaves out those that the model itself gives no label.
    """
    speech = speech_of_each(rows)
    scored = [
        (row.scores.probabilities, weight, row.end_s - row.start_s)
        for row, weight in zip(rows, speech, strict=True)
        if row.scores is not None and (row.scores.labelled or not gated)
    ]
    if not scored:
        return None
    probabilities, weights, seconds = (np.array(column, float) for column in zip(*scored, strict=True))
    return np.asarray(np.average(probabilities, axis=0, weights=weights if weights.any() else seconds))
