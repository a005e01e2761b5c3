"""`emolake evaluate`: any model of the configuration, or trained folder, on labelled data."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emolake.errors import ConfigurationError
from emolake.evaluation.dataset import Clip, read_dataset
from emolake.evaluation.results import Predictions, brief, figures, write_results
from emolake.evaluation.training_audio import entry_and_members, known_audio, path_hash, same_audio
from emolake.messages import counted
from emolake.models.registry import ModelEntry
from emolake.output.notices import complain
from emolake.output.progress import track
from emolake.prediction.clips import emotions_of, predict_clips
from emolake.settings import Settings

_LEAST = np.finfo(np.float64).tiny  # so that an emotion that the model cannot give has a finite logarithm
_MOST_NAMED = 5


@dataclass(frozen=True)
class DatasetPredictions:
    """A model's predictions for labelled clips, and what became of the clips without one."""

    predictions: Predictions
    skipped: tuple[dict[str, str], ...]
    """`path` and `reason` of each clip without a prediction."""
    truncated: tuple[str, ...]
    """Clips that break off, and were predicted from what could be decoded."""


def evaluate(*, entry: ModelEntry, settings: Settings, data: Path, out: Path) -> dict[str, Any]:
    """Compare a model's predictions with labelled data; write results, predictions, plots and report into `out`.

    The voice-activity gate is off: a clip that it would drop counts too. Labels of both sides are mapped to the
    shared taxonomy. What flatters or lowers the figures (clips and speakers of the training data, emotions that the
    model cannot give) is in `remarks`, with figures without it, and is written to standard error.

    Raises:
        ConfigurationError: the data cannot be read, none of them can be predicted, or the model gives no labels.
        UnknownLabelError: the taxonomy does not know a label of the data or of the model.
    """
    clips = read_dataset(data)
    given = emotions_of(entry)
    known = training_speakers(entry)
    found = predict_dataset(clips, entry=entry, settings=settings)
    predictions = found.predictions
    audio = known_audio(entry)
    hashes = [path_hash(clip.path) for clip in track(predictions.clips, "comparing audio", unit="clips")]
    trained = np.array([own in (audio or ()) for own in hashes])
    results: dict[str, Any] = {
        "model": entry.name,
        "family": entry.family,
        "fingerprint": entry.fingerprint,
        **figures(predictions),
        "skipped": list(found.skipped),
        "truncated": list(found.truncated),
        "clips_in_training": None if audio is None else int(trained.sum()),
        "same_audio": [[predictions.clips[place].name for place in pair] for pair in same_audio(hashes)],
        "labels_not_given": sorted({clip.emotion for clip in predictions.clips} - set(given)),
        "speakers_heard_in_training": sorted(
            {clip.speaker for clip in predictions.clips if clip.speaker} & (known or set())
        ),
    }
    results["remarks"] = _remarks(results, given, known, predictions.clips)
    possible = np.isin([clip.emotion for clip in predictions.clips], given)
    new = np.array([clip.speaker not in (known or ()) for clip in predictions.clips])
    for key, chosen in (
        ("of_clips_in_training", trained),
        ("of_new_clips", ~trained),
        ("of_given_labels", possible),
        ("of_unheard_speakers", new),
    ):
        if chosen.any() and not chosen.all():
            results[key] = brief(predictions.subset(chosen))
    write_results(out, results, predictions, [])
    for remark in results["remarks"]:
        complain(remark)
    return results


def predict_dataset(clips: Sequence[Clip], *, entry: ModelEntry, settings: Settings) -> DatasetPredictions:
    """Predict every clip, with a progress bar on standard error; labels are those of the model and of the clips.

    Raises:
        ConfigurationError: no clip can be predicted.
    """
    given = emotions_of(entry)
    labels = tuple(sorted({*given, *(clip.emotion for clip in clips)}))
    places = [labels.index(emotion) for emotion in given]
    kept: list[Clip] = []
    rows: list[np.ndarray] = []
    skipped: list[dict[str, str]] = []
    truncated: list[str] = []
    found = predict_clips([clip.path for clip in clips], settings=settings, entry=entry, gated=False)
    shown = track(found, f"predicting with {entry.name}", unit="clips", total=len(clips))
    for clip, prediction in zip(clips, shown, strict=True):
        if prediction.probabilities is None:
            skipped.append({"path": clip.name, "reason": prediction.error or "no speech"})
            continue
        if prediction.error is not None:
            truncated.append(clip.name)
        kept.append(clip)
        row = np.full(len(labels), _LEAST)
        row[places] = np.maximum(prediction.probabilities, _LEAST)
        rows.append(np.log(row))
    if not kept:
        raise ConfigurationError(
            f"none of {counted(len(clips), 'clip')} can be predicted; the first: {skipped[0]['reason']}"
        )
    targets = np.array([labels.index(clip.emotion) for clip in kept], dtype=np.int64)
    folds = np.zeros(len(kept), dtype=np.int64)
    predictions = Predictions(tuple(kept), labels, targets, np.stack(rows), folds)
    return DatasetPredictions(predictions, tuple(skipped), tuple(truncated))


def training_speakers(entry: ModelEntry) -> frozenset[str] | None:
    """Return the speakers of a model's and its members' training data; None if none is named."""
    known: set[str] = set()
    for part in entry_and_members(entry):
        speakers = part.record.training.get("speakers")
        known.update(map(str, speakers) if isinstance(speakers, list) else ())
    return frozenset(known) or None


def _remarks(
    results: dict[str, Any], given: Sequence[str], known: frozenset[str] | None, clips: Sequence[Clip]
) -> list[str]:
    """Return what has to be known of the figures, a sentence each."""
    remarks = []
    trained, count = results["clips_in_training"], len(clips)
    if trained:
        which = (
            f"all {counted(count, 'clip')}" if trained == count else f"{trained} of {counted(count, 'clip')}"
        )
        remarks.append(
            f"{which} trained the model: such figures say how well it remembers, and nothing of new recordings"
        )
    elif trained is None:
        remarks.append(
            "the model keeps no hashes of its training audio, so whether these clips trained it cannot be said"
        )
    if results["same_audio"]:
        pairs = [f"{first} and {second}" for first, second in results["same_audio"]]
        remarks.append(f"clips that are the same audio count as several: {_named(pairs, 'pair')}")
    leaked, speakers = results["speakers_heard_in_training"], {clip.speaker for clip in clips if clip.speaker}
    if leaked:
        verb = "has the name" if len(leaked) == 1 else "have the names"
        remarks.append(
            f"{_named(leaked, 'speaker')} of {len(speakers)} {verb} of speakers of the model's training data, so the "
            "figures flatter it and say little of new voices"
        )
    elif known is None:
        remarks.append(
            "the model does not name the speakers of its training data, so a leak cannot be ruled out"
        )
    missing = results["labels_not_given"]
    if missing:
        wrong_clips = sum(clip.emotion in missing for clip in clips)
        wrong = (
            "the 1 clip of it counts as wrong"
            if wrong_clips == 1
            else f"all {wrong_clips} clips of it count as wrong"
        )
        remarks.append(f"the model cannot give {', '.join(missing)}, so {wrong}; it gives {', '.join(given)}")
    if results["skipped"]:
        names = [each["path"] for each in results["skipped"]]
        remarks.append(f"left out, because nothing could be predicted: {_named(names, 'clip')}")
    if results["truncated"]:
        remarks.append(
            f"broken off, and predicted from what could be decoded: {_named(results['truncated'], 'clip')}"
        )
    return remarks


def _named(names: Sequence[str], noun: str) -> str:
    """Return how many there are, with the first names.

    >>> _named(["s1", "s2"], "speaker")
    '2 speakers (s1, s2)'
    """
    shown = ", ".join(names[:_MOST_NAMED])
    return f"{counted(len(names), noun)} ({shown}{', …' if len(names) > _MOST_NAMED else ''})"
