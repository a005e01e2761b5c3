"""Files that are replaced as a whole: a reader, of this process or another, sees the old content, the new, or none."""

import os
import shutil
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


@contextmanager
def workshop(folder: Path, name: str) -> Iterator[Path]:
    """Give an empty folder in `folder`, for files that are moved from there when all of them are whole.

    What a process that was killed has left in it is removed first. Whoever wants the same one waits.

    Args:
        folder: on the file system that the files are for; it is made where it is not there.
        name: what the work is called: two of the same name in the same folder are done one after the other.

    Raises:
        OSError: nothing can be written there; a TimeoutError, that the one before takes longer than ten minutes.
    """
    from filelock import FileLock  # with asyncio, which no command needs that only shows its help

    folder.mkdir(parents=True, exist_ok=True)
    work = folder / f".{name}{PARTIAL}"
    with FileLock(folder / f".{name}.lock", timeout=_LONGEST_WAIT_S):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


_LONGEST_WAIT_S = 600.0


def move_whole(source: Path, target: Path) -> None:
    """Let a file take the place of another of the same file system, once its content is on the disk."""
    with source.open("rb") as file:
        os.fsync(file.fileno())
    source.replace(target)
