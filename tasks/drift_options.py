"""When a day counts as drifted: the section [drift] of a configuration."""

from pydantic import Field, field_validator

from emolake.options import Options
from emolake.schemas.drift_measures import DRIFT_MEASURES

STABILITY = "population_stability"


class DriftOptions(Options):
    """When a day counts as drifted from those before it."""

    days: int = Field(28, ge=2)
    """Days before it that a day is compared with."""
    least_days: int = Field(14, ge=3)
    """How many of them there have to be."""
    least_recordings: int = Field(20, ge=1)
    """Recordings of a day, or of a value of a dimension on it, below which it is not compared."""
    false_alarms: float = Field(0.5, gt=0, le=30)
    """How many nights a month may warn although nothing has changed; all comparisons of a night together."""
    warn: dict[str, float] = Field(
        default={
            STABILITY: 0.1,
            "label_entropy": 0.2,
            "confidence": 0.05,
            "uncertain_share": 0.1,
            "no_speech_share": 0.1,
            "level_dbfs": 3.0,
            "clipped_recordings": 0.1,
            "bandwidth_hz": 500.0,
        }
    )
    """Changes that warn, by measure; a smaller one never does, and a measure that is left out neither."""
    fail: dict[str, float] = Field(default_factory=dict)
    """Changes that end the run as failed, by measure, such as { population_stability = 0.5 }; none by default."""

    @field_validator("warn", "fail")
    @classmethod
    def _of_known_measures(cls, changes: dict[str, float]) -> dict[str, float]:
        unknown = sorted(changes.keys() - DRIFT_MEASURES.keys())
        if unknown:
            raise ValueError(f"{', '.join(unknown)} is not measured; expected {', '.join(DRIFT_MEASURES)}")
        if any(not change > 0 for change in changes.values()):
            raise ValueError("a change has to be above 0")
        return changes
