"""The commands that keep the lake right: what they do stands in modules of their own."""

import sys
from datetime import date
from typing import Annotated

import typer

from emolake.cli.arguments import ConfigOption, ModelOption, TableFormat, parsed_day, required_settings
from emolake.errors import ConfigurationError, EmolakeError

FromOption = Annotated[
    date | None, typer.Option("--from", parser=parsed_day, metavar="YYYY-MM-DD", help="First day.")
]
ToOption = Annotated[
    date | None, typer.Option("--to", parser=parsed_day, metavar="YYYY-MM-DD", help="Last day, inclusive.")
]
FormatOption = Annotated[TableFormat, typer.Option(help="How rows are written.")]

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")]


app = typer.Typer()


@app.command(epilog="Example: `emolake verify --from 2026-11-01 --to 2026-11-20`")
def verify(
    first: FromOption = None,
    last: ToOption = None,
    format: FormatOption = TableFormat.table,
    config: ConfigOption = None,
) -> None:
    """Hold the lake against its promises: every breach is told with the query that shows it."""
    _, settings = required_settings(config)
    from emolake.upkeep.verify import verify as hold_against_promises
    from emolake.upkeep.verify import write_verdict

    verdict = hold_against_promises(settings, first, last)
    write_verdict(verdict, format.value, sys.stdout)
    checked = f"{verdict.days} days and {verdict.files} files"
    if verdict.breaches:
        raise EmolakeError(
            f"{len(verdict.breaches)} breaches in {checked}; the queries above show them. Lost files come back from a "
            "backup; `emolake backfill FROM TO --force` makes wrong rows of days anew"
        )
    typer.echo(f"{checked} are as they should be; {len(verdict.notices)} notices", err=True)


@app.command(epilog="Example: `emolake gaps --from 2026-11-01 --to 2026-11-20`")
def gaps(
    first: FromOption = None,
    last: ToOption = None,
    format: FormatOption = TableFormat.table,
    config: ConfigOption = None,
) -> None:
    """Show days and sites with far fewer recordings than the same weekday usually has."""
    _, settings = required_settings(config)
    from emolake.lake.connect import open_lake
    from emolake.upkeep.gaps import find_gaps, write_gaps

    with open_lake(settings.warehouse, read_only=True) as lake:
        found = find_gaps(lake, settings, first, last)
    write_gaps(found, settings, format.value, sys.stdout)
    typer.echo(f"{len(found)} gaps; [gaps] of the configuration says what counts as one", err=True)


@app.command(epilog="Example: `emolake retry --quarantined --reason fetch_failed --dry-run`")
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
    from emolake.cli.running import run_retry

    if not quarantined:
        raise ConfigurationError("say what to retry: `emolake retry --quarantined`")
    run_retry(path, settings, first, last, reasons or [], model=model, dry_run=dry_run, output=sys.stdout)


@app.command(epilog="Example: `emolake maintain --dry-run`")
def maintain(dry_run: DryRunOption = False, config: ConfigOption = None) -> None:
    """Merge small files, expire old snapshots, remove what is left over; safe beside a running job."""
    _, settings = required_settings(config)
    from emolake.cli.running import print_figures
    from emolake.upkeep.maintain import maintain as keep_tidy

    print_figures("would be done" if dry_run else "done", keep_tidy(settings, dry_run=dry_run), sys.stdout)


@app.command(epilog="Example: `emolake erase --recording s3://calls/2026/11/20/oslo/1.wav --dry-run`")
def erase(
    recording: Annotated[
        str | None, typer.Option("--recording", metavar="URI", help="URI of a recording, or a file's path.")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            metavar="SQL",
            help="Condition over the table recordings, such as \"dimensions['agent'] = '7'\".",
        ),
    ] = None,
    requested_by: Annotated[
        str | None,
        typer.Option("--requested-by", help="Who asked for it, or a ticket: kept with the receipt."),
    ] = None,
    dry_run: DryRunOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = None,
) -> None:
    """Remove recordings from tables, snapshots, files and caches for good, and leave a receipt."""
    _, settings = required_settings(config)
    if (recording is None) == (where is None):
        raise ConfigurationError("say what to erase: either --recording URI, or --where SQL")
    from emolake.cli.running import run_erase
    from emolake.upkeep.erase import asked_by_condition, asked_by_uri

    asked = asked_by_uri(recording) if recording else asked_by_condition(settings, where or "")
    run_erase(settings, asked, requested_by=requested_by, dry_run=dry_run, yes=yes, output=sys.stdout)
