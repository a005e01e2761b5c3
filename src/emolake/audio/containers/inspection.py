"""How one file is to be read: its container by its first bytes, the decoder for it, and how long it claims to be."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from emolake.audio.containers.declared import Declared, read_at
from emolake.audio.containers.formats import ContainerFormat, extension, format_of, headerless_format


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
    begins_at: int = 0
    """Bytes of foreign tags before the container, which its decoders do not skip by themselves."""
    no_audio: str | None = None
    """What the file is instead, where its first bytes say that it is none of audio."""


def declaration(path: Path, name: str | None = None, rates: Mapping[str, int] | None = None) -> Declaration:
    """Read the headers of `path`, in constant memory; nothing is decoded.

    A broken header is no error: it declares less, or a fault.

    Args:
        path: the file.
        name: what it is called at its source, whose ending names a format without a header; the file's own when left
            out.
        rates: sampling rates of such formats, by extension, where they are others than those of the format.

    Raises:
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        offset = _after_tags(file)
        found = format_of(read_at(file, offset, 32))
        headerless = headerless_format(name or path.name)
        if headerless is not None and not found.recognised_surely:
            return _headerless(headerless, name or path.name, size, rates or {})
        body = file if offset == 0 else cast("BinaryIO", BehindTags(path, offset))
        declared = found.declared(body, size - offset)
        body.close()
    return Declaration(
        found.name,
        "libsndfile" if found.by_libsndfile(declared) else "ffmpeg",
        found.demuxer,
        declared,
        found.understated_options if declared.understated else {},
        0 if found.skips_tags else offset,
        found.no_audio,
    )


def _headerless(found: ContainerFormat, name: str, size: int, rates: Mapping[str, int]) -> Declaration:
    """Return how a file of samples alone is read: mono, at the rate that its ending stands for."""
    ending = extension(name)
    rate = rates.get(ending, found.headerless_rates[ending])
    declared = Declared(size * found.samples_per_byte / rate, None, rate, 1)
    options = {"sample_rate": str(rate), "ch_layout": "mono"}
    return Declaration(found.name, "ffmpeg", found.demuxer, declared, options)


class BehindTags(io.RawIOBase):
    """A file from an offset on, as if it began there."""

    def __init__(self, path: Path, offset: int) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._offset = offset
        self._file.seek(offset)

    def readable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def seekable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def readinto(self, buffer: Any) -> int:
        """See `io.RawIOBase`."""
        return self._file.readinto(buffer)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.RawIOBase`."""
        return self._file.seek(offset + (self._offset if whence == io.SEEK_SET else 0), whence) - self._offset

    def tell(self) -> int:
        """See `io.RawIOBase`."""
        return self._file.tell() - self._offset

    def close(self) -> None:
        """See `io.RawIOBase`."""
        self._file.close()
        super().close()


def _after_tags(file: BinaryIO) -> int:
    """Return the offset behind the ID3v2 tags that may come before a container of any format."""
    offset = 0
    for _ in range(8):
        head = read_at(file, offset, 10)
        if len(head) < 10 or head[:3] != b"ID3":
            break
        length = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        offset += 10 + length + (10 if head[5] & 0x10 else 0)
    return offset
