"""`emolake evaluate`: any model of the configuration, or trained folder, on labelled data."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emolake.errors import ConfigurationError
from emolake.evaluation.dataset import Clip, read_dataset
from emolake.evaluation.results import Answers, brief, figures, write_results
from emolake.models.registry import ModelEntry
from emolake.output.progress import track
from emolake.prediction.clips import answer_clips, emotions_of
from emolake.settings import Settings

_LEAST = np.finfo(np.float64).tiny  # so that an emotion that the model cannot give has a finite logarithm
_MOST_NAMED = 5


@dataclass(frozen=True)
class Heard:
    """The clips that a model answered, and what became of the others."""

    answers: Answers
    skipped: tuple[dict[str, str], ...]
    """`path` and `reason` of each clip without an answer."""
    truncated: tuple[str, ...]
    """Clips that broke half-way and were judged by what could be decoded."""


def evaluate(*, entry: ModelEntry, settings: Settings, data: Path, out: Path) -> dict[str, Any]:
    """Hold a model's answers against labelled data; write results, predictions, plots and report into `out`.

    The voice-activity gate is off: a clip that it would drop counts too. Labels of both sides are mapped to the
    shared taxonomy. What flatters or lowers the figures (voices that the model learned from, emotions that it
    cannot give) stands in `remarks`, with figures without it, and is said on standard error.

    Raises:
        ConfigurationError: the data cannot be read, none of them can be heard, or the model gives no labels.
        UnknownLabelError: the taxonomy does not know a label of the data or of the model.
    """
    clips = read_dataset(data)
    given = emotions_of(entry)
    known = heard_speakers(entry)
    heard = hear(clips, entry=entry, settings=settings)
    answers = heard.answers
    results: dict[str, Any] = {
        "model": entry.name,
        "family": entry.family,
        "fingerprint": entry.fingerprint,
        **figures(answers),
        "skipped": list(heard.skipped),
        "truncated": list(heard.truncated),
        "labels_not_given": sorted({clip.emotion for clip in answers.clips} - set(given)),
        "speakers_heard_in_training": sorted(
            {clip.speaker for clip in answers.clips if clip.speaker} & (known or set())
        ),
    }
    results["remarks"] = _remarks(results, given, known, answers.clips)
    possible = np.isin([clip.emotion for clip in answers.clips], given)
    unheard = np.array([clip.speaker not in (known or ()) for clip in answers.clips])
    for key, chosen in (("of_given_labels", possible), ("of_unheard_speakers", unheard)):
        if chosen.any() and not chosen.all():
            results[key] = brief(answers.of(chosen))
    write_results(out, results, answers, [])
    for remark in results["remarks"]:
        print(f"emolake: {remark}", file=sys.stderr)
    return results


def hear(clips: Sequence[Clip], *, entry: ModelEntry, settings: Settings) -> Heard:
    """Answer every clip, with a progress bar on standard error; labels are those of the model and of the clips.

    Raises ConfigurationError if none can be heard.
    """
    given = emotions_of(entry)
    labels = tuple(sorted({*given, *(clip.emotion for clip in clips)}))
    places = [labels.index(emotion) for emotion in given]
    kept: list[Clip] = []
    rows: list[np.ndarray] = []
    skipped: list[dict[str, str]] = []
    truncated: list[str] = []
    found = answer_clips([clip.path for clip in clips], settings=settings, entry=entry, gated=False)
    shown = track(found, f"predicting with {entry.name}", unit="clips", total=len(clips))
    for clip, answer in zip(clips, shown, strict=True):
        if answer.probabilities is None:
            skipped.append({"path": clip.name, "reason": answer.error or "no speech"})
            continue
        if answer.error is not None:
            truncated.append(clip.name)
        kept.append(clip)
        row = np.full(len(labels), _LEAST)
        row[places] = np.maximum(answer.probabilities, _LEAST)
        rows.append(np.log(row))
    if not kept:
        raise ConfigurationError(
            f"none of {len(clips)} clips can be heard; the first: {skipped[0]['reason']}"
        )
    targets = np.array([labels.index(clip.emotion) for clip in kept], dtype=np.int64)
    parts = np.zeros(len(kept), dtype=np.int64)
    return Heard(
        Answers(tuple(kept), labels, targets, np.stack(rows), parts), tuple(skipped), tuple(truncated)
    )


def heard_speakers(entry: ModelEntry) -> frozenset[str] | None:
    """The speakers that a trained folder learned from; None if it does not say, or the model is no trained folder."""
    speakers = entry.record.training.get("speakers")
    return frozenset(map(str, speakers)) or None if isinstance(speakers, list) else None


def _remarks(
    results: dict[str, Any], given: Sequence[str], known: frozenset[str] | None, clips: Sequence[Clip]
) -> list[str]:
    remarks = []
    leaked, speakers = results["speakers_heard_in_training"], {clip.speaker for clip in clips if clip.speaker}
    if leaked:
        remarks.append(
            f"{_named(leaked, 'speakers')} of {len(speakers)} have the names of speakers that the model learned "
            "from, so the figures flatter it and say little of new voices"
        )
    elif known is None:
        remarks.append("the model does not say which speakers it learned from, so a leak cannot be ruled out")
    missing = results["labels_not_given"]
    if missing:
        count = sum(clip.emotion in missing for clip in clips)
        remarks.append(
            f"the model cannot give {', '.join(missing)}, so all {count} clips of it count as wrong; it gives "
            f"{', '.join(given)}"
        )
    if results["skipped"]:
        names = [each["path"] for each in results["skipped"]]
        remarks.append(f"left out, because nothing could be heard: {_named(names, 'clips')}")
    if results["truncated"]:
        remarks.append(
            f"broke half-way, and judged by what could be decoded: {_named(results['truncated'], 'clips')}"
        )
    return remarks


def _named(names: Sequence[str], what: str) -> str:
    shown = ", ".join(names[:_MOST_NAMED])
    return f"{len(names)} {what} ({shown}{', …' if len(names) > _MOST_NAMED else ''})"
