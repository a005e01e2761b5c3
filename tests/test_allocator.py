"""Freed memory goes back to the system, which glibc does not see to by itself."""

import sys

import numpy as np
import psutil
import pytest

from emolake.allocator import give_back


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps so much")
def test_freed_memory_goes_back() -> None:
    process = psutil.Process()
    # Too small for blocks of their own; every tenth stays, so that no end of the heap comes free.
    blocks = [np.ones(12_000) for _ in range(3_000)]
    kept = blocks[::10]
    del blocks
    before = process.memory_info().rss
    give_back()
    assert before - process.memory_info().rss > 150e6
    assert all(block.all() for block in kept)
