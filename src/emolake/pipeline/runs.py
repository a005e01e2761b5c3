"""The record of a run: a row in `runs` from its first work to its end, however it ends."""

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from threading import Event, Lock, Thread

import duckdb
import pyarrow as pa

from emolake import telemetry
from emolake.errors import EmolakeError
from emolake.lake.connect import open_lake
from emolake.lake.schema import append
from emolake.lake.transact import Lake, LakeError
from emolake.messages import redacted
from emolake.pipeline.identity import options_json, package_versions
from emolake.pipeline.run_request import RunRequest
from emolake.pipeline.scheduling import ShardOutcome
from emolake.run_options import RunOptions
from emolake.schemas.days import DayRange
from emolake.schemas.records import AnalysisKey, Counts, Listing
from emolake.schemas.tables import RUNS
from emolake.settings import Settings
from emolake.sql import statement

# Columns of `runs` that a summary on a terminal leaves out.
_DETAILS = {
    "started_at",
    "heartbeat_at",
    "finished_at",
    "model",
    "config_id",
    "real_time_factor",
    "timings",
    "device",
    "versions",
    "options",
}

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]

_log = logging.getLogger(__name__)


class RunFailedError(EmolakeError):
    """A run ended as failed; what was good is committed, and its row in `runs` says why."""

    def __init__(self, message: str, summary: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.summary = summary
        """Figures of the run; see `Run.summary`."""


@dataclass
class Run:
    """What a run was asked and what it has done so far."""

    request: RunRequest
    key: AnalysisKey
    settings: Settings
    device: str | None = None
    listing: Listing = field(default_factory=Listing)
    counts: Counts = field(default_factory=Counts)
    failures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    whole_listings: dict[date, Listing] = field(default_factory=dict)
    """What the listing of each day came to that reached its end."""
    is_notable: bool = False
    """Whether the run gets a row even where it had no work and did not fail."""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    recorded: bool = False
    stopped: bool = False
    """Whether it was asked to stop: its row says so from then on, should it be killed before its shards have ended."""
    run_id: str = field(init=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        self.run_id = f"{self.request.flow}-{self.started_at:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"

    @property
    def days(self) -> DayRange:
        """The smallest range that holds the days asked for."""
        return DayRange.around(self.request.days)

    def record(self, lake: Lake, outcome: str = "running") -> None:
        """Write the run's row as it is, in place of its earlier one; one that was asked to stop has failed."""
        with self._lock:
            self._record(lake, "failed" if self.stopped else outcome)

    def stop(self, name: str) -> None:
        """Note that the run was asked to stop, by the signal of that name."""
        with self._lock:
            self.stopped = True
            self.failures.append(
                f"stopped by {name}; what was committed stays, and the next run takes up the rest"
            )

    def list_more(self, figures: Listing) -> None:
        """Add the figures of some keys that were listed."""
        with self._lock:
            self.listing += figures

    def add(self, outcome: ShardOutcome) -> None:
        """Add the figures of a shard, or why it failed."""
        with self._lock:
            if outcome.counts is not None:
                self.counts += outcome.counts
                self._measure(outcome.counts)
            if outcome.failure is not None:
                self.failures.append(outcome.failure)

    def _measure(self, counts: Counts) -> None:
        """Hand the figures of a shard, and what they make of the run's, to the metrics."""
        for name, amount in (
            ("emolake.audio", counts.audio_seconds),
            ("emolake.speech", counts.speech_seconds),
            ("emolake.segments", counts.segments),
            ("emolake.source", counts.source_bytes),
            ("emolake.recordings", counts.done),
        ):
            telemetry.count(name, amount)
        for reason, number in counts.reasons.items():
            telemetry.count("emolake.quarantined", number, reason=reason)
        for stage, seconds in counts.timings.items():
            telemetry.count("emolake.stage", seconds, stage=stage)
        timings, audio = self.counts.timings, self.counts.audio_seconds
        at_work = timings.get("classify", 0.0)
        if at_work:
            busy = at_work / (at_work + timings.get("wait_for_audio", 0.0))
            telemetry.level("emolake.device.busy_share", busy)
        if audio:
            wall_s = (datetime.now(UTC) - self.started_at).total_seconds()
            telemetry.level("emolake.real_time_factor", wall_s / audio)

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
                        _log.warning("the run %s could not give a sign of life: %s", self.run_id, error)

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
            work, author=self.run_id, message=f"{self.request.flow} {outcome}", extra={"run_id": self.run_id}
        )
        self.recorded = True

    @property
    def outcome(self) -> str:
        """How a run with these failures ends."""
        return "failed" if self.failures else "completed"

    @property
    def error(self) -> str | None:
        """Why the run failed, fit for tables and logs."""
        return redacted("; ".join(self.failures)) or None

    @property
    def summary(self) -> dict[str, object]:
        """Figures of the run by the names of the columns of `runs`, as JSON has them."""
        row = self._row(self.outcome)
        return {
            name: str(value) if isinstance(value, date) else value
            for name, value in row.items()
            if name not in _DETAILS
        }

    def _row(self, outcome: str) -> dict[str, object]:
        """Return the row of `runs`: figures come from the fields of the same name."""
        now = datetime.now(UTC)
        wall_s = (now - self.started_at).total_seconds()
        figures = {
            **asdict(self.listing),
            **asdict(self.counts),
            "run_id": self.run_id,
            "flow": self.request.flow,
            "outcome": outcome,
            "started_at": self.started_at,
            "heartbeat_at": now,
            "finished_at": None if outcome == "running" else now,
            "first_date": self.days.first,
            "last_date": self.days.last,
            "model": self.key.model,
            "config_id": self.key.config_id,
            "wall_s": None if outcome == "running" else wall_s,
            "real_time_factor": wall_s / self.counts.audio_seconds if self.counts.audio_seconds else None,
            "timings": list(self.counts.timings.items()),
            "device": self.device,
            "versions": list(package_versions().items()),
            "options": options_json(self.settings),
            "error": self.error,
            "warnings": self.warnings,
        }
        return {name: figures[name] for name in RUNS.schema.names}


@contextmanager
def recorded(run: Run, lake: Lake, log: Log) -> Iterator[None]:
    """Keep the run's row true while the block runs: alive, and at last how it ended.

    Runs that died before are marked first. A run that had no work and no failure gets no row, unless what it found of
    its days is notable, or the one before it of its flow failed: the newest of a flow is what `status` judges.
    """
    try:
        for died in mark_died(lake, run.settings.run, run_id=run.run_id):
            log.warning("%s died; what it committed stays, and the rest is taken up now", died)
        with lake.explained(), run.alive():
            yield
    except BaseException as error:
        if not run.stopped:
            run.failures.append(str(error) or type(error).__name__)
        record_if_possible(run, lake, log)
        raise
    if run.recorded or run.failures or run.is_notable or _follows_a_failure(run, lake):
        run.record(lake, run.outcome)


def _follows_a_failure(run: Run, lake: Lake) -> bool:
    """Return whether the newest run of the same flow that has ended did not complete."""
    newest = lake.answered_rows(statement("newest_outcome"), {"flow": run.request.flow})
    return bool(newest) and newest[0][0] != "completed"


def record_if_possible(run: Run, lake: Lake, log: Log) -> None:
    """Write the row of a run that fails; where the lake does not take it, there is an error already."""
    try:
        with lake.explained():
            run.record(lake, "failed")
    except LakeError as lost:
        log.warning("the lake does not take the run's end; the next run notes it: %s", lost)


def note_warnings_if_possible(run: Run, lake: Lake, log: Log) -> None:
    """Write what a run that has ended warns of into its row; nothing else of it changes, and the lake may be gone."""

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute(statement("note_warnings"), {"run_id": run.run_id, "warnings": run.warnings})

    if not run.recorded:
        return
    try:
        with lake.explained():
            lake.transact(work, author=run.run_id, message="note warnings", extra={"run_id": run.run_id})
    except (LakeError, duckdb.Error) as lost:
        log.warning("the lake does not take the run's last warning: %s", redacted(str(lost)))


def mark_died(lake: Lake, options: RunOptions, *, run_id: str) -> list[str]:
    """Mark the runs without a sign of life as died; return their ids. Where there are none, nothing is committed."""

    def dead() -> list[str]:
        return [each for (each,) in lake.rows(statement("dead_runs"), {"alive_after": alive_after})]

    def work(connection: duckdb.DuckDBPyConnection) -> list[str]:
        found = dead()  # again: one may have given a sign of life
        if found:
            connection.execute(statement("mark_died"), {"alive_after": alive_after, "ended": None})
        return found

    alive_after = datetime.now(UTC) - timedelta(seconds=options.heartbeat_timeout_s)
    if not dead():
        return []
    return lake.transact(work, author=run_id, message="mark runs that died", extra={"run_id": run_id})


def mark_ended(lake: Lake, run_id: str) -> None:
    """Make the row of a run true whose process is known to have ended, and counted no more of what it committed."""

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute(
            statement("mark_died"), {"alive_after": datetime.fromtimestamp(0, UTC), "ended": run_id}
        )

    lake.transact(work, author=run_id, message="mark the run as ended", extra={"run_id": run_id})
