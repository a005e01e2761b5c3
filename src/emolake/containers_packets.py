"""What containers made of packets declare: MP3's first frame, Ogg pages, MP4 boxes, Matroska's elements.

Sources: ISO 11172-3 and the LAME tag's published layout (MP3), RFC 3533 and RFC 7845 (Ogg, Opus), the
Vorbis I specification, ISO 14496-12 (MP4), RFC 8794 and RFC 9559 (EBML, Matroska and WebM).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from emolake.declared import Declared, read_at

# --- MP3 ---

_MPEG_RATES = (44_100, 48_000, 32_000)


class MpegFrame(NamedTuple):
    """The header of one MPEG audio frame."""

    version: int
    """1, or 2 for MPEG-2 and 2.5."""
    layer: int
    sampling_rate: int
    mono: bool
    samples: int
    """Samples a frame."""


def mpeg_frame(head: bytes) -> MpegFrame | None:
    """Parses four bytes of frame header; None when they are none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    rate = head[2] >> 2 & 3
    if version == 1 or layer == 4 or rate == 3 or head[2] >> 4 == 15:
        return None
    sampling_rate = _MPEG_RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    return MpegFrame(1 if version == 3 else 2, layer, sampling_rate, head[3] >> 6 == 3, samples)


def mp3(file: BinaryIO, size: int, offset: int = 0) -> Declared:
    """The frame count of a Xing, Info or VBRI header, less delay and padding; without one, nothing.

    A duration computed from the bit rate is a guess and is not made.
    """
    head = read_at(file, offset, 512)
    frame = mpeg_frame(head)
    if frame is None:
        return Declared()
    side = {(1, False): 32, (1, True): 17, (2, False): 17, (2, True): 9}[frame.version, frame.mono]
    for at in (4 + side, 6 + side):  # with a checksum, everything stands two bytes later
        if head[at : at + 4] in (b"Xing", b"Info"):
            flags = int.from_bytes(head[at + 4 : at + 8])
            if not flags & 1:
                return Declared()
            frames = int.from_bytes(head[at + 8 : at + 12])
            tag = at + 12 + (4 if flags & 2 else 0) + (100 if flags & 4 else 0) + (4 if flags & 8 else 0)
            known = head[tag : tag + 4] in (b"LAME", b"Lavf", b"Lavc")
            trim = int.from_bytes(head[tag + 21 : tag + 24]) if known else 0
            samples = frames * frame.samples - (trim >> 12) - (trim & 0xFFF)
            return Declared(max(0, samples) / frame.sampling_rate if frames else None)
    if head[36:40] == b"VBRI":
        frames = int.from_bytes(head[50:54])
        return Declared(frames * frame.samples / frame.sampling_rate if frames else None)
    return Declared()


# --- Ogg ---


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
    """Where the next page may begin, from `offset` on."""
    while offset < size:
        found = read_at(file, offset, 65_536).find(b"OggS")
        if found >= 0:
            return offset + found
        offset += 65_536 - 3
    return None


def _ogg_stream(first: bytes) -> _OggStream:
    """The stream that an opening packet begins."""
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
    """Samples at 48 kHz of one Opus packet, from its table-of-contents byte (RFC 6716, 3.1)."""
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
    """The most samples that the packets ending in `page` can hold; exact for Opus."""
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


def ogg(file: BinaryIO, size: int) -> Declared:
    """Every page of an Ogg file: durations by granule position, the end-of-stream mark, missing pages.

    Of each chain link the first audio stream counts. A stream cut out of a longer one begins at a later
    granule position, which is taken off.
    """
    streams: dict[int, _OggStream] = {}
    links: list[_OggStream] = []
    fault, offset, opening = None, 0, False
    while offset < size:
        page = _ogg_page(file, offset)
        if page is None:
            found = _next_capture(file, size, offset + 1)
            if found is None and links and links[-1].ended:
                break  # a tag or padding behind the end
            fault = fault or f"the pages break off at byte {offset} of {size}"
            if found is None:
                break
            offset = found
            continue
        if page.end > size:
            fault = fault or f"the last page should end at byte {page.end}, and the file has {size}"
            break
        if page.flags & 2:
            stream = _ogg_stream(read_at(file, page.body, min(64, page.end - page.body)))
            streams = {**streams, page.serial: stream} if opening else {page.serial: stream}
            if stream.codec and (not opening or not links or links[-1] not in streams.values()):
                links.append(stream)
            stream.sequence, opening = page.sequence, True
        else:
            opening = False
            known = streams.get(page.serial)
            if known is not None:
                if page.sequence != known.sequence + 1:
                    fault = fault or f"pages are missing before byte {offset}"
                known.sequence = page.sequence
                if page.granule > 0:
                    if known.start is None:
                        known.start = max(0, page.granule - _most_samples(file, page, known))
                    known.last = page.granule
                known.ended = known.ended or bool(page.flags & 4)
        offset = page.end
    if links and not links[-1].ended:
        fault = fault or "the last page carries no end-of-stream mark"
    durations = [link.duration_s for link in links if link.rate]
    codec = links[0].codec if links else None
    return Declared(sum(durations) if durations else None, fault, codec=codec, links=len(links))


# --- MP4 ---


class _Box(NamedTuple):
    kind: bytes
    start: int
    end: int


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[_Box]:
    """The boxes between two offsets, also the one that reaches past `end`; stops at a size that cannot be."""
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
    """Time scale and duration of an mvhd or mdhd box; zeros when it is not there or unknown."""
    if box is None:
        return 0, 0
    body = read_at(file, box.start, 32).ljust(32, b"\0")
    scale, duration = struct.unpack(">IQ", body[20:32]) if body[0] == 1 else struct.unpack(">II", body[12:20])
    return scale, 0 if duration in (0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF) else duration


def _edited(file: BinaryIO, box: _Box | None) -> int:
    """Duration of the edit list in the movie's time scale, without its empty edits; 0 without a list."""
    if box is None:
        return 0
    head = read_at(file, box.start, 8).ljust(8, b"\0")
    layout = ">QqI" if head[0] == 1 else ">IiI"
    step = struct.calcsize(layout)
    body = file.read(min(int.from_bytes(head[4:8]), 10_000) * step)
    edits = struct.iter_unpack(layout, body[: len(body) // step * step])
    return sum(duration for duration, media_time, _ in edits if media_time >= 0)


def _track_s(file: BinaryIO, movie: _Box) -> float | None:
    """Seconds of the first sound track; None when the movie is fragmented or does not say."""
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
    """Box sizes against the end of the file, and the duration of the first sound track."""
    fault, duration, end, titles = None, None, 0, 0
    for box in _boxes(file, 0, size):
        end = box.end
        if box.end > size:
            kind = box.kind.decode("latin-1")
            fault = f"box {kind!r} should end at byte {box.end}, and the file has {size}"
        elif box.kind == b"moov":
            duration = _track_s(file, box)
        titles += box.kind == b"ftyp"
    if fault is None and end < size:
        fault = f"the boxes break off at byte {end} of {size}"
    if fault is None and titles > 1:
        fault = "a second file follows the first, and is not read"
    return Declared(duration, fault)


# --- Matroska ---

_SEGMENT, _INFO, _TRACKS, _CLUSTER = 0x18538067, 0x1549A966, 0x1654AE6B, 0x1F43B675
_TRACK_ENTRY, _SCALE, _DURATION = 0xAE, 0x2AD7B1, 0x4489


class _Element(NamedTuple):
    kind: int
    start: int
    length: int | None
    """None when the writer did not know it."""


def _element(data: bytes, at: int, offset: int) -> _Element | None:
    """The element whose head stands at `at` of `data`, which begins at `offset` of the file."""
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
    """Elements between two offsets, into those of unknown length; None, at last, where none stands."""
    while start < end:
        found = _element(read_at(file, start, 12), 0, start)
        yield found
        if found is None:
            return
        start = found.start + (found.length or 0)


def _matroska_info(file: BinaryIO, info: _Element) -> float | None:
    """Duration in seconds from the Info element; None when it holds none."""
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
    """Walks a Segment's children; where its own size is known and fits, only up to the first Cluster."""
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
    """Element sizes against the end of the file, and the Duration where the file has one track.

    With more tracks the Duration is that of the longest, which need not be the sound.
    """
    for found in _elements(file, 0, size):
        if found is not None and found.kind == _SEGMENT:
            return _segment(file, found, size)
    return Declared(None, "the file ends before its segment")
