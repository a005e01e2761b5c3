"""What the steps hand to one another, apart from arrays."""

from dataclasses import dataclass, field, fields
from datetime import date, datetime
from typing import Any, Self

_KEYS_NAMED = 100
# What a key is said to be that was passed over, before the key itself.
NOT_MATCHED = "does not match the pattern"
NOT_AUDIO = "is no audio"


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
    """The model and configuration that the rows of an analysis are of."""

    model: str
    model_fingerprint: str
    config_id: str


@dataclass(frozen=True)
class Figures:
    """Figures that add up: numbers are summed, lists joined, and dictionaries summed by key."""

    def __add__(self, other: Self) -> Self:
        return type(self)(
            **{each.name: _sum(getattr(self, each.name), getattr(other, each.name)) for each in fields(self)}
        )


@dataclass(frozen=True)
class Counts(Figures):
    """What became of the recordings of a shard, a day or a run."""

    done: int = 0
    quarantined: int = 0
    truncated: int = 0
    decoded: int = 0
    with_speech: int = 0
    with_label: int = 0
    already_done: int = 0
    segments: int = 0
    labelled: int = 0
    audio_seconds: float = 0.0
    speech_seconds: float = 0.0
    source_bytes: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    """Of those quarantined, how many for each reason."""
    timings: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Listing(Figures):
    """What the listing of a day, or of several, came to.

    `found` recordings are either `skipped`, because the lake holds them, or `missing`, `stale` or `failed`, with
    `estimated_seconds` of audio. `named_keys` holds the keys that were passed over, each with the reason: the first
    hundred of each reason.
    """

    found: int = 0
    skipped: int = 0
    missing: int = 0
    stale: int = 0
    failed: int = 0
    estimated_seconds: float = 0.0
    not_matched: int = 0
    not_audio: int = 0
    named_keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        matched = [name for name in self.named_keys if not name.startswith(NOT_MATCHED)]
        others = [name for name in self.named_keys if name.startswith(NOT_MATCHED)]
        object.__setattr__(self, "named_keys", (*others[:_KEYS_NAMED], *matched[:_KEYS_NAMED]))

    @property
    def matched(self) -> int:
        """How many keys match the pattern."""
        return self.found + self.not_audio

    @property
    def listed(self) -> int:
        """How many keys there are."""
        return self.matched + self.not_matched


def _sum(one: Any, other: Any) -> Any:
    if isinstance(one, dict):
        return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}
    return one + other
