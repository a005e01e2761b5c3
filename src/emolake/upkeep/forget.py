"""Forgetting a model: its rows, its ledger and its aggregates leave the tables and receipts stay."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import NamedTuple

import duckdb
import pyarrow as pa

from emolake.errors import EmolakeError
from emolake.lake.connect import open_lake
from emolake.lake.memory import bound_memory
from emolake.lake.schema import append
from emolake.lake.transact import Lake, take_guards
from emolake.messages import counted
from emolake.output.progress import track
from emolake.schemas.days import DayRange
from emolake.schemas.tables import FORGOTTEN
from emolake.settings import Settings
from emolake.sql import statement
from emolake.tasks.aggregate import aggregate_within

_TABLES = ("segments", "analyses", "daily_emotions")
_AUTHOR = "forget"


class ForgetError(EmolakeError):
    """There is nothing of the model to forget, or more of it came meanwhile."""


class ModelDay(NamedTuple):
    """How many rows of a model the tables hold on one day."""

    date: date
    analyses: int
    segments: int
    daily_emotions: int


@dataclass(frozen=True)
class ForgetPlan:
    """What would be deleted of a model."""

    model: str
    days: Sequence[ModelDay]
    forgotten_before: int
    """Days of the range that an earlier call left a receipt of."""


def plan_forgetting(settings: Settings, model: str, days: DayRange) -> ForgetPlan:
    """Return what the lake holds of a model on some days; nothing is changed.

    The model need not be in the configuration.

    Raises:
        ForgetError: the lake holds nothing of it there, and no receipt.
    """

    def read() -> ForgetPlan:
        held = _held(lake.connection, model, days)
        before = 0
        if not lake.is_of_earlier_version():
            ((before,),) = lake.rows(statement("forgotten_already"), _bounds(model, days))
        if not held and not before:
            known = ", ".join(name for (name,) in lake.rows(statement("models_of_lake"))) or "none"
            raise ForgetError(
                f"the lake holds nothing of the model {model!r} on these days; it holds rows of: {known}"
            )
        return ForgetPlan(model, held, int(before))

    with open_lake(settings.warehouse, read_only=True) as lake:
        return lake.answer(read)


def forget(
    settings: Settings, model: str, days: DayRange, *, requested_by: str | None = None
) -> Sequence[ModelDay]:
    """Delete a model's segments, ledger and aggregates of some days; return what was deleted.

    Each day is one transaction under its guard, which also writes the receipt of the day and aggregates what other
    models said of it: wherever it is killed, what is gone has a receipt, and the next call does the rest. Recordings,
    `runs` and `model_health` stay, and so does time travel: the files go when `maintain` expires their snapshots.

    Args:
        settings: where the lake lies, and what its daily table is broken down by.
        model: name of the model, as in the tables.
        days: the days.
        requested_by: who asked for it, for the receipt.

    Raises:
        ForgetError: a run has committed more of the model meanwhile.
        LakeError: a transaction lost against other writers in every attempt.
    """
    with open_lake(settings.warehouse, create=False) as lake:
        bound_memory(lake.connection, memory_mb=settings.maintain.memory_mb)
        held = lake.answer(lambda: _held(lake.connection, model, days))
        gone = [
            _forget_day(lake, settings, model, each.date, requested_by)
            for each in track(held, "forgetting", unit="days", transient=True)
        ]
        left = lake.answer(lambda: _held(lake.connection, model, days))
    if left:
        raise ForgetError(
            f"meanwhile a run has committed more of the model {model}, on {counted(len(left), 'day')}; forget it again "
            "when the run has ended"
        )
    return gone


def _forget_day(lake: Lake, settings: Settings, model: str, day: date, requested_by: str | None) -> ModelDay:
    def work(connection: duckdb.DuckDBPyConnection) -> ModelDay:
        take_guards(connection, [day])
        held = _held(connection, model, DayRange(day, day))
        if not held:
            return ModelDay(day, 0, 0, 0)  # another call was first
        for table in _TABLES:
            connection.execute(statement("forget_model", table=table), {"date": day, "model": model})
        aggregate_within(connection, [day], dimensions=settings.breakdown, run_id=_AUTHOR)
        receipt = {
            "model": model,
            "date": day,
            "forgotten_at": datetime.now(UTC),
            "analyses": held[0].analyses,
            "segments": held[0].segments,
            "requested_by": requested_by,
        }
        append(connection, FORGOTTEN, pa.Table.from_pylist([receipt], schema=FORGOTTEN.schema))
        return held[0]

    return lake.transact(
        work, author=_AUTHOR, message=f"forget {model} on {day}", extra={"model": model, "date": str(day)}
    )


def _held(connection: duckdb.DuckDBPyConnection, model: str, days: DayRange) -> list[ModelDay]:
    rows = connection.execute(statement("forgettable"), _bounds(model, days)).fetchall()
    return [ModelDay(*row) for row in rows]


def _bounds(model: str, days: DayRange) -> dict[str, object]:
    return {"model": model, "first": days.first, "last": days.last}
