"""Measure drift: compare each day with the days before it, by model, role and dimension.

A day is far from the usual where, had nothing changed, the days before would hardly ever lead to one like it (Student's
t for one more day, as far as days scatter; where recordings are counted, a binomial tail too), and the change is large
enough to matter. How rarely "hardly ever" is, is divided by the number of comparisons of the day (Bonferroni), so that
it holds for the whole night.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from emolake.lake.schema import append
from emolake.lake.statement_rows import rows_of
from emolake.lake.transact import Lake, take_guards
from emolake.schemas.days import DayRange
from emolake.schemas.drift_measures import DRIFT_MEASURES
from emolake.schemas.tables import DRIFT
from emolake.sql import statement
from emolake.tasks.drift_options import STABILITY, DriftOptions

# What happens to a recording or does not: rare, and of few recordings no day's share is near the mean of the days.
_OF_RECORDINGS = frozenset({"clipped_recordings"})
_NIGHTS_A_MONTH = 30.0
# Added to every share: of a label that hardly occurs nothing can be said.
_LEAST_SHARE = 0.005
_LEAST_INDEX = 1e-4


@dataclass(frozen=True)
class Series:
    """Days that can be compared: the same model and configuration, looked at in the same way."""

    model: str
    config_id: str
    dimension: str
    dimension_value: str
    measure: str


@dataclass(frozen=True)
class Observed:
    """What was measured of a day: a value, or the seconds of each label, of which the stability index is made."""

    value: float | None = None
    label_seconds: Mapping[str, float] | None = None
    recordings: int = 0


@dataclass(frozen=True)
class DayComparison:
    """A day beside the days before it; see the columns of the same names."""

    value: float | None
    usual: float | None = None
    spread: float | None = None
    earlier_days: int = 0
    chance: float | None = None

    @property
    def change(self) -> float:
        """How far the value is from the usual one; an index of stability is a change by itself."""
        return abs((self.value or 0.0) - (self.usual or 0.0))


@dataclass
class History:
    """What was measured of earlier days."""

    series: dict[Series, dict[date, Observed]] = field(default_factory=dict)

    def add(self, day: date, series: Series, observed: Observed) -> None:
        """Add a measurement."""
        self.series.setdefault(series, {})[day] = observed

    def before(self, day: date, series: Series, days: int) -> list[Observed]:
        """Return the measurements of so many days before a day, as far as there are."""
        first = day - timedelta(days=days)
        return [observed for at, observed in self.series.get(series, {}).items() if first <= at < day]


def measure_drift(
    lake: Lake, days: DayRange, *, dimensions: Sequence[str], options: DriftOptions, run_id: str
) -> list[dict[str, Any]]:
    """Compare the days that were aggregated since they were last compared; return those rows that warn or fail.

    Also days before the range are measured that later ones are compared with, but only those of the range are returned.
    Where no day is to be compared, nothing is committed.

    Args:
        lake: the open lake.
        days: the days of the run.
        dimensions: names of the recordings' dimensions that days are looked at by.
        options: when a day has drifted.
        run_id: tags the rows and the snapshot.
    """
    reach = timedelta(days=options.days)
    first, last = days.first - reach, days.last
    asked = {"first": first, "last": last}
    missing = [day for (day,) in lake.answered_rows(statement("drift_days"), asked)]
    if not missing:
        return []
    figures = lake.answer(lambda: _figures(lake, missing, dimensions))
    history = History()
    known = lake.answered_rows(
        statement("drift_before"),
        {"first": first - reach, "last": last, "least_recordings": options.least_recordings},
    )
    for day, *series, value, label_seconds, recordings in known:
        history.add(day, Series(*series), Observed(value, label_seconds, recordings))
    rows: list[dict[str, Any]] = []
    for day in missing:
        rows += judged(day, [row for row in figures if row["date"] == day], history, options)
    written = _write(lake, rows, run_id)
    return [row for row in written if row["verdict"] in ("warn", "fail") and days.first <= row["date"]]


def judged(
    day: date, figures: Iterable[Mapping[str, Any]], history: History, options: DriftOptions
) -> list[dict[str, Any]]:
    """Return the rows of `drift` of a day, without run and time, and add what was measured to the history.

    Args:
        day: the day.
        figures: rows of drift_figures.sql.
        history: of earlier days.
        options: when a day has drifted.
    """
    rows: list[dict[str, Any]] = []
    for row in figures:
        for measure in DRIFT_MEASURES:
            is_index = measure == STABILITY
            series = Series(row["model"], row["config_id"], row["dimension"], row["dimension_value"], measure)
            value, label_seconds = (None, row["label_seconds"]) if is_index else (row[measure], None)
            observed = Observed(value, label_seconds, row["recordings"])
            enough = row["recordings"] >= options.least_recordings
            earlier = history.before(day, series, options.days) if enough else []
            compare = _of_labels if is_index else _of_counts if measure in _OF_RECORDINGS else _of_values
            compared = compare(observed, earlier, options.least_days)
            if enough:
                history.add(day, series, observed)
            rows.append(
                {
                    "date": day,
                    **vars(series),
                    **vars(compared),
                    "recordings": row["recordings"],
                    # Of too few recordings later days learn nothing.
                    "label_seconds": list(observed.label_seconds.items())
                    if observed.label_seconds and enough
                    else None,
                    "change": compared.value if is_index else compared.change,
                }
            )
    tests = sum(row["chance"] is not None for row in rows)
    allowed = options.false_alarms / _NIGHTS_A_MONTH / max(tests, 1)
    for row in rows:
        row["verdict"] = _verdict(row, allowed, options)
        del row["change"]
    return rows


def drift_notes(rows: Sequence[Mapping[str, Any]], most: int = 5) -> list[str]:
    """Return a sentence for each day that has drifted, with the first of what has."""
    notes = []
    for day in sorted({row["date"] for row in rows}):
        of_day = [row for row in rows if row["date"] == day]
        shown = "; ".join(map(_note, of_day[:most]))
        more = f"; and {len(of_day) - most} more" if len(of_day) > most else ""
        notes.append(f"{day}: drift against the days before: {shown}{more}; see the table drift")
    return notes


def measures_drifted(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return how often each measure has drifted, without any dimension.

    >>> measures_drifted([{"measure": "confidence"}, {"measure": "level_dbfs"}, {"measure": "confidence"}])
    'confidence (2), level_dbfs (1)'
    """
    counted = Counter(row["measure"] for row in rows)
    return ", ".join(f"{measure} ({number})" for measure, number in counted.items())


def stability_index(label_seconds: Mapping[str, float], usual: Mapping[str, float]) -> float:
    """Return the population stability index of two distributions of labels: 0 where their shares are the same.

    >>> round(stability_index({"anger": 5.0, "neutral": 5.0}, {"anger": 10.0, "neutral": 90.0}), 2)
    0.85
    """
    labels = sorted(label_seconds.keys() | usual.keys())
    one, other = (_shares(each, labels) for each in (label_seconds, usual))
    return float(np.sum((one - other) * np.log(one / other)))


def _shares(label_seconds: Mapping[str, float], labels: Sequence[str]) -> np.ndarray:
    seconds = np.array([label_seconds.get(label, 0.0) for label in labels])
    shares = seconds / max(float(seconds.sum()), 1e-9) + _LEAST_SHARE
    return np.asarray(shares / shares.sum())


def _of_values(observed: Observed, earlier: Sequence[Observed], least_days: int) -> DayComparison:
    known = [each for each in earlier if each.value is not None]
    values = np.array([each.value for each in known], dtype=float)
    if observed.value is None or len(values) < least_days:
        return DayComparison(observed.value, earlier_days=len(values))
    usual, spread = float(values.mean()), float(values.std(ddof=1))
    wider = math.sqrt(_thinner(observed, known))
    chance = 2 * _beyond(abs(observed.value - usual), spread * wider, len(values))
    return DayComparison(observed.value, usual, spread, len(values), chance)


def _of_counts(observed: Observed, earlier: Sequence[Observed], least_days: int) -> DayComparison:
    """Compare a share of the recordings, which has to be far both as days scatter and as recordings are drawn."""
    compared = _of_values(observed, earlier, least_days)
    if compared.chance is None:
        return compared
    known = [each for each in earlier if each.value is not None]
    pooled = sum(_number_of(each) for each in known), sum(each.recordings for each in known)
    return replace(
        compared, chance=max(compared.chance, _drawn(_number_of(observed), observed.recordings, *pooled))
    )


def _number_of(observed: Observed) -> int:
    """Return of how many recordings an observed share is."""
    return round((observed.value or 0.0) * observed.recordings)


def _drawn(number: int, of: int, earlier: int, of_earlier: int) -> float:
    """Return how probable so many of a day's recordings are, or a number further from the earlier days' pooled share.

    Twice the smaller tail of the beta-binomial distribution: the binomial one, with the share as uncertain as the
    earlier recordings leave it (Jeffreys' prior).
    """
    from scipy.stats import betabinom

    likely = betabinom.pmf(np.arange(of + 1), of, earlier + 0.5, of_earlier - earlier + 0.5)
    return min(1.0, 2 * float(min(likely[number:].sum(), likely[: number + 1].sum())))


def _of_labels(observed: Observed, earlier: Sequence[Observed], least_days: int) -> DayComparison:
    """Compare the day's index with those that each day before it has against the others."""
    known = [each for each in earlier if each.label_seconds]
    days = [Counter(each.label_seconds) for each in known]
    if not observed.label_seconds or len(days) < least_days:
        return DayComparison(None, earlier_days=len(days))
    together: Counter[str] = Counter()
    for each in days:
        together.update(each)
    value = stability_index(observed.label_seconds, together)
    indices = []
    for each in days:
        others = together.copy()
        others.subtract(each)
        indices.append(stability_index(each, others))
    logs = np.log(
        np.array(indices) + _LEAST_INDEX
    )  # an index is skewed to the right: its logarithm hardly is
    above = math.log(value + _LEAST_INDEX) - float(logs.mean()) - math.log(_thinner(observed, known))
    chance = _beyond(above, float(logs.std(ddof=1)), len(days))
    return DayComparison(value, float(np.mean(indices)), float(np.std(indices, ddof=1)), len(days), chance)


def _thinner(observed: Observed, earlier: Sequence[Observed]) -> float:
    """Return how many times fewer recordings the day has than the earlier ones on average, 1 at least.

    Means of fewer recordings scatter more, and an index of fewer is larger, both by no more than that.
    """
    return max(1.0, float(np.mean([each.recordings for each in earlier])) / max(observed.recordings, 1))


def _beyond(distance: float, spread: float, days: int) -> float:
    """Return how probable it is that one more day lies so far above the mean, or further."""
    from scipy.stats import t  # takes a third of a second

    if spread <= 1e-12 * max(1.0, abs(distance)):
        return 0.0 if distance > 1e-12 else 0.5
    return float(t.sf(distance / (spread * math.sqrt(1 + 1 / days)), days - 1))


def _verdict(row: Mapping[str, Any], allowed: float, options: DriftOptions) -> str:
    if row["chance"] is None:
        return "too few"
    is_far = row["chance"] <= allowed
    if is_far and row["change"] >= options.fail.get(row["measure"], math.inf):
        return "fail"
    return "warn" if is_far and row["change"] >= options.warn.get(row["measure"], math.inf) else "steady"


def _figures(lake: Lake, days: Sequence[date], dimensions: Sequence[str]) -> list[dict[str, Any]]:
    asked = {"first": days[0], "last": days[-1], "days": list(days), "dimensions": list(dimensions)}
    return rows_of(lake, "drift_figures", **asked)


def _write(lake: Lake, rows: Sequence[Mapping[str, Any]], run_id: str) -> list[dict[str, Any]]:
    """Write the rows of the days that no other run was first to compare, and return them."""
    now = datetime.now(UTC)
    noted = [{**row, "run_id": run_id, "committed_at": now} for row in rows]
    days = sorted({row["date"] for row in noted})
    if not days:
        return []

    def work(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
        take_guards(connection, days)
        asked = {"first": days[0], "last": days[-1]}
        missing = {day for (day,) in connection.execute(statement("drift_days"), asked).fetchall()}
        ours = [row for row in noted if row["date"] in missing]
        append(connection, DRIFT, pa.Table.from_pylist(ours, schema=DRIFT.schema))
        return ours

    return lake.transact(work, author=run_id, message=f"drift of {len(days)} days", extra={"run_id": run_id})


def _note(row: Mapping[str, Any]) -> str:
    where = f" of {row['dimension']} {row['dimension_value']!r}" if row["dimension"] else ""
    return f"{row['measure']}{where} by {row['model']} is {row['value']:.3g}, usually {row['usual']:.3g}"
