"""Single lines for the person who gave the command, on standard error."""

import sys

from emolake.messages import printable, redacted


def complain(message: str) -> None:
    """Write one line to standard error, as every error and warning of a command is written."""
    print(f"emolake: {printable(redacted(message))}", file=sys.stderr)
