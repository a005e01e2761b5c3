"""A shard: fetch, decode, segment and classify a handful of recordings side by side, and commit their rows.

Decoding and voice activity run in one thread, downloads in others, the model in the caller's: bounded queues
between them keep memory flat in the length of a recording and in the size of the shard's audio.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from itertools import zip_longest
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import TypeVar

import numpy as np
import pyarrow as pa

from emolake import progress
from emolake.background import ahead
from emolake.errors import BadRecordingError, ConfigurationError, Reason
from emolake.lake import open_lake
from emolake.models.protocol import AFFECT_DIMENSIONS, EmotionModel
from emolake.models.registry import ModelEntry
from emolake.schemas.records import AnalysisKey, Counts, SourceObject
from emolake.schemas.tables import ANALYSES, RECORDINGS, SEGMENTS
from emolake.settings import InferenceSettings, Settings
from emolake.storage import Source, open_source
from emolake.tasks.classify import Scores, classify
from emolake.tasks.commit import ShardRows, commit_shard
from emolake.tasks.decode import AudioReader, DecodeOptions, DecodeOutcome
from emolake.tasks.fetch import fetched
from emolake.tasks.segment import Segment, segment
from emolake.vad import SpeechDetector

# Segments that lie decoded ahead of the model: 64 windows of 10 s are 41 MB.
_SEGMENTS_AHEAD = 64

T = TypeVar("T")


@dataclass
class Analysis:
    """What became of one recording: its segments with scores, or the reason why there are none."""

    item: SourceObject
    codec: str | None = None
    sampling_rate: int | None = None
    channels: int | None = None
    outcome: DecodeOutcome | None = None
    error: BadRecordingError | None = None
    rows: list["SegmentRow"] = field(default_factory=list)

    @property
    def status(self) -> str:
        """Status of the recording, as in the table."""
        if self.error is not None:
            return "quarantined"
        if self.outcome is not None and self.outcome.truncated:
            return "truncated"
        return "ok" if any(row.scores is not None for row in self.rows) else "silent"

    @property
    def reason(self) -> str | None:
        """Reason code, stage and message, for the column `error`."""
        if self.error is not None:
            return f"{self.error.reason}: {self.error.stage}: {self.error.message}"
        if self.outcome is not None and self.outcome.truncated:
            return f"{Reason.TRUNCATED}: decode: {self.outcome.reason}"
        return None

    @property
    def duration_s(self) -> float:
        """Decoded seconds in the source's own sampling rate."""
        return self.outcome.duration_s if self.outcome else 0.0


@dataclass(frozen=True)
class SegmentRow:
    """A segment without its samples."""

    channel: int
    index: int
    start_s: float
    end_s: float
    speech_ratio: float
    scores: Scores | None


class Timings:
    """Seconds by stage of one shard; stages run side by side, so their sum may pass the wall time."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def add(self, stage: str, seconds: float) -> None:
        """Add seconds to a stage."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def of(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """Yield the items, adding the time that each took to come to a stage."""
        iterator = iter(items)
        while True:
            started = perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self.add(stage, perf_counter() - started)
            yield item


def run_shard(
    objects: Sequence[SourceObject],
    *,
    settings: Settings,
    entry: ModelEntry,
    key: AnalysisKey,
    run_id: str,
    message: str,
    force: bool = False,
) -> Counts:
    """Analyse a shard and commit its rows; return its figures.

    Raises:
        SourceError: the source as a whole cannot be read.
        LakeError: the lake cannot be written.
        ModelOutputError: the model is broken.
    """
    timings = Timings()
    source = open_source(settings.source.uri, settings.source.s3)
    model = loaded_model(entry, settings.inference)
    analyses = analyse(objects, source=source, model=model, settings=settings, timings=timings)
    rows = shard_rows(analyses, labels=model.labels, emotions=entry.emotions(), key=key, run_id=run_id)
    started = perf_counter()
    with open_lake(settings.warehouse, endpoint_url=settings.source.endpoint_url) as lake:
        committed = commit_shard(lake, rows, key=key, run_id=run_id, message=message, force=force)
    timings.add("commit", perf_counter() - started)
    written = [analysis for analysis in analyses if analysis.item.recording_id in committed.written]
    return Counts(
        done=len(written),
        quarantined=sum(analysis.error is not None for analysis in written),
        truncated=sum(analysis.status == "truncated" for analysis in written),
        already_done=len(committed.already_done),
        segments=sum(len(analysis.rows) for analysis in written),
        labelled=sum(row.scores is not None for analysis in written for row in analysis.rows),
        audio_seconds=sum(analysis.duration_s for analysis in written),
        speech_seconds=sum(speech_seconds(analysis.rows) for analysis in written),
        timings=timings.seconds,
    )


def analyse(
    objects: Iterable[SourceObject],
    *,
    source: Source,
    model: EmotionModel,
    settings: Settings,
    timings: Timings,
) -> list[Analysis]:
    """Fetch, decode, segment and classify recordings; return one analysis each, in order.

    A bad recording ends as an analysis with an error; anything else that fails is raised.
    """
    _check_longest(model, settings)
    analyses: list[Analysis] = []
    decoding = _decode_all(objects, source, settings, model.min_samples, analyses, timings)
    with ahead(timings.of("decode", decoding), capacity=_SEGMENTS_AHEAD, name="decode") as segments:
        started, waited = perf_counter(), timings.seconds.get("wait_for_audio", 0.0)
        for analysis, piece, scores in classify(
            timings.of("wait_for_audio", segments),
            model,
            batch_seconds=settings.inference.batch_seconds,
            min_speech_ratio=settings.segmentation.min_speech_ratio,
        ):
            analysis.rows.append(
                SegmentRow(
                    piece.channel,
                    piece.index,
                    piece.start_s,
                    piece.end_s,
                    float(np.float32(piece.speech_ratio)),
                    scores,
                )
            )
        waited = timings.seconds.get("wait_for_audio", 0.0) - waited
        timings.add("classify", perf_counter() - started - waited)
    for analysis in analyses:
        analysis.rows = [] if analysis.error else _in_order(analysis)
    return analyses


def shard_rows(
    analyses: Sequence[Analysis],
    *,
    labels: Sequence[str],
    emotions: Mapping[str, str],
    key: AnalysisKey,
    run_id: str,
) -> ShardRows:
    """Return the rows of a shard's analyses.

    A recording that may succeed at a later try gets no row in the ledger, so that the next run takes it up again.
    """
    now = datetime.now(UTC)
    recordings = [_recording_row(analysis, run_id, now) for analysis in analyses]
    ledger = [
        {
            "recording_id": analysis.item.recording_id,
            "date": analysis.item.date,
            "version": analysis.item.version,
            "model": key.model,
            "model_fingerprint": key.model_fingerprint,
            "config_id": key.config_id,
            "segments": len(analysis.rows),
            "speech_seconds": speech_seconds(analysis.rows),
            "run_id": run_id,
            "committed_at": now,
        }
        for analysis in analyses
        if analysis.error is None or not analysis.error.reason.transient
    ]
    segments = [
        _segment_row(analysis, row, labels, emotions, key, run_id)
        for analysis in analyses
        for row in analysis.rows
    ]
    return ShardRows(
        pa.Table.from_pylist(recordings, schema=RECORDINGS.schema),
        pa.Table.from_pylist(ledger, schema=ANALYSES.schema),
        pa.Table.from_pylist(segments, schema=SEGMENTS.schema),
    )


def speech_seconds(rows: Sequence[SegmentRow]) -> float:
    """Return the seconds of speech of a recording's segments, in order of channel and time."""
    return sum(speech_of_each(rows))


def speech_of_each(rows: Sequence[SegmentRow]) -> list[float]:
    """Return the seconds of speech of each segment, in order of channel and time.

    An overlapping window owns the time up to the start of the next one, so that no second counts twice.
    """
    ends = [
        min(row.end_s, following.start_s) if following and following.channel == row.channel else row.end_s
        for row, following in zip_longest(rows, rows[1:])
    ]
    return [row.speech_ratio * (end_s - row.start_s) for row, end_s in zip(rows, ends, strict=True)]


_loading = Lock()


@cache
def _loaded(entry: ModelEntry, fingerprint: str, inference: InferenceSettings) -> EmotionModel:
    return entry.load(inference)


def loaded_model(entry: ModelEntry, inference: InferenceSettings) -> EmotionModel:
    """Return the model, loaded once per process; a changed file is another model."""
    with _loading:
        return _loaded(entry, entry.fingerprint, inference)


@cache
def speech_detector() -> SpeechDetector:
    """Return the process' voice-activity detector."""
    return SpeechDetector()


def _check_longest(model: EmotionModel, settings: Settings) -> None:
    """Raise ConfigurationError when segments can be longer than the model takes; it would cut them in silence."""
    options = settings.segmentation
    longest_s = options.window_s + options.min_tail_s
    if options.method == "vad":
        longest_s = (
            options.vad_max_segment_s + (options.vad_min_speech_ms + options.vad_min_silence_ms) / 1000
        )
    if model.max_samples is not None and longest_s * model.sampling_rate > model.max_samples:
        most_s = model.max_samples / model.sampling_rate
        raise ConfigurationError(
            f"segments can be {longest_s:g} s long, and the model takes {most_s:g} s at most; "
            "lower segmentation.window_s, or vad_max_segment_s"
        )


def _decode_all(
    objects: Iterable[SourceObject],
    source: Source,
    settings: Settings,
    min_samples: int,
    analyses: list[Analysis],
    timings: Timings,
) -> Iterator[tuple[Analysis, Segment]]:
    """Yield every segment with its analysis, which is complete when the next one begins."""
    with fetched(source, objects, options=settings.fetch) as downloads:
        for item, result in timings.of("wait_for_download", downloads):
            analysis = Analysis(item)
            analyses.append(analysis)
            try:
                if isinstance(result, BadRecordingError):
                    raise result
                for piece in _decode(result, analysis, settings, min_samples):
                    yield analysis, piece
            except BadRecordingError as error:
                analysis.error = error
            progress.advance(str(item.date), analysis.duration_s)


def _decode(path: Path, analysis: Analysis, settings: Settings, min_samples: int) -> Iterator[Segment]:
    with AudioReader(path, DecodeOptions(), name=analysis.item.key) as reader:
        analysis.codec, analysis.sampling_rate, analysis.channels = (
            reader.codec,
            reader.sampling_rate,
            reader.channels,
        )
        yield from segment(reader.blocks(), options=settings.segmentation, vad=speech_detector())
        analysis.outcome = reader.outcome
    if reader.outcome.resampled < min_samples:
        raise BadRecordingError(
            Reason.TOO_SHORT,
            f"{reader.outcome.resampled} samples at 16 kHz, expected at least {min_samples}",
            stage="segment",
        )


def _in_order(analysis: Analysis) -> list[SegmentRow]:
    """Return the rows by channel and time; the last of a channel ends where the source ends, to its own sample."""
    rows = sorted(analysis.rows, key=lambda row: (row.channel, row.index))
    for position, row in enumerate(rows):
        if position + 1 == len(rows) or rows[position + 1].channel != row.channel:
            rows[position] = replace(row, end_s=analysis.duration_s)
    return rows


def _recording_row(analysis: Analysis, run_id: str, now: datetime) -> dict[str, object]:
    item = analysis.item
    return {
        "recording_id": item.recording_id,
        "uri": item.uri,
        "version": item.version,
        "date": item.date,
        "recorded_at": item.recorded_at,
        "size_bytes": item.size_bytes,
        "duration_s": analysis.outcome.duration_s if analysis.outcome else None,
        "sample_rate": analysis.sampling_rate,
        "channels": analysis.channels,
        "codec": analysis.codec,
        "dimensions": list(item.dimensions.items()),
        "status": analysis.status,
        "error": analysis.reason,
        "run_id": run_id,
        "committed_at": now,
    }


def _segment_row(
    analysis: Analysis,
    row: SegmentRow,
    labels: Sequence[str],
    emotions: Mapping[str, str],
    key: AnalysisKey,
    run_id: str,
) -> dict[str, object]:
    scored: dict[str, object] = dict.fromkeys(
        ("label", "emotion", "confidence", "probabilities", "entropy", "logit_range")
    )
    scores = row.scores
    if scores is not None and scores.best is not None:
        scored = {
            "label": labels[scores.best],
            "emotion": emotions[labels[scores.best]],
            "confidence": float(scores.probabilities[scores.best]),
            "probabilities": list(zip(labels, scores.probabilities.tolist(), strict=True)),
            "entropy": scores.entropy,
            "logit_range": scores.logit_range,
        }
    affect = None
    if scores is not None and scores.affect is not None:
        affect = list(zip(AFFECT_DIMENSIONS, scores.affect.tolist(), strict=True))
    return {
        "recording_id": analysis.item.recording_id,
        "date": analysis.item.date,
        "channel": row.channel,
        "segment_index": row.index,
        "start_s": row.start_s,
        "end_s": row.end_s,
        "speech_ratio": row.speech_ratio,
        "model": key.model,
        **scored,
        "affect": affect,
        "config_id": key.config_id,
        "run_id": run_id,
    }
