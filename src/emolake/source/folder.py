"""Local folders as a source."""

import os
import stat
from collections.abc import Iterator, Sequence, Set
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from emolake.errors import BadRecordingError, Reason
from emolake.source.store import Listed, SourceError


class FolderSource:
    """Files below a folder; keys are paths relative to it with "/" between their parts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.uri = f"file://{self.folder.as_posix()}"

    def list(self, prefix: str) -> Iterator[Listed]:
        """Yield the files whose key starts with the prefix, folder by folder in order of name."""
        parent, _, start = prefix.rpartition("/")
        yield from self._walk(f"{parent}/" if parent else "", start)

    def list_prefixes(self, prefix: str) -> Iterator[str]:
        """Yield the folders directly under a prefix."""
        parent, _, start = prefix.rpartition("/")
        base = f"{parent}/" if parent else ""
        names, folders = self._entries(base)
        yield from (f"{base}{name}/" for name in names if name in folders and name.startswith(start))

    def object_uri(self, key: str) -> str:
        """Return `file://` and the absolute path, not percent-encoded."""
        return f"{self.uri}/{key}"

    def local_path(self, key: str) -> Path | None:
        """Return the file's own path; it is read in place."""
        path = (self.folder / key).resolve()
        if not path.is_relative_to(self.folder):
            raise BadRecordingError(
                Reason.UNSUPPORTED, "a link that leads out of the source's folder", stage="fetch"
            )
        if not path.is_file():
            raise BadRecordingError(Reason.VANISHED, "listed, but gone when it was read", stage="fetch")
        return path

    def read(self, key: str, version: str, offset: int) -> Iterator[bytes]:
        """Yield the file's bytes from an offset."""
        path = self.local_path(key)
        assert path is not None
        with path.open("rb") as file:
            file.seek(offset)
            yield from _chunks(file)

    def remove(self, key: str) -> None:
        """Remove a file; one that is not there is no error."""
        (self.folder / key).unlink(missing_ok=True)

    def _walk(self, base: str, start: str = "") -> Iterator[Listed]:
        names, folders = self._entries(base)
        for name in names:
            if not name.startswith(start):
                continue
            if name in folders:
                yield from self._walk(f"{base}{name}/")
            else:
                yield self._listed(base + name)

    def _listed(self, key: str) -> Listed:
        # Links and sockets are listed too: fetching them shows what is wrong, and nothing goes missing in silence.
        path = self.folder / key
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode) and path.is_file():
            status = path.stat()
        version = f"{status.st_size}-{status.st_mtime_ns}"
        modified = datetime.fromtimestamp(status.st_mtime, UTC)
        return Listed(key, version, status.st_size, modified)

    def _entries(self, base: str) -> tuple[Sequence[str], Set[str]]:
        """Return the names in a folder, in their order, and which of them are folders: of a million, nothing else."""
        if not self.folder.is_dir():
            if self.folder.exists():
                raise SourceError(f"the source {self.folder} is a file; give a folder of recordings")
            raise SourceError(
                f"the source's folder {self.folder} does not exist; create it or correct source.uri"
            )
        try:
            with os.scandir(self.folder / base) as entries:
                folders = set[str]()
                names = [_noted(entry, folders) for entry in entries]
        except (FileNotFoundError, NotADirectoryError):
            return [], frozenset()
        names.sort()
        return names, folders


def _noted(entry: "os.DirEntry[str]", folders: set[str]) -> str:
    """Return the name of an entry, which is added to the folders if it is one."""
    if entry.is_dir(follow_symlinks=False):
        folders.add(entry.name)
    return entry.name


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(1 << 20):
        yield chunk
