"""Turns at a catalog in which one transaction at a time can succeed."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

LONGEST_WAIT_S = 20.0
"""How long a turn is waited for. Then the transaction is tried without: whoever has the turn may have been stopped."""
_POLL_S = 0.02


@contextmanager
def turn(catalog: Path | None) -> Iterator[None]:
    """Let the block have a catalog for itself, as far as others take turns too.

    In an SQLite catalog a transaction fails when any other was committed since it began, so that of two that overlap
    one has worked for nothing, and the longer one never comes to its end beside many short ones. A turn changes
    nothing of what is right, only who has to wait. Whoever comes is next in line first, and stays there until the
    turn before has ended: whoever takes one turn after the other cannot overtake.

    Args:
        catalog: the file of an SQLite catalog; None where a server takes care of it.
    """
    with ExitStack() as taken:
        if catalog is not None:
            try:
                with FileLock(f"{catalog}.next", timeout=LONGEST_WAIT_S, poll_interval=_POLL_S):
                    taken.enter_context(
                        FileLock(f"{catalog}.turn", timeout=LONGEST_WAIT_S, poll_interval=_POLL_S)
                    )
            except (Timeout, OSError):  # OSError: a file of another user's, or a disk without locks
                pass
        yield
