"""The HTML report: one self-contained page of one snapshot, whose figures are those of views and `sql/report_*.sql`."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from emolake.lake.statement_rows import Row, rows_of
from emolake.lake.transact import Lake
from emolake.output.output_files import output_file
from emolake.report import operations, shares, shown_tables
from emolake.report.layout import render
from emolake.report.shares import Names, Periods
from emolake.report.shown_tables import Shares, ShownTable
from emolake.report.todays_schema import use_todays_schema
from emolake.report.wording import Language, Words
from emolake.schemas.days import DayRange
from emolake.sql import statement

MOST_DAYS = 31
MOST_RECORDINGS = 200
MOST_RUNS = 31
_MOST_HEALTH = 200
# Of each reason and model; and of each day, so that a short selection finds some too.
_MOST_CALLS = 120
_CALLS_OF_DAY = 3
_QUIET = ("neutral", "calm", "folded")
_HARD = ("anger", "frustration", "sadness", "fear", "disgust", "contempt")


@dataclass(frozen=True)
class ReportSummary:
    """What a report was made from; the days are None where the lake holds none and none were asked for."""

    out: Path
    first: date | None
    last: date | None
    snapshot_id: int | None
    recordings: int


def write_report(
    lake: Lake, *, first: date | None, last: date | None, out: Path, language: Language = Language.en
) -> ReportSummary:
    """Write the report of some days as one HTML file.

    Args:
        lake: the open lake; one snapshot of it is read, whatever is committed meanwhile.
        first: first day; without it the last 31 days up to `last` that the lake holds.
        last: last day, inclusive; the last that the lake holds when left out.
        out: file to write; its folder is made when needed.
        language: that the page opens in; a reader can change it.

    Raises:
        ConfigurationError: the range ends before it begins.
    """
    DayRange.between(first, last)  # refuses a range that ends before it begins
    use_todays_schema(lake)
    content, data = lake.answer(lambda: _content(lake, first, last, Words(language)))
    page = render(
        "report.html",
        content,
        language=language,
        data=data,
        scripts=("figures.js", "sections.js", "report.js"),
        styles=("report.css",),
    )
    with output_file(out) as file:
        file.write(page.encode())
    return ReportSummary(
        out=out,
        first=content["first"],
        last=content["last"],
        snapshot_id=content["snapshot"]["snapshot_id"],
        recordings=content["totals"]["recordings"] if content["totals"] else 0,
    )


def _content(lake: Lake, first: date | None, last: date | None, words: Words) -> tuple[Row, Row]:
    """Return what the template shows, by name, and what the page's scripts read."""
    held = rows_of(lake, "report_range", first=first, last=last, most_days=MOST_DAYS)[0]
    first, last = held["first"], held["last"]
    runs = rows_of(lake, "report_runs", first=first, last=last, most_runs=MOST_RUNS)
    content: Row = {
        "held": held,
        "first": first,
        "last": last,
        "made": datetime.now(UTC),
        "snapshot": rows_of(lake, "report_snapshot")[0],
        "totals": None,
        "models": [],
        "outdated": [],
        "signals": None,
        "more_runs": (runs[0]["total"] - len(runs)) if runs else 0,
        "same_of_runs": operations.same_of_runs(runs),
        "said_by_runs": operations.said_by_runs(runs),
        "tables": {
            "runs": operations.run_table(runs),
            "stages": operations.stage_table(runs),
            "configurations": None,
            "health": ShownTable("health", "health", (), ()),
            "agreement": ShownTable("agreement", "agreement", (), ()),
        },
    }
    if first is None or last is None:
        return content, {}
    content["totals"] = rows_of(lake, "report_totals", first=first, last=last)[0]
    if not content["totals"]["recordings"]:
        return content, {}
    periods = Periods(first, last)
    dimensions = shares.prepare(lake, periods)
    models = rows_of(lake, "report_models")
    analysed = _add_operations(content, lake, periods, models)
    data: Row = {
        "first": first,
        "last": last,
        "periods": [str(day) for day in periods.dates],
        "coverage": content["coverage"],
        "stages": [shown_tables.column_of(stage) for stage in shown_tables.STAGES],
        "models": analysed,
    }
    return content, data | _add_shares(content, lake, periods, dimensions, models, words)


def _add_operations(content: Row, lake: Lake, periods: Periods, models: Sequence[Row]) -> list[str]:
    """Add what became of the recordings, how their signals are, and what analysed them; return the models' names."""
    days = {"first": periods.first, "last": periods.last}
    bad = rows_of(lake, "report_fell_out", **days, most_recordings=MOST_RECORDINGS)
    coverage = rows_of(lake, "report_coverage", **days)
    # Of models that are held back throughout there is nothing else.
    names = [row["model"] for row in models] or sorted({row["model"] for row in coverage if row["model"]})
    content |= {
        "outdated": [str(row["date"]) for row in rows_of(lake, "report_outdated", **days)],
        "signals": rows_of(lake, "report_signals", **days)[0],
        "more_bad": (bad[0]["total"] - len(bad)) if bad else 0,
        "coverage": [
            [row["date"], row["model"], row["listed"], row["audio_seconds"]]
            + [row[shown_tables.column_of(stage)] for stage in shown_tables.STAGES]
            for row in coverage
        ],
    }
    content["tables"] |= {
        "coverage": shown_tables.coverage_table(coverage, names[0] if names else None),
        "bad": shown_tables.fell_out_table(bad),
        "signals": operations.signal_table(lake, DayRange(periods.first, periods.last)),
        "health": operations.health_table(rows_of(lake, "report_health", **days, most_rows=_MOST_HEALTH)),
        "agreement": operations.agreement_table(lake) if len(models) > 1 else content["tables"]["agreement"],
        "configurations": operations.configuration_table(rows_of(lake, "report_configurations", **days)),
    }
    return names


def _add_shares(
    content: Row,
    lake: Lake,
    periods: Periods,
    dimensions: Sequence[str],
    models: Sequence[Row],
    words: Words,
) -> Row:
    """Add the shares and their tables, and return what the page computes others with."""
    days = {"first": periods.first, "last": periods.last}
    most_values = shares.values_that_fit(lake)
    rows = rows_of(
        lake,
        "report_shares",
        {"share_bounds": statement("share_bounds")},
        most_values=most_values,
        periods=periods.number,
        change=periods.change,
    )
    names = Names.of(lake, shares=rows, models=[row["model"] for row in models], most_values=most_values)
    if not names.emotions:
        return {}
    model = Shares([row for row in rows if row["model"] == names.models[0]], names)
    listen = rows_of(lake, "report_listen", **days, of_each_day=_CALLS_OF_DAY, most_calls=_MOST_CALLS)
    hours = shares.hours(lake, periods, most_values=most_values, names=names)
    content |= {
        "models": names.models,
        "selection": _selection(model.of("range")["", ""].values(), models[0])
        | {"listed": shown_tables.listed(content["tables"]["coverage"])},
        "dimensions": [name for name in dimensions if any(group[0] == name for group in names.groups)],
        "values_cut": _values_cut(lake, dimensions, most_values),
        "change_days": shown_tables.days_of_change(periods),
        "roles_title": "roles_two" if {"agent", "customer"} <= set(names.roles) else "roles",
        "trends_explained": "trends_explained" if periods.days == 1 else "trends_explained_weeks",
        "folded": _folded(lake, words),
    }
    content["tables"] |= {
        "changes": model.changes(),
        "roles": model.roles(),
        "listen": operations.listen_table([row for row in listen if row["model"] == names.models[0]]),
        "daily": model.daily(periods),
        "breakdown": model.values(),
        "hours": shown_tables.hour_table(hours.get("0 0 0", ()), names.emotion(_subject(model.emotions))),
        "totals": shown_tables.totals(rows, rows_of(lake, "report_adjusted", **days)),
    }
    return {
        "period_days": periods.days,
        "smooth_periods": periods.smooth,
        "change_periods": 7 // periods.days,
        "models": names.models,
        "groups": names.groups,
        "roles": [None, *names.roles[1:]],
        "emotions": names.emotions,
        "hard": _HARD,
        "quiet": _QUIET,
        "cells": shares.cells(lake, most_values=most_values, names=names),
        "hours": hours,
        "calls": operations.listen_data(listen, names),
        "reasons": [operations.reason_word(reason) for reason in operations.REASONS],
        "drift": [
            [row[0].isoformat(), row[1], row[3]]
            for row in content["tables"]["health"].rows
            if row[3] is not None
        ],
    }


def _subject(emotions: Sequence[str]) -> str:
    """Return the emotion that a map is of: of the hard ones the commonest."""
    hard = (each for each in emotions if each in _HARD)
    loud = (each for each in emotions if each not in _QUIET)
    return next(hard, None) or next(loud, emotions[0])


def _selection(rows: Any, model: Row) -> Row:
    """Return the figures of the whole range at the top of the page."""
    rows = list(rows)
    seconds = sum(row["seconds"] for row in rows)

    def mean(name: str) -> float | None:
        return sum((row[name] or 0) * row["seconds"] for row in rows) / seconds if seconds else None

    return {
        "recordings": rows[0]["all_recordings"],
        "seconds": seconds,
        "uncertain": mean("uncertain"),
        "confidence": mean("confidence"),
        "unlabelled": model["unlabelled"] / model["segments"],
    }


def _values_cut(lake: Lake, dimensions: Sequence[str], most_values: int) -> str:
    """Return how many values of which dimensions the page does not have."""
    counts = rows_of(lake, "report_number_of_values")
    cut = {row["dimension"]: row["number"] - most_values for row in counts if row["number"] > most_values}
    return ", ".join(f"{name} +{cut[name]}" for name in dimensions if name in cut)


def _folded(lake: Lake, words: Words) -> dict[str, str]:
    """Return the emotions that are folded into one, with their shares, by model."""
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows_of(lake, "report_folded"):
        found[row["model"]].append(
            f"{words('emotion_' + row['emotion'])} {words.formatted(row['share'], 'percent')}"
        )
    return {model: ", ".join(emotions) for model, emotions in found.items()}
