"""Single lines for the person who gave the command, on standard error."""

import sys

from emolake.messages import printable, redacted


def complain(message: str, *, lines: bool = False) -> None:
    """Write one line to standard error, or several with `lines`, as every error and warning of a command is written."""
    print(f"emolake: {printable(redacted(message), lines=lines)}", file=sys.stderr)
