"""Exported graphs on disk: one folder for each model, precision and set of versions that decide a graph.

An entry is written elsewhere in the folder and then renamed, so that a reader, of this process or another, sees all
of it or nothing; of two processes that export the same model the first one wins. What a graph file holds is hashed
when it is written and checked when it is read. An entry holds weights and nothing of any recording.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from time import time

from pydantic import JsonValue

from emolake.atomic import PARTIAL, replacing
from emolake.models.disk_cache import AgedEntry, mark_used, recipe_hash, surplus_entries

GRAPH_FILE = "model.onnx"
_ABOUT_FILE = "about.json"
_REFUSED = ".refused"
_ABANDONED_S = 6 * 3600  # a partial entry of this age was left behind by a process that was killed

log = logging.getLogger(__name__)


class GraphRefusedError(Exception):
    """A model cannot be run as a graph: it cannot be exported, or its graph gives another answer."""


class GraphCache:
    """A folder of graphs that several models and processes share."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        """Use a folder, which is made when something is written.

        Args:
            folder: where the entries lie.
            max_bytes: space that the folder may take; the entries unused for longest make room for a new one.
        """
        self._folder = folder
        self._max_bytes = max_bytes

    def refusal(self, recipe: Mapping[str, JsonValue]) -> str | None:
        """Return why there can be no such graph: it was refused when it was last tried, or has no place; or None."""
        try:
            return (self._folder / f"{_key(recipe)}{_REFUSED}").read_text("utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None if self.holds(recipe) or self._is_writable() else self._not_writable()

    def holds(self, recipe: Mapping[str, JsonValue]) -> bool:
        """Return whether there is an entry; `get` reads it."""
        return (self.folder(recipe) / _ABOUT_FILE).is_file()

    def folder(self, recipe: Mapping[str, JsonValue]) -> Path:
        """Return the folder of an entry, for what is to be known of it and goes with it."""
        return self._folder / _key(recipe)

    def get(self, recipe: Mapping[str, JsonValue], write: Callable[[Path], Mapping[str, JsonValue]]) -> Path:
        """Return the path of a graph, written by `write` into a folder where there is no sound one.

        Args:
            recipe: all that decides the graph.
            write: puts `GRAPH_FILE` into the given folder, and returns what is worth knowing of it.

        Raises:
            GraphRefusedError: `write` raised it, now or for the same recipe before, or the folder cannot be written.
        """
        refusal = self.refusal(recipe)
        if refusal is not None:
            raise GraphRefusedError(refusal)
        entry = self.folder(recipe)
        if not _is_sound(entry):
            self._add(entry, recipe, write)
        return entry / GRAPH_FILE

    def _is_writable(self) -> bool:
        nearest = next(path for path in (self._folder, *self._folder.absolute().parents) if path.exists())
        return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)

    def _not_writable(self) -> str:
        return f"the graph cache {self._folder} cannot be written; correct inference.graph_cache or its permissions"

    def _add(
        self, entry: Path, recipe: Mapping[str, JsonValue], write: Callable[[Path], Mapping[str, JsonValue]]
    ) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(suffix=PARTIAL, dir=self._folder))
        try:
            try:
                about = write(partial)
            except GraphRefusedError as error:
                with replacing(self._folder / f"{entry.name}{_REFUSED}", folder=partial) as file:
                    file.write(str(error).encode("utf-8"))
                raise
            hashes = {path.name: _sha256(path) for path in sorted(partial.iterdir())}
            content = {"files": hashes, "recipe": dict(recipe), **about}
            (partial / _ABOUT_FILE).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
            partial.chmod(0o755)  # mkdtemp's folder is its owner's alone, and the cache may be shared
            try:
                partial.rename(entry)
            except OSError:
                if not _is_sound(entry):  # else another process was faster
                    raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        self._sweep(entry)

    def _sweep(self, kept: Path) -> None:
        """Remove partial entries left behind and, beyond the bound, the entries unused for longest."""
        entries = []
        for path in self._folder.iterdir():
            try:
                used = (path / _ABOUT_FILE if path.suffix != PARTIAL else path).stat().st_mtime
                size = sum(file.stat().st_size for file in path.iterdir())
            except OSError:  # swept by another process, a refusal, or another user's export
                continue
            if path.suffix == PARTIAL:
                if time() - used > _ABANDONED_S:
                    shutil.rmtree(path, ignore_errors=True)
            else:
                entries.append(AgedEntry(used, size, path))
        for path in surplus_entries(entries, most=self._max_bytes, down_to=self._max_bytes, kept=kept):
            shutil.rmtree(path, ignore_errors=True)
            log.info("graph cache %s: the entry %s, unused for longest, was removed", self._folder, path.name)


def _key(recipe: Mapping[str, JsonValue]) -> str:
    return recipe_hash(recipe).hexdigest()[:32]


def _is_sound(entry: Path) -> bool:
    """Return whether an entry holds what was written, and mark it as used; a broken one is removed."""
    try:
        about = json.loads((entry / _ABOUT_FILE).read_text("utf-8"))
        sound = all(_sha256(entry / name) == digest for name, digest in about["files"].items())
    except (FileNotFoundError, ValueError, KeyError):
        sound = False
    if sound:
        mark_used(entry / _ABOUT_FILE)
    elif entry.exists():
        log.warning("graph cache entry %s is broken and is exported again", entry)
        shutil.rmtree(entry, ignore_errors=True)
    return sound


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
