"""Files that are replaced as a whole: a reader, of this process or another, sees the old content, the new, or none."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

PARTIAL = ".partial"
"""Ending of a file that is being written; one that stays was left behind by a process that was killed."""


@contextmanager
def replacing(
    path: Path, *, mode: int = 0o644, durable: bool = False, folder: Path | None = None
) -> Iterator[BinaryIO]:
    """Give a file to write, which takes the place of `path` when the block ends without an error.

    Args:
        path: the file that is replaced, or comes to be.
        mode: permissions of the file.
        durable: wait until the content is on the disk, so that it is there after a power failure too.
        folder: where the file is written, on the same file system; beside `path` when left out.
    """
    descriptor, name = tempfile.mkstemp(suffix=PARTIAL, dir=folder or path.parent)
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        partial.chmod(mode)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
