"""Labelled clips, from a folder of folders or from a CSV file, and their audio."""

import csv
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import numpy as np

from emolake.audio.containers.formats import is_audio
from emolake.errors import BadRecordingError, ConfigurationError
from emolake.messages import counted
from emolake.schemas.labels import UnknownLabelError, canonical
from emolake.tasks.decode import load_mono

MANIFEST_FILE = "manifest.csv"
LABELS_FILE = "labels.csv"
_PATH_COLUMNS = ("file_path", "path")
_LABEL_COLUMNS = ("emotion", "label")
_DEEPEST_LABEL = 3  # folders above and including the one that names the emotion
_SPEAKER_FOLDER = re.compile(r"(actor|participant|speaker|spk|subject)[ _-]?\w+", re.IGNORECASE)


@dataclass(frozen=True)
class Clip:
    """One labelled utterance.

    `emotion` is of the shared taxonomy and `label` the data's own word for it; `speaker` and `sex` are None if
    unknown.
    """

    name: str
    path: Path
    emotion: str
    corpus: str
    speaker: str | None = None
    sex: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class Skipped:
    """A clip that could not be decoded, and why."""

    name: str
    reason: str


def read_dataset(data: Path) -> list[Clip]:
    """List the clips of `data`, in a fixed order, without opening them.

    `data` is a CSV file with a path column (`file_path` or `path`, relative to the file) and a label column
    (`emotion` or `label`), and `speaker`, `corpus`, `sex` if known; a folder with such a `manifest.csv`; or a
    folder of folders named after emotions, which may lie in folders of corpora or speakers. Labels may be any
    spelling that the taxonomy knows, or that a file `labels.csv` (`label,emotion`) beside the data explains.

    Raises:
        ConfigurationError: there is no such data set, it has no clip, or it can be read in two ways.
        UnknownLabelError: a label is not in the taxonomy.
    """
    if data.is_file():
        clips = _from_csv(data)
    elif (data / MANIFEST_FILE).is_file():
        clips = _from_csv(data / MANIFEST_FILE)
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
    """Return the speaker of each clip.

    Raises:
        ConfigurationError: one has none, so a split by speaker would leak.
    """
    speakers = []
    for clip in clips:
        if clip.speaker is None:
            raise ConfigurationError(
                f"the clip {clip.name} has no speaker, so a split by speaker cannot keep its voice out of "
                "training; list the data in a CSV file with a column `speaker`, or ask for --split random, "
                "which measures voices that are in training too"
            )
        speakers.append(clip.speaker)
    return speakers


def load_clips(
    clips: Sequence[Clip], *, sampling_rate: int
) -> tuple[list[Clip], list[np.ndarray], list[Skipped]]:
    """Decode every clip to mono float32 at `sampling_rate`; what cannot be decoded is named and left out.

    Raises:
        ConfigurationError: nothing is left.
    """
    kept: list[Clip] = []
    waves: list[np.ndarray] = []
    skipped: list[Skipped] = []
    for clip in clips:
        if not clip.path.is_file():
            skipped.append(Skipped(clip.name, f"there is no file {clip.path}"))
            continue
        try:
            waves.append(load_mono(clip.path, sampling_rate=sampling_rate))
        except (BadRecordingError, OSError) as error:
            skipped.append(Skipped(clip.name, str(error)))
        else:
            kept.append(clip)
    if not kept:
        raise ConfigurationError(
            f"none of {counted(len(clips), 'clip')} can be decoded; the first, {skipped[0].name}: {skipped[0].reason}"
        )
    return kept, waves, skipped


def data_hash(clips: Sequence[Clip], waves: Sequence[np.ndarray]) -> str:
    """Return the sha256 of names, labels, speakers and samples: the same data give the same hash in any folder."""
    digest = hashlib.sha256()
    for clip, wave in sorted(zip(clips, waves, strict=True), key=lambda pair: pair[0].name):
        digest.update("\x1f".join((clip.name, clip.emotion, clip.corpus, clip.speaker or "")).encode())
        digest.update(np.ascontiguousarray(wave, dtype="<f4").tobytes())
    return digest.hexdigest()


@contextmanager
def csv_reader(table: Path) -> "Iterator[csv.DictReader[str]]":
    """Open a CSV file of UTF-8; raise ConfigurationError if it is of another encoding."""
    with table.open(encoding="utf-8-sig", newline="") as lines:
        try:
            yield csv.DictReader(lines)
        except UnicodeDecodeError as error:
            raise ConfigurationError(
                f"{table} is not UTF-8 text ({error}); save it as UTF-8, from cp949 or Shift JIS for instance"
            ) from error


def label_meanings(table: Path) -> dict[str, str]:
    """Return the emotion of each of the labels that a CSV file names.

    The file has columns `label` and `emotion`, or one of the two, whose labels are then words of the taxonomy, as a
    competition's list of training clips has them.

    Raises:
        ConfigurationError: there is neither column, or a label has two emotions.
        UnknownLabelError: the taxonomy does not know an emotion.
    """
    meanings: dict[str, str] = {}
    with csv_reader(table) as reader:
        columns = reader.fieldnames or []
        label_column = _one_of(("label", "emotion"), columns, table)
        emotion_column = _one_of(_LABEL_COLUMNS, columns, table)
        for row in reader:
            place = f"{table} line {reader.line_num}"
            label, emotion = row[label_column], _emotion(row[emotion_column] or "", place, {})
            if meanings.setdefault(label, emotion) != emotion:
                raise ConfigurationError(
                    f"{place} says that {label!r} is {emotion}, and an earlier line {meanings[label]}; keep one"
                )
    return meanings


def portable_path(given: str, folder: Path, place: str) -> str:
    """Return the path that a table lists, relative to its folder, with slashes where Windows wrote backslashes.

    Raises:
        ConfigurationError: it names a drive or a server of Windows, which is not to be found here.
    """
    windows = PureWindowsPath(given)
    if ("\\" not in given and not windows.drive) or (folder / given).exists():
        return given
    if windows.anchor:
        raise ConfigurationError(
            f"{place} names {given}, a path of a Windows machine; make it relative to {folder}, as in "
            f"{windows.parent.name or 'clips'}/{windows.name}"
        )
    return windows.as_posix()


def _from_csv(table: Path) -> list[Clip]:
    meanings = _meanings_beside(table.parent)
    lines_of: dict[str, int] = {}
    clips = []
    with csv_reader(table) as reader:
        columns = reader.fieldnames or []
        path_column = _one_of(_PATH_COLUMNS, columns, table)
        label_column = _one_of(_LABEL_COLUMNS, columns, table)
        for row in reader:
            given, label = row[path_column], row[label_column]
            if not given or not label:
                raise ConfigurationError(
                    f"{table} line {reader.line_num} has path {given!r} and label "
                    f"{label!r}; expected both: fill them in or delete the line"
                )
            name = portable_path(given, table.parent, f"{table} line {reader.line_num}")
            earlier = lines_of.setdefault(name, reader.line_num)
            if earlier != reader.line_num:
                raise ConfigurationError(
                    f"{table} lists {name} on lines {earlier} and {reader.line_num}, so one clip would be in "
                    "training and in the test; delete one of the lines"
                )
            clips.append(
                Clip(
                    name=name,
                    path=table.parent / name,
                    emotion=_emotion(label, f"{table} line {reader.line_num}", meanings),
                    corpus=row.get("corpus") or table.parent.name,
                    speaker=row.get("speaker") or None,
                    sex=row.get("sex") or None,
                    label=label,
                )
            )
    return clips


def _from_folders(root: Path) -> list[Clip]:
    """List `emotion/…`, `corpus/emotion/…`, `speaker/emotion/…`, `emotion/speaker/…`.

    A speaker's folder has a name that says so (`Actor_03`, `speaker-3`): one of another name may be a session or a
    text.
    """
    files = [
        path
        for path in sorted(root.rglob("*"))
        if path.is_file()
        and is_audio(path.name)
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    ]
    if not files:
        return []
    folders = [path.relative_to(root).parts[:-1] for path in files]
    beside = [path.name for path, parts in zip(files, folders, strict=True) if not parts]
    if beside:
        raise ConfigurationError(
            f"{root} holds {beside[0]} beside the folders of emotions, and nothing says what it is; move it, or "
            f"list the clips in {MANIFEST_FILE} with path,emotion"
        )
    meanings = _meanings_beside(root)
    depth = _label_depth(root, folders, meanings)
    clips = []
    for path, parts in zip(files, folders, strict=True):
        others = [*parts[:depth], *parts[depth + 1 :]]
        corpora = [part for part in parts[:depth] if not _SPEAKER_FOLDER.fullmatch(part)]
        clips.append(
            Clip(
                name=path.relative_to(root).as_posix(),
                path=path,
                emotion=_emotion(parts[depth], f"the folder {root.joinpath(*parts[: depth + 1])}", meanings),
                corpus=corpora[0] if corpora else root.name,
                speaker=next((part for part in others if _SPEAKER_FOLDER.fullmatch(part)), None),
                label=parts[depth],
            )
        )
    return clips


def _label_depth(root: Path, folders: Sequence[tuple[str, ...]], meanings: Mapping[str, str]) -> int:
    """Return which folder above a clip names the emotion, 0 for the outermost, and also where none does."""

    def is_label(part: str) -> bool:
        try:
            _emotion(part, "", meanings)
        except UnknownLabelError:
            return False
        return True

    fitting = [
        depth
        for depth in range(_DEEPEST_LABEL)
        if all(len(parts) > depth and is_label(parts[depth]) for parts in folders)
    ]
    if len(fitting) > 1:
        shown = "/".join(folders[0])
        raise ConfigurationError(
            f"in {root} both {folders[0][fitting[0]]!r} and {folders[0][fitting[1]]!r} of {shown} may be the "
            f"emotion, and so in every other folder; list the clips in {MANIFEST_FILE} with path,emotion"
        )
    return fitting[0] if fitting else 0


def _meanings_beside(folder: Path) -> dict[str, str]:
    table = folder / LABELS_FILE
    return label_meanings(table) if table.is_file() else {}


def _one_of(names: Sequence[str], columns: Sequence[str], table: Path) -> str:
    for name in names:
        if name in columns:
            return name
    raise ConfigurationError(
        f"{table} has the columns {', '.join(columns) or 'none'}; expected one named {' or '.join(names)}"
    )


def _emotion(label: str, place: str, meanings: Mapping[str, str]) -> str:
    if label in meanings:
        return meanings[label]
    try:
        return canonical(label)
    except UnknownLabelError as error:
        raise UnknownLabelError(
            f"{place}: {error}, or say what it means in {LABELS_FILE} (label,emotion) beside the data"
        ) from error
