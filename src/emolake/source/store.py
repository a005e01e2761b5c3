"""What a source of objects promises, and how it fails; see `s3.py` and `folder.py`."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from emolake.errors import EmolakeError


class SourceError(EmolakeError):
    """The source as a whole cannot be used: wrong bucket, credentials, endpoint, or a missing folder."""


class TransientSourceError(SourceError):
    """A request that may succeed when it is made again."""


class VersionChangedError(EmolakeError):
    """The object is no longer the one that was listed."""

    def __init__(self, key: str, version: str, size_bytes: int) -> None:
        super().__init__(f"{key} was replaced while it was read")
        self.version = version
        self.size_bytes = size_bytes


@dataclass(frozen=True)
class Listed:
    """An object of a listing; `key` is relative to the source's URI."""

    key: str
    version: str
    size_bytes: int
    modified: datetime | None = None
    """When it was last written, in UTC; None where the source does not say."""


class Source(Protocol):
    """A tree of objects with keys in which "/" separates folders."""

    uri: str

    def list(self, prefix: str) -> Iterator[Listed]:
        """Yield the objects whose key starts with the prefix, in a stable order, without holding them all."""
        ...

    def list_prefixes(self, prefix: str) -> Iterator[str]:
        """Yield the folders (ending in "/") that lie directly under a prefix."""
        ...

    def object_uri(self, key: str) -> str:
        """Return the URI under which the recording is known."""
        ...

    def local_path(self, key: str) -> Path | None:
        """Return the path where the object can be read in place, or None where it must be fetched.

        Raises:
            BadRecordingError: the object is gone, or leads out of the source.
        """
        ...

    def read(self, key: str, version: str, offset: int) -> Iterator[bytes]:
        """Yield the object's bytes from an offset.

        Raises:
            VersionChangedError: the object is another than the one listed.
            TransientSourceError: the connection broke; reading may go on from where it stopped.
            BadRecordingError: the object is gone or may not be read.
        """
        ...
