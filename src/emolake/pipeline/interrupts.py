"""Ctrl-C between the statements of a run, not within one."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, current_thread, main_thread
from types import FrameType


@contextmanager
def interrupts_deferred() -> Iterator[Callable[[], None]]:
    """Give a function that raises the KeyboardInterrupt that has come since; the end of the block does too.

    A statement of DuckDB is no place for one: it drops the interrupt while it looks for optional modules, makes another
    error of it later, and a thread of it that was about to read a table of Arrow may wait for ever. Whoever does not
    want to wait interrupts once more, which is raised at once. Outside of the main thread, to which signals do not
    come, and where they are ignored, nothing is done.
    """
    at_once = signal.getsignal(signal.SIGINT)
    if current_thread() is not main_thread() or not callable(at_once):
        yield lambda: None
        return
    came = Event()

    def defer(number: int, frame: FrameType | None) -> None:
        if came.is_set():
            at_once(number, frame)
        came.set()

    def raise_deferred() -> None:
        if came.is_set():
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, defer)
    try:
        yield raise_deferred
        raise_deferred()
    finally:
        signal.signal(signal.SIGINT, at_once)
