"""An interrupt waits for where it does no harm, a second one does not wait, and none is lost."""

import signal
from threading import Thread

import pytest

from emolake.pipeline.interrupts import interrupts_deferred

pytestmark = pytest.mark.usefixtures("heeds_interrupts")


def test_an_interrupt_is_raised_where_it_is_asked_for() -> None:
    with interrupts_deferred() as raise_deferred:
        raise_deferred()
    reached = False
    with pytest.raises(KeyboardInterrupt), interrupts_deferred() as raise_deferred:
        signal.raise_signal(signal.SIGINT)
        reached = True
        raise_deferred()
        pytest.fail("it was not raised")
    assert reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_that_nobody_asked_for_is_raised_at_the_end() -> None:
    reached = False
    with pytest.raises(KeyboardInterrupt), interrupts_deferred():
        signal.raise_signal(signal.SIGINT)
        reached = True
    assert reached


def test_a_second_one_is_raised_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), interrupts_deferred():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it was not raised")


def test_an_error_is_not_lost_to_an_interrupt() -> None:
    with pytest.raises(ZeroDivisionError), interrupts_deferred():
        signal.raise_signal(signal.SIGINT)
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_where_interrupts_are_ignored_they_stay_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupts_deferred() as raise_deferred:
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        signal.raise_signal(signal.SIGINT)
        raise_deferred()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_thread_to_which_no_signals_come_changes_nothing() -> None:
    handlers = []

    def block() -> None:
        with interrupts_deferred() as raise_deferred:
            raise_deferred()
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = Thread(target=block)
    thread.start()
    thread.join(10)
    assert handlers == [signal.default_int_handler]
