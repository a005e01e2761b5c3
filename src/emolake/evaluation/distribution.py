"""`emolake distribution`: how many clips of each emotion there are, by their labels or by a model's answers."""

import csv
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, Literal

from emolake.evaluation.dataset import read_dataset
from emolake.models.registry import ModelEntry
from emolake.output.progress import track
from emolake.output.table import print_table, write_json
from emolake.prediction.clips import answer_clips, emotions_of
from emolake.prediction.files import audio_files
from emolake.settings import Settings

NO_SPEECH = "no speech"
UNREADABLE = "unreadable"
_COLUMNS = ("corpus", "emotion", "clips", "share", "speakers")

Row = dict[str, Any]


def labelled_distribution(data: Path) -> list[Row]:
    """Count the clips of labelled data by corpus and emotion; `speakers` is None where one is not known.

    Raises ConfigurationError or UnknownLabelError as `read_dataset` does.
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

    Raises ConfigurationError if there are none, or the model gives no labels.
    """
    files, emotions = audio_files([folder]), emotions_of(entry)
    found = answer_clips(files, settings=settings, entry=entry, gated=True)
    shown = track(found, f"predicting with {entry.name}", unit="clips", total=len(files))
    answers = []
    for answer in shown:
        if answer.probabilities is not None:
            answers.append(emotions[int(answer.probabilities.argmax())])
        else:
            answers.append(NO_SPEECH if answer.error is None else UNREADABLE)
    name = folder.resolve().name
    return [_row(name, emotion, count, len(files), None) for emotion, count in _by_count(answers)]


def write_distribution(
    rows: list[Row], *, format: Literal["table", "json", "csv"], output: IO[str], plot: Path | None
) -> None:
    """Write the rows, and with `plot` draw the emotions of all corpora together as a PNG."""
    if format == "json":
        write_json(iter(rows), output)
    elif format == "csv":
        writer = csv.DictWriter(output, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        columns = [column for column in _COLUMNS if any(row[column] is not None for row in rows)]
        print_table(columns, [[row[column] for column in columns] for row in rows], output)
    if plot is not None:
        from emolake.evaluation.fonts import drawable
        from emolake.evaluation.plots import plot_distribution

        totals: Counter[str] = Counter()
        for row in rows:
            totals[row["emotion"]] += row["clips"]
        counts = dict(totals.most_common())
        plot_distribution(plot, counts, drawable(list(counts), list(counts)))


def _by_count(emotions: Iterable[str]) -> list[tuple[str, int]]:
    return sorted(Counter(emotions).items(), key=lambda pair: (-pair[1], pair[0]))


def _row(corpus: str, emotion: str, count: int, total: int, speakers: int | None) -> Row:
    return dict(zip(_COLUMNS, (corpus, emotion, count, count / total, speakers), strict=True))
