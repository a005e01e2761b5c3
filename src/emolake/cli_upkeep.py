"""The commands that keep the lake right: what they do stands in modules of their own."""

import sys
from datetime import date
from typing import Annotated

import typer

from emolake.cli_options import ConfigOption, ModelOption, TableFormat, parsed_day, required_settings
from emolake.errors import ConfigurationError, EmolakeError

FromOption = Annotated[
    date | None, typer.Option("--from", parser=parsed_day, metavar="YYYY-MM-DD", help="First day.")
]
ToOption = Annotated[
    date | None, typer.Option("--to", parser=parsed_day, metavar="YYYY-MM-DD", help="Last day, inclusive.")
]
FormatOption = Annotated[TableFormat, typer.Option(help="How rows are written.")]

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog="Example: `emolake verify --from 2026-11-01 --to 2026-11-20`")(verify)
    app.command(epilog="Example: `emolake gaps --from 2026-11-01 --to 2026-11-20`")(gaps)
    app.command(epilog="Example: `emolake retry --quarantined --reason fetch_failed --dry-run`")(retry)


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


def gaps(
    first: FromOption = None,
    last: ToOption = None,
    format: FormatOption = TableFormat.table,
    config: ConfigOption = None,
) -> None:
    """Show days and sites with far fewer recordings than the same weekday usually has."""
    _, settings = required_settings(config)
    from emolake.gaps import find_gaps, write_gaps
    from emolake.lake import open_lake

    with open_lake(settings.warehouse, read_only=True, endpoint_url=settings.source.endpoint_url) as lake:
        found = find_gaps(lake, settings, first, last)
    write_gaps(found, settings, format.value, sys.stdout)
    typer.echo(f"{len(found)} gaps; [gaps] of the configuration says what counts as one", err=True)


def retry(
    quarantined: Annotated[
        bool, typer.Option("--quarantined", help="Those that were quarantined; there is no other kind yet.")
    ] = False,
    first: FromOption = None,
    last: ToOption = None,
    reasons: Annotated[
        list[str] | None,
        typer.Option("--reason", help="Only this reason code, such as fetch_failed; may be given again."),
    ] = None,
    dry_run: DryRunOption = False,
    model: ModelOption = None,
    config: ConfigOption = None,
) -> None:
    """Analyse recordings again that were quarantined, those that could not be fetched included."""
    path, settings = required_settings(config)
    from emolake.operate import run_retry

    if not quarantined:
        raise ConfigurationError("say what to retry: `emolake retry --quarantined`")
    run_retry(path, settings, first, last, reasons or [], model=model, dry_run=dry_run, output=sys.stdout)
