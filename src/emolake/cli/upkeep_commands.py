"""The commands that keep the lake right: verify, gaps, retry, maintain, upgrade, erase."""

import sys
from typing import Annotated

import typer

from emolake.cli.arguments import (
    ConfigOption,
    DryRunOption,
    FormatOption,
    FromOption,
    ModelOption,
    TableFormat,
    ToOption,
    required_settings,
)
from emolake.errors import ConfigurationError, EmolakeError
from emolake.messages import counted

app = typer.Typer()


@app.command(epilog="Example: `emolake verify --from 2026-11-01 --to 2026-11-20`")
def verify(
    first: FromOption = None,
    last: ToOption = None,
    format: FormatOption = TableFormat.table,
    config: ConfigOption = None,
) -> None:
    """Check the lake against its promises: every breach is reported with the query that shows it."""
    _, settings = required_settings(config)
    from emolake.cli.presenting import show_verdict
    from emolake.schemas.days import DayRange
    from emolake.upkeep.verify import verify as check_promises

    verdict = check_promises(settings, DayRange.between(first, last))
    show_verdict(verdict, format)
    checked = f"{counted(verdict.days, 'day')} and {counted(verdict.files, 'file')}"
    if verdict.breaches:
        raise EmolakeError(
            f"{counted(len(verdict.breaches), 'breach', 'breaches')} in {checked}; the queries above show them. Lost "
            "files come back from a backup; `emolake backfill FROM TO --force` rebuilds wrong rows of days"
        )
    typer.echo(f"{checked} are as they should be; {counted(len(verdict.notices), 'notice')}", err=True)


@app.command(epilog="Example: `emolake gaps --from 2026-11-01 --to 2026-11-20`")
def gaps(
    first: FromOption = None,
    last: ToOption = None,
    format: FormatOption = TableFormat.table,
    config: ConfigOption = None,
) -> None:
    """Show days and sites with far fewer recordings than the same weekday usually has."""
    _, settings = required_settings(config)
    from emolake.cli.presenting import show_gaps
    from emolake.lake.connect import open_lake
    from emolake.upkeep.gaps import find_gaps, judged_days

    days = judged_days(settings, first, last)
    with open_lake(settings.warehouse, read_only=True) as lake:
        found = find_gaps(lake, settings, days)
    show_gaps(found, settings.aggregate.by, format)
    typer.echo(f"{counted(len(found), 'gap')}; [gaps] of the configuration says what counts as one", err=True)


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
    from emolake.cli.running import run_retry, show_quarantined
    from emolake.schemas.days import DayRange

    if not quarantined:
        raise ConfigurationError("say what to retry: `emolake retry --quarantined`")
    found = show_quarantined(settings, DayRange.between(first, last), reasons or [], shown=dry_run)
    if found and not dry_run:
        run_retry(path, settings, first, last, reasons or [], model=model)


@app.command(epilog="Example: `emolake maintain --dry-run`")
def maintain(dry_run: DryRunOption = False, config: ConfigOption = None) -> None:
    """Merge small files, expire old snapshots, remove what is left over; safe beside a running job."""
    _, settings = required_settings(config)
    from emolake.cli.presenting import show_figures
    from emolake.upkeep.maintain import maintain as keep_tidy

    show_figures("would be done" if dry_run else "done", keep_tidy(settings, dry_run=dry_run))


@app.command(epilog="Example: `emolake upgrade --rehearse`, in an environment with the new versions")
def upgrade(
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="On a copy of the catalog; the lake is only read.")
    ] = False,
    format: FormatOption = TableFormat.table,
    config: ConfigOption = None,
) -> None:
    """Try the versions installed on a copy of the catalog, and compare every table before and after."""
    _, settings = required_settings(config)
    if not rehearse:
        raise ConfigurationError(
            "say `emolake upgrade --rehearse`: an upgrade is rehearsed here; docs/operations.md says how it is made"
        )
    from emolake.cli.presenting import show_rehearsal
    from emolake.upkeep.upgrade import rehearse_upgrade

    rehearsal = rehearse_upgrade(settings)
    show_rehearsal(rehearsal, format)
    if rehearsal.different:
        raise EmolakeError(
            f"{', '.join(rehearsal.different)} would not be read as before; stay with the versions that are in use"
        )


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
    from emolake.cli.presenting import show_erasure, show_erasure_plan
    from emolake.upkeep.erase import erase as erase_recordings
    from emolake.upkeep.erase import plan_erasure, request_by_uri, requests_by_condition

    requests = request_by_uri(recording) if recording else requests_by_condition(settings, where or "")
    show_erasure_plan(plan_erasure(settings, requests))
    if dry_run or not requests:
        return
    if not yes and not _confirmed():
        typer.echo("nothing was erased", err=True)
        return
    show_erasure(erase_recordings(settings, requests, requested_by=requested_by))


def _confirmed() -> bool:
    """Ask whether recordings are to be erased.

    Raises:
        ConfigurationError: nobody can be asked, and --yes was not given.
    """
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "an erasure cannot be undone: confirm it with --yes, or look at it with --dry-run"
        )
    return input("Erase them for good? [y/N] ").strip().lower() == "y"
