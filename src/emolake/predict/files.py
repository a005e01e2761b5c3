"""Emotions of files and folders, without the lake, by the same steps as the nightly run."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, Literal

from emolake.audio.containers.formats import is_audio
from emolake.errors import BadRecordingError, ConfigurationError, Reason
from emolake.models.health_gate import judge
from emolake.models.registry import ModelEntry
from emolake.output.notices import complain
from emolake.output.table import print_table, write_json
from emolake.pipeline.rows import Analysis, SegmentRow
from emolake.pipeline.shard import analyse, loaded_model, speech_detector
from emolake.pipeline.timings import Timings
from emolake.predict.diagnosis import diagnose
from emolake.schemas.records import SourceObject
from emolake.settings import Settings
from emolake.source.folder import FolderSource
from emolake.tasks.decode import AudioReader
from emolake.tasks.plan import recording_id
from emolake.tasks.segment import segment

_FILES_AT_ONCE = 64
_SEGMENTS_DIAGNOSED = 32


@dataclass(frozen=True)
class FilePrediction:
    """A file's segments as the rows of `predict`, or the reason why it has none."""

    path: str
    rows: list[dict[str, Any]]
    error: str | None
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


def predict(
    files: Iterable[Path], *, settings: Settings, entry: ModelEntry, logits: bool
) -> Iterator[FilePrediction]:
    """Yield the prediction of each file, in order.

    Args:
        files: what to analyse.
        settings: segmentation and inference; the source's pattern does not matter.
        entry: the model.
        logits: give raw logits too; they are None otherwise.
    """
    model = loaded_model(entry, settings.inference)
    emotions = entry.emotions()
    for path, analysis in analyses_of(files, settings=settings, entry=entry):
        rows = [_row(path, row, model.labels, emotions, logits) for row in analysis.rows]
        scores = (row.scores for row in analysis.rows)
        ranges = [each.logit_range for each in scores if each is not None and each.best is not None]
        yield FilePrediction(str(path), rows, analysis.reason, ranges)


def analyses_of(
    files: Iterable[Path], *, settings: Settings, entry: ModelEntry
) -> Iterator[tuple[Path, Analysis]]:
    """Yield each file with its segments and their scores, in order."""
    model = loaded_model(entry, settings.inference)
    source = FolderSource(Path("/"))
    remaining = iter(files)
    while chunk := list(islice(remaining, _FILES_AT_ONCE)):
        objects = [source_object(path) for path in chunk]
        analyses = analyse(objects, source=source, model=model, settings=settings, timings=Timings())
        yield from zip(chunk, analyses, strict=True)


def write_predictions(
    paths: Sequence[Path],
    *,
    settings: Settings,
    entry: ModelEntry,
    logits: bool,
    format: Literal["table", "json", "csv"],
    output: IO[str],
) -> int:
    """Write the predictions of files and folders as they come, and the reasons of bad files to standard error.

    Returns:
        The number of files that gave no result, or broke half-way.
    """
    files = audio_files(paths)
    bad = 0
    ranges: list[float] = []

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal bad
        for prediction in predict(files, settings=settings, entry=entry, logits=logits):
            if prediction.error is not None:
                bad += 1
                complain(f"{prediction.path}: {prediction.error}")
            ranges.extend(prediction.logit_ranges)
            yield from prediction.rows

    if format == "json":
        write_json(rows(), output)
    elif format == "csv":
        _write_csv(rows(), entry.labels, logits, output)
    else:
        names = ("path", "channel", "start_s", "end_s", "label", "emotion", "confidence")
        print_table(
            (*names, "logits") if logits else names,
            [[row[name] for name in (*names, *(("logits",) if logits else ()))] for row in rows()],
            output,
        )
    if entry.labels and ranges:
        health = judge(len(ranges), sum(ranges) / len(ranges), settings.health)
        if health.verdict == "flat":
            complain(f"{entry.name} is degenerate: {health.detail}")
    return bad


def write_diagnosis(path: Path, *, settings: Settings, entry: ModelEntry, output: IO[str]) -> None:
    """Write what a model does with one file: layer weights, stages, logits by segment, and the health verdict.

    Raises:
        BadRecordingError: the file cannot be decoded.
        ModelError: the model gave something else than finite numbers, or has no room.
    """
    # What is looked into are torch's modules, which a graph does not have.
    model = loaded_model(
        entry, settings.inference.model_copy(update={"runtime": "torch", "precision": "fp32"})
    )
    with AudioReader(path) as reader:
        pieces = segment(
            reader.blocks(),
            # what a model does with silence is looked into as well
            options=settings.segmentation.ungated(),
            excluded_channels=settings.policy.exclude_channels,
            vad=speech_detector(),
        )
        waves = [
            piece.samples
            for piece in islice(pieces, _SEGMENTS_DIAGNOSED)
            if len(piece.samples) >= model.min_samples
        ]
    if not waves:
        raise BadRecordingError(
            Reason.TOO_SHORT, f"expected at least {model.min_samples} samples", stage="segment"
        )
    found = diagnose(model, waves, settings.health)
    print(f"model {entry.name}: {entry.family}, fingerprint {entry.fingerprint}", file=output)
    for name, weights in found.layer_weights.items():
        print(f"layer weights of {name}: {' '.join(f'{weight:.4f}' for weight in weights)}", file=output)
    stages = [(stage.name, "x".join(map(str, stage.shape)), stage.rms, stage.peak) for stage in found.stages]
    if stages:
        print_table(("stage of the first segment", "shape", "rms", "peak"), stages, output)
    if found.labels:
        print_table(
            ("segment", *found.labels), [(n, *row.tolist()) for n, row in enumerate(found.logits)], output
        )
    print(f"{found.health.verdict}: {found.health.detail}", file=output)


def _write_csv(rows: Iterable[dict[str, Any]], labels: Sequence[str], logits: bool, output: IO[str]) -> None:
    """Write one line a segment, with a column for the probability (and the logit) of each label."""
    plain = ("path", "channel", "start_s", "end_s", "label", "emotion", "confidence")
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(
        chain(plain, (f"p_{each}" for each in labels), (f"logit_{each}" for each in labels if logits))
    )
    for row in rows:
        probabilities = row["probabilities"] or {}
        scores = (row["logits"] or [None] * len(labels)) if logits else []
        writer.writerow(
            chain((row[name] for name in plain), (probabilities.get(each) for each in labels), scores)
        )


def source_object(path: Path) -> SourceObject:
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
        dimensions={},
    )


def _row(
    path: Path, row: SegmentRow, labels: Sequence[str], emotions: dict[str, str], logits: bool
) -> dict[str, Any]:
    scores = row.scores
    best = None if scores is None else scores.best
    found: dict[str, Any] = dict.fromkeys(("label", "emotion", "confidence", "probabilities"))
    if scores is not None and best is not None:
        found = {
            "label": labels[best],
            "emotion": emotions[labels[best]],
            "confidence": float(scores.probabilities[best]),
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
