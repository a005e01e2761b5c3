"""What containers made of chunks declare: WAV (RIFF, RIFX, RF64, BW64), W64, AIFF, CAF; and AU and FLAC.

Sources: "Multimedia Programming Interface 1.0" of Microsoft and IBM (RIFF), EBU Tech 3306 (RF64), Apple's
AIFF-C and Core Audio Format specifications, Sony's "Wave64 File Format", Sun's audio(5), RFC 9639 (FLAC).
"""

import math
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from emolake.declared import Declared, read_at

UNSEEN_S = 0.1
"""What lies behind the declared audio, is no chunk and would last longer than this, is taken for audio."""
_MOST_CHUNKS = 100_000
_PLACEHOLDER = 0x7FFF_F000
"""Sizes from here up, larger than the file, are what programs that write to a pipe leave in the header."""
_PCM_TAGS = {0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE}
"""WAVE format tags of a fixed number of bytes a frame: PCM, float, A-law, mu-law, extensible."""
_AIFF_PLAIN = {b"NONE", b"twos", b"sowt", b"fl32", b"FL32", b"fl64", b"FL64", b"raw ", b"in24", b"in32"}
_AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}


class _Layout(NamedTuple):
    """How one family of containers writes the head of a chunk."""

    name_bytes: int
    length: str
    """struct format of the length."""
    own: int
    """Bytes of the head that the length includes."""
    align: int
    """Chunks begin at multiples of this."""


class _Chunk(NamedTuple):
    name: bytes
    start: int
    length: int


_RIFF = _Layout(4, "<I", 0, 2)
_IFF = _Layout(4, ">I", 0, 2)
_W64 = _Layout(16, "<Q", 24, 8)
_CAF = _Layout(4, ">q", 0, 1)


def _chunks(file: BinaryIO, size: int, offset: int, layout: _Layout) -> Iterator[_Chunk]:
    """Chunk after chunk from `offset`; the caller stops at the one whose length it does not believe."""
    head_bytes = layout.name_bytes + struct.calcsize(layout.length)
    for _ in range(_MOST_CHUNKS):
        head = read_at(file, offset, head_bytes)
        if len(head) < head_bytes:
            return
        length = struct.unpack(layout.length, head[layout.name_bytes :])[0] - layout.own
        yield _Chunk(head[: layout.name_bytes], offset + head_bytes, length)
        if length < 0:
            return
        offset += head_bytes + length
        offset += -offset % layout.align


def _chunk_follows(file: BinaryIO, size: int, end: int, layout: _Layout) -> bool:
    """Whether a plausible chunk begins behind the audio, padded or (as some programs write it) not."""
    head_bytes = layout.name_bytes + struct.calcsize(layout.length)
    for offset in {end, end + -end % layout.align}:
        head = read_at(file, offset, head_bytes)
        name = head[:4]
        if len(head) < head_bytes or not all(32 <= byte < 127 for byte in name):
            continue
        length = struct.unpack(layout.length, head[layout.name_bytes :])[0] - layout.own
        # A whole second file behind the first is audio that the first header does not know of.
        if name in {b"RIFF", b"RIFX", b"RF64", b"FORM", b"riff"}:
            continue
        if 0 <= length <= size - offset - head_bytes:
            return True
    return False


def _audio_bytes(
    file: BinaryIO, size: int, data: _Chunk, byte_rate: float, layout: _Layout
) -> tuple[int | None, str | None, bool]:
    """Declared bytes of audio (None: undeclared), the fault, and whether the file holds more than that."""
    rest = size - data.start
    if data.length < 0 or data.length == 0xFFFF_FFFF or (data.length > rest and data.length >= _PLACEHOLDER):
        return None, None, False
    if data.length == 0:
        return None, None, rest > 0
    behind = rest - data.length
    seconds = behind / byte_rate if byte_rate > 0 else 0.0
    understated = seconds > UNSEEN_S and not _chunk_follows(file, size, data.start + data.length, layout)
    fault = None
    if behind < 0 and byte_rate <= 0:
        fault = f"the audio should have {data.length} bytes, and {rest} are there"
    return data.length, fault, understated


def _wave_format(body: bytes, order: str) -> tuple[int, int, int, int, int]:
    """Format tag, channels, rate, bytes a second as stated, bytes a frame."""
    return struct.unpack(f"{order}HHIIH", body[:14].ljust(14, b"\0"))


def riff(file: BinaryIO, size: int) -> Declared:
    """WAV of any byte order and size; the data chunk's length is held against the end of the file."""
    order = ">" if read_at(file, 0, 4) == b"RIFX" else "<"
    layout = _IFF if order == ">" else _RIFF
    wide = fact = 0
    tag, channels, rate, stated, frame_bytes = 0, None, None, 0, 0
    for chunk in _chunks(file, size, 12, layout):
        if chunk.name == b"ds64":
            wide = struct.unpack("<Q", read_at(file, chunk.start + 8, 8).ljust(8, b"\0"))[0]
        elif chunk.name == b"fmt ":
            tag, channels, rate, stated, frame_bytes = _wave_format(read_at(file, chunk.start, 14), order)
        elif chunk.name == b"fact":
            fact = struct.unpack(f"{order}I", read_at(file, chunk.start, 4).ljust(4, b"\0"))[0]
        elif chunk.name == b"data":
            if chunk.length == 0xFFFF_FFFF and 0 < wide < 1 << 62:
                chunk = chunk._replace(length=wide)
            plain = tag in _PCM_TAGS
            byte_rate = float(frame_bytes * rate if plain and rate else stated)
            length, fault, understated = _audio_bytes(file, size, chunk, byte_rate, layout)
            duration = length / byte_rate if length is not None and byte_rate > 0 else None
            if not plain and duration is not None and rate and 0 < fact < 0xFFFF_FFFF:
                duration = fact / rate
            return Declared(duration, fault, rate, channels, understated)
    return Declared(None, "the file ends before its data chunk", rate, channels)


def avi(file: BinaryIO, size: int) -> Declared:
    """Video of the RIFF kind: the length of its outermost chunks alone."""
    for chunk in _chunks(file, size, 0, _RIFF):
        end = chunk.start + chunk.length
        if chunk.name == b"RIFF" and size < end and chunk.length < _PLACEHOLDER:
            return Declared(None, f"the file should have {end} bytes, and it has {size}")
    return Declared()


def wave64(file: BinaryIO, size: int) -> Declared:
    """Sony's Wave64: RIFF with 128-bit names and 64-bit lengths."""
    rate = channels = None
    byte_rate = 0.0
    for chunk in _chunks(file, size, 40, _W64):
        if chunk.name[:4] == b"fmt ":
            tag, channels, rate, stated, frame_bytes = _wave_format(read_at(file, chunk.start, 14), "<")
            byte_rate = float(frame_bytes * rate if tag in _PCM_TAGS else stated)
        elif chunk.name[:4] == b"data":
            length, fault, understated = _audio_bytes(file, size, chunk, byte_rate, _W64)
            duration = length / byte_rate if length is not None and byte_rate > 0 else None
            return Declared(duration, fault, rate, channels, understated)
    return Declared(None, "the file ends before its data chunk", rate, channels)


def _extended(ten: bytes) -> float:
    """80-bit IEEE 754 extended float, as AIFF writes a sampling rate; 0 for what no rate can be.

    >>> _extended(bytes.fromhex("400bfa00000000000000"))
    8000.0
    """
    exponent, mantissa = struct.unpack(">HQ", ten.ljust(10, b"\0"))
    return math.ldexp(mantissa, exponent - 16383 - 63) if exponent < 16383 + 64 else 0.0


def aiff(file: BinaryIO, size: int) -> Declared:
    """AIFF and AIFF-C; the sound chunk's length for plain samples, the frame count for compressed ones."""
    channels, frames, rate, byte_rate = None, 0, None, 0.0
    compressed = read_at(file, 8, 4) == b"AIFC"
    for chunk in _chunks(file, size, 12, _IFF):
        if chunk.name == b"COMM":
            body = read_at(file, chunk.start, 22).ljust(22, b"\0")
            channels, frames, bits = struct.unpack(">HIH", body[:8])
            rate = _extended(body[8:18])
            if not compressed or body[18:22] in _AIFF_PLAIN:
                byte_rate = channels * -(-bits // 8) * rate
        elif chunk.name == b"SSND":
            data = chunk._replace(start=chunk.start + 8, length=max(0, chunk.length - 8))
            length, fault, understated = _audio_bytes(file, size, data, byte_rate, _IFF)
            if understated and length is not None:
                # No decoder at hand reads on past this length: what lies behind it is reported at least.
                fault = f"the sound chunk declares {length} bytes, and {size - data.start} are there"
            duration = None
            if length is not None:
                duration = length / byte_rate if byte_rate > 0 else frames / rate if rate else None
            return Declared(duration, fault, rate, channels)
    return Declared(None, "the file ends before its sound chunk", rate, channels)


def au(file: BinaryIO, size: int) -> Declared:
    """Sun and NeXT audio, in either byte order."""
    head = read_at(file, 0, 24)
    if len(head) < 24:
        return Declared(None, "the file ends within its header")
    order = "<" if head[:4] == b"dns." else ">"
    start, length, encoding, rate, channels = struct.unpack(f"{order}IIIII", head[4:])
    byte_rate = float(_AU_BYTES.get(encoding, 0) * rate * channels)
    if length == 0xFFFF_FFFF or byte_rate == 0:
        return Declared(None, None, rate, channels)
    understated = (size - start - length) / byte_rate > UNSEEN_S
    return Declared(length / byte_rate or None, None, rate, channels, understated)


def caf(file: BinaryIO, size: int) -> Declared:
    """Apple's Core Audio Format; the packet table counts frames where packets vary."""
    rate, channels, packet_bytes, packet_frames = None, None, 0, 0
    duration, fault = None, None
    for chunk in _chunks(file, size, 8, _CAF):
        if chunk.name == b"desc":
            body = read_at(file, chunk.start, 32).ljust(32, b"\0")
            rate, _, _, packet_bytes, packet_frames, channels, _ = struct.unpack(">dIIIIII", body)
        elif chunk.name == b"data":
            if chunk.length > size - chunk.start:
                fault = f"the audio should have {chunk.length} bytes, and {size - chunk.start} are there"
            if chunk.length > 4 and packet_bytes and rate and rate > 0:
                duration = (chunk.length - 4) / packet_bytes * packet_frames / rate
        elif chunk.name == b"pakt" and rate and rate > 0:
            frames = struct.unpack(">q", read_at(file, chunk.start + 8, 8).ljust(8, b"\0"))[0]
            duration = frames / rate if frames > 0 else duration
    return Declared(duration, fault, rate, channels)


def _crc8(data: bytes) -> int:
    """CRC-8 of RFC 9639, polynomial x^8 + x^2 + x + 1, over a frame header."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc


def _flac_position(head: bytes, block: int) -> int | None:
    """First sample of the frame that `head` opens with, at `block` samples a frame; None when it is none."""
    if len(head) < 16 or head[0] != 0xFF or head[1] & 0xFE != 0xF8 or head[3] & 0x01:
        return None
    lead = head[4]
    more = 0 if lead < 0x80 else 8 - (lead ^ 0xFF).bit_length() - 1
    if lead >= 0x80 and not 1 <= more <= 6:
        return None
    number = lead if more == 0 else lead & (0x3F >> more)
    for byte in head[5 : 5 + more]:
        if byte & 0xC0 != 0x80:
            return None
        number = number << 6 | byte & 0x3F
    end = 5 + more + {6: 1, 7: 2}.get(head[2] >> 4, 0) + {12: 1, 13: 2, 14: 2}.get(head[2] & 0x0F, 0)
    if end >= len(head) or _crc8(head[:end]) != head[end]:
        return None
    return number if head[1] & 1 else number * block


def flac(file: BinaryIO, size: int, offset: int = 0) -> Declared:
    """FLAC from its STREAMINFO; the last frames tell whether it declares less than there is."""
    body = read_at(file, offset + 8, 34)
    if len(body) < 34:
        return Declared(None, "the file ends within its header", codec="flac")
    block, largest_frame = struct.unpack(">H", body[2:4])[0], int.from_bytes(body[7:10])
    packed = int.from_bytes(body[10:18])
    rate, channels, frames = packed >> 44, (packed >> 41 & 7) + 1, packed & (1 << 36) - 1
    if frames == 0 or rate == 0:
        # A stream of unknown length, which libsndfile refuses.
        return Declared(None, None, rate, channels, understated=True, codec="flac")
    tail = read_at(file, max(0, size - max(65_536, 2 * largest_frame)), 1 << 21)
    at = tail.find(b"\xff")
    understated = False
    while at >= 0 and not understated:
        position = _flac_position(tail[at : at + 16], block)
        understated = position is not None and position >= frames
        at = tail.find(b"\xff", at + 1)
    return Declared(frames / rate, None, rate, channels, understated, codec="flac")
