"""The data dictionary of the lake, derived from its tables: `python -m emolake.schemas.dictionary > docs/tables.md`."""

from collections.abc import Iterator

from emolake.schemas.column import Column
from emolake.schemas.tables import TABLES
from emolake.sql import statement

_SHARES_OF_DAYS = """\
Shares of several days, or sites, are those of their seconds. `avg(share)` is not: it gives a day of ten calls the
weight of one of a thousand, and leaves out the days on which an emotion did not occur, as these have no row of it."""
_ADJUSTED_OF_DAYS = """\
Nor is an interval of several days the mean of their intervals, which is too wide. [shares.md](shares.md) says how
`share_low`, `share_high` and `share_adjusted` are made, and how far they can be believed."""


def data_dictionary() -> str:
    """Return the tables and their columns as Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Tables of the lake"
    yield ""
    yield "Made by `python -m emolake.schemas.dictionary`; a test compares this page with `schemas/`."
    for table in TABLES:
        yield from ("", f"## {table.name}", "", table.description, "")
        yield f"Key: {', '.join(f'`{name}`' for name in table.key)}." + (
            f" Partitioned by {', '.join(f'`{name}`' for name in table.partition_by)}."
            if table.partition_by
            else ""
        )
        yield from ("", "| column | type | unit | NULL | meaning |", "|---|---|---|---|---|")
        for column in table.columns:
            null = "yes" if column.nullable else ""
            yield f"| `{column.name}` | {column.sql_type} | {column.unit or ''} | {null} | {_meaning(column)} |"
    yield from ("", "## Cookbook", "", _SHARES_OF_DAYS, "", "```sql")
    yield from statement("cookbook_shares_of_days").splitlines()
    yield from ("```", "", _ADJUSTED_OF_DAYS)


def _meaning(column: Column) -> str:
    allowed = f": {', '.join(f'`{value}`' for value in column.allowed)}" if column.allowed else ""
    return column.description + allowed


if __name__ == "__main__":
    print(data_dictionary(), end="")
