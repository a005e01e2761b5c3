"""Transcripts on disk, keyed by the samples, the model and how it decodes: personal data."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from emolake.models.disk_cache import DiskCache, recipe_hash

log = logging.getLogger(__name__)


class TranscriptCache:
    """Transcripts in a folder that other processes and models may share: one small text file for each clip."""

    def __init__(self, folder: Path, files: Mapping[str, Path], recipe: Mapping[str, JsonValue]) -> None:
        """Open an existing folder for transcripts of the model in `files`, decoded by `recipe`.

        Raises:
            ConfigurationError: there is no such folder, or it cannot be written to.
        """
        digest = recipe_hash(recipe)
        for name, path in sorted(files.items()):
            with path.open("rb") as file:
                digest.update(name.encode() + hashlib.file_digest(file, "sha256").digest())
        # Readable for its owner alone: a transcript is as private as the recording.
        self._entries = DiskCache(
            folder, digest.digest(), ending=".txt", option="transcript_cache", mode=0o600
        )

    def read(self, clip: bytes) -> str | None:
        """Return the transcript of a clip by the hash of its samples, or None; a broken one is as good as none."""
        entry = self._entries.read(clip)
        if entry is None:
            return None
        try:
            return entry.decode("utf-8")
        except UnicodeDecodeError:
            log.warning("the transcript %s is broken and is transcribed again", self._entries.path(clip))
            return None

    def write(self, clip: bytes, transcript: str) -> None:
        """Keep the transcript of a clip by the hash of its samples."""
        with self._entries.adding(clip) as file:
            file.write(transcript.encode("utf-8"))
