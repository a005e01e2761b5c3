"""Labelled clips, from a folder of folders or from a CSV file, and their audio."""

import csv
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emolake.errors import BadRecordingError, ConfigurationError
from emolake.schemas.labels import UnknownLabelError, canonical
from emolake.tasks.decode import load_mono

_PATH_COLUMNS = ("file_path", "path")
_LABEL_COLUMNS = ("emotion", "label")
_AUDIO_SUFFIXES = frozenset(
    {".aac", ".aif", ".aiff", ".amr", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".webm"}
)


@dataclass(frozen=True)
class Clip:
    """One labelled utterance. `emotion` is of the shared taxonomy; `speaker` and `sex` are None if
    unknown."""

    name: str
    path: Path
    emotion: str
    corpus: str
    speaker: str | None = None
    sex: str | None = None


@dataclass(frozen=True)
class Skipped:
    """A clip that could not be decoded, and why."""

    name: str
    reason: str


def read_dataset(data: Path) -> list[Clip]:
    """List the clips of `data`, in a fixed order, without opening them.

    `data` is a CSV file with a path column (`file_path` or `path`, relative to the file) and a label column
    (`emotion` or `label`), and `speaker`, `corpus`, `sex` if known; a folder with such a `manifest.csv`; or a
    folder of folders named after emotions. Labels may be any spelling that the taxonomy knows.

    Raises:
        ConfigurationError: there is no such data set, or it has no clip.
        UnknownLabelError: a label is not in the taxonomy.
    """
    if data.is_file():
        clips = _from_csv(data)
    elif (data / "manifest.csv").is_file():
        clips = _from_csv(data / "manifest.csv")
    elif data.is_dir():
        clips = _from_folders(data)
    else:
        raise ConfigurationError(
            f"{data} is no file and no folder; give a CSV file or a folder emotion/clip.wav"
        )
    if not clips:
        raise ConfigurationError(
            f"{data} lists no clip; expected rows of path and emotion, or audio in folders named after emotions"
        )
    return clips


def require_speakers(clips: Iterable[Clip]) -> list[str]:
    """The speaker of each clip. Raises ConfigurationError if one has none, since the speaker split would
    leak."""
    speakers = []
    for clip in clips:
        if clip.speaker is None:
            raise ConfigurationError(
                f"the clip {clip.name} has no speaker, so a split by speaker cannot keep its voice out of "
                "training; list the data in a CSV file with a column `speaker`, or ask for --split random, "
                "which measures voices that training heard"
            )
        speakers.append(clip.speaker)
    return speakers


def load_clips(
    clips: Sequence[Clip], *, sampling_rate: int
) -> tuple[list[Clip], list[np.ndarray], list[Skipped]]:
    """Decode every clip to mono float32 at `sampling_rate`; what cannot be decoded is named and left out.

    Raises ConfigurationError if nothing is left.
    """
    kept: list[Clip] = []
    waves: list[np.ndarray] = []
    skipped: list[Skipped] = []
    for clip in clips:
        try:
            waves.append(load_mono(clip.path, sampling_rate=sampling_rate))
        except (BadRecordingError, OSError) as error:
            skipped.append(Skipped(clip.name, str(error)))
        else:
            kept.append(clip)
    if not kept:
        raise ConfigurationError(f"none of {len(clips)} clips can be decoded; the first: {skipped[0].reason}")
    return kept, waves, skipped


def data_hash(clips: Sequence[Clip], waves: Sequence[np.ndarray]) -> str:
    """sha256 of names, labels, speakers and samples: the same data give the same hash wherever they lie."""
    digest = hashlib.sha256()
    for clip, wave in sorted(zip(clips, waves, strict=True), key=lambda pair: pair[0].name):
        digest.update("\x1f".join((clip.name, clip.emotion, clip.corpus, clip.speaker or "")).encode())
        digest.update(np.ascontiguousarray(wave, dtype="<f4").tobytes())
    return digest.hexdigest()


def _from_csv(table: Path) -> list[Clip]:
    with table.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        columns = reader.fieldnames or []
        path_column = _one_of(_PATH_COLUMNS, columns, table)
        label_column = _one_of(_LABEL_COLUMNS, columns, table)
        clips = []
        for row in reader:
            if not row[path_column] or not row[label_column]:
                raise ConfigurationError(
                    f"{table} line {reader.line_num} has path {row[path_column]!r} and label "
                    f"{row[label_column]!r}; expected both: fill them in or delete the line"
                )
            clips.append(
                Clip(
                    name=row[path_column],
                    path=table.parent / row[path_column],
                    emotion=_emotion(row[label_column], f"{table} line {reader.line_num}"),
                    corpus=row.get("corpus") or table.parent.name,
                    speaker=row.get("speaker") or None,
                    sex=row.get("sex") or None,
                )
            )
    return clips


def _from_folders(root: Path) -> list[Clip]:
    clips = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _AUDIO_SUFFIXES)
        if files:
            emotion = _emotion(folder.name, f"the folder {folder}")
            clips += [Clip(path.relative_to(root).as_posix(), path, emotion, root.name) for path in files]
    return clips


def _one_of(names: Sequence[str], columns: Sequence[str], table: Path) -> str:
    for name in names:
        if name in columns:
            return name
    raise ConfigurationError(
        f"{table} has the columns {', '.join(columns) or 'none'}; expected one named {' or '.join(names)}"
    )


def _emotion(label: str, place: str) -> str:
    try:
        return canonical(label)
    except UnknownLabelError as error:
        raise UnknownLabelError(f"{place}: {error}") from error
