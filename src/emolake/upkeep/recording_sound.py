"""The sound of one recording, from its source: its trace, and what a page may play of it."""

import base64
import io
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import soundfile

from emolake.audio.trace import traced
from emolake.audio.voice_activity import SpeechDetector
from emolake.errors import BadRecordingError, ConfigurationError, EmolakeError
from emolake.messages import printable, redacted
from emolake.report.recording import Player, Recording, Sound
from emolake.schemas.records import SourceObject
from emolake.settings import Settings
from emolake.source.opening import open_source
from emolake.source.store import Source
from emolake.tasks.decode import AudioReader
from emolake.tasks.fetch import fetch

_RATE = 16_000
_MOST_EMBEDDED_S = 3600.0


def recording_sound(settings: Settings, recording: Recording, *, embed: bool) -> Sound:
    """Return what can be had of a recording; where nothing can, why.

    Args:
        settings: the source, what the policy rules out, and how speech is found.
        recording: as the lake has it.
        embed: put the sound itself into the page, as MP3.
    """
    facts = recording.facts
    if facts["status"] == "excluded" or settings.policy.rules_out(facts["dimensions"] or {}):
        return Sound(missing=("ruled_out_sound", {}))
    try:
        source = open_source(settings.source.uri, settings.source.s3)
        item = _listed(source, recording)
        if item.version != facts["version"]:
            return Sound(missing=("replaced_sound", {}))
        with tempfile.TemporaryDirectory(prefix="emolake-") as folder:
            item, path = fetch(source, item, Path(folder) / "recording", options=settings.fetch)
            if item.version != facts["version"]:
                return Sound(missing=("replaced_sound", {}))
            return _sound(settings, path, item.key, embed=embed, is_local=path.parent != Path(folder))
    except BadRecordingError as error:
        return Sound(missing=_missing(error))
    except ConfigurationError:
        raise
    except EmolakeError as error:
        return Sound(missing=_missing(error))


def _missing(error: EmolakeError) -> tuple[str, dict[str, str]]:
    return "missing_sound", {"why": printable(redacted(str(error)))}


def _listed(source: Source, recording: Recording) -> SourceObject:
    """Return the recording as it is at the source now.

    Raises:
        EmolakeError: it is not there.
    """
    facts = recording.facts
    base = source.object_uri("")
    if not facts["uri"].startswith(base):
        raise EmolakeError(f"it is not at source.uri, which is {base.rstrip('/')}")
    key = facts["uri"].removeprefix(base)
    found = next((each for each in source.list(key) if each.key == key), None)
    if found is None:
        raise EmolakeError("it is not at its source")
    return SourceObject(
        key=key,
        uri=facts["uri"],
        recording_id=facts["recording_id"],
        version=found.version,
        size_bytes=found.size_bytes,
        date=facts["date"],
        recorded_at=None,
        dimensions={},
    )


def _sound(settings: Settings, path: Path, key: str, *, embed: bool, is_local: bool) -> Sound:
    left_out = set(settings.policy.exclude_channels)
    kept: list[np.ndarray] | None = [] if embed else None
    with AudioReader(path, settings.decode.options, name=key) as reader:
        trace = traced(
            _watched(reader.blocks(), kept),
            vad=SpeechDetector(),
            threshold=settings.segmentation.vad_threshold,
            left_out=left_out,
        )
    player = None
    if kept is not None:
        player = _embedded(kept, [channel.channel for channel in trace.channels])
    elif is_local and not left_out:
        player = Player("file://" + quote(path.resolve().as_posix()), "file:")
    return Sound(trace, player)


def _watched(blocks: Iterable[np.ndarray], kept: list[np.ndarray] | None) -> Iterator[np.ndarray]:
    """Yield blocks as they come, and keep them where they are wanted.

    Raises:
        ConfigurationError: they are too long for a page.
    """
    samples = 0
    for block in blocks:
        if kept is not None:
            kept.append(block)
            samples += len(block)
            if samples > _MOST_EMBEDDED_S * _RATE:
                raise ConfigurationError(
                    f"the recording is longer than {_MOST_EMBEDDED_S / 60:.0f} minutes, too long for a page with its "
                    "sound; leave --embed-audio out"
                )
        yield block


def _embedded(blocks: list[np.ndarray], channels: list[int]) -> Player | None:
    """Return the channels as MP3 in the address itself: two as they are, others as their mean."""
    if not channels:
        return None
    samples = np.concatenate(blocks)[:, channels]
    if samples.shape[1] > 2:
        samples = samples.mean(axis=1, keepdims=True)
    file = io.BytesIO()
    soundfile.write(file, np.clip(samples, -1, 1), _RATE, format="MP3", subtype="MPEG_LAYER_III")
    return Player("data:audio/mpeg;base64," + base64.b64encode(file.getvalue()).decode(), "data:")
