"""Emotions of files and folders, without the lake, by the same steps as the nightly run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import tee
from pathlib import Path
from types import MappingProxyType
from typing import Any

from emolake.audio.containers.formats import is_audio
from emolake.errors import BadRecordingError, ConfigurationError
from emolake.models.registry import ModelEntry
from emolake.pipeline.loaded_models import loaded_model
from emolake.pipeline.rows import Analysis, SegmentRow
from emolake.pipeline.shard import analyse
from emolake.pipeline.timings import Timings
from emolake.schemas.records import SourceObject
from emolake.settings import Settings
from emolake.source.folder import FolderSource
from emolake.tasks.plan import recording_id


@dataclass(frozen=True)
class FilePrediction:
    """A file's segments as the rows of `predict`, or the reason why it has none."""

    path: str
    rows: list[dict[str, Any]]
    bad: BadRecordingError | None
    """Why it has no rows."""
    error: str | None
    """The same as text, or what is missing of a file that broke half-way."""
    logit_ranges: list[float]


def audio_files(paths: Sequence[Path]) -> list[Path]:
    """Return the given files, and the audio files below the given folders in order of name.

    Raises:
        ConfigurationError: a path does not exist, or a folder holds no audio.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_file():
            files.append(path)
        elif path.is_dir():
            found = [each for each in sorted(path.rglob("*")) if each.is_file() and is_audio(each.name)]
            if not found:
                raise ConfigurationError(f"the folder {path} holds no audio files")
            files += found
        else:
            raise ConfigurationError(f"there is no file or folder {path}")
    return files


def dimensions_of(path: Path, settings: Settings) -> dict[str, str]:
    """Return the dimensions that a file's key gives, where it lies below `source.uri` and fits `source.pattern`."""
    if "://" in settings.source.uri:
        return {}
    absolute, folder = path.resolve(), Path(settings.source.uri).resolve()
    if not absolute.is_relative_to(folder):
        return {}
    matched = settings.source.key_pattern().match(absolute.relative_to(folder).as_posix())
    return {} if matched is None else dict(matched.dimensions)


def without_layout(files: Iterable[Path], settings: Settings, given: Mapping[str, str]) -> list[Path]:
    """Return the files of which it is not known which of `roles.layouts` they have: those of [roles] hold for them."""
    asked = {name for layout in settings.roles.layouts for name in layout.where}
    return [path for path in files if not asked <= {*dimensions_of(path, settings), *given}] if asked else []


def predict(
    files: Iterable[Path],
    *,
    settings: Settings,
    entry: ModelEntry,
    logits: bool,
    dimensions: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[FilePrediction]:
    """Yield the prediction of each file, in order.

    Args:
        files: what to analyse.
        settings: segmentation and inference; the source's pattern does not matter.
        entry: the model.
        logits: give raw logits too; they are None otherwise.
        dimensions: of all the files, over those of their keys: `roles.layouts` goes by them.
    """
    model = loaded_model(entry, settings.inference)
    emotions, abstain_below = entry.emotions(), entry.abstain_below(settings.inference)
    for path, analysis in analyses_of(files, settings=settings, entry=entry, dimensions=dimensions):
        rows = [_row(path, row, model.labels, emotions, abstain_below, logits) for row in analysis.rows]
        scores = (row.scores for row in analysis.rows)
        ranges = [each.logit_range for each in scores if each is not None and each.best is not None]
        yield FilePrediction(str(path), rows, analysis.error, analysis.reason, ranges)


def analyses_of(
    files: Iterable[Path],
    *,
    settings: Settings,
    entry: ModelEntry,
    dimensions: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[tuple[Path, Analysis]]:
    """Yield each file with its segments and their scores, in order; see `predict`."""
    model = loaded_model(entry, settings.inference)
    source = FolderSource(Path("/"))
    paths, asked = tee(files)
    objects = (source_object(path, dimensions_of(path, settings) | dict(dimensions)) for path in asked)
    analyses = analyse(objects, source=source, model=model, settings=settings, timings=Timings())
    yield from zip(paths, analyses, strict=True)


def source_object(path: Path, dimensions: Mapping[str, str] = MappingProxyType({})) -> SourceObject:
    """Return a file as what a listing of `FolderSource(Path("/"))` would give, without day and version."""
    absolute = path.resolve()
    uri = f"file://{absolute.as_posix()}"
    return SourceObject(
        key=absolute.as_posix().removeprefix("/"),
        uri=uri,
        recording_id=recording_id(uri),
        version="",
        size_bytes=absolute.stat().st_size,
        date=date.min,
        recorded_at=None,
        dimensions=dict(dimensions),
    )


def _row(
    path: Path,
    row: SegmentRow,
    labels: Sequence[str],
    emotions: dict[str, str],
    abstain_below: float,
    logits: bool,
) -> dict[str, Any]:
    scores = row.scores
    best = None if scores is None else scores.best
    found: dict[str, Any] = dict.fromkeys(("label", "emotion", "confidence", "uncertain", "probabilities"))
    if scores is not None and best is not None:
        found = {
            "label": labels[best],
            "emotion": emotions[labels[best]],
            "confidence": scores.confidence,
            "uncertain": scores.is_uncertain(abstain_below),
            "probabilities": dict(zip(labels, scores.probabilities.tolist(), strict=True)),
        }
    return {
        "path": str(path),
        "channel": row.channel,
        "start_s": row.start_s,
        "end_s": row.end_s,
        **found,
        "logits": scores.logits.tolist() if scores is not None and logits else None,
    }
