"""Messages between processes come as they were sent, and arrays without a detour."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emolake.pipeline.pipe import Pipe


@dataclass
class Message:
    number: int
    arrays: list[np.ndarray]


@contextmanager
def ends() -> Iterator[tuple[Pipe, Pipe]]:
    one, other = (Pipe(end.detach()) for end in socket.socketpair())
    try:
        yield one, other
    finally:
        one.close()
        other.close()


# a socket holds some hundred kilobytes: longer arrays go in many pieces
@given(sizes=st.lists(st.sampled_from([0, 1, 1_000, 160_000, 600_000]), max_size=4))
def test_what_is_sent_arrives(sizes: list[int]) -> None:
    sent = Message(3, [np.random.default_rng(size).random(size, dtype=np.float32) for size in sizes])
    with ends() as (one, other), ThreadPoolExecutor(1) as thread:
        sending = thread.submit(one.send, sent)
        found = other.receive(10.0)
        sending.result()
    assert found.number == 3
    assert [array.dtype for array in found.arrays] == [np.float32] * len(sizes)
    for array, own in zip(found.arrays, sent.arrays, strict=True):
        assert np.array_equal(array, own)
        array += 1  # it is the receiver's own


def test_silence_and_the_end_are_told_apart() -> None:
    with ends() as (one, other):
        with pytest.raises(TimeoutError):
            other.receive(0.01)
        one.send("last words")
        one.close()
        assert other.receive(0.01) == "last words"
        with pytest.raises(EOFError):
            other.receive(0.01)


SENDER = """
import sys
import numpy as np
from emolake.pipeline.pipe import Pipe
Pipe(int(sys.argv[1])).send(np.zeros(1_000_000))
"""


@pytest.mark.parametrize(("ended", "error"), [(signal.SIGSTOP, TimeoutError), (signal.SIGKILL, EOFError)])
def test_a_sender_that_ends_within_an_array_is_noticed(ended: signal.Signals, error: type[Exception]) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        sender = subprocess.Popen(
            [sys.executable, "-c", SENDER, str(theirs.fileno())], pass_fds=[theirs.fileno()]
        )
    try:
        while len(ours.recv(100_000, socket.MSG_PEEK)) < 100_000:
            time.sleep(0.01)
        sender.send_signal(ended)
        pipe = Pipe(ours.detach())
        with pytest.raises(error):
            pipe.receive(0.2)
        pipe.close()
    finally:
        sender.kill()
        sender.wait()
