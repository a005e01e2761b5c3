"""The options of a run, wherever its shards run."""

from typing import Literal, Self

from pydantic import Field, model_validator

from emolake.options import Options


class RunOptions(Options):
    """How a run is cut up, and when it counts as failed."""

    shard_seconds: float = Field(3600.0, gt=0)
    """Audio in a shard, estimated from sizes: the unit of retry and commit."""
    shard_objects: int = Field(200, ge=1)
    """Most recordings in a shard."""
    parallel_shards: int = Field(2, ge=1)
    """Shards that run side by side on this machine."""
    shard_retries: int = Field(2, ge=0)
    """How often a failed shard is tried again."""
    shard_retry_delay_s: float = Field(5.0, ge=0)
    """Pause before a failed shard is tried again."""
    grace_s: float = Field(540.0, ge=0)
    """How long the shards at work may go on when the run is asked to stop (Ctrl-C, SIGTERM, eviction); then they are
    given up. Whatever stops the run should wait 30 s longer before it kills it."""
    memory_mb: int = Field(2048, ge=128)
    """Memory that DuckDB may take to plan, 29 bytes for each recording of a day, and to aggregate; what is beyond goes
    to TMPDIR."""
    max_bad_share: float = Field(0.5, ge=0, le=1)
    """Share of quarantined recordings above which the run ends as failed, with the good ones committed."""

    empty: Literal["warn", "fail", "allow"] = "fail"
    """What a run comes to that finds nothing on any of its days where earlier days had recordings: "fail", "warn", or
    "allow", which says nothing of single empty days either."""
    heartbeat_s: float = Field(60.0, gt=0)
    """How often a run at work refreshes its row."""
    heartbeat_timeout_s: float = Field(900.0, gt=0)
    """Without a sign of life for so long a running run counts as died; several times heartbeat_s."""

    @model_validator(mode="after")
    def _outlives_a_beat(self) -> Self:
        if self.heartbeat_timeout_s < 2 * self.heartbeat_s:
            raise ValueError(
                f"heartbeat_timeout_s is {self.heartbeat_timeout_s:g} and heartbeat_s is {self.heartbeat_s:g}: a run "
                "that is alive could be taken for dead; raise heartbeat_timeout_s to several times heartbeat_s"
            )
        return self
