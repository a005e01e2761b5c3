"""Matroska and WebM: elements of EBML (RFC 8794, RFC 9559)."""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from emolake.audio.containers.declared import Declared, read_at

_SEGMENT, _INFO, _TRACKS, _CLUSTER = 0x18538067, 0x1549A966, 0x1654AE6B, 0x1F43B675
_TRACK_ENTRY, _SCALE, _DURATION = 0xAE, 0x2AD7B1, 0x4489


class _Element(NamedTuple):
    kind: int
    start: int
    length: int | None
    """None when the writer did not know it."""


def _element(data: bytes, at: int, offset: int) -> _Element | None:
    """Return the element whose head is at `at` of `data`, which begins at `offset` of the file."""
    if at >= len(data) or data[at] < 0x10:
        return None
    kind_bytes = 9 - data[at].bit_length()
    size_at = at + kind_bytes
    if size_at >= len(data) or data[size_at] == 0:
        return None
    size_bytes = 9 - data[size_at].bit_length()
    if size_at + size_bytes > len(data):
        return None
    unknown = (1 << 7 * size_bytes) - 1
    length = int.from_bytes(data[size_at : size_at + size_bytes]) & unknown
    kind = int.from_bytes(data[at:size_at])
    return _Element(kind, offset + size_at + size_bytes, None if length == unknown else length)


def _elements(file: BinaryIO, start: int, end: int) -> Iterator[_Element | None]:
    """Yield elements between two offsets, into those of unknown length; None, at last, where there is none."""
    while start < end:
        found = _element(read_at(file, start, 12), 0, start)
        yield found
        if found is None:
            return
        start = found.start + (found.length or 0)


def _matroska_info(file: BinaryIO, info: _Element) -> float | None:
    """Return the duration in seconds from the Info element; None when it holds none."""
    scale, ticks = 1_000_000, None
    for found in _elements(file, info.start, info.start + (info.length or 0)):
        if found is not None and found.kind == _SCALE:
            scale = int.from_bytes(read_at(file, found.start, min(found.length or 0, 8)))
        elif found is not None and found.kind == _DURATION:
            body = read_at(file, found.start, found.length if found.length in (4, 8) else 0)
            ticks = struct.unpack(">f" if len(body) == 4 else ">d", body)[0] if body else None
    seconds = ticks * scale / 1e9 if ticks is not None else None
    return seconds if seconds is not None and 0 < seconds < 1e9 else None


def _segment(file: BinaryIO, segment: _Element, size: int) -> Declared:
    """Walk a Segment's children; where its own size is known and fits, only up to the first Cluster."""
    end = size if segment.length is None else segment.start + segment.length
    fits = segment.length is not None and end <= size
    fault = None if end <= size else f"the segment should end at byte {end}, and the file has {size}"
    duration, tracks = None, 0
    for child in _elements(file, segment.start, min(end, size)):
        if child is None:
            fault = fault or "the elements break off before the end of the file"
            break
        child_end = child.start + (child.length or 0)
        if child.kind == _INFO:
            duration = _matroska_info(file, child)
        elif child.kind == _TRACKS:
            entries = _elements(file, child.start, child_end)
            tracks = sum(1 for entry in entries if entry is not None and entry.kind == _TRACK_ENTRY)
        elif child.kind == _CLUSTER and fits:
            break
        if child_end > size:
            fault = fault or f"the last element should end at byte {child_end}, and the file has {size}"
    return Declared(duration if tracks == 1 else None, fault)


def matroska(file: BinaryIO, size: int) -> Declared:
    """Check element sizes against the end of the file, and read the Duration where the file has one track.

    With more tracks the Duration is that of the longest, which need not be the sound.
    """
    for found in _elements(file, 0, size):
        if found is not None and found.kind == _SEGMENT:
            return _segment(file, found, size)
    return Declared(None, "the file ends before its segment")
