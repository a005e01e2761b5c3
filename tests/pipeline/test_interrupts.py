"""An interrupt waits for where it does no harm, a second one does not wait, and none is lost."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Thread

import pytest
from prefect.exceptions import TerminationSignal

from emolake.pipeline.interrupts import (
    GivenUpError,
    NotBegunError,
    Terminated,
    check_not_given_up,
    check_not_stopping,
    interrupt_behind,
    interrupts_deferred,
    terminations_raised,
    wait_unless_stopping,
)

# The main thread is in one long call of C, as in a long statement of DuckDB: no handler of Python runs.
BUSY = """
import hashlib, sys
from emolake.pipeline import interrupts
interrupts._ONE_REQUEST_S = interrupts.GIVE_UP_S = 0.5
with interrupts.terminations_raised(), interrupts.interrupts_deferred(float(sys.argv[1])):
    print("busy", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 400_000_000)
"""


@contextmanager
def _prefects_handler() -> Iterator[None]:
    def handler(number: int, _frame: object) -> None:
        raise TerminationSignal(signal=number)

    before = signal.signal(signal.SIGTERM, handler)
    yield
    signal.signal(signal.SIGTERM, before)


def test_an_interrupt_is_raised_where_it_is_asked_for() -> None:
    with interrupts_deferred(60) as stop:
        stop.raise_if_asked()
    reached = False
    with pytest.raises(KeyboardInterrupt), interrupts_deferred(60) as stop:
        signal.raise_signal(signal.SIGINT)
        reached = True
        stop.raise_if_asked()
        pytest.fail("it was not raised")
    assert reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_that_nobody_asked_for_is_raised_at_the_end() -> None:
    reached = False
    with pytest.raises(KeyboardInterrupt), interrupts_deferred(60):
        signal.raise_signal(signal.SIGINT)
        reached = True
    assert reached


@pytest.mark.parametrize(
    ("numbers", "status"),
    [
        ((signal.SIGINT, signal.SIGINT), 130),
        ((signal.SIGTERM, signal.SIGINT), 130),
        ((signal.SIGTERM, None, signal.SIGTERM), 143),
        ((signal.SIGHUP, None, signal.SIGTERM), 143),
    ],
)
def test_a_second_one_ends_the_process_at_once_whatever_its_main_thread_does(
    numbers: Sequence[signal.Signals | None], status: int
) -> None:
    """None is a pause after which a signal is no longer a part of the same request."""
    process = subprocess.Popen([sys.executable, "-c", BUSY, "60"], stdout=subprocess.PIPE)
    assert process.stdout
    try:
        assert process.stdout.readline() == b"busy\n"
        for number in numbers:
            if number is None:
                time.sleep(0.6)
            else:
                process.send_signal(number)
                time.sleep(0.2)
                assert process.poll() is None or number is numbers[-1]
        assert process.wait(20) == status
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(("number", "grace_s"), [(signal.SIGTERM, 0), (signal.SIGINT, 1.5)])
def test_after_the_grace_period_the_process_ends_whatever_its_main_thread_does(
    number: signal.Signals, grace_s: float
) -> None:
    process = subprocess.Popen([sys.executable, "-c", BUSY, str(grace_s)], stdout=subprocess.PIPE)
    assert process.stdout
    try:
        assert process.stdout.readline() == b"busy\n"
        process.send_signal(number)
        began = time.monotonic()
        assert process.wait(20) == 128 + number
        assert grace_s + 0.4 < time.monotonic() - began < grace_s + 5
    finally:
        process.kill()
        process.wait()


def test_what_is_at_work_is_given_up_after_the_grace_period_and_not_before() -> None:
    check_not_given_up()
    with pytest.raises(KeyboardInterrupt), interrupts_deferred(0.3):
        signal.raise_signal(signal.SIGINT)
        check_not_given_up()
        time.sleep(0.8)
        with pytest.raises(GivenUpError, match=r"run\.grace_s"):
            check_not_given_up()
    check_not_given_up()  # the next run of the process is not given up


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_service_manager_and_a_worker_that_both_send_it_ask_once(number: signal.Signals) -> None:
    with pytest.raises(Terminated) as raised, terminations_raised(), interrupts_deferred(60):
        signal.raise_signal(number)
        signal.raise_signal(number)
        signal.raise_signal(signal.SIGTERM)
    assert raised.value.number == number
    assert signal.getsignal(number) is signal.SIG_DFL


def test_under_nohup_a_closed_terminal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminations_raised(), interrupts_deferred(60) as stop:
            signal.raise_signal(signal.SIGHUP)
            stop.raise_if_asked()
            assert stop.signal is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_prefect_raises_for_a_termination_is_raised_where_it_is_asked_for() -> None:
    with pytest.raises(TerminationSignal), _prefects_handler(), interrupts_deferred(60) as stop:
        signal.raise_signal(signal.SIGTERM)
        stop.raise_if_asked()
        pytest.fail("it was not raised")


def test_shards_begin_until_the_run_is_asked_to_stop() -> None:
    check_not_stopping()
    with pytest.raises(KeyboardInterrupt), interrupts_deferred(60):
        check_not_stopping()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(NotBegunError):
            check_not_stopping()
        started = time.monotonic()
        wait_unless_stopping(30)
        assert time.monotonic() - started < 10
    check_not_stopping()


def test_an_interrupt_is_found_behind_what_was_raised_in_its_handling() -> None:
    try:
        try:
            raise Terminated(signal.SIGTERM)
        finally:
            raise OSError("the server does not answer")
    except OSError as error:
        found = interrupt_behind(error)
    assert isinstance(found, Terminated)
    assert interrupt_behind(OSError()) is None


def test_an_error_is_not_lost_to_an_interrupt() -> None:
    with pytest.raises(ZeroDivisionError), interrupts_deferred(60):
        signal.raise_signal(signal.SIGINT)
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_where_interrupts_are_ignored_they_stay_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupts_deferred(60) as stop:
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        signal.raise_signal(signal.SIGINT)
        stop.raise_if_asked()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_thread_to_which_no_signals_come_changes_nothing() -> None:
    handlers = []

    def block() -> None:
        with interrupts_deferred(60) as stop:
            stop.raise_if_asked()
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = Thread(target=block)
    thread.start()
    thread.join(10)
    assert handlers == [signal.default_int_handler]
