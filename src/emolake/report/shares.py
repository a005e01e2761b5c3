"""What the shares of a report are made of, as its page reads it: sums over recordings by selection."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from emolake.lake.statement_rows import Row, rows_of
from emolake.lake.transact import Lake

ALL_ROLES = "*"

# Beyond so many days a period is a week, and the hours of all of them are one map.
MOST_DAYS_BY_DAY = 92
# Some 360 bytes each in the page, and some 17.
MOST_CELLS = 6_000
MOST_HOURS = 25_000
_MOST_VALUES = (20, 10, 5, 2, 0)
_CHANGE_DAYS = 7


@dataclass(frozen=True)
class Periods:
    """The range in days, or in weeks that end with its last day."""

    first: date
    last: date

    @property
    def days(self) -> int:
        """Days of a period."""
        return 1 if (self.last - self.first).days < MOST_DAYS_BY_DAY else 7

    @property
    def number(self) -> int:
        """Number of periods."""
        return (self.last - self.first).days // self.days + 1

    @property
    def smooth(self) -> int:
        """How many periods a smoothed share is of."""
        return 7 // self.days

    @property
    def change(self) -> int:
        """Of how many periods what changed is looked for, and of as many before them; 0 of a single one."""
        return min(_CHANGE_DAYS // self.days, self.number // 2)

    @property
    def dates(self) -> list[date]:
        """The first day of each period that is in the range."""
        starts = (self.last - timedelta(days=self.days * back + self.days - 1) for back in range(self.number))
        return [max(start, self.first) for start in reversed(list(starts))]


def prepare(lake: Lake, periods: Periods) -> list[str]:
    """Make the temporary tables that the other functions read, and return the names of the dimensions."""
    days = {"first": periods.first, "last": periods.last}
    dimensions = [row["dimension"] for row in rows_of(lake, "report_dimensions", **days)]
    rows_of(lake, "report_speech", **days)
    rows_of(
        lake,
        "report_cells",
        last=periods.last,
        dimensions=dimensions,
        periods=periods.number,
        period_days=periods.days,
    )
    return dimensions


def values_that_fit(lake: Lake) -> int:
    """Return how many values of each dimension the page holds, the most spoken ones."""
    for most in _MOST_VALUES:
        if rows_of(lake, "report_number_of_cells", most_values=most)[0]["cells"] <= MOST_CELLS:
            break
    return most


def cells(lake: Lake, *, most_values: int, names: "Names") -> dict[str, list[Any]]:
    """Return the cells by `MODEL GROUP ROLE` (their numbers in `names`), each a list that `figures.js` reads."""
    found: dict[str, dict[int, list[Any]]] = defaultdict(dict)
    for row in rows_of(lake, "report_page_cells", most_values=most_values):
        key = f"{names.model(row['model'])} {names.group(row['dimension'], row['value'])} {names.role(row['role'])}"
        emotions = [
            [
                names.emotion(each["emotion"]),
                *(_short(each[name]) for name in (
                    "seconds", "emotion_squared", "emotion_by_all", "emotion_by_share", "uncertain_seconds",
                    "confidence_seconds",
                )),
            ]
            for each in row["emotions"]
        ]  # fmt: skip
        found[key][row["period"]] = [
            row["period"],
            row["recordings"],
            row["segments"],
            row["unlabelled"],
            _short(row["all_squared"]),
            _short(row["segments_squared"]),
            emotions,
        ]
    return {key: [by_period[period] for period in sorted(by_period)] for key, by_period in found.items()}


def hours(lake: Lake, periods: Periods, *, most_values: int, names: "Names") -> dict[str, list[list[Any]]]:
    """Return labelled seconds by `MODEL GROUP ROLE`: period, weekday, hour, emotion, seconds.

    The period is -1 where there are too many for the hours of each; where there are too many values for that too, no
    group but the first has hours.
    """
    found: dict[str, list[list[Any]]] = defaultdict(list)
    for by_value in (False, True):
        for row in _hour_rows(lake, periods, by_value=by_value, most_values=most_values):
            group = names.group(row["dimension"], row["value"])
            found[f"{names.model(row['model'])} {group} {names.role(row['role'])}"].append(
                [
                    row["period"],
                    row["weekday"],
                    row["hour"],
                    names.emotion(row["emotion"]),
                    _short(row["seconds"]),
                ]
            )
    return found


def _hour_rows(lake: Lake, periods: Periods, *, by_value: bool, most_values: int) -> Sequence[Row]:
    """Return the rows of all recordings, or of each value: as fine as fits the page."""
    for by_period in (True, False):
        if by_period and periods.days > 1:
            continue
        rows = rows_of(
            lake,
            "report_hours",
            last=periods.last,
            periods=periods.number,
            period_days=periods.days,
            by_period=by_period,
            by_value=by_value,
            most_values=most_values,
        )
        if len(rows) <= MOST_HOURS or not (by_period or by_value):
            return rows
    return []


@dataclass(frozen=True)
class Names:
    """The names that cells stand under, by their numbers."""

    models: Sequence[str]
    groups: Sequence[tuple[str, str]]
    """Dimension and value; the first is all recordings."""
    roles: Sequence[str]
    """The first is all roles."""
    emotions: Sequence[str]

    @classmethod
    def of(cls, lake: Lake, *, shares: Iterable[Row], models: Sequence[str], most_values: int) -> "Names":
        """Return the emotions in the rows of `report_shares`, and the groups and roles of all cells.

        A model without any label has cells, and no row of `report_shares`.
        """
        seconds: Mapping[str, float] = defaultdict(float)
        for row in shares:
            if row["kind"] == "range":
                seconds[row["emotion"]] += row["seconds"]  # type: ignore[index]
        groups = rows_of(lake, "report_groups", most_values=most_values)
        return cls(
            models,
            [("", ""), *((row["dimension"], row["value"]) for row in groups)],
            [ALL_ROLES, *(row["role"] for row in rows_of(lake, "report_roles"))],
            sorted(seconds, key=lambda emotion: (emotion == "folded", -seconds[emotion], emotion)),
        )

    def model(self, name: str) -> int:
        """Return the number of a model."""
        return self.models.index(name)

    def group(self, dimension: str, value: str) -> int:
        """Return the number of a value of a dimension."""
        return self.groups.index((dimension, value))

    def role(self, name: str) -> int:
        """Return the number of a role."""
        return self.roles.index(name)

    def emotion(self, name: str) -> int:
        """Return the number of an emotion."""
        return self.emotions.index(name)


def _short(value: float) -> float | int:
    """Return a sum with the digits that its use needs."""
    short = float(f"{value:.6g}")
    return int(short) if short.is_integer() else short
