"""The commands that watch over the runs: status, alert."""

from typing import Annotated

import typer

from emolake.cli.arguments import ConfigOption, DryRunOption, FormatOption, TableFormat, required_settings
from emolake.errors import EmolakeError
from emolake.messages import counted

app = typer.Typer()


@app.command(epilog="Example: `emolake status --format json`")
def status(
    format: FormatOption = TableFormat.table,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 also where something is only worth a look.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Show last runs, what is late, running, quarantined or missing, storage, the next runs, health.

    Exits with 0 when all is well or only worth a look (and where there is no lake yet), 1 when something is wrong, 2
    when the configuration is.
    """
    _, settings = required_settings(config)
    from emolake.cli.status_screen import show_status
    from emolake.upkeep.status import status_of

    found = status_of(settings)
    show_status(found, settings, format)
    if found.state == "fail" or (strict and found.state == "warn"):
        wrong = [problem for problem in found.problems if strict or problem.state == "fail"]
        raise EmolakeError(
            f"{counted(len(wrong), 'problem')}: {', '.join(dict.fromkeys(each.kind for each in wrong))}"
        )


@app.command(epilog="Example: `emolake alert --dry-run`")
def alert(
    test: Annotated[bool, typer.Option("--test", help="Send a message that says nothing is wrong.")] = False,
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
) -> None:
    """Send what `status` finds wrong to the receivers of [alerts]: for what no run can say, such as a late one.

    Exits with 0 when there is nothing to send, or all receivers have it, and with 1 when one has not.
    """
    _, settings = required_settings(config)
    from emolake.output.alerts import send
    from emolake.upkeep.run_alerts import alerts_of_status, message_of, wanted
    from emolake.upkeep.status import status_of

    found = [] if test else wanted(settings, alerts_of_status(status_of(settings)))
    title, body = message_of(found) if found else ("emolake: a test", "This is a test; nothing is wrong.")
    if not (found or test):
        typer.echo("there is nothing to send", err=True)
        return
    if dry_run:
        typer.echo(f"{title}\n{body}")
        return
    problems = send(settings.alerts, title, body)
    if problems:
        raise EmolakeError(f"not every alert was delivered: {'; '.join(problems)}")
    typer.echo("sent", err=True)
