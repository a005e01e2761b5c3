"""A shard: fetch, decode, segment, featurize, classify and commit a handful of recordings.

The steps run side by side: downloads in threads, decoding and segmentation of several recordings in processes beside
threads that ask them, the model in the caller's thread or, on a GPU, in one that all shards share. What waits between
them is bounded, which keeps memory flat in the length of a recording and in the size of the shard's audio.
"""

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from emolake import telemetry
from emolake.audio.conversation import Dynamics
from emolake.errors import BadRecordingError, ConfigurationError, Reason
from emolake.models.protocol import EmotionModel, Transcribing
from emolake.models.registry import ModelEntry
from emolake.output.logs import about
from emolake.pipeline import run_progress
from emolake.pipeline.abreast import Places, abreast
from emolake.pipeline.decoder_process import decoded
from emolake.pipeline.interrupts import check_not_given_up
from emolake.pipeline.loaded_models import loaded_model
from emolake.pipeline.rows import Analysis, SegmentRow, shard_rows, speech_seconds
from emolake.pipeline.scoring import scored
from emolake.pipeline.timings import Timings
from emolake.schemas.records import AnalysisKey, Counts, SourceObject
from emolake.schemas.shard_rows import ShardRows
from emolake.settings import Settings
from emolake.source.store import Source
from emolake.tasks.classify import ModelError, Scores
from emolake.tasks.decode import DecodeOutcome, Opened
from emolake.tasks.fetch import fetched
from emolake.tasks.segment import Segment

if TYPE_CHECKING:
    from emolake.tasks.commit import Committed

_log = logging.getLogger(__name__)

# Batches that wait decoded for the model: 20 MB on a processor, 160 MB for a GPU.
_BATCHES_AHEAD = 16
# Where the shards of this process have recordings decoded.
_DECODERS = Places()


@dataclass(frozen=True)
class AnalysedShard:
    """What a shard came to, to be committed here or elsewhere: rows, and the figures of each recording."""

    rows: ShardRows
    figures: Mapping[str, Counts]
    """By the identifier of the recording."""
    timings: Mapping[str, float]

    def counts(self, committed: "Committed", commit_s: float) -> Counts:
        """Return the shard's figures, when it has been committed, which took `commit_s` seconds."""
        written = (each for name, each in self.figures.items() if name in committed.written)
        counts = sum(written, start=Counts())
        counts += Counts(
            already_done=len(committed.already_done), timings={**self.timings, "commit": commit_s}
        )
        _log.info("committed %d recordings, %.1f min of audio", counts.done, counts.audio_seconds / 60)
        return counts


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
        GivenUpError: the run was asked to stop, and its grace period is over.
    """
    # What needs no lake and no bucket, as `analyse` does, needs neither's packages.
    from emolake.lake.connect import open_lake
    from emolake.tasks.commit import commit_shard

    with _watched(objects, run_id, message):
        analysed = _analysed(objects, settings, entry, key, run_id)
        started = perf_counter()
        check_not_given_up()
        with open_lake(settings.warehouse) as lake:
            committed = commit_shard(
                lake, analysed.rows, key=key, run_id=run_id, message=message, force=force
            )
        return analysed.counts(committed, perf_counter() - started)


def analyse_shard(
    objects: Sequence[SourceObject],
    *,
    settings: Settings,
    entry: ModelEntry,
    key: AnalysisKey,
    run_id: str,
    message: str,
) -> AnalysedShard:
    """Analyse a shard, which somebody else commits; raises what `run_shard` does but for a LakeError."""
    with _watched(objects, run_id, message):
        return _analysed(objects, settings, entry, key, run_id)


@contextmanager
def _watched(objects: Sequence[SourceObject], run_id: str, message: str) -> Iterator[None]:
    day = str(objects[0].date) if objects else ""
    traced = telemetry.span("shard", run=run_id, shard=message, recordings=len(objects))
    with about(run=run_id, day=day or None, shard=message), traced, run_progress.taken_back_on_failure():
        yield


def _analysed(
    objects: Sequence[SourceObject], settings: Settings, entry: ModelEntry, key: AnalysisKey, run_id: str
) -> AnalysedShard:
    from emolake.source.opening import open_source

    timings = Timings()
    source = open_source(settings.source.uri, settings.source.s3)
    model = loaded_model(entry, settings.inference)
    included = [item for item in objects if not item.excluded]
    try:
        analyses = list(analyse(included, source=source, model=model, settings=settings, timings=timings))
    except ModelError as error:
        raise type(error)(f"{entry.name}: {error}") from error
    entry.check_unchanged()
    analyses += [_excluded(item, item.excluded) for item in objects if item.excluded]
    return _to_commit(analyses, model.labels, settings, entry, key, run_id, timings)


def quarantined_alone(
    item: SourceObject,
    error: BadRecordingError,
    *,
    settings: Settings,
    entry: ModelEntry,
    key: AnalysisKey,
    run_id: str,
) -> AnalysedShard:
    """Return the shard of one bad recording, which cannot be analysed because it ends whatever tries."""
    with about(run=run_id, day=item.date, recording=item.key):
        _log.info("quarantined: %s", error)
        return _to_commit([Analysis(item, error=error)], (), settings, entry, key, run_id, Timings())


def _to_commit(
    analyses: Sequence[Analysis],
    labels: Sequence[str],
    settings: Settings,
    entry: ModelEntry,
    key: AnalysisKey,
    run_id: str,
    timings: Timings,
) -> AnalysedShard:
    rows = shard_rows(
        analyses,
        labels=labels,
        emotions=entry.emotions(),
        key=key,
        run_id=run_id,
        zone=settings.source.zone,
        transcripts=settings.inference.store_transcripts,
        abstain_below=entry.abstain_below(settings.inference),
    )
    return AnalysedShard(rows, {each.item.recording_id: _figures(each) for each in analyses}, timings.seconds)


def analyse(
    objects: Iterable[SourceObject],
    *,
    source: Source,
    model: EmotionModel,
    settings: Settings,
    timings: Timings,
) -> Iterator[Analysis]:
    """Fetch, decode, segment, featurize and classify recordings; yield one analysis each, in order.

    A bad recording ends as an analysis with an error; anything else that fails is raised.
    """
    _check(model, settings)
    batch_seconds = settings.inference.seconds_in_batch(model.device)
    with (
        tempfile.TemporaryDirectory(prefix="emolake-") as folder,
        fetched(source, objects, options=settings.fetch, folder=Path(folder)) as downloads,
        abreast(
            timings.of("wait_for_download", downloads),
            lambda download: timings.of("decode", _decoded(*download, Path(folder), settings, model)),
            places=_DECODERS,
            limit=settings.decode.at_once,
            capacity=int(_BATCHES_AHEAD * batch_seconds * model.sampling_rate),
            name="decode",
            # a segment without samples takes memory too, and counts as a second
            weight=lambda owned: max(_samples(owned[1]), model.sampling_rate),
        ) as pieces,
    ):
        started, waited = perf_counter(), timings.seconds.get("wait_for_audio", 0.0)
        answers = scored(
            timings.of("wait_for_audio", pieces),
            model,
            inference=settings.inference,
            whole_s=settings.segmentation.window_s if settings.segmentation.method == "window" else None,
            name=lambda item: item.key,
        )
        with closing(answers):  # or a shard that ends early would leave the device with what nobody waits for
            yield from _gathered(answers, settings)
        waited = timings.seconds.get("wait_for_audio", 0.0) - waited
        timings.add("classify", perf_counter() - started - waited)


@dataclass(frozen=True)
class _End:
    """The end of a recording, behind its last segment: what its header said, and what decoding it came to."""

    opened: Opened | None
    outcome: DecodeOutcome | None
    dynamics: Dynamics
    error: BadRecordingError | None


# What comes of a recording: its segments in the order of time, and at last its end.
_Piece = Segment | _End


def _decoded(
    item: SourceObject,
    download: Path | BadRecordingError,
    folder: Path,
    settings: Settings,
    model: EmotionModel,
) -> Iterator[tuple[SourceObject, _Piece]]:
    """Decode and segment a recording, and remove it where it was downloaded into the folder."""
    opened: Opened | None = None
    outcome: DecodeOutcome | None = None
    dynamics = Dynamics()
    error: BadRecordingError | None = None
    try:
        for message in _messages(download, item, settings):
            run_progress.sign()
            if isinstance(message, Segment):
                yield item, message
            elif isinstance(message, Opened):
                opened = message
            elif isinstance(message, Dynamics):
                dynamics = message
            else:
                outcome = message
        _check_long_enough(outcome, model)
    except BadRecordingError as bad:
        error = bad
    finally:
        if isinstance(download, Path) and download.parent == folder:
            download.unlink(missing_ok=True)
    yield item, _End(opened, outcome, dynamics, error)
    run_progress.advance(str(item.date), outcome.duration_s if outcome else 0.0)


def _messages(
    download: Path | BadRecordingError, item: SourceObject, settings: Settings
) -> Iterator[Opened | Segment | Dynamics | DecodeOutcome]:
    if isinstance(download, BadRecordingError):
        raise download
    return decoded(
        download,
        name=item.key,
        segmentation=settings.segmentation,
        excluded_channels=settings.policy.exclude_channels,
        unscored_channels=settings.roles.unscored(item.dimensions, settings.policy.purpose),
        timeout_s=settings.decode.timeout_s,
        memory_mb=settings.decode.memory_mb,
        options=settings.decode.options,
    )


def _gathered(
    scored: Iterable[tuple[SourceObject, _Piece, Scores | None]], settings: Settings
) -> Iterator[Analysis]:
    """Gather each recording's scored segments to its analysis; one that ended as bad keeps none."""
    rows: list[SegmentRow] = []
    for item, piece, scores in scored:
        run_progress.sign()
        check_not_given_up()
        if isinstance(piece, Segment):
            rows.append(SegmentRow.of(piece, scores))
            continue
        if piece.error is not None:
            with about(recording=item.key):
                _log.info("quarantined: %s", piece.error)
        duration_s = piece.outcome.duration_s if piece.outcome else 0.0
        yield Analysis(
            item,
            piece.opened,
            piece.outcome,
            piece.error,
            _excluded_channels(item, piece.opened, settings),
            () if piece.error else _in_order(rows, duration_s),
            _roles(item, piece, settings),
            () if piece.error else piece.dynamics.channels,
        )
        rows = []


def _excluded_channels(item: SourceObject, opened: Opened | None, settings: Settings) -> Sequence[int]:
    """Return the channels of a recording that no model was given: by the policy, or by their role."""
    if opened is None:
        return ()
    by_role = settings.roles.unscored(item.dimensions, settings.policy.purpose) if opened.channels > 1 else []
    excluded = {*settings.policy.channels(opened.channels), *by_role}
    return sorted(channel for channel in excluded if channel < opened.channels)


def _roles(item: SourceObject, piece: _End, settings: Settings) -> dict[int, str]:
    """Return the role of each channel, which is certain only once all of the signal is known."""
    if piece.opened is None or piece.outcome is None:
        return {}
    signal = piece.outcome.signal
    return settings.roles.assigned(item.dimensions, piece.opened.channels, signal.voices if signal else ())


def _in_order(rows: Sequence[SegmentRow], duration_s: float) -> list[SegmentRow]:
    """Return rows by channel and time; the last of a channel ends where the source ends, to its own sample."""
    ordered = sorted(rows, key=lambda row: (row.channel, row.index))
    for position, row in enumerate(ordered):
        if position + 1 == len(ordered) or ordered[position + 1].channel != row.channel:
            ordered[position] = row.until(duration_s)
    return ordered


def _samples(piece: _Piece) -> int:
    return len(piece.samples) if isinstance(piece, Segment) else 0


def _check(model: EmotionModel, settings: Settings) -> None:
    """Raise ConfigurationError where the model cannot do what the configuration asks of it."""
    _check_longest(model, settings)
    if settings.inference.store_transcripts and not isinstance(model, Transcribing):
        raise ConfigurationError(
            f"inference.store_transcripts is on, and a model of the family {model.family} writes no transcripts; "
            "turn it off, or choose a model of the family multimodal"
        )


def _check_longest(model: EmotionModel, settings: Settings) -> None:
    """Raise ConfigurationError when segments can be longer than the model takes; it would cut them in silence."""
    longest_s = settings.segmentation.longest_s
    if model.max_samples is not None and longest_s * model.sampling_rate > model.max_samples:
        most_s = model.max_samples / model.sampling_rate
        raise ConfigurationError(
            f"segments can be {longest_s:g} s long, and the model takes {most_s:g} s at most; "
            "lower segmentation.window_s, or vad_max_segment_s"
        )


def _check_long_enough(outcome: DecodeOutcome | None, model: EmotionModel) -> None:
    if outcome is not None and outcome.resampled < model.min_samples:
        raise BadRecordingError(
            Reason.TOO_SHORT,
            f"{outcome.resampled} samples at 16 kHz, expected at least {model.min_samples}",
            stage="segment",
        )


def _excluded(item: SourceObject, why: str) -> Analysis:
    return Analysis(item, error=BadRecordingError(Reason.EXCLUDED, why, stage="plan"))


def _figures(analysis: Analysis) -> Counts:
    """Return the figures of one recording."""
    reasons: dict[str, int] = {}
    if analysis.error and analysis.status == "quarantined":
        reasons[str(analysis.error.reason)] = 1
    return Counts(
        done=1,
        quarantined=int(analysis.status == "quarantined"),
        truncated=int(analysis.status == "truncated"),
        decoded=int(analysis.is_decoded),
        with_speech=int(analysis.has_speech or analysis.has_label),
        with_label=int(analysis.has_label),
        segments=len(analysis.rows),
        labelled=sum(row.scores is not None for row in analysis.rows),
        audio_seconds=analysis.duration_s,
        speech_seconds=speech_seconds(analysis.rows),
        source_bytes=analysis.item.size_bytes,
        reasons=reasons,
    )
