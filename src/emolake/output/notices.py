"""Single lines for the person who gave the command, on standard error."""

import sys

from emolake.messages import printable, redacted
from emolake.output.logs import said_as_json


def complain(message: str, *, lines: bool = False) -> None:
    """Write one line to standard error, or several with `lines`, as every error and warning of a command is written.

    Where [logs] asks for JSON it is a line of JSON.
    """
    if not said_as_json(message):
        print(f"emolake: {printable(redacted(message), lines=lines)}", file=sys.stderr)
