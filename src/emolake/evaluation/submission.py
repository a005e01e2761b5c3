"""A competition's CSV, filled with the predictions for its clips."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from emolake.audio.containers.formats import is_audio
from emolake.errors import ConfigurationError
from emolake.evaluation.dataset import LABELS_FILE, csv_reader, label_meanings, portable_path
from emolake.models.registry import ModelEntry
from emolake.output.notices import complain
from emolake.output.progress import track
from emolake.prediction.clips import emotions_of, predict_clips
from emolake.settings import Settings

_LABEL_COLUMNS = ("label", "emotion")


@dataclass(frozen=True)
class Submission:
    """A competition's table: its columns in order, its rows, and which column holds the labels."""

    columns: list[str]
    rows: list[dict[str, str]]
    label_column: str
    bad: int = 0
    """Clips that could not be predicted; their rows keep what the sample holds."""


def fill_submission(
    sample: Path,
    places: Sequence[Path],
    *,
    settings: Settings,
    entry: ModelEntry,
    labels: Path | None,
) -> Submission:
    """Return a competition's CSV with its labels filled; a clip that cannot be predicted is named on standard error.

    The clip of a row is its `path` (relative to the CSV, or to one of `places`), or else the audio below
    `places`, or below the CSV's folder, whose name without its ending is the `id`. Every clip gets the most likely
    label, speech or not. Rows, their order and all other columns stay.

    Args:
        sample: the CSV, with `id` and `label` (or `emotion`), and `path` if it has one.
        places: files and folders of the clips.
        settings: segmentation and inference.
        entry: the model.
        labels: a CSV with the competition's own words, as `label_meanings` reads it; `labels.csv` beside the
            sample when left out, and without one the names of the shared taxonomy are written.

    Raises:
        ConfigurationError: a column is missing, an id has no clip or several, or the labels do not fit the model.
    """
    sheet = _read(sample)
    clips = _clips(sheet, sample, places)
    words = _words(sample, labels, entry)
    emotions = emotions_of(entry)
    usable = [place for place, emotion in enumerate(emotions) if emotion in words]
    if not usable:
        raise ConfigurationError(
            f"the model {entry.name!r} gives {', '.join(emotions)}, and the competition's labels are "
            f"{', '.join(words)}; choose another model"
        )
    rows, bad = [], 0
    found = predict_clips(clips, settings=settings, entry=entry, gated=False)
    shown = track(found, f"predicting with {entry.name}", unit="clips", total=len(clips))
    for row, prediction in zip(sheet.rows, shown, strict=True):
        if prediction.probabilities is None:
            bad += 1
            complain(f"{row['id']}: {prediction.error}; its row keeps {row[sheet.label_column]!r}")
            rows.append(row)
            continue
        best = usable[int(np.argmax(prediction.probabilities[usable]))]
        rows.append(row | {sheet.label_column: words[emotions[best]]})
    return replace(sheet, rows=rows, bad=bad)


def _read(sample: Path) -> Submission:
    if not sample.is_file():
        raise ConfigurationError(f"there is no file {sample}; give the competition's sample_submission.csv")
    with csv_reader(sample) as reader:
        columns = list(reader.fieldnames or ())
        label_column = next((name for name in _LABEL_COLUMNS if name in columns), None)
        if "id" not in columns or label_column is None:
            raise ConfigurationError(
                f"{sample} has the columns {', '.join(columns) or 'none'}; expected id and label"
            )
        rows = list(reader)
    for line, row in enumerate(rows, 2):
        if not row["id"] or None in row or None in row.values():
            raise ConfigurationError(
                f"{sample} row {line} has no id, or more or fewer cells than columns; correct it"
            )
    if not rows:
        raise ConfigurationError(f"{sample} has no rows, so there is nothing to fill")
    return Submission(columns, rows, label_column)


def _clips(sheet: Submission, sample: Path, places: Sequence[Path]) -> list[Path]:
    """Return the clip of each row; raise ConfigurationError naming the first id without one, or with several."""
    for place in places:
        if not place.exists():
            raise ConfigurationError(f"there is no file or folder {place}")
    roots = [sample.parent, *(place for place in places if place.is_dir())]
    by_stem: dict[str, list[Path]] | None = None
    clips = []
    for row in sheet.rows:
        identity, given = row["id"], row.get("path")
        listed = (root / portable_path(given, root, str(sample)) for root in roots) if given else ()
        found = [path for path in listed if path.is_file()][:1]
        if not found:
            if by_stem is None:
                by_stem = _by_stem(places or [sample.parent])
            found = by_stem.get(identity, [])
        if len(found) != 1:
            names = " and ".join(str(path) for path in found[:2])
            where = ", ".join(map(str, places or [sample.parent]))
            raise ConfigurationError(
                f"the id {identity!r} of {sample} is {names}; give the folder of one of them as PATH"
                if found
                else f"the id {identity!r} of {sample} has no clip in {where}; give the folder of the clips as PATH"
            )
        clips.append(found[0])
    return clips


def _by_stem(places: Iterable[Path]) -> dict[str, list[Path]]:
    """Return audio files by their name without and with its ending, which may be the id."""
    found: dict[str, list[Path]] = defaultdict(list)
    for place in places:
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            if path.is_file() and is_audio(path.name):
                found[path.stem].append(path)
                found[path.name].append(path)
    return found


def _words(sample: Path, labels: Path | None, entry: ModelEntry) -> Mapping[str, str]:
    """Return the competition's word for each emotion."""
    beside = sample.parent / LABELS_FILE
    if labels is None and not beside.is_file():
        return {emotion: emotion for emotion in emotions_of(entry)}
    table = labels or beside
    if not table.is_file():
        raise ConfigurationError(f"there is no file {table}; give a CSV with the competition's labels")
    words: dict[str, str] = {}
    for label, emotion in label_meanings(table).items():
        if words.setdefault(emotion, label) != label:
            raise ConfigurationError(
                f"{table} has {words[emotion]!r} and {label!r} for {emotion}, so either could be written; keep one"
            )
    return words
