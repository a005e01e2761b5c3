"""What the steps hand to one another, apart from arrays."""

from dataclasses import dataclass, field
from datetime import date, datetime


@dataclass(frozen=True)
class SourceObject:
    """One recording as listed: enough to fetch it and to write its row.

    `key` is relative to the source's URI; `recorded_at` is in UTC or None when the key has no time.
    """

    key: str
    uri: str
    recording_id: str
    version: str
    size_bytes: int
    date: date
    recorded_at: datetime | None
    dimensions: dict[str, str]
    excluded: str | None = None
    """Why the policy keeps it from every model; it is recorded, and never fetched."""


@dataclass(frozen=True)
class AnalysisKey:
    """Under which model and configuration the rows of an analysis stand."""

    model: str
    model_fingerprint: str
    config_id: str


@dataclass
class Counts:
    """Figures of a shard, a day or a run; they add up."""

    done: int = 0
    quarantined: int = 0
    truncated: int = 0
    already_done: int = 0
    segments: int = 0
    labelled: int = 0
    audio_seconds: float = 0.0
    speech_seconds: float = 0.0
    timings: dict[str, float] = field(default_factory=dict)

    def add(self, other: "Counts") -> None:
        """Add another shard's figures to these."""
        self.done += other.done
        self.quarantined += other.quarantined
        self.truncated += other.truncated
        self.already_done += other.already_done
        self.segments += other.segments
        self.labelled += other.labelled
        self.audio_seconds += other.audio_seconds
        self.speech_seconds += other.speech_seconds
        for stage, seconds in other.timings.items():
            self.timings[stage] = self.timings.get(stage, 0.0) + seconds
