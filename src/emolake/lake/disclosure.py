"""What leaves the lake for files that others read: which tables and views, columns and dimensions, of which days."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emolake.errors import ConfigurationError
from emolake.lake.transact import Lake
from emolake.schemas.days import DayRange
from emolake.schemas.tables import Grain, Table
from emolake.schemas.views import RELATIONS, View
from emolake.sql import literal, quoted, statement

_KNOWN = {each.name: each for each in RELATIONS}
_DIMENSIONS = "dimensions"
ALL_DAYS = DayRange.between(None, None)


@dataclass(frozen=True)
class Disclosure:
    """What may leave the lake."""

    dimensions: frozenset[str]
    """Dimensions that name nobody."""
    known: frozenset[str]
    """All dimensions of the configuration."""
    include: frozenset[Grain] = frozenset()
    """What else than summaries is taken where no table is named."""
    personal: bool = False
    """Whether everything may: columns with personal data, and all dimensions."""
    days: DayRange = field(default=ALL_DAYS)
    """The days whose rows may."""


@dataclass(frozen=True)
class Selection:
    """A table or view as it leaves the lake: the query of its rows, and what was left out of its columns."""

    name: str
    sql: str
    columns: Sequence[str]
    left_out: Sequence[str]
    by_day: bool
    """Whether its rows belong to days; those of the others leave whatever the days are."""


def selections(lake: Lake, disclosure: Disclosure, names: Collection[str] = ()) -> list[Selection]:
    """Return what leaves the lake, within `Lake.answer`.

    Args:
        lake: the lake.
        disclosure: what may.
        names: tables and views; when left out those that `disclosure` includes. What somebody else has made is only
            among them where personal data may be, as nothing says where its columns come from.

    Raises:
        ConfigurationError: there is no such table or view, or it is somebody else's and personal data may not leave.
    """
    columns = columns_of_lake(lake)
    unknown = [name for name in names if name not in columns]
    if unknown:
        raise ConfigurationError(
            f"the lake has no table or view {', '.join(unknown)}; it has {', '.join(sorted(columns))}"
        )
    theirs = [] if disclosure.personal else [name for name in columns if name not in _KNOWN]
    refused = [name for name in names if name in theirs]
    if refused:
        raise ConfigurationError(
            f"{', '.join(refused)} was not made by emolake, which cannot tell whether personal data is in it; take it "
            "with --personal, or leave it out"
        )
    chosen = list(dict.fromkeys(names)) or [
        name
        for name, its in columns.items()
        if name not in theirs and grain(name, its) in {Grain.summary, *disclosure.include}
    ]
    return [_selected(name, columns[name], disclosure) for name in chosen]


def grain(name: str, columns: Collection[str]) -> Grain:
    """Return what a row of a table or view is about."""
    known = _KNOWN.get(name)
    if known is not None:
        return known.grain
    return Grain.segments if "start_s" in columns else Grain.summary


def known_by(name: str) -> Table | View | None:
    """Return the table or view of a name; None of a view that somebody else has made."""
    return _KNOWN.get(name)


def columns_of_lake(lake: Lake) -> dict[str, dict[str, str]]:
    """Return the types of the columns of each table and view, by name: tables in the order of the dictionary first."""
    found: dict[str, dict[str, str]] = {name: {} for name in _KNOWN}
    for table, column, sql_type in lake.rows(statement("relations_of_lake")):
        found.setdefault(table, {})[column] = sql_type
    return {name: columns for name, columns in found.items() if columns}


def _selected(name: str, columns: dict[str, str], disclosure: Disclosure) -> Selection:
    shown, left_out = [], []
    known = _KNOWN.get(name)
    # What somebody has added to a table, or to a view in its place, may name anybody.
    harmless = {column.name for column in known.columns if not column.personal} if known else set()
    for column, sql_type in columns.items():
        closed = column not in harmless or column in disclosure.known - disclosure.dimensions
        if closed and not disclosure.personal:
            left_out.append(column)
        else:
            shown.append((column, _expression(column, sql_type, disclosure)))
    if _DIMENSIONS in columns and not disclosure.personal:
        hidden = sorted(disclosure.known - disclosure.dimensions)
        left_out += [f"{_DIMENSIONS}['{each}']" for each in hidden]
    conditions, by_day = _conditions(columns, disclosure)
    listed = ", ".join(f"{expression} AS {quoted(column)}" for column, expression in shown)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    sql = f"SELECT {listed} FROM {quoted(name)}{where}"
    return Selection(name, sql, [column for column, _ in shown], left_out, by_day)


def _expression(column: str, sql_type: str, disclosure: Disclosure) -> str:
    source = quoted(column)
    if column == _DIMENSIONS and not disclosure.personal:
        return (
            f"map_from_entries(list_filter(map_entries({source}), "
            f"lambda entry: list_contains({_open(disclosure)}, entry.key)))"
        )
    # What sum() of integers is: neither Parquet nor many programs have it.
    return f"CAST({source} AS BIGINT)" if sql_type == "HUGEINT" else source


def _conditions(columns: Collection[str], disclosure: Disclosure) -> tuple[list[str], bool]:
    """Return the conditions of the rows that may leave the lake, and whether rows belong to days."""
    found, days = [], disclosure.days
    if {"dimension", "value"} <= set(columns) and not disclosure.personal:
        found.append(f"(coalesce(dimension, '') = '' OR list_contains({_open(disclosure)}, dimension))")
    if "date" in columns:
        first = last = "date"
    elif {"first_date", "last_date"} <= set(columns):
        first, last = "first_date", "last_date"
    elif "week" in columns:
        first, last = "week", "week + 6"
    else:
        return found, False
    if days != ALL_DAYS:
        found.append(f"{last} >= DATE '{days.first}' AND {first} <= DATE '{days.last}'")
    return found, True


def _open(disclosure: Disclosure) -> str:
    return f"[{', '.join(map(literal, sorted(disclosure.dimensions)))}]::VARCHAR[]"


def counted_rows(lake: Lake, selection: Selection) -> int:
    """Return how many rows leave the lake, within `Lake.answer`."""
    ((rows,),) = lake.rows(f"SELECT count(*) FROM ({selection.sql})")
    return int(rows)


def copied_to_parquet(lake: Lake, sql: str, path: Path) -> int:
    """Write the rows of a query to a Parquet file, within `Lake.answer`; return how many there are."""
    ((rows,),) = lake.rows(f"COPY ({sql}) TO {literal(str(path))} (FORMAT parquet, COMPRESSION zstd)")
    return int(rows)
