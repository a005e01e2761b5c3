"""Feature vectors on disk, keyed by the samples they were computed from and by how.

An entry is one `.npy` file that is written elsewhere in the folder and then renamed, so that a reader, of this
process or another, sees all of it or nothing. Of two processes that compute the same entry the last one wins with
the same numbers.
"""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from time import time

import numpy as np
from pydantic import JsonValue

from emolake.errors import ConfigurationError

_WRITES_BETWEEN_SWEEPS = 256
_SWEEP_DOWN_TO = 0.9  # of the bound, so that a full folder is not swept for each new entry
_BLOCK_BYTES = 4096  # what a small file takes on disk
_ABANDONED_S = 3600  # a partial file of this age was left behind by a process that was killed
_PARTIAL = ".partial"

log = logging.getLogger(__name__)


class FeatureCache:
    """Feature vectors of one recipe in a folder that other recipes and processes may share."""

    def __init__(self, folder: Path, recipe: Mapping[str, JsonValue], *, max_bytes: int) -> None:
        """Open a folder.

        Args:
            folder: an existing folder.
            recipe: whatever changes a feature beside the samples: parameters, versions of libraries.
            max_bytes: space on disk that the folder may take; the entries unused for longest make room. Between two
                sweeps every process may exceed it by some hundred entries.

        Raises:
            ConfigurationError: there is no such folder, or it cannot be written to.
        """
        if not folder.is_dir():
            raise ConfigurationError(
                f"the feature cache {folder} is no folder; create it, or leave cache out"
            )
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigurationError(
                f"the feature cache {folder} cannot be written to; give its owner that right"
            )
        self._folder = folder
        self._recipe = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).digest()
        self._max_bytes = max_bytes
        self._writes = 0

    def get(self, wave: np.ndarray, compute: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return `compute(wave)` [n] float32, from disk where it was computed before; `wave` is [samples] float32."""
        path = self._path(wave)
        found = _read(path)
        if found is None:
            found = np.asarray(compute(wave), dtype=np.float32)
            self._write(path, found)
        return found

    def _path(self, wave: np.ndarray) -> Path:
        digest = hashlib.sha256(self._recipe)
        digest.update(np.ascontiguousarray(wave, dtype=np.float32).data)
        key = digest.hexdigest()
        return self._folder / key[:2] / f"{key[2:]}.npy"

    def _write(self, path: Path, features: np.ndarray) -> None:
        path.parent.mkdir(exist_ok=True)
        # mkstemp's file is readable for its owner alone, and the folder may be shared.
        descriptor, name = tempfile.mkstemp(suffix=_PARTIAL, dir=self._folder)
        partial = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                np.save(file, features, allow_pickle=False)
            partial.chmod(0o644)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        if self._writes % _WRITES_BETWEEN_SWEEPS == 0:
            self._sweep()
        self._writes += 1

    def _sweep(self) -> None:
        """Remove partial files left behind and, beyond the bound, the entries unused for longest."""
        entries: list[tuple[float, int, Path]] = []
        for path in self._folder.glob("**/*"):
            try:
                status = path.stat()
            except FileNotFoundError:  # swept by another process
                continue
            if path.suffix == _PARTIAL and time() - status.st_mtime > _ABANDONED_S:
                path.unlink(missing_ok=True)
            elif path.suffix == ".npy":
                entries.append((status.st_mtime, -(-status.st_size // _BLOCK_BYTES) * _BLOCK_BYTES, path))
        taken = sum(size for _, size, _ in entries)
        if taken <= self._max_bytes:
            return
        removed = 0
        for _, size, path in sorted(entries):
            if taken <= _SWEEP_DOWN_TO * self._max_bytes:
                break
            path.unlink(missing_ok=True)
            taken -= size
            removed += 1
        log.info("feature cache %s: %d entries unused for longest removed", self._folder, removed)


def _read(path: Path) -> np.ndarray | None:
    """Return an entry and mark it as used, or None where there is none; a broken one is as good as none."""
    try:
        with path.open("rb") as file:
            features: np.ndarray = np.load(file, allow_pickle=False)
        os.utime(path)
    except FileNotFoundError:
        return None
    except (ValueError, EOFError):
        log.warning("feature cache entry %s is broken and is computed again", path)
        return None
    return features
