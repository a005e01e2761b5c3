"""What runs the shards of a run: threads of one machine, or workers of a cluster of Ray."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from emolake.options import Options


class EngineOptions(Options):
    """What runs the shards; the keys of [engine]. "ray" needs the extra emolake[ray]."""

    kind: Literal["local", "ray"] = "local"
    """"local" runs them in threads of this machine, as many as `run.parallel_shards`; "ray" in worker processes, each
    with its model loaded once."""
    address: str = ""
    """Cluster of Ray: "auto" for the one that this machine is a part of, or HOST:PORT of its head. Empty starts one on
    this machine for the run, which ends with it."""
    workers: int = Field(2, ge=1)
    """Worker processes. On a cluster that grows by demand these are what it grows to."""
    cpus: float = Field(1.0, gt=0)
    """CPUs of a worker: so many decoders run side by side in it, and so many threads compute."""
    gpus: float = Field(0.0, ge=0)
    """GPUs of a worker: 1 gives each its own; with 0.5 two share one, and one computes while the other begins or ends
    a shard."""
    memory_mb: int | None = Field(None, ge=256)
    """Memory of a worker, which Ray reserves; one that takes more is ended, and its shard bisected. No bound when left
    out."""
    max_restarts: int = Field(20, ge=0)
    """How often a worker is started again that died; a recording that kills workers takes about twelve deaths to be
    found in a shard of 200."""
    heartbeat_s: float = Field(5.0, gt=0)
    """How often a worker at a shard says how far it is."""
    silence_timeout_s: float = Field(600.0, gt=0)
    """A worker at a shard that gets no further for so long is killed; longer than `decode.timeout_s`."""
    start_timeout_s: float = Field(600.0, gt=0)
    """How long a worker may take to load its model; and without any worker for so long the run fails."""

    commit_shards: int = Field(32, ge=1)
    """Most shards that are committed in one transaction; twice as many may wait before workers have to."""
    commit_wait_s: float = Field(2.0, ge=0)
    """How long a finished shard waits for others to be committed with, while any are at work: fewer files."""

    @field_validator("address")
    @classmethod
    def _of_a_cluster(cls, address: str) -> str:
        if address.startswith("ray://"):
            raise ValueError(
                "engine.address is for a client of Ray, which cannot follow workers at work; start it on a machine "
                'of the cluster, with engine.address = "auto", or as a job: `ray job submit -- emolake nightly`'
            )
        return address

    @model_validator(mode="after")
    def _outlives_a_beat(self) -> Self:
        if self.silence_timeout_s < 2 * self.heartbeat_s:
            raise ValueError(
                f"silence_timeout_s is {self.silence_timeout_s:g} and heartbeat_s is {self.heartbeat_s:g}: a worker "
                "that is alive could be taken for dead; raise silence_timeout_s to several times heartbeat_s"
            )
        return self

    @property
    def is_ray(self) -> bool:
        """Whether shards run in workers of Ray."""
        return self.kind == "ray"

    @property
    def is_own_cluster(self) -> bool:
        """Whether the run starts a cluster for itself."""
        return self.is_ray and not self.address
