"""How one file is to be read: its container by its first bytes, the decoder for it, and how long it claims to be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from emolake.audio.containers.declared import Declared, read_at
from emolake.audio.containers.formats import format_of


@dataclass(frozen=True)
class Declaration:
    """How one file is to be read, and what it says of itself."""

    container: str
    """Short name, "unknown" where the first bytes open no known container."""
    decoder: Literal["libsndfile", "ffmpeg"]
    """The decoder to try first; ffmpeg also reads what libsndfile refuses."""
    demuxer: str | None
    """FFmpeg's demuxer, so that the extension of a file has no say; None leaves it to FFmpeg's probing."""
    declared: Declared
    demuxer_options: Mapping[str, str] = field(default_factory=dict)


def declaration(path: Path) -> Declaration:
    """Read the headers of `path`, in constant memory; nothing is decoded.

    A broken header is no error: it declares less, or a fault.

    Raises:
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        offset = _after_tags(file)
        found = format_of(read_at(file, offset, 32))
        declared = found.declared(file, size, offset)
    return Declaration(
        found.name,
        "libsndfile" if found.by_libsndfile(declared) else "ffmpeg",
        found.demuxer,
        declared,
        found.understated_options if declared.understated else {},
    )


def _after_tags(file: BinaryIO) -> int:
    """Return the offset behind the ID3v2 tags that may come before MP3, AAC and FLAC alike."""
    offset = 0
    for _ in range(8):
        head = read_at(file, offset, 10)
        if len(head) < 10 or head[:3] != b"ID3":
            break
        length = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        offset += 10 + length + (10 if head[5] & 0x10 else 0)
    return offset
