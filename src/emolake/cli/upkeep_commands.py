"""The commands that keep the lake right: verify, gaps, retry, maintain, upgrade, erase, forget, relocate."""

import sys
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from emolake.cli.arguments import (
    ConfigOption,
    DryRunOption,
    FormatOption,
    FromOption,
    ModelOption,
    TableFormat,
    ToOption,
    first_day,
    last_day,
    required_settings,
)
from emolake.errors import ConfigurationError, EmolakeError
from emolake.messages import counted

if TYPE_CHECKING:
    from emolake.settings import Settings

app = typer.Typer()

_AN_HOUR = 1 / 24  # in days

RequestedByOption = Annotated[
    str | None,
    typer.Option(
        "--requested-by", help="Who asked for it, or a ticket: kept with the receipt.", show_default="nobody"
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


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
    first: Annotated[date | None, first_day("28 days")] = None,
    last: Annotated[date | None, last_day("yesterday in source.timezone")] = None,
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
    show_gaps(found, settings.recording_breakdown, format)
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
        typer.Option(
            "--reason",
            help="Only this reason code, such as fetch_failed; may be given again.",
            show_default="all reasons",
        ),
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
    from emolake.output.notices import complain
    from emolake.upkeep.maintain import maintain as keep_tidy

    if settings.maintain.snapshot_days < _AN_HOUR:
        complain(
            f"snapshots expire after {settings.maintain.snapshot_days * 86_400:.0f} s: a query of another program that "
            "takes longer misses rows, or finds some twice; raise maintain.snapshot_days"
        )
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
        str | None,
        typer.Option(
            "--recording",
            metavar="URI",
            help="URI of a recording, its key relative to source.uri, or a file's path.",
            show_default="none",
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            metavar="SQL",
            help="Condition over the table recordings, such as \"dimensions['agent'] = '7'\".",
            show_default="none",
        ),
    ] = None,
    requested_by: RequestedByOption = None,
    allow_unknown: Annotated[
        bool,
        typer.Option(
            "--allow-unknown",
            help="Leave a receipt also of a recording that the lake does not hold: it is never analysed.",
        ),
    ] = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    config: ConfigOption = None,
) -> None:
    """Remove recordings from tables, snapshots, files and caches for good, and leave a receipt."""
    _, settings = required_settings(config)
    if (recording is None) == (where is None):
        raise ConfigurationError("say what to erase: either --recording URI, or --where SQL")
    from emolake.cli.presenting import show_erasure, show_erasure_plan
    from emolake.upkeep.erase import check_known, plan_erasure, request_by_name, requests_by_condition
    from emolake.upkeep.erase import erase as erase_recordings

    if recording is not None:
        requests = [request_by_name(settings, recording)]
    else:
        requests = requests_by_condition(settings, where or "")
    plan = plan_erasure(settings, requests)
    if not allow_unknown or not requests:
        check_known(plan, settings)
    show_erasure_plan(plan)
    if dry_run or not _confirmed("an erasure", "Erase them for good?", yes):
        return
    show_erasure(erase_recordings(settings, requests, requested_by=requested_by))
    _publish_again(settings)


@app.command(epilog="Example: `emolake forget --model trial --from 2026-11-01 --to 2026-11-20 --dry-run`")
def forget(
    model: Annotated[
        str, typer.Option("--model", help="Name of the model, as in the tables; it need not be configured.")
    ],
    first: FromOption = None,
    last: ToOption = None,
    requested_by: RequestedByOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    config: ConfigOption = None,
) -> None:
    """Drop a model's segments, ledger and aggregates, and leave receipts; recordings and other models stay."""
    _, settings = required_settings(config)
    from emolake.cli.presenting import show_forget_plan, show_forgotten
    from emolake.schemas.days import DayRange
    from emolake.upkeep.forget import forget as forget_model
    from emolake.upkeep.forget import plan_forgetting

    days = DayRange.between(first, last)
    plan = plan_forgetting(settings, model, days)
    show_forget_plan(plan)
    if not plan.days or dry_run or not _confirmed("forgetting a model", "Drop these rows?", yes):
        return
    show_forgotten(model, forget_model(settings, model, days, requested_by=requested_by))
    _publish_again(settings)


@app.command(epilog="Example: `emolake relocate --dry-run`")
def relocate(dry_run: DryRunOption = False, config: ConfigOption = None) -> None:
    """Tell the catalog that its files were moved or copied to warehouse.data, once all of them are there."""
    _, settings = required_settings(config)
    from emolake.cli.presenting import show_relocation
    from emolake.upkeep.relocate import plan_relocation
    from emolake.upkeep.relocate import relocate as relocate_data

    show_relocation(plan_relocation(settings) if dry_run else relocate_data(settings), dry_run=dry_run)


def _publish_again(settings: "Settings") -> None:
    """Take what the lake has lost out of the published file too, where there is one."""
    from emolake.pipeline.publishing import published_again

    done = published_again(settings)
    if done is not None:
        typer.echo(f"{done.path} was published again without it", err=True)


def _confirmed(what: str, question: str, yes: bool) -> bool:
    """Ask whether something is to be done that cannot be undone, unless it was said already.

    Raises:
        ConfigurationError: nobody can be asked, and --yes was not given.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigurationError(
            f"{what} cannot be undone: confirm it with --yes, or look at it with --dry-run"
        )
    if input(f"{question} [y/N] ").strip().lower() == "y":
        return True
    typer.echo("nothing was done", err=True)
    return False
