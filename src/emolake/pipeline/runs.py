"""The record of a run: a row in `runs` from its first work to its end, however it ends."""

import logging
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from threading import Event, Lock, Thread

import duckdb
import pyarrow as pa

from emolake.errors import EmolakeError
from emolake.lake.connect import open_lake
from emolake.lake.schema import append
from emolake.lake.transact import Lake, LakeError
from emolake.messages import redacted
from emolake.pipeline.identity import options_json, package_versions
from emolake.schemas.records import AnalysisKey, Counts
from emolake.schemas.tables import RUNS
from emolake.settings import RunOptions, Settings
from emolake.sql import statement
from emolake.tasks.plan import Listing

log = logging.getLogger(__name__)


class RunFailedError(EmolakeError):
    """A run ended as failed; what was good is committed, and its row in `runs` says why."""


@dataclass
class Run:
    """What a run was asked and what it has done so far."""

    flow: str
    days: Sequence[date]
    key: AnalysisKey
    settings: Settings
    device: str | None = None
    listing: Listing = field(default_factory=Listing)
    counts: Counts = field(default_factory=Counts)
    failures: list[str] = field(default_factory=list)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    recorded: bool = False
    run_id: str = field(init=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        self.run_id = f"{self.flow}-{self.started_at:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"

    def record(self, lake: Lake, outcome: str = "running") -> None:
        """Write the run's row as it stands, in place of its earlier one."""
        with self._lock:
            self._record(lake, outcome)

    def add(self, counts: Counts) -> None:
        """Add a shard's figures."""
        with self._lock:
            self.counts.add(counts)

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Refresh the row of the run now and then while the block runs, so that others know it from a dead one.

        A refresh that fails is left to the next one: the run itself has nothing to do with it.
        """
        ended = Event()

        def beat() -> None:
            while not ended.wait(self.settings.run.heartbeat_s):
                if self.recorded:
                    try:
                        with open_lake(self.settings.warehouse) as lake:
                            self.record(lake)
                    except (LakeError, duckdb.Error, OSError) as error:
                        log.warning("the run %s could not give a sign of life: %s", self.run_id, error)

        thread = Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _record(self, lake: Lake, outcome: str) -> None:
        def work(connection: duckdb.DuckDBPyConnection) -> None:
            if self.recorded:
                connection.execute(statement("delete_run"), {"run_id": self.run_id})
            append(connection, RUNS, pa.Table.from_pylist([self._row(outcome)], schema=RUNS.schema))

        lake.transact(
            work, author=self.run_id, message=f"{self.flow} {outcome}", extra={"run_id": self.run_id}
        )
        self.recorded = True

    def judge(self) -> None:
        """Note it as a failure when too large a share of the recordings was bad."""
        limit = self.settings.run.max_bad_share
        bad_share = self.counts.quarantined / self.counts.done if self.counts.done else 0.0
        # What is retried was bad before: it says nothing of the source as a whole.
        if self.flow != "retry" and bad_share > limit:
            self.failures.append(
                f"{self.counts.quarantined} of {self.counts.done} recordings were quarantined, more than "
                f"run.max_bad_share = {limit:g} allows; the good ones are committed"
            )

    @property
    def error(self) -> str | None:
        """Why the run failed, fit for tables and logs."""
        return redacted("; ".join(self.failures)) or None

    @property
    def summary(self) -> dict[str, object]:
        """Figures of the run by the names of the columns of `runs`, as JSON has them."""
        row = self._row("failed" if self.failures else "completed")
        shown = (
            "run_id flow outcome first_date last_date found skipped done quarantined truncated not_matched not_audio "
            "segments audio_seconds speech_seconds wall_s error"
        )
        return {name: str(row[name]) if isinstance(row[name], date) else row[name] for name in shown.split()}

    def _row(self, outcome: str) -> dict[str, object]:
        now = datetime.now(UTC)
        wall_s = (now - self.started_at).total_seconds()
        counts = asdict(self.counts)
        return {
            "run_id": self.run_id,
            "flow": self.flow,
            "outcome": outcome,
            "started_at": self.started_at,
            "heartbeat_at": now,
            "finished_at": None if outcome == "running" else now,
            "first_date": min(self.days),
            "last_date": max(self.days),
            "model": self.key.model,
            "config_id": self.key.config_id,
            "found": self.listing.found,
            "skipped": self.listing.skipped,
            "not_matched": self.listing.not_matched,
            "not_audio": self.listing.not_audio,
            "named_keys": self.listing.named_keys,
            **{
                name: counts[name]
                for name in (
                    "done",
                    "quarantined",
                    "truncated",
                    "segments",
                    "audio_seconds",
                    "speech_seconds",
                )
            },
            "wall_s": None if outcome == "running" else wall_s,
            "real_time_factor": wall_s / self.counts.audio_seconds if self.counts.audio_seconds else None,
            "timings": list(self.counts.timings.items()),
            "device": self.device,
            "versions": list(package_versions().items()),
            "options": options_json(self.settings),
            "error": self.error,
        }


def mark_died(lake: Lake, options: RunOptions, *, run_id: str) -> list[str]:
    """Mark the runs without a sign of life as died; return their ids. Where there are none, nothing is committed."""

    def dead() -> list[str]:
        return [each for (each,) in lake.rows(statement("dead_runs"), {"alive_after": alive_after})]

    def work(connection: duckdb.DuckDBPyConnection) -> list[str]:
        found = dead()  # again: one may have given a sign of life
        if found:
            connection.execute(statement("mark_died"), {"alive_after": alive_after})
        return found

    alive_after = datetime.now(UTC) - timedelta(seconds=options.heartbeat_timeout_s)
    if not dead():
        return []
    return lake.transact(work, author=run_id, message="mark runs that died", extra={"run_id": run_id})
