"""What the dashboard shows, asked of one snapshot of the lake; all figures are those of the views."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa

from emolake.lake.connect import open_lake
from emolake.lake.transact import Lake
from emolake.report.todays_schema import use_todays_schema
from emolake.schemas.view_columns import REASON
from emolake.settings import Settings
from emolake.sql import statement

MOST_CALLS = 50
MOST_RUNS = 10
PERIODS = (7, 28)
REASONS = REASON.allowed or ()


@dataclass(frozen=True)
class Choices:
    """What can be chosen; the days are None where the lake holds no label."""

    models: list[str]
    dimensions: list[str]
    first: date | None
    last: date | None


@dataclass(frozen=True)
class Choice:
    """What was chosen."""

    model: str
    first: date
    last: date
    days: int = 7
    """Length of the periods that shares are of."""
    dimension: str | None = None
    reason: str = REASONS[0]


@dataclass(frozen=True)
class Board:
    """All that is shown of a choice, from one snapshot."""

    totals: dict[str, Any]
    changes: pa.Table
    shares: pa.Table
    by_value: pa.Table | None
    """Shares by the values of the dimension; None without one."""
    calls: pa.Table
    coverage: pa.Table
    runs: pa.Table


def choices(settings: Settings) -> Choices:
    """Return what can be chosen."""
    with open_lake(settings.warehouse, read_only=True, timezone=settings.source.timezone) as lake:
        use_todays_schema(lake)
        found = lake.answer(lambda: _table(lake, "dashboard_choices")).to_pylist()[0]
    return Choices(found["models"] or [], found["dimensions"] or [], found["first"], found["last"])


def board(settings: Settings, choice: Choice) -> Board:
    """Return what is shown of a choice."""
    with open_lake(settings.warehouse, read_only=True, timezone=settings.source.timezone) as lake:
        use_todays_schema(lake)
        return lake.answer(lambda: _board(lake, choice))


def timeline(settings: Settings, *, model: str, day: date, recording_id: str) -> pa.Table:
    """Return the stretches of one call."""
    with open_lake(settings.warehouse, read_only=True, timezone=settings.source.timezone) as lake:
        use_todays_schema(lake)
        asked = {"model": model, "date": day, "recording_id": recording_id}
        return lake.answer(lambda: _table(lake, "dashboard_timeline", **asked))


def _board(lake: Lake, choice: Choice) -> Board:
    days = {"model": choice.model, "first": choice.first, "last": choice.last}
    by_value = None
    if choice.dimension is not None:
        by_value = _table(lake, "dashboard_shares", **days, days=choice.days, dimension=choice.dimension)
    return Board(
        totals=_table(lake, "dashboard_totals", **days).to_pylist()[0],
        changes=_table(lake, "dashboard_changes", **days, days=choice.days),
        shares=_table(lake, "dashboard_shares", **days, days=choice.days, dimension=None),
        by_value=by_value,
        calls=_table(lake, "dashboard_calls", **days, reason=choice.reason, most=MOST_CALLS),
        coverage=_table(lake, "dashboard_coverage", **days),
        runs=_table(lake, "dashboard_runs", most=MOST_RUNS),
    )


def _table(lake: Lake, name: str, **parameters: Any) -> pa.Table:
    return lake.connection.execute(statement(name), parameters).to_arrow_table()
