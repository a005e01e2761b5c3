"""Gzip around a file, as a key's `.gz` or an object's `Content-Encoding: gzip` says, or its first bytes alone."""

import zlib
from pathlib import Path

from emolake.errors import BadRecordingError, Reason

_MAGIC = b"\x1f\x8b\x08"
_PIECE = 1 << 20
_WITH_GZIP_HEAD = 31  # zlib's window bits


def is_gzip(path: Path) -> bool:
    """Tell by its first bytes whether a file is packed; raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def unpack(source: Path, target: Path, *, most_bytes: int) -> str | None:
    """Write what a gzip file holds; return what is wrong with it, or None. Memory does not grow with its size.

    Bytes behind the last member that are no member are passed over, as gzip does. Where the stream breaks, what came
    before is kept.

    Raises:
        BadRecordingError: it holds more than `most_bytes`; no more than these were written.
        OSError: a file cannot be read or written.
    """
    written = 0
    with source.open("rb") as packed, target.open("wb") as file:
        member = zlib.decompressobj(_WITH_GZIP_HEAD)
        rest = packed.read(_PIECE)
        while True:
            try:
                piece = member.decompress(rest, _PIECE)
            except zlib.error as error:
                return f"the gzip stream is broken behind {written} unpacked bytes ({error})"
            written += len(piece)
            if written > most_bytes:
                raise BadRecordingError(
                    Reason.TOO_LARGE,
                    f"unpacked from gzip it has more than {most_bytes / 1e6:g} MB; raise decode.unpacked_mb if it is "
                    "as long a recording",
                    stage="decode",
                )
            file.write(piece)
            if member.eof:
                rest = member.unused_data
                rest += packed.read(_PIECE) if len(rest) < len(_MAGIC) else b""
                if not rest.startswith(_MAGIC):
                    return None
                member = zlib.decompressobj(_WITH_GZIP_HEAD)
                continue
            rest = member.unconsumed_tail or packed.read(_PIECE)
            if not rest and not piece:
                return f"the gzip stream breaks off behind {written} unpacked bytes"
