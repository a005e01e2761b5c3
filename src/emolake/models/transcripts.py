"""Transcripts on disk, keyed by the samples, the model and how it decodes: personal data."""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from emolake.errors import ConfigurationError

log = logging.getLogger(__name__)


class TranscriptCache:
    """Transcripts in a folder that other processes and models may share: one small text file for each clip."""

    def __init__(self, folder: Path, files: Mapping[str, Path], recipe: Mapping[str, JsonValue]) -> None:
        """Open an existing folder for transcripts of the model in `files`, decoded as `recipe` says."""
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigurationError(
                f"transcript_cache is {folder}, which is no folder that can be written to; create it, or leave it out"
            )
        self._folder = folder
        digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode())
        for name, path in sorted(files.items()):
            with path.open("rb") as file:
                digest.update(name.encode() + hashlib.file_digest(file, "sha256").digest())
        self._model = digest.digest()

    def read(self, clip: bytes) -> str | None:
        """Return the transcript of a clip by the hash of its samples, or None; a broken one is as good as none."""
        path = self._path(clip)
        try:
            return path.read_bytes().decode("utf-8")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            log.warning("the transcript %s is broken and is made again", path)
            return None

    def write(self, clip: bytes, transcript: str) -> None:
        """Keep a transcript; whoever reads sees all of it or nothing."""
        path = self._path(clip)
        path.parent.mkdir(exist_ok=True)
        # Readable for its owner alone: what was said is as private as the recording.
        descriptor, name = tempfile.mkstemp(suffix=".partial", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(transcript.encode("utf-8"))
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)

    def _path(self, clip: bytes) -> Path:
        key = hashlib.sha256(self._model + clip).hexdigest()
        return self._folder / key[:2] / f"{key[2:]}.txt"
