"""Feature vectors on disk, keyed by the samples they were computed from and by how."""

import logging
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from emolake.models.disk_cache import DiskCache, recipe_hash

log = logging.getLogger(__name__)


class FeatureCache:
    """Feature vectors of one recipe in a folder that other recipes and processes may share."""

    def __init__(
        self, folder: Path, recipe: Mapping[str, JsonValue], *, max_bytes: int, option: str = "cache"
    ) -> None:
        """Open a folder.

        Args:
            folder: an existing folder.
            recipe: whatever changes a feature beside the samples: parameters, versions of libraries.
            max_bytes: space on disk that the folder may take; the entries unused for longest make room.
            option: key of the configuration that names the folder.

        Raises:
            ConfigurationError: there is no such folder, or it cannot be written to.
        """
        digest = recipe_hash(recipe).digest()
        self._entries = DiskCache(folder, digest, ending=".npy", option=option, max_bytes=max_bytes)

    def get(self, wave: np.ndarray, compute: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return `compute(wave)` [n] float32, from disk where it was computed before; `wave` is [samples] float32."""
        samples = np.ascontiguousarray(wave, dtype=np.float32).data
        found = self._read(samples)
        if found is None:
            found = np.asarray(compute(wave), dtype=np.float32)
            with self._entries.adding(samples) as file:
                np.save(file, found, allow_pickle=False)
        return found

    def holds(self, wave: np.ndarray) -> bool:
        """Return whether there is an entry for a wave [samples] float32; `get` reads it."""
        return self._entries.path(np.ascontiguousarray(wave, dtype=np.float32).data).is_file()

    def _read(self, samples: memoryview) -> np.ndarray | None:
        """Return an entry, or None where there is none; a broken one is as good as none."""
        entry = self._entries.read(samples)
        if entry is None:
            return None
        try:
            features: np.ndarray = np.load(BytesIO(entry), allow_pickle=False)
        except (ValueError, EOFError):
            path = self._entries.path(samples)
            log.warning("feature cache entry %s is broken and is computed again", path)
            return None
        return features
