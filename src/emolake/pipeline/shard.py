"""A shard: fetch, decode, segment and classify a handful of recordings side by side, and commit their rows.

Decoding and voice activity run in one thread, downloads in others, the model in the caller's: bounded queues
between them keep memory flat in the length of a recording and in the size of the shard's audio.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from time import perf_counter

import numpy as np

from emolake.audio.voice_activity import SpeechDetector
from emolake.errors import BadRecordingError, ConfigurationError, Reason
from emolake.lake.connect import open_lake
from emolake.models.inference import InferenceOptions
from emolake.models.protocol import EmotionModel, Transcribing
from emolake.models.registry import ModelEntry
from emolake.pipeline import run_progress
from emolake.pipeline.allocator import keep_freed_blocks
from emolake.pipeline.decoder_process import Opened, decoded
from emolake.pipeline.prefetch import ahead
from emolake.pipeline.rows import Analysis, SegmentRow, shard_rows, speech_seconds
from emolake.pipeline.timings import Timings
from emolake.schemas.records import AnalysisKey, Counts, SourceObject
from emolake.settings import Settings
from emolake.source.opening import open_source
from emolake.source.store import Source
from emolake.tasks.classify import ModelError, classify
from emolake.tasks.commit import commit_shard
from emolake.tasks.decode import DecodeOutcome
from emolake.tasks.fetch import fetched
from emolake.tasks.segment import Segment

# Batches that wait decoded for the model: 20 MB on a processor, 160 MB for a GPU.
_BATCHES_AHEAD = 16


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
        ModelError: the model is broken, or has no room.
        ModelChangedError: the model's files were changed since they were fingerprinted.
    """
    timings = Timings()
    source = open_source(settings.source.uri, settings.source.s3)
    model = loaded_model(entry, settings.inference)
    heard = [item for item in objects if not item.excluded]
    try:
        analyses = analyse(heard, source=source, model=model, settings=settings, timings=timings)
    except ModelError as error:
        raise type(error)(f"{entry.name}: {error}") from error
    entry.check_unchanged()
    analyses += [
        Analysis(item, error=BadRecordingError(Reason.EXCLUDED, item.excluded, stage="plan"))
        for item in objects
        if item.excluded
    ]
    rows = shard_rows(
        analyses,
        labels=model.labels,
        emotions=entry.emotions(),
        key=key,
        run_id=run_id,
        transcripts=settings.inference.store_transcripts,
    )
    started = perf_counter()
    with open_lake(settings.warehouse) as lake:
        committed = commit_shard(lake, rows, key=key, run_id=run_id, message=message, force=force)
    timings.add("commit", perf_counter() - started)
    written = [analysis for analysis in analyses if analysis.item.recording_id in committed.written]
    return Counts(
        done=len(written),
        quarantined=sum(analysis.status == "quarantined" for analysis in written),
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
    if settings.inference.store_transcripts and not isinstance(model, Transcribing):
        raise ConfigurationError(
            f"inference.store_transcripts is on, and a model of the family {model.family} writes no transcripts; "
            "turn it off, or choose a model of the family multimodal"
        )
    analyses: list[Analysis] = []
    decoding = _decode_all(objects, source, settings, model.min_samples, analyses, timings)
    batch_seconds = settings.inference.seconds_in_batch(model.device)
    with ahead(
        timings.of("decode", decoding),
        capacity=int(_BATCHES_AHEAD * batch_seconds * model.sampling_rate),
        name="decode",
        # a segment without samples takes memory too, and counts as a second
        weight=lambda owned: max(len(owned[1].samples), model.sampling_rate),
    ) as segments:
        started, waited = perf_counter(), timings.seconds.get("wait_for_audio", 0.0)
        for analysis, piece, scores in classify(
            timings.of("wait_for_audio", segments),
            model,
            batch_seconds=batch_seconds,
            name=lambda analysis: analysis.item.key,
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


_loading = Lock()


@cache
def _loaded(entry: ModelEntry, fingerprint: str, inference: InferenceOptions) -> EmotionModel:
    keep_freed_blocks()
    model = entry.load(inference)
    entry.check_unchanged()
    return model


def loaded_model(entry: ModelEntry, inference: InferenceOptions) -> EmotionModel:
    """Return the model, loaded once per process; a changed file is another model.

    From then on `entry.runtime` tells what executes it: what `auto` means is settled here, and is loaded by name.
    """
    with _loading:
        entry.prepare(inference)
        settled = inference.model_copy(update={"runtime": entry.runtime(inference)})
        return _loaded(entry, entry.fingerprint, settled)


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
            run_progress.advance(str(item.date), analysis.duration_s)


def _decode(path: Path, analysis: Analysis, settings: Settings, min_samples: int) -> Iterator[Segment]:
    outcome: DecodeOutcome | None = None
    for message in decoded(
        path,
        name=analysis.item.key,
        segmentation=settings.segmentation,
        excluded_channels=settings.policy.exclude_channels,
        timeout_s=settings.decode.timeout_s,
        memory_mb=settings.decode.memory_mb,
    ):
        if isinstance(message, Segment):
            yield message
        elif isinstance(message, Opened):
            analysis.codec = message.codec
            analysis.sampling_rate, analysis.channels = message.sampling_rate, message.channels
            analysis.excluded_channels = settings.policy.channels(message.channels) or None
        else:
            analysis.outcome = outcome = message
    if outcome is not None and outcome.resampled < min_samples:
        raise BadRecordingError(
            Reason.TOO_SHORT,
            f"{outcome.resampled} samples at 16 kHz, expected at least {min_samples}",
            stage="segment",
        )


def _in_order(analysis: Analysis) -> list[SegmentRow]:
    """Return the rows by channel and time; the last of a channel ends where the source ends, to its own sample."""
    rows = sorted(analysis.rows, key=lambda row: (row.channel, row.index))
    for position, row in enumerate(rows):
        if position + 1 == len(rows) or rows[position + 1].channel != row.channel:
            rows[position] = row.until(analysis.duration_s)
    return rows
