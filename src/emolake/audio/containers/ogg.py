"""Ogg (RFC 3533) with Opus (RFC 7845, RFC 6716), Vorbis (Vorbis I specification), FLAC or Speex."""

import struct
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from emolake.audio.containers.declared import Declared, read_at


class _Page(NamedTuple):
    flags: int
    granule: int
    serial: int
    sequence: int
    lacing: bytes
    body: int
    """Offset of the page's first packet byte."""
    end: int


@dataclass
class _OggStream:
    """One logical stream of one chain link, as far as it was read."""

    codec: str
    rate: int
    preskip: int = 0
    block: int = 0
    start: int | None = None
    last: int = 0
    sequence: int = 0
    ended: bool = False

    @property
    def duration_s(self) -> float:
        return max(0, self.last - (self.start or 0) - self.preskip) / self.rate if self.rate else 0.0


def _ogg_page(file: BinaryIO, offset: int) -> _Page | None:
    head = read_at(file, offset, 27)
    if len(head) < 27 or head[:4] != b"OggS":
        return None
    flags, granule, serial, sequence, _, count = struct.unpack("<BqIIIB", head[5:27])
    lacing = file.read(count)
    body = offset + 27 + count
    return _Page(flags, granule, serial, sequence, lacing, body, body + sum(lacing))


def _next_capture(file: BinaryIO, size: int, offset: int) -> int | None:
    """Return where the next page may begin, from `offset` on."""
    while offset < size:
        found = read_at(file, offset, 65_536).find(b"OggS")
        if found >= 0:
            return offset + found
        offset += 65_536 - 3
    return None


def _ogg_stream(first: bytes) -> _OggStream:
    """Return the stream that an opening packet begins."""
    if first[:8] == b"OpusHead":
        return _OggStream("opus", 48_000, preskip=int.from_bytes(first[10:12], "little"))
    if first[:7] == b"\x01vorbis":
        block = 1 << int.from_bytes(first[28:29]) // 16
        return _OggStream("vorbis", int.from_bytes(first[12:16], "little"), block=block)
    if first[:5] == b"\x7fFLAC":
        return _OggStream("flac", int.from_bytes(first[27:30]) >> 4, block=int.from_bytes(first[19:21]))
    if first[:8] == b"Speex   ":
        # Its granule positions do not say where the decoder's look-ahead goes: nothing is declared.
        return _OggStream("speex", 0)
    return _OggStream("", 0)


def _opus_samples(packet: bytes) -> int:
    """Return the samples at 48 kHz of one Opus packet, from its table-of-contents byte (RFC 6716, 3.1)."""
    if not packet:
        return 0
    config = packet[0] >> 3
    if config < 12:
        frame = (480, 960, 1920, 2880)[config % 4]
    elif config < 16:
        frame = (480, 960)[config % 2]
    else:
        frame = (120, 240, 480, 960)[config % 4]
    code = packet[0] & 3
    return frame * (1 if code == 0 else 2 if code < 3 else packet[1] & 63 if len(packet) > 1 else 0)


def _most_samples(file: BinaryIO, page: _Page, stream: _OggStream) -> int:
    """Return the most samples that the packets ending in `page` can hold; exact for Opus."""
    complete = sum(1 for lace in page.lacing if lace < 255)
    if stream.codec != "opus":
        return complete * stream.block
    total, at, fresh = 0, page.body, not page.flags & 1
    for lace in page.lacing:
        if fresh:
            total += _opus_samples(read_at(file, at, 2))
        fresh = lace < 255
        at += lace
    return total


class _Links:
    """The links of a chained file, as far as its pages were read; of each the first audio stream counts."""

    def __init__(self) -> None:
        self.streams: list[_OggStream] = []
        self._by_serial: dict[int, _OggStream] = {}
        self._opening = False

    @property
    def ended(self) -> bool:
        """Whether the last stream carries its end mark."""
        return bool(self.streams) and self.streams[-1].ended

    def take(self, file: BinaryIO, page: _Page, offset: int) -> str | None:
        """Take the next page, which begins at `offset`; return the fault that it shows."""
        if page.flags & 2:
            self._open(_ogg_stream(read_at(file, page.body, min(64, page.end - page.body))), page)
            return None
        self._opening = False
        stream = self._by_serial.get(page.serial)
        if stream is None:
            return None
        fault = f"pages are missing before byte {offset}" if page.sequence != stream.sequence + 1 else None
        stream.sequence = page.sequence
        if page.granule > 0:
            if stream.start is None:
                stream.start = max(0, page.granule - _most_samples(file, page, stream))
            stream.last = page.granule
        stream.ended = stream.ended or bool(page.flags & 4)
        return fault

    def _open(self, stream: _OggStream, page: _Page) -> None:
        first = not self._opening
        self._by_serial = {page.serial: stream} if first else {**self._by_serial, page.serial: stream}
        if stream.codec and (first or not self.streams or self.streams[-1] not in self._by_serial.values()):
            self.streams.append(stream)
        stream.sequence, self._opening = page.sequence, True


def ogg(file: BinaryIO, size: int) -> Declared:
    """Read every page of an Ogg file: durations by granule position, the end-of-stream mark, missing pages.

    Of each chain link the first audio stream counts. A stream cut out of a longer one begins at a later
    granule position, which is taken off.
    """
    links, fault, at = _Links(), None, 0
    while at < size:
        page = _ogg_page(file, at)
        if page is None:
            found = _next_capture(file, size, at + 1)
            if found is None and links.ended:
                break  # a tag or padding behind the end
            fault = fault or f"the pages break off at byte {at} of {size}"
            if found is None:
                break
            at = found
            continue
        if page.end > size:
            fault = fault or f"the last page should end at byte {page.end}, and the file has {size}"
            break
        missing = links.take(file, page, at)
        fault = fault or missing
        at = page.end
    if links.streams and not links.ended:
        fault = fault or "the last page carries no end-of-stream mark"
    durations = [stream.duration_s for stream in links.streams if stream.rate]
    codec = links.streams[0].codec if links.streams else None
    return Declared(sum(durations) if durations else None, fault, codec=codec, links=len(links.streams))
