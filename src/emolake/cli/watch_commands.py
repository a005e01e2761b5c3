"""The commands that watch over the runs: status."""

from typing import Annotated

import typer

from emolake.cli.arguments import ConfigOption, FormatOption, TableFormat, required_settings
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
