"""How the C library keeps memory that was freed."""

import ctypes
import gc
from typing import Any

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST_BLOCK = 32 * 2**20  # the most that glibc takes
# With 32 MB or more, ten hours of audio end with more memory than the first; with 8 MB batches wait for pages again.
_KEPT = 16 * 2**20


def keep_freed_blocks() -> None:
    """Let the next batch have the memory of the last one, for the rest of the process.

    Batches free and allocate the same blocks again and again. glibc would give many of them back to the system, which
    hands them out again page by page: an hour of audio takes the default network a fifth longer so. Other C libraries
    are left to themselves.
    """
    if (mallopt := _of_glibc("mallopt")) is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)


def give_back_freed_blocks() -> None:
    """Give what is free back to the system: what follows, in this process or in others, needs it in other pieces."""
    gc.collect()
    if (trim := _of_glibc("malloc_trim")) is not None:
        trim(0)


def _of_glibc(name: str) -> Any:
    try:
        return getattr(ctypes.CDLL("libc.so.6"), name)
    except (OSError, AttributeError):
        return None
