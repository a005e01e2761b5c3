"""Memory that a batch freed is the next one's, which glibc does not see to by itself."""

import subprocess
import sys

import pytest

PAGE_FAULTS_OF_BATCHES = """
import resource, sys
import numpy as np
from emolake.models.runtimes.allocator import keep_freed_blocks
if sys.argv[1:] == ["kept"]:
    keep_freed_blocks()
def batch():
    blocks = [np.ones(400_000) for _ in range(4)]
for _ in range(3):
    batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(*arguments: str) -> int:
    command = [sys.executable, "-c", PAGE_FAULTS_OF_BATCHES, *arguments]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc goes to the system so often")
def test_a_batch_takes_the_memory_of_the_last_one() -> None:
    assert page_faults() > 10_000, "13 MB of pages of 4 KB, ten times"
    assert page_faults("kept") < 1_000
