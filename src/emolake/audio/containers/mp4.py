"""MP4, M4A, MOV and 3GP: boxes (ISO 14496-12)."""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from emolake.audio.containers.declared import Declared, read_at

BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp")
"""What the first box of a file may be."""


class _Box(NamedTuple):
    kind: bytes
    start: int
    end: int


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[_Box]:
    """Yield the boxes between two offsets, also the one that reaches past `end`; stop at a size that cannot be."""
    while start + 8 <= end:
        head = read_at(file, start, 16)
        length, kind, header = int.from_bytes(head[:4]), head[4:8], 8
        if length == 1:
            length, header = int.from_bytes(head[8:16]), 16
        elif length == 0:
            length = end - start
        if length < header:
            return
        yield _Box(kind, start + header, start + length)
        start += length


def _child(file: BinaryIO, box: _Box | None, kind: bytes) -> _Box | None:
    return next((b for b in _boxes(file, box.start, box.end) if b.kind == kind), None) if box else None


def _clock(file: BinaryIO, box: _Box | None) -> tuple[int, int]:
    """Return the time scale and duration of an mvhd or mdhd box; zeros when it is not there or unknown."""
    if box is None:
        return 0, 0
    body = read_at(file, box.start, 32).ljust(32, b"\0")
    scale, duration = struct.unpack(">IQ", body[20:32]) if body[0] == 1 else struct.unpack(">II", body[12:20])
    return scale, 0 if duration in (0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF) else duration


def _edited(file: BinaryIO, box: _Box | None) -> int:
    """Return the duration of the edit list in the movie's time scale, without its empty edits; 0 without a list."""
    if box is None:
        return 0
    head = read_at(file, box.start, 8).ljust(8, b"\0")
    layout = ">QqI" if head[0] == 1 else ">IiI"
    step = struct.calcsize(layout)
    body = file.read(min(int.from_bytes(head[4:8]), 10_000) * step)
    edits = struct.iter_unpack(layout, body[: len(body) // step * step])
    return sum(duration for duration, media_time, _ in edits if media_time >= 0)


def _track_s(file: BinaryIO, movie: _Box) -> float | None:
    """Return the seconds of the first sound track; None when the movie is fragmented or does not say."""
    scale, _ = _clock(file, _child(file, movie, b"mvhd"))
    for track in _boxes(file, movie.start, movie.end):
        media = _child(file, track, b"mdia") if track.kind == b"trak" else None
        handler = _child(file, media, b"hdlr")
        if media is None or handler is None or read_at(file, handler.start + 8, 4) != b"soun":
            continue
        edited = _edited(file, _child(file, _child(file, track, b"edts"), b"elst"))
        media_scale, media_duration = _clock(file, _child(file, media, b"mdhd"))
        if edited and scale:
            return edited / scale
        return media_duration / media_scale if media_scale and media_duration else None
    return None


def mp4(file: BinaryIO, size: int) -> Declared:
    """Check box sizes against the end of the file, and read the duration of the first sound track."""
    fault, duration, end, titles, indexed = None, None, 0, 0, False
    for box in _boxes(file, 0, size):
        end = box.end
        if box.end > size:
            kind = box.kind.decode("latin-1")
            fault = f"box {kind!r} should end at byte {box.end}, and the file has {size}"
        elif box.kind == b"moov":
            duration, indexed = _track_s(file, box), True
        titles += box.kind == b"ftyp"
    if fault is None and end < size:
        fault = f"the boxes break off at byte {end} of {size}"
    if not indexed:
        # What wrote it was stopped before it wrote the index, or the upload was.
        missing = "the file has no moov box, the index of its audio, so the recording was not finished"
        fault = f"{missing}; {fault}" if fault else missing
    if fault is None and titles > 1:
        fault = "a second file follows the first, and is not read"
    return Declared(duration, fault)
