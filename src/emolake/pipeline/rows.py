"""What became of recordings, and the rows of the lake that it makes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import zip_longest
from struct import Struct
from typing import Any, Self
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from emolake.audio.conversation import ChannelDynamics
from emolake.errors import BadRecordingError, Reason
from emolake.models.protocol import AFFECT_DIMENSIONS
from emolake.schemas.records import AnalysisKey, SourceObject
from emolake.schemas.shard_rows import ShardRows
from emolake.schemas.tables import ANALYSES, RECORDING_DYNAMICS, RECORDINGS, SEGMENTS
from emolake.source.policy import EXCLUDED_CONFIG_ID
from emolake.tasks.classify import Scores
from emolake.tasks.decode import DecodeOutcome, Opened
from emolake.tasks.segment import Segment


@dataclass(frozen=True)
class Analysis:
    """What became of one recording: its segments with scores, or the reason why there are none."""

    item: SourceObject
    opened: Opened | None = None
    outcome: DecodeOutcome | None = None
    error: BadRecordingError | None = None
    excluded_channels: Sequence[int] = ()
    rows: Sequence["SegmentRow"] = ()
    """By channel and time."""
    roles: Mapping[int, str] = field(default_factory=dict)
    """By channel; none where no roles are configured."""
    dynamics: Sequence[ChannelDynamics] = ()

    @property
    def status(self) -> str:
        """Status of the recording, as in the table."""
        if self.error is not None:
            return "excluded" if self.error.reason is Reason.EXCLUDED else "quarantined"
        if self.outcome is not None and self.outcome.truncated:
            return "truncated"
        return "ok" if any(row.scores is not None for row in self.rows) else "silent"

    @property
    def is_decoded(self) -> bool:
        """Whether it was read and decoded."""
        return self.error is None

    @property
    def has_speech(self) -> bool:
        """Whether any of it is speech."""
        return any(row.speech_ratio > 0 for row in self.rows)

    @property
    def has_label(self) -> bool:
        """Whether the model gave any of it a label."""
        return any(row.scores is not None and row.scores.best is not None for row in self.rows)

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


class SegmentRow:
    """A segment without its samples.

    Rows wait for the end of their shard, which in a long recording is hours away, so each keeps its numbers in one
    block of bytes. As objects they would take twice the memory; as arrays they would lie scattered over the memory that
    batches leave, and no later batch would fit between them.
    """

    __slots__ = ("_bytes",)
    # channel, index, start_s, end_s, speech_ratio; labels; whether scored, labelled, with affect, with a transcript
    _HEAD = Struct("<IIdddI????")

    def __init__(
        self,
        channel: int,
        index: int,
        start_s: float,
        end_s: float,
        speech_ratio: float,
        scores: Scores | None,
    ) -> None:
        place = channel, index, start_s, end_s, speech_ratio
        if scores is None:
            self._bytes = self._HEAD.pack(*place, 0, False, False, False, False)
            return
        affect, said = scores.affect, scores.transcript
        head = self._HEAD.pack(
            *place, len(scores.logits), True, scores.labelled, affect is not None, said is not None
        )
        numbers = [scores.logits, scores.probabilities, *([] if affect is None else [affect])]
        text = (said or "").encode(errors="surrogatepass")
        self._bytes = b"".join([head, *(each.astype(np.float32).tobytes() for each in numbers), text])

    @classmethod
    def of(cls, segment: Segment, scores: Scores | None) -> Self:
        """Return the row of a segment with its scores."""
        ratio = float(np.float32(segment.speech_ratio))  # as the table holds it
        return cls(segment.channel, segment.index, segment.start_s, segment.end_s, ratio, scores)

    @property
    def channel(self) -> int:
        """Which channel of the recording, from 0."""
        return int(self._head()[0])

    @property
    def index(self) -> int:
        """Which segment of its channel, from 0."""
        return int(self._head()[1])

    @property
    def start_s(self) -> float:
        """Seconds from the start of the recording."""
        return float(self._head()[2])

    @property
    def end_s(self) -> float:
        """Seconds from the start of the recording."""
        return float(self._head()[3])

    @property
    def speech_ratio(self) -> float:
        """The share of it that is speech."""
        return float(self._head()[4])

    @property
    def scores(self) -> Scores | None:
        """What the model says of it; None where it was not asked."""
        *_, labels, scored, labelled, with_affect, with_text = self._head()
        if not scored:
            return None
        sizes = labels, labels, len(AFFECT_DIMENSIONS) if with_affect else 0
        numbers = np.frombuffer(self._bytes, np.float32, sum(sizes), self._HEAD.size)
        logits, probabilities, affect = np.split(numbers, np.cumsum(sizes)[:2])
        text = self._bytes[self._HEAD.size + numbers.nbytes :].decode(errors="surrogatepass")
        return Scores(
            logits, probabilities, affect if with_affect else None, labelled, text if with_text else None
        )

    def until(self, end_s: float) -> "SegmentRow":
        """Return the row with another end."""
        return SegmentRow(self.channel, self.index, self.start_s, end_s, self.speech_ratio, self.scores)

    def _head(self) -> tuple[Any, ...]:
        return self._HEAD.unpack_from(self._bytes)


def shard_rows(
    analyses: Sequence[Analysis],
    *,
    labels: Sequence[str],
    emotions: Mapping[str, str],
    key: AnalysisKey,
    run_id: str,
    zone: ZoneInfo,
    transcripts: bool = False,
    abstain_below: float = 0.0,
) -> ShardRows:
    """Return the rows of a shard's analyses, with what was said if `transcripts` asks for it; `zone` is the calendar's.

    A label whose probability is below `abstain_below` is marked uncertain. A recording that may succeed at a later try
    gets no row in the ledger, so that the next run takes it up again.
    """
    now = datetime.now(UTC)
    recordings = [_recording_row(analysis, run_id, now, zone) for analysis in analyses]
    ledger = [
        {
            "recording_id": analysis.item.recording_id,
            "date": analysis.item.date,
            "version": analysis.item.version,
            "model": key.model,
            "model_fingerprint": key.model_fingerprint,
            "config_id": EXCLUDED_CONFIG_ID if analysis.item.excluded else key.config_id,
            "segments": len(analysis.rows),
            "speech_seconds": speech_seconds(analysis.rows),
            "run_id": run_id,
            "committed_at": now,
        }
        for analysis in analyses
        if analysis.error is None or not analysis.error.reason.transient
    ]
    segments = [
        _segment_row(analysis, row, labels, emotions, key, abstain_below)
        | {
            "run_id": run_id,
            "transcript": row.scores.transcript if transcripts and row.scores is not None else None,
        }
        for analysis in analyses
        for row in analysis.rows
    ]
    dynamics = [
        asdict(each)
        | {
            "recording_id": analysis.item.recording_id,
            "date": analysis.item.date,
            "role": analysis.roles.get(each.channel),
            "run_id": run_id,
        }
        for analysis in analyses
        for each in analysis.dynamics
    ]
    return ShardRows(
        pa.Table.from_pylist(recordings, schema=RECORDINGS.schema),
        pa.Table.from_pylist(ledger, schema=ANALYSES.schema),
        pa.Table.from_pylist(segments, schema=SEGMENTS.schema),
        pa.Table.from_pylist(dynamics, schema=RECORDING_DYNAMICS.schema),
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


def _recording_row(analysis: Analysis, run_id: str, now: datetime, zone: ZoneInfo) -> dict[str, object]:
    item = analysis.item
    signal = analysis.outcome.signal if analysis.outcome else None
    local = item.recorded_at and item.recorded_at.astimezone(zone).replace(tzinfo=None)
    return {
        **(asdict(signal) if signal else {}),
        "signal_notes": (signal.signal_notes if signal else None) or None,
        "recording_id": item.recording_id,
        "uri": item.uri,
        "version": item.version,
        "date": item.date,
        "recorded_at": item.recorded_at,
        "recorded_at_local": local,
        "size_bytes": item.size_bytes,
        "duration_s": analysis.outcome.duration_s if analysis.outcome else None,
        "sample_rate": analysis.opened.sampling_rate if analysis.opened else None,
        "channels": analysis.opened.channels if analysis.opened else None,
        "excluded_channels": analysis.excluded_channels or None,
        "codec": analysis.opened.codec if analysis.opened else None,
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
    abstain_below: float,
) -> dict[str, object]:
    scored: dict[str, object] = dict.fromkeys(
        ("label", "emotion", "confidence", "uncertain", "probabilities", "entropy", "logit_range")
    )
    scores = row.scores
    if scores is not None and scores.best is not None:
        scored = {
            "label": labels[scores.best],
            "emotion": emotions[labels[scores.best]],
            "confidence": scores.confidence,
            "uncertain": scores.is_uncertain(abstain_below),
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
        "role": analysis.roles.get(row.channel),
        "segment_index": row.index,
        "start_s": row.start_s,
        "end_s": row.end_s,
        "speech_ratio": row.speech_ratio,
        "model": key.model,
        **scored,
        "affect": affect,
        "config_id": key.config_id,
    }
