"""The data dictionary of the lake, derived from its tables and views.

`python -m emolake.schemas.dictionary > docs/tables.md` writes it.
"""

from collections.abc import Iterable, Iterator, Sequence

from emolake.schemas.column import Column
from emolake.schemas.tables import PUBLISHED, TABLES, Grain
from emolake.schemas.views import RELATIONS, VIEWS
from emolake.sql import statement

_SHARES_OF_DAYS = """\
Shares of several days, or sites, are those of their seconds. `avg(share)` is not: it gives a day of ten calls the
weight of one of a thousand, and leaves out the days on which an emotion did not occur, as these have no row of it."""
_VIEWS = """\
[cookbook.md](cookbook.md) has questions, and their answers from these. What a run said that found its model flat
(`model_health`) is in none of them, as in the daily table; `coverage` counts it. A recording that is no longer at the
source is there as in the daily table, with `deleted_at`; `listen_first` leaves it out.

`dimensions` is a map and not a column for each: a view's columns are fixed when it is made, and the key's pattern can
change the next day. `dimensions['site']` is the site, and NULL where a recording has none.

The views are made with the lake. One of an earlier version gets them from the next run, or `emolake maintain`. Until
then, whoever only reads has them for the time of the connection, as far as the lake has the columns that they are made
from; a view that cannot be made ends as an error that says so."""
_ADJUSTED_OF_DAYS = """\
Nor is an interval of several days the mean of their intervals, which is too wide: `weekly_emotions` and `trend` have
the right ones. [shares.md](shares.md) says how `share_low`, `share_high` and `share_adjusted` are made, and how far
they can be believed."""

_DRIFT = """\
What has drifted, the newest first, and how it was before. [watching.md](watching.md#drift) says when a day has."""


def data_dictionary() -> str:
    """Return the tables and views, and their columns, as Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Tables of the lake"
    yield ""
    yield "Made by `python -m emolake.schemas.dictionary`; a test compares this page with `schemas/`."
    yield "First the tables, then the [views](#views) over them, which most questions are easier to ask of."
    for table in TABLES:
        yield from ("", f"## {table.name}", "", table.description, "")
        yield _key(table.key) + (
            f" Partitioned by {', '.join(f'`{name}`' for name in table.partition_by)}."
            if table.partition_by
            else ""
        )
        yield from ("", *_columns(table.columns))
    yield from ("", "## Views", "", _VIEWS)
    for view in VIEWS:
        yield from ("", f"### {view.name}", "", view.description, "", _key(view.key), "")
        yield from _columns(view.columns)
        yield from ("", "```sql", *view.example.splitlines(), "```")
    yield from ("", "## The published file", "", *_published(), "")
    yield from (f"### {PUBLISHED.name}", "", PUBLISHED.description, "", *_columns(PUBLISHED.columns))
    yield from ("", "## Shares of several days", "", _SHARES_OF_DAYS, "", "```sql")
    yield from statement("cookbook_shares_of_days").splitlines()
    yield from ("```", "", _ADJUSTED_OF_DAYS, "", _DRIFT, "", "```sql")
    yield from statement("cookbook_drift").splitlines()
    yield "```"


def _published() -> Iterator[str]:
    """Yield what goes into the published file, and by default into an export."""
    held = {
        grain: ", ".join(f"`{each.name}`" for each in RELATIONS if each.grain is grain) for grain in Grain
    }
    yield from (
        "`emolake publish` writes these tables and views as tables into one plain DuckDB file, and `emolake export`",
        "takes the same where none is named:",
        "",
        f"- always: {held[Grain.summary]};",
        f"- with `--include recordings`: {held[Grain.recordings]};",
        f"- with `--include segments`: {held[Grain.segments]};",
        f"- never, but `export` where they are named: {held[Grain.internal]}.",
        "",
        "Views and tables that emolake did not make, and columns that somebody added, come only with `--personal`:",
        "nothing says what is in them.",
        "",
        "Columns marked *personal* are left out, and so are the dimensions that neither `aggregate.by` nor",
        "`publish.dimensions` names, unless `--personal` is given. `recording_id` stays: it is a pseudonym, which",
        "`recordings.uri` tells the meaning of. Views are stored as tables, because earlier versions of DuckDB read",
        "the subscript of a map otherwise. Where a part of a long table has no element in a column of lists or maps,",
        "the file has a column `NAME_json` beside it, from which DuckDB 1.0 can read the column too.",
    )


def _key(names: Sequence[str]) -> str:
    return f"Key: {', '.join(f'`{name}`' for name in names)}."


def _columns(columns: Iterable[Column]) -> Iterator[str]:
    yield from ("| column | type | unit | NULL | meaning |", "|---|---|---|---|---|")
    for column in columns:
        null = "yes" if column.nullable else ""
        yield f"| `{column.name}` | {column.sql_type} | {column.unit or ''} | {null} | {_meaning(column)} |"


def _meaning(column: Column) -> str:
    allowed = f": {', '.join(f'`{value}`' for value in column.allowed)}" if column.allowed else ""
    return column.description + allowed + ("; *personal*" if column.personal else "")


if __name__ == "__main__":
    print(data_dictionary(), end="")
