"""The commands that ask the lake: query, report."""

import sys
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from emolake.cli.arguments import ConfigOption, ToOption, parsed_day, required_settings

app = typer.Typer()


class QueryFormat(StrEnum):
    """How an answer is written."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


@app.command(
    epilog="Example: `emolake query \"SELECT emotion, share FROM daily_emotions WHERE date = '2026-11-20'\"`"
)
def query(
    sql: Annotated[str, typer.Argument(help="One SELECT; the lake's tables and views by bare name.")],
    format: Annotated[
        QueryFormat,
        typer.Option(
            help="How the answer is written; a CSV's cells as they are, formulas of a spreadsheet too."
        ),
    ] = QueryFormat.table,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write.", show_default="standard output")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Ask the lake, read-only; times are in source.timezone."""
    _, settings = required_settings(config)
    from emolake.lake.connect import open_lake
    from emolake.lake.query import write_answer

    with open_lake(settings.warehouse, read_only=True, timezone=settings.source.timezone) as lake:
        write_answer(lake, sql, format.value, sys.stdout, output)


@app.command(epilog="Example: `emolake report --from 2026-11-01 --to 2026-11-20 -o november.html`")
def report(
    first: Annotated[
        date | None,
        typer.Option(
            "--from",
            parser=parsed_day,
            metavar="YYYY-MM-DD",
            help="First day.",
            show_default="the first there is",
        ),
    ] = None,
    last: ToOption = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path("report.html"),
    config: ConfigOption = None,
) -> None:
    """Write one self-contained HTML file of daily emotions, bad recordings and runs."""
    _, settings = required_settings(config)
    from emolake.lake.connect import open_lake
    from emolake.report.build import write_report

    with open_lake(settings.warehouse, read_only=True) as lake:
        write_report(lake, first=first, last=last, out=output)
    typer.echo(f"wrote {output}", err=True)
