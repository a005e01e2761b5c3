"""The folders in which models keep what they computed of clips: transcripts and features."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_KEYS = ("transcript_cache", "cache")
_ENTRY = re.compile(r"[0-9a-f]{2}/[0-9a-f]{62}\.(txt|npy)|([0-9a-f]{2}/)?[^/]+\.partial")


def cache_folders(models: Mapping[str, Mapping[str, Any]]) -> list[Path]:
    """Return the folders that the entries of [models] name as caches and that are there."""
    return sorted(
        {Path(folder) for entry in models.values() for folder in _named(entry) if Path(folder).is_dir()}
    )


def empty(folder: Path) -> int:
    """Remove every entry of a cache and nothing else; return how many there were.

    An entry does not tell which recording it came from. What is missed is computed again.
    """
    removed = 0
    for path in folder.glob("**/*"):
        if path.is_file() and _ENTRY.fullmatch(path.relative_to(folder).as_posix()):
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def _named(entry: Any) -> Iterator[str]:
    if isinstance(entry, Mapping):
        for key, value in entry.items():
            if key in _KEYS and isinstance(value, str):
                yield value
            else:
                yield from _named(value)
    elif isinstance(entry, list):
        for each in entry:
            yield from _named(each)
