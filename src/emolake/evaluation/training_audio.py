"""Which clips a model was trained on: hashes of their samples, kept beside its weights, and nothing else of them.

A hash is of the decoded samples: mono, 16 kHz, rounded to 16 bits. The same samples in another
lossless container, of another name, with other tags or as two equal channels have the same hash. A lossy copy, another
level, rate or cut has another one and is not found.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ValidationError

from emolake.errors import BadRecordingError, ConfigurationError
from emolake.models.registry import ModelEntry
from emolake.options import Options
from emolake.tasks.decode import load_mono

AUDIO_FILE = "training_audio.json"
HASHED_HZ = 16_000
_DIGITS = 32  # of SHA-256's 64: a chance hit among a million clips is as good as impossible


class TrainingAudio(Options):
    """The contents of `training_audio.json`."""

    hash: Literal["sha256-128 of mono 16 kHz 16 bit samples"] = "sha256-128 of mono 16 kHz 16 bit samples"
    """What is hashed: `audio_hash`."""
    clips: tuple[str, ...]
    """The hash of each clip that trained, stopped or calibrated the weights, sorted: their order says nothing."""


def audio_hash(wave: np.ndarray) -> str | None:
    """Return the hash of a clip [n] float32 at 16 kHz, full scale 1; None of silence, which is nobody's voice."""
    samples = np.clip(np.rint(np.asarray(wave, np.float64) * 32_768), -32_768, 32_767).astype("<i2")
    return hashlib.sha256(samples.tobytes()).hexdigest()[:_DIGITS] if samples.any() else None


def path_hash(path: Path) -> str | None:
    """Return the `audio_hash` of a whole recording; None where it cannot be decoded."""
    try:
        return audio_hash(load_mono(path, sampling_rate=HASHED_HZ))
    except (BadRecordingError, OSError):
        return None


def same_audio(hashes: Sequence[str | None]) -> Iterator[tuple[int, int]]:
    """Yield the places of each clip whose audio an earlier one has, after that of the first such clip.

    >>> list(same_audio(["a", "b", None, "a", None, "a"]))
    [(0, 3), (0, 5)]
    """
    first: dict[str, int] = {}
    for place, own in enumerate(hashes):
        if own is not None and first.setdefault(own, place) != place:
            yield first[own], place


def write_training_audio(folder: Path, hashes: Iterable[str | None]) -> None:
    """Keep the hashes of the clips that trained a model in its folder."""
    kept = TrainingAudio(clips=tuple(sorted(filter(None, hashes))))
    (folder / AUDIO_FILE).write_text(json.dumps(kept.model_dump(mode="json"), indent=0) + "\n", "utf-8")


def known_audio(entry: ModelEntry) -> frozenset[str] | None:
    """Return the hashes of the training audio of a model and of its members; None where no folder keeps any.

    Raises:
        ConfigurationError: a folder's file of hashes is broken.
    """
    found: set[str] | None = None
    for part in entry_and_members(entry):
        path = None if part.folder is None else part.folder / AUDIO_FILE
        if path is not None and path.is_file():
            try:
                kept = TrainingAudio.model_validate_json(path.read_bytes())
            except ValidationError as error:
                raise ConfigurationError(
                    f"{path} is not what `emolake train` writes; copy it again, or delete it to do without"
                ) from error
            found = (found or set()) | set(kept.clips)
    return None if found is None else frozenset(found)


def entry_and_members(entry: ModelEntry) -> Iterator[ModelEntry]:
    """Yield a model, and the models that it is made of, if it is an ensemble."""
    yield entry
    for member in getattr(entry.options, "members", ()):
        yield from entry_and_members(member)
