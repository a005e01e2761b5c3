"""Entries on disk, keyed by the content that they were computed from and by how, in a folder that others may share.

An entry is one file that is written elsewhere in the folder and then renamed: a reader, of this process or another,
sees all of it or nothing, and of two processes that compute the same entry the last one wins with the same content. It
lies at the SHA-256 of its recipe and content, of which two digits name a subfolder: no person's own file is called so.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, BinaryIO

from pydantic import JsonValue

from emolake.atomic import PARTIAL, replacing
from emolake.errors import ConfigurationError
from emolake.messages import counted

if TYPE_CHECKING:
    from hashlib import _Hash

_WRITES_BETWEEN_SWEEPS = 256
_SWEEP_DOWN_TO = 0.9  # of the bound, so that a full folder is not swept for each new entry
_BLOCK_BYTES = 4096  # what a small file takes on disk
_ABANDONED_S = 3600  # a partial file of this age was left behind by a process that was killed
_ENTRY = re.compile(r"[0-9a-f]{2}/[0-9a-f]{62}\.[0-9a-z]+")
_BEING_WRITTEN = re.compile(rf"([0-9a-f]{{2}}/)?tmp[0-9a-z_]{{8}}{re.escape(PARTIAL)}")

log = logging.getLogger(__name__)


class DiskCache:
    """Entries of one recipe and one kind of file."""

    def __init__(
        self,
        folder: Path,
        recipe: bytes,
        *,
        ending: str,
        option: str,
        mode: int = 0o644,
        max_bytes: int | None = None,
    ) -> None:
        """Open an existing folder.

        Args:
            folder: where the entries lie.
            recipe: hash of whatever decides an entry beside its content.
            ending: of the files, with its dot.
            option: key of the configuration that names the folder.
            mode: permissions of the files.
            max_bytes: space on disk that the folder's files of this ending may take; those unused for longest make
                room. Between two sweeps every process may exceed it by some hundred entries. No bound if None.

        Raises:
            ConfigurationError: there is no such folder, or it cannot be written to.
        """
        if not folder.is_dir():
            raise ConfigurationError(
                f"{option} is {folder}, which is no folder; create it, or leave {option} out"
            )
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigurationError(
                f"{option} is {folder}, which cannot be written to; give its owner that right"
            )
        self._folder = folder
        self._recipe = recipe
        self._ending = ending
        self._mode = mode
        self._max_bytes = max_bytes
        self._writes = 0

    def path(self, content: bytes | memoryview) -> Path:
        """Return where the entry of a content lies, if there is one."""
        digest = hashlib.sha256(self._recipe)
        digest.update(content)
        key = digest.hexdigest()
        return self._folder / key[:2] / f"{key[2:]}{self._ending}"

    def read(self, content: bytes | memoryview) -> bytes | None:
        """Return the entry of a content, marked as used, or None where there is none."""
        path = self.path(content)
        try:
            entry = path.read_bytes()
        except FileNotFoundError:
            return None
        mark_used(path)
        return entry

    @contextmanager
    def adding(self, content: bytes | memoryview) -> Iterator[BinaryIO]:
        """Give a file that becomes the entry of a content when the block ends without an error."""
        path = self.path(content)
        path.parent.mkdir(exist_ok=True)
        with replacing(path, mode=self._mode, folder=self._folder) as file:
            yield file
        if self._writes % _WRITES_BETWEEN_SWEEPS == 0:
            self._sweep()
        self._writes += 1

    def _sweep(self) -> None:
        """Remove partial files left behind and, beyond the bound, the entries unused for longest."""
        entries = []
        for path in _files(self._folder):
            try:
                status = path.stat()
            except FileNotFoundError:  # swept by another process
                continue
            if path.suffix == PARTIAL:
                if time() - status.st_mtime > _ABANDONED_S:
                    path.unlink(missing_ok=True)
            elif path.suffix == self._ending:
                size = -(-status.st_size // _BLOCK_BYTES) * _BLOCK_BYTES
                entries.append(AgedEntry(status.st_mtime, size, path))
        if self._max_bytes is None:
            return
        surplus = surplus_entries(entries, most=self._max_bytes, down_to=_SWEEP_DOWN_TO * self._max_bytes)
        for path in surplus:
            path.unlink(missing_ok=True)
        if surplus:
            removed = counted(len(surplus), "entry", "entries")
            log.info("cache %s: %s unused for longest removed", self._folder, removed)


@dataclass(frozen=True, order=True)
class AgedEntry:
    """An entry of any cache on disk, which sorts by when it was used last."""

    used: float
    size: int
    path: Path


def surplus_entries(
    entries: Iterable[AgedEntry], *, most: int, down_to: float, kept: Path | None = None
) -> list[Path]:
    """Return the entries that must go, unused for longest first, so that the rest takes `down_to` bytes.

    Args:
        entries: all that there are.
        most: bytes that they may take before any must go.
        down_to: bytes that are left of more.
        kept: an entry that stays whatever its age.
    """
    entries = sorted(entries)
    taken = sum(each.size for each in entries)
    surplus: list[Path] = []
    if taken <= most:
        return surplus
    for each in entries:
        if taken <= down_to:
            break
        if each.path != kept:
            surplus.append(each.path)
            taken -= each.size
    return surplus


def recipe_hash(recipe: Mapping[str, JsonValue]) -> "_Hash":
    """Return the SHA-256 of a recipe, which may be added to."""
    return hashlib.sha256(json.dumps(dict(recipe), sort_keys=True).encode())


def mark_used(path: Path) -> None:
    """Note in a file's time that it was used."""
    with suppress(OSError):  # it was swept meanwhile, or belongs to another user
        os.utime(path)


def empty(folder: Path) -> int:
    """Remove every entry that a `DiskCache` wrote or began to write, and nothing else; return how many there were.

    An entry does not tell which recording it came from. What is missing is computed again.
    """
    removed = 0
    for path in _files(folder):
        path.unlink(missing_ok=True)
        removed += 1
    return removed


def _files(folder: Path) -> list[Path]:
    """Return the files in a folder that any `DiskCache` has written, whole or not."""
    return [
        path
        for path in (*folder.iterdir(), *folder.glob("[0-9a-f][0-9a-f]/*"))
        if _is_ours(path.relative_to(folder).as_posix()) and path.is_file()
    ]


def _is_ours(name: str) -> bool:
    return bool(_ENTRY.fullmatch(name) or _BEING_WRITTEN.fullmatch(name))
