"""The commands that analyse days: nightly, backfill; and serve and worker, which do at their hours."""

from datetime import date
from typing import Annotated

import typer

from emolake.cli.arguments import ConfigOption, ModelOption, parsed_day, required_settings

app = typer.Typer()


@app.command(epilog="Example: `emolake nightly --date 2026-11-20`")
def nightly(
    day: Annotated[
        date | None,
        typer.Option(
            "--date",
            parser=parsed_day,
            metavar="YYYY-MM-DD",
            help="Day to analyse.",
            show_default="yesterday in source.timezone",
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Analyse yesterday, or another day, plus the lookback for late arrivals."""
    path, settings = required_settings(config)
    from emolake.cli.running import run_nightly
    from emolake.pipeline.run_request import mention_future

    if day is not None:
        mention_future(settings, day)
    run_nightly(path, settings, day)


@app.command(epilog="Example: `emolake backfill 2026-11-01 2026-11-20 --plan`")
def backfill(
    first: Annotated[str, typer.Argument(metavar="FROM", help="First day, YYYY-MM-DD.")],
    last: Annotated[str, typer.Argument(metavar="TO", help="Last day, inclusive.")],
    plan: Annotated[
        bool,
        typer.Option(
            "--plan", help="Only show what would be done: per day what is missing, stale, failed, done."
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Analyse also what is done, and replace it.")
    ] = False,
    newest_first: Annotated[bool, typer.Option("--newest-first", help="Begin with the last day.")] = False,
    parallel_days: Annotated[
        int,
        typer.Option(
            "--parallel-days", metavar="N", min=1, help="Days under way at once; they share the loaded model."
        ),
    ] = 1,
    model: ModelOption = None,
    config: ConfigOption = None,
) -> None:
    """Analyse what the lake lacks of a range of days; a day that fails does not stop the others."""
    from_, to = parsed_day(first), parsed_day(last)
    path, settings = required_settings(config)
    from emolake.cli.running import run_backfill, show_plan
    from emolake.pipeline.run_request import mention_future
    from emolake.schemas.days import DayRange

    days = DayRange(from_, to)
    mention_future(settings, days.last)
    if plan:
        show_plan(settings, days, model=model, force=force)
    else:
        run_backfill(
            path,
            settings,
            days,
            model=model,
            force=force,
            newest_first=newest_first,
            parallel_days=parallel_days,
        )


@app.command(epilog='Example: `emolake serve --nightly "15 3 * * *"`')
def serve(
    nightly: Annotated[
        str, typer.Option("--nightly", metavar="CRON", help="When the nightly runs, in source.timezone.")
    ] = "15 3 * * *",
    maintain: Annotated[
        str, typer.Option("--maintain", metavar="CRON", help="When `maintain` runs.")
    ] = "30 12 * * 0",
    alert: Annotated[str, typer.Option("--alert", metavar="CRON", help="When `alert` runs.")] = "30 12 * * *",
    port: Annotated[
        int, typer.Option("--port", min=1, max=65_535, help="Of Prefect's server, where none is configured.")
    ] = 4200,
    config: ConfigOption = None,
) -> None:
    """Run everything at its hours on one machine, without a worker, and start a server of Prefect where none is."""
    path, settings = required_settings(config)
    from emolake.cli.serving import serve_schedules

    serve_schedules(path, settings, nightly=nightly, maintain=maintain, alert=alert, port=port)


@app.command(epilog="Example: `emolake worker --pool emolake`")
def worker(
    pool: Annotated[str, typer.Option(help="Work pool of Prefect.")] = "emolake",
    config: ConfigOption = None,
) -> None:
    """Take the runs of deployments/prefect.yaml on this machine, as a worker of Prefect that drains before it ends.

    Ctrl-C or SIGTERM let the shards at work commit, within run.grace_s; `prefect worker start` kills them.
    """
    _, settings = required_settings(config)
    from emolake.cli.draining import work

    work(pool, settings)
