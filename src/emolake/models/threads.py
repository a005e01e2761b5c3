"""The number of threads that torch uses for a piece of work."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch's operators keep to the thread that calls them; also a decorator.

    A network too small to be shared out is quicker so, beside other shards and decoders; and a training's sums, which
    depend on the number of threads, come out the same everywhere.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
