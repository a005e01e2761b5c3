"""Rows of made calls, as a shard would commit them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa

from emolake.lake.warehouse import WarehouseOptions
from emolake.schemas.records import AnalysisKey
from emolake.schemas.shard_rows import ShardRows
from emolake.schemas.tables import ANALYSES, RECORDING_DYNAMICS, RECORDINGS, RUNS, SEGMENTS
from emolake.tasks.plan import recording_id

DAY = date(2026, 11, 20)
KEY = AnalysisKey(model="m", model_fingerprint="f" * 32, config_id="c" * 16)


def sqlite_warehouse(folder: Path) -> WarehouseOptions:
    """An empty warehouse of the embedded kind."""
    return WarehouseOptions(catalog=f"sqlite:{folder / 'catalog.sqlite'}", data=str(folder / "data"))


@dataclass(frozen=True)
class Piece:
    """One segment."""

    start_s: float = 0.0
    end_s: float = 10.0
    speech_ratio: float = 1.0
    emotion: str | None = "neutral"
    confidence: float = 0.75
    channel: int = 0
    index: int = 0
    role: str | None = None


@dataclass(frozen=True)
class Call:
    """One recording with its segments; without `analysed` it gets no row in the ledger."""

    key: str
    day: date = DAY
    pieces: tuple[Piece, ...] = (Piece(),)
    site: str | None = "oslo"
    version: str = "v1"
    status: str = "ok"
    error: str | None = None
    duration_s: float | None = 10.0
    analysed: bool = True
    talk_s: float | None = None
    """Of its only channel; None leaves the conversation's row away."""
    at: datetime | None = None
    """What a clock on the wall shows at its start."""
    deleted_at: datetime | None = None
    dimensions: tuple[tuple[str, str], ...] = ()
    """Those beside the site."""
    signal_notes: tuple[str, ...] | None = None

    @property
    def uri(self) -> str:
        return f"s3://calls/{self.key}"

    @property
    def recording_id(self) -> str:
        return recording_id(self.uri)


def shard_rows(calls: Iterable[Call], *, key: AnalysisKey = KEY, run_id: str = "run-1") -> ShardRows:
    """Rows of a shard of these calls."""
    calls = list(calls)
    now = datetime.now(UTC)
    recordings = [
        {
            "recording_id": call.recording_id,
            "uri": call.uri,
            "version": call.version,
            "date": call.day,
            "recorded_at": None,
            "recorded_at_local": call.at,
            "size_bytes": 1000,
            "duration_s": call.duration_s,
            "sample_rate": 16_000,
            "channels": 1,
            "codec": "pcm_s16le",
            "level_dbfs": -22.0,
            "clipped_share": 0.0,
            "bandwidth_hz": 3400.0,
            "signal_notes": call.signal_notes,
            "dimensions": [] if call.site is None else [("site", call.site), *call.dimensions],
            "deleted_at": call.deleted_at,
            "status": call.status,
            "error": call.error,
            "run_id": run_id,
            "committed_at": now,
        }
        for call in calls
    ]
    ledger = [
        {
            "recording_id": call.recording_id,
            "date": call.day,
            "version": call.version,
            "model": key.model,
            "model_fingerprint": key.model_fingerprint,
            "config_id": key.config_id,
            "segments": len(call.pieces),
            "speech_seconds": sum(
                (piece.end_s - piece.start_s) * piece.speech_ratio for piece in call.pieces
            ),
            "run_id": run_id,
            "committed_at": now,
        }
        for call in calls
        if call.analysed
    ]
    segments = [
        {
            "recording_id": call.recording_id,
            "date": call.day,
            "channel": piece.channel,
            "role": piece.role,
            "segment_index": piece.index,
            "start_s": piece.start_s,
            "end_s": piece.end_s,
            "speech_ratio": piece.speech_ratio,
            "model": key.model,
            "label": piece.emotion,
            "emotion": piece.emotion,
            "confidence": None if piece.emotion is None else piece.confidence,
            "uncertain": None if piece.emotion is None else piece.confidence < 0.5,
            "probabilities": None if piece.emotion is None else [(piece.emotion, piece.confidence)],
            "affect": None,
            "entropy": None if piece.emotion is None else 0.5,
            "logit_range": None if piece.emotion is None else 4.0,
            "config_id": key.config_id,
            "run_id": run_id,
        }
        for call in calls
        for piece in call.pieces
    ]
    dynamics = [
        {
            "recording_id": call.recording_id,
            "date": call.day,
            "channel": 0,
            "talk_s": call.talk_s,
            "silence_s": (call.duration_s or 0.0) - call.talk_s,
            "pauses": 0,
            "run_id": run_id,
        }
        for call in calls
        if call.talk_s is not None
    ]
    return ShardRows(
        pa.Table.from_pylist(recordings, schema=RECORDINGS.schema),
        pa.Table.from_pylist(ledger, schema=ANALYSES.schema),
        pa.Table.from_pylist(segments, schema=SEGMENTS.schema),
        pa.Table.from_pylist(dynamics, schema=RECORDING_DYNAMICS.schema),
    )


def run_row(run_id: str = "run-1", **values: object) -> pa.Table:
    """A row of `runs`; `values` replace its figures."""
    now = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)
    row: dict[str, object] = {
        "run_id": run_id,
        "flow": "nightly",
        "outcome": "completed",
        "started_at": now,
        "finished_at": now,
        "first_date": DAY,
        "last_date": DAY,
        "model": KEY.model,
        "config_id": KEY.config_id,
        **{column.name: 0 for column in RUNS.schema if column.type == pa.int64()},
        "named_keys": [],
        "warnings": [],
        "audio_seconds": 3600.0,
        "speech_seconds": 1800.0,
        "wall_s": 36.0,
        "real_time_factor": 0.01,
        "timings": [],
        "device": "cpu",
        "versions": [],
        "options": "{}",
        "error": None,
    }
    return pa.Table.from_pylist([row | values], schema=RUNS.schema)


def tiled(
    emotions: Sequence[str | None], seconds: float = 10.0, speech_ratio: float = 1.0
) -> tuple[Piece, ...]:
    """Windows side by side, one for each emotion."""
    return tuple(
        Piece(index * seconds, (index + 1) * seconds, speech_ratio, emotion, index=index)
        for index, emotion in enumerate(emotions)
    )
