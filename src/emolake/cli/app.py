"""The command line: it calls, it does not think. Rows go to standard output, everything else to standard error.

Everything heavy is imported inside the commands: `emolake --help` loads neither torch nor Prefect.
"""

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from emolake.cli import (
    ask_commands,
    dashboard_command,
    lake_commands,
    model_commands,
    predict_commands,
    run_commands,
    start_commands,
    train_command,
    upkeep_commands,
    watch_commands,
)
from emolake.cli.documented_command import OFF, DocumentedCommand
from emolake.errors import ConfigurationError, EmolakeError
from emolake.messages import printable, redacted
from emolake.output.logs import use_format
from emolake.output.notices import complain
from emolake.pipeline.interrupts import Terminated

COMMITS_NOTHING = frozenset(
    {
        "alert", "compare", "completion", "connect", "dashboard", "diagnose", "distribution", "doctor", "evaluate",
        "gaps", "init", "models", "predict", "query", "report", "shell", "status", "verify",
    }
)  # fmt: skip
"""Commands that only read the lake, if they know it at all."""
WRITES_WHOLE_FILES = frozenset({"export", "publish"})
"""Commands that write files from the lake, none of which appears before it is whole."""

app = typer.Typer(
    name="emolake",
    help="Recordings in object storage into daily tables of emotion in a DuckDB lakehouse.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
# In the order in which the help lists them.
for group in (
    start_commands,
    run_commands,
    watch_commands,
    ask_commands,
    lake_commands,
    dashboard_command,
    predict_commands,
):
    app.registered_commands += group.app.registered_commands
app.command(epilog=train_command.EPILOG)(train_command.train)
for group in (model_commands, upkeep_commands):
    app.registered_commands += group.app.registered_commands
for each in app.registered_commands:
    each.cls = DocumentedCommand


@app.callback()
def _options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show a traceback with an error.", show_default=OFF)
    ] = False,
) -> None:
    """Turn recordings in object storage into daily tables of emotion in a DuckDB lakehouse."""


def main() -> None:
    """Run a command; an error becomes one sentence on standard error and an exit status, a traceback with --debug."""
    use_format(None)
    debug = "--debug" in sys.argv
    if debug:  # it may be anywhere on the line
        sys.argv.remove("--debug")
    try:
        app()
    except SystemExit as ended:
        # typer makes an exit without a word of an interrupt
        if isinstance(getattr(ended.__context__, "__cause__", None), KeyboardInterrupt):
            complain(f"interrupted; {_what_stays(sys.argv[1:])}")
        raise
    except Terminated as ended:
        complain(f"{ended}; {_what_stays(sys.argv[1:])}")
        sys.exit(128 + ended.number)
    except EmolakeError as error:
        _report(error, str(error), debug)
        sys.exit(2 if isinstance(error, ConfigurationError) else 1)
    except Exception as error:  # noqa: BLE001 - it is reported, and the exit status says so
        _report(error, f"internal error, {type(error).__name__}: {error}; run again with --debug", debug)
        sys.exit(1)


def _what_stays(arguments: Sequence[str]) -> str:
    """Return what an interrupted command leaves behind.

    >>> _what_stays(["query", "FROM runs"])
    'nothing was changed in the lake'
    """
    command = next((each for each in arguments if not each.startswith("-")), None)
    if command in COMMITS_NOTHING:
        return "nothing was changed in the lake"
    if command in WRITES_WHOLE_FILES:
        return "nothing was changed in the lake, and no file is half written"
    return "what was committed stays, and the next run goes on from there"


def _report(error: Exception, message: str, debug: bool) -> None:
    if debug:
        trace = "".join(traceback.format_exception(error))
        print(printable(redacted(trace), lines=True), file=sys.stderr, end="")
    else:
        complain(message, lines=isinstance(error, EmolakeError) and error.has_lines)
