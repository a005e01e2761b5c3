"""The HTML report: one self-contained page made from one snapshot; all figures come from `sql/report_*.sql`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from emolake.errors import ConfigurationError
from emolake.lake.recording_stages import recording_stages
from emolake.lake.schema import missing_columns
from emolake.lake.transact import Lake
from emolake.messages import redacted
from emolake.report.signals import has_signals, odd_signals
from emolake.schemas.days import DayRange
from emolake.schemas.funnel import FunnelStage, listed_of_row, listed_stages, stages_line
from emolake.schemas.labels import EMOTIONS
from emolake.sql import statement

MOST_DAYS = 31
MOST_RECORDINGS = 200
MOST_RUNS = 20
MOST_VALUES = 20

# Labels under a chart that still fit side by side on a phone.
_MOST_DATE_LABELS = 6

Row = dict[str, Any]


@dataclass(frozen=True)
class ReportSummary:
    """What a report was made from; the days are None where the lake holds none and none were asked for."""

    out: Path
    first: date | None
    last: date | None
    snapshot_id: int | None
    recordings: int


def write_report(lake: Lake, *, first: date | None, last: date | None, out: Path) -> ReportSummary:
    """Write the report of some days as one HTML file.

    Args:
        lake: the open lake; one snapshot of it is read, whatever is committed meanwhile.
        first: first day; without it the last 31 days up to `last` that the lake holds.
        last: last day, inclusive; the last that the lake holds when left out.
        out: file to write; its folder is made when needed.

    Raises:
        ConfigurationError: the range ends before it begins.
    """
    if first is not None and last is not None and last < first:
        raise ConfigurationError(
            f"the range ends on {last}, before it begins on {first}; give the earlier date first"
        )
    content = lake.answer(lambda: _content(lake, first, last))
    page = _environment().get_template("page.html").render(content)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, "utf-8")
    snapshot, covered = content["snapshot"], content["covered"]
    return ReportSummary(
        out=out,
        first=covered["first"],
        last=covered["last"],
        snapshot_id=snapshot["snapshot_id"],
        recordings=content["totals"]["recordings"] if content["totals"] else 0,
    )


def _content(lake: Lake, first: date | None, last: date | None) -> Row:
    """Return what the template shows, by name."""
    covered = _rows(lake, "report_range", first=first, last=last, most_days=MOST_DAYS)[0]
    days = {"first": covered["first"], "last": covered["last"]}
    content: Row = {
        "covered": covered,
        "snapshot": _rows(lake, "report_snapshot")[0],
        "totals": None,
        "runs": [
            run | {"stages": _stages_of_run(run)}
            for run in _rows(lake, "report_runs", **days, most_runs=MOST_RUNS)
        ],
    }
    if days["first"] is None or days["last"] is None:
        return content
    totals = _rows(lake, "report_totals", **days)[0]
    if not totals["recordings"]:
        return content
    return content | {
        "totals": totals,
        "models": _models(lake, days),
        "configurations": _rows(lake, "report_configurations", **days),
        "days": _rows(lake, "report_days", **days),
        "reasons": _rows(lake, "report_reasons", **days),
        "stages": recording_stages(lake, DayRange(days["first"], days["last"])),
        "bad": _rows(lake, "report_bad", **days, most_recordings=MOST_RECORDINGS),
        **_signals(lake, days),
        "number_of_days": (days["last"] - days["first"]).days + 1,
        "date_labels": _date_labels(days["first"], days["last"]),
    }


def _signals(lake: Lake, days: Mapping[str, date]) -> Row:
    """Return what the signals of the range are like, and what is odd of them; nothing of a lake from before."""
    if not has_signals(lake):
        return {"signals": None, "odd_signals": []}
    return {
        "signals": _rows(lake, "report_signal_totals", **days)[0],
        "odd_signals": odd_signals(lake, **days),
    }


def _stages_of_run(run: Row) -> list[FunnelStage]:
    """Return the stages of a run by the figures in its row; runs of earlier versions have none after the audio."""
    stages = list(listed_stages(listed_of_row(run)))
    counts = [("done", "done"), ("decoded", "decoded"), ("speech", "with_speech"), ("labelled", "with_label")]
    return [*stages, *(FunnelStage(name, run[column]) for name, column in counts if run[column] is not None)]


def _models(lake: Lake, days: Mapping[str, date]) -> list[Row]:
    """Return the models, each with its rows of the other statements."""
    emotions = _by(_rows(lake, "report_emotions", **days), "model")
    daily = _by(_rows(lake, "report_daily_shares", **days), "model")
    uncertain = _uncertain(lake, days)
    adjusted = _adjusted(lake, days)
    breakdown = _by(_rows(lake, "report_breakdown", **days, most_values=MOST_VALUES), "model")
    return [
        model
        | {
            "by_emotion": emotions[model["model"]],
            "daily": daily[model["model"]],
            "uncertain": uncertain.get(model["model"]),
            "adjusted": adjusted.get(model["model"]),
            "dimensions": _by(breakdown.get(model["model"], []), "dimension"),
        }
        for model in _rows(lake, "report_models", **days)
    ]


def _uncertain(lake: Lake, days: Mapping[str, date]) -> dict[str, Row]:
    """Return what is marked uncertain by model; nothing of a lake that is of before there was a mark."""
    missing = [(table, column.name) for table, column in missing_columns(lake.connection)]
    if ("daily_emotions", "uncertain_seconds") in missing:
        return {}
    return {row["model"]: row for row in _rows(lake, "report_uncertain", **days)}


def _adjusted(lake: Lake, days: Mapping[str, date]) -> dict[str, dict[str, float]]:
    """Return the shares that are corrected for confusion by model and emotion; nothing of a lake from before."""
    if any(column.name == "share_adjusted" for _, column in missing_columns(lake.connection)):
        return {}
    return {row["model"]: row["shares"] for row in _rows(lake, "report_adjusted", **days)}


def _rows(lake: Lake, name: str, **parameters: date | int | None) -> list[Row]:
    """Return a statement's rows by the names of their columns."""
    result = lake.connection.execute(statement(name), parameters)
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _by(rows: list[Row], name: str) -> dict[str, list[Row]]:
    """Return rows, which come in the order of a column, by its values."""
    return {value: list(group) for value, group in groupby(rows, key=itemgetter(name))}


def _date_labels(first: date, last: date) -> list[tuple[date, int]]:
    """Return the dates that are shown under a chart, with their distance from the first."""
    step = -(-((last - first).days + 1) // _MOST_DATE_LABELS)
    return [(first + timedelta(days=offset), offset) for offset in range(0, (last - first).days + 1, step)]


def _environment() -> Environment:
    folder = files("emolake.report")
    environment = Environment(
        loader=FunctionLoader(lambda name: folder.joinpath(name).read_text("utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "percent": _percent,
        "duration": _duration,
        "number": lambda value: f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}"),
        "moment": _moment,
        "redacted": redacted,
        "stages": stages_line,
    }
    environment.filters |= filters
    environment.globals |= {"EMOTIONS": EMOTIONS, "made_at": datetime.now(UTC)}
    return environment


def _percent(share: float | None) -> str:
    """Return a share of 1 in per cent.

    >>> _percent(0.12345), _percent(None)
    ('12.3\\xa0%', '–')
    """
    return "–" if share is None else f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def _duration(seconds: float | None) -> str:
    """Return seconds in the unit that reads best.

    >>> _duration(42), _duration(90), _duration(7200), _duration(None)
    ('42.0\\xa0s', '1.5\\xa0min', '2.0\\xa0h', '–')
    """
    if seconds is None:
        return "–"
    for limit, size, unit in ((60, 1, "s"), (3600, 60, "min")):
        if seconds < limit:
            return f"{seconds / size:.1f}\N{NO-BREAK SPACE}{unit}"
    return f"{seconds / 3600:.1f}\N{NO-BREAK SPACE}h"


def _moment(moment: datetime) -> str:
    """Return a moment to the minute, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"
