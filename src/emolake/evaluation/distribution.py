"""`emolake distribution`: how many clips of each emotion there are, by their labels or by a model's predictions."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from emolake.evaluation.dataset import read_dataset
from emolake.models.registry import ModelEntry
from emolake.output.progress import track
from emolake.prediction.clips import emotions_of, predict_clips
from emolake.prediction.files import audio_files
from emolake.settings import Settings

NO_SPEECH = "no speech"
UNREADABLE = "unreadable"
COLUMNS = ("corpus", "emotion", "clips", "share", "speakers")

Row = dict[str, Any]
"""Column of `COLUMNS` -> value."""


def labelled_distribution(data: Path) -> list[Row]:
    """Count the clips of labelled data by corpus and emotion; `speakers` is None where one is not known.

    Raises:
        ConfigurationError: as of `read_dataset`.
        UnknownLabelError: as of `read_dataset`.
    """
    clips = read_dataset(data)
    rows = []
    for corpus in sorted({clip.corpus for clip in clips}):
        own = [clip for clip in clips if clip.corpus == corpus]
        for emotion, count in _by_count(clip.emotion for clip in own):
            speakers = {clip.speaker for clip in own if clip.emotion == emotion}
            rows.append(_row(corpus, emotion, count, len(own), None if None in speakers else len(speakers)))
    return rows


def predicted_distribution(folder: Path, *, entry: ModelEntry, settings: Settings) -> list[Row]:
    """Count recordings by their most likely emotion, behind the voice-activity gate of the configuration.

    Raises:
        ConfigurationError: there are none, or the model gives no labels.
    """
    files, emotions = audio_files([folder]), emotions_of(entry)
    found = predict_clips(files, settings=settings, entry=entry, gated=True)
    shown = track(found, f"predicting with {entry.name}", unit="clips", total=len(files))
    predicted = []
    for prediction in shown:
        if prediction.probabilities is not None:
            predicted.append(emotions[int(prediction.probabilities.argmax())])
        else:
            predicted.append(NO_SPEECH if prediction.error is None else UNREADABLE)
    name = folder.resolve().name
    return [_row(name, emotion, count, len(files), None) for emotion, count in _by_count(predicted)]


def draw_distribution(rows: Sequence[Row], path: Path) -> None:
    """Draw the emotions of all corpora together as a PNG."""
    from emolake.evaluation.fonts import drawable
    from emolake.evaluation.plots import plot_distribution

    totals: Counter[str] = Counter()
    for row in rows:
        totals[row["emotion"]] += row["clips"]
    counts = dict(totals.most_common())
    plot_distribution(path, counts, drawable(list(counts), list(counts)))


def _by_count(emotions: Iterable[str]) -> list[tuple[str, int]]:
    return sorted(Counter(emotions).items(), key=lambda pair: (-pair[1], pair[0]))


def _row(corpus: str, emotion: str, count: int, total: int, speakers: int | None) -> Row:
    return dict(zip(COLUMNS, (corpus, emotion, count, count / total, speakers), strict=True))
