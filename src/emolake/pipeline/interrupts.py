"""Signals that ask a run to stop: noted at once, raised between its statements, and obeyed at once when repeated.

What is at work may go on for a grace period. Then it is given up: it ends where it next looks, with nothing committed,
and the process ends a little later even where it does not look.
"""

import logging
import os
import select
import signal
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from threading import Event, Thread, current_thread, main_thread
from types import FrameType
from typing import NoReturn

from emolake.errors import EmolakeError

# Ctrl-C, a service manager's stop, and a terminal that was closed.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A service manager ends all processes of a group, and a worker of Prefect then ends its runs too: both mean the same.
_ONE_REQUEST_S = 5.0
_log = logging.getLogger(__name__)

# After the grace period: for shards to notice that they are given up, and for the run to write its row.
GIVE_UP_S = 20.0
_SHOW_CURSOR = b"\x1b[?25h"  # a progress bar has hidden it

_stopping, _given_up = Event(), Event()


class Terminated(BaseException):
    """What SIGTERM and SIGHUP raise, as SIGINT raises KeyboardInterrupt."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class NotBegunError(EmolakeError):
    """A shard was not begun, because the run has been asked to stop."""


class GivenUpError(EmolakeError):
    """A shard was still at work when the grace period was over."""


def is_stopping() -> bool:
    """Return whether the run of this process has been asked to stop; in whatever thread."""
    return _stopping.is_set()


def check_not_stopping() -> None:
    """Raise NotBegunError where the run has been asked to stop."""
    if is_stopping():
        raise NotBegunError("not begun: the run was asked to stop")


def check_not_given_up() -> None:
    """Raise GivenUpError where the grace period of a run that was asked to stop is over."""
    if _given_up.is_set():
        raise GivenUpError("given up: not done when run.grace_s was over; nothing of it is committed")


def wait_unless_stopping(seconds: float) -> None:
    """Wait so long, or until the run is asked to stop."""
    _stopping.wait(seconds)


class Stop:
    """Whether a run has been asked to stop, and what raises that."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        """What has come; None while nothing has."""
        self.replaced: dict[int, Callable[[int, FrameType | None], object]] = {}
        """The handlers before the run's, which raise what their signals mean."""

    def raise_if_asked(self) -> None:
        """Raise what the signal that has come means: KeyboardInterrupt, Terminated, or an exception of Prefect."""
        if self.signal is not None:
            self.replaced[self.signal](self.signal, None)
            raise KeyboardInterrupt  # a handler that raises nothing has been asked before the run was


def interrupt_behind(error: BaseException | None) -> KeyboardInterrupt | Terminated | None:
    """Return the interrupt in whose handling an error was raised, if it was."""
    while error is not None and not isinstance(error, KeyboardInterrupt | Terminated):
        error = error.__context__
    return error


@contextmanager
def terminations_raised() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise Terminated in the block where they would end the process without a word.

    Where they are ignored, as under nohup, or handled by somebody else, they stay so.
    """
    taken = []
    if current_thread() is main_thread():
        taken = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is signal.SIG_DFL]
    for each in taken:
        signal.signal(each, _raise_terminated)
    try:
        yield
    finally:
        for each in taken:
            signal.signal(each, signal.SIG_DFL)


@contextmanager
def interrupts_deferred(grace_s: float) -> Iterator[Stop]:
    """Note in the block what asks the run to stop, for the block to raise where it does no harm; its end does too.

    A statement of DuckDB is no place for an exception: DuckDB drops it while it looks for optional modules, makes
    another error of it later, and a thread of it that was about to read a table of Arrow may wait for ever. Whoever
    does not want to wait gives the signal once more, which ends the process at once, whatever its main thread does.
    Outside of the main thread, to which signals do not come, and where they are ignored, nothing is done.

    Args:
        grace_s: how long what is at work may go on; it is then given up, and GIVE_UP_S later the process ends anyway.
    """
    stop, request = Stop(), StopRequest()
    if current_thread() is main_thread():
        handlers = {each: signal.getsignal(each) for each in _SIGNALS}
        stop.replaced = {each: handler for each, handler in handlers.items() if callable(handler)}

    def defer(number: int, _frame: FrameType | None) -> None:
        if request.is_repeated_by(number):
            _end_at_once(number)
        if stop.signal is None:
            stop.signal = signal.Signals(number)
            _stopping.set()

    with _time_limited(stop.replaced, grace_s):
        for each in stop.replaced:
            signal.signal(each, defer)
        try:
            yield stop
            stop.raise_if_asked()
        finally:
            for each, handler in stop.replaced.items():
                signal.signal(each, handler)
            _stopping.clear()
            _given_up.clear()


@contextmanager
def stop_signals_blocked() -> Iterator[None]:
    """Let processes that this thread starts in the block never see what asks a run to stop: they inherit the mask."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class StopRequest:
    """The signals of a request to stop, of which a service manager may send several."""

    def __init__(self) -> None:
        self._began: float | None = None

    def is_repeated_by(self, number: int) -> bool:
        """Note a signal; return whether it repeats a request that was made before."""
        if self._began is None:
            self._began = time.monotonic()
            return False
        return number == signal.SIGINT or time.monotonic() - self._began > _ONE_REQUEST_S


@contextmanager
def _time_limited(signals: Collection[int], grace_s: float) -> Iterator[None]:
    """Let a thread watch the time, and end the process when a request is repeated: the main one may be in C.

    Python hands signals to handlers in the main thread alone, but writes their numbers to a file descriptor at once.
    """
    if not signals:
        yield
        return
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    before = signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
    watcher = Thread(  # logs are about the run in it too
        target=copy_context().run,
        args=(_watch, ours, frozenset(signals), grace_s),
        name="signals",
        daemon=True,
    )
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(theirs)
        watcher.join()
        os.close(ours)


def _watch(descriptor: int, signals: frozenset[int], grace_s: float) -> None:
    request, first, deadline = StopRequest(), None, float("inf")
    while True:
        wait_s = max(0.0, deadline - time.monotonic()) if first else None
        if select.select([descriptor], [], [], wait_s)[0]:
            numbers = os.read(descriptor, 1)
            if not numbers:
                return
            if numbers[0] not in signals:
                continue
            if request.is_repeated_by(numbers[0]):
                _end_at_once(numbers[0])
            if first is None:
                first, deadline = numbers[0], time.monotonic() + grace_s
        elif first and not _given_up.is_set():
            _given_up.set()
            _log.warning("the %g s of run.grace_s are over: shards at work are given up", grace_s)
            deadline += GIVE_UP_S
        elif first:
            _log.warning("something does not end: the process does, and the next run takes up the rest")
            _end_at_once(first)


def _end_at_once(number: int) -> NoReturn:
    """End the process as a kill does: what was committed stays, and decoders end with their pipe."""
    if os.isatty(2):
        os.write(2, _SHOW_CURSOR + b"\n")
    os._exit(128 + number)


def _raise_terminated(number: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated(number)
