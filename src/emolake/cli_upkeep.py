"""The commands that keep the lake right: what they do stands in modules of their own."""

import sys
from datetime import date
from typing import Annotated

import typer

from emolake.cli_options import ConfigOption, TableFormat, parsed_day, required_settings
from emolake.errors import EmolakeError

FromOption = Annotated[
    date | None, typer.Option("--from", parser=parsed_day, metavar="YYYY-MM-DD", help="First day.")
]
ToOption = Annotated[
    date | None, typer.Option("--to", parser=parsed_day, metavar="YYYY-MM-DD", help="Last day, inclusive.")
]
FormatOption = Annotated[TableFormat, typer.Option(help="How rows are written.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog="Example: `emolake verify --from 2026-11-01 --to 2026-11-20`")(verify)


def verify(
    first: FromOption = None,
    last: ToOption = None,
    format: FormatOption = TableFormat.table,
    config: ConfigOption = None,
) -> None:
    """Hold the lake against its promises: every breach is told with the query that shows it."""
    _, settings = required_settings(config)
    from emolake.verify import verify as hold_against_promises
    from emolake.verify import write_verdict

    verdict = hold_against_promises(settings, first, last)
    write_verdict(verdict, format.value, sys.stdout)
    checked = f"{verdict.days} days and {verdict.files} files"
    if verdict.breaches:
        raise EmolakeError(
            f"{len(verdict.breaches)} breaches in {checked}; the queries above show them, and "
            "`emolake backfill FROM TO --force` makes the rows of the days anew"
        )
    typer.echo(f"{checked} are as they should be; {len(verdict.notices)} notices", err=True)
