"""Chunks, which WAV, W64, AIFF, CAF and AVI are made of: walking them, and what the audio's own chunk promises."""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from emolake.audio.containers.declared import read_at

UNSEEN_S = 0.1
"""What lies behind the declared audio, is no chunk and would last longer than this, is taken for audio."""
PLACEHOLDER = 0x7FFF_F000
"""Sizes from here up, larger than the file, are what programs that write to a pipe leave in the header."""
PCM_TAGS = {0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE}
"""WAVE format tags of a fixed number of bytes a frame: PCM, float, A-law, mu-law, extensible."""
_MOST_CHUNKS = 100_000


class Layout(NamedTuple):
    """How one family of containers writes the head of a chunk."""

    name_bytes: int
    length: str
    """struct format of the length."""
    own: int
    """Bytes of the head that the length includes."""
    align: int
    """Chunks begin at multiples of this."""


class Chunk(NamedTuple):
    """A chunk's name, and where its content begins and how long it claims to be, in bytes."""

    name: bytes
    start: int
    length: int


RIFF = Layout(4, "<I", 0, 2)
IFF = Layout(4, ">I", 0, 2)
W64 = Layout(16, "<Q", 24, 8)
CAF = Layout(4, ">q", 0, 1)


def chunks(file: BinaryIO, size: int, offset: int, layout: Layout) -> Iterator[Chunk]:
    """Yield chunk after chunk from `offset`; the caller stops at the one whose length it does not believe."""
    head_bytes = layout.name_bytes + struct.calcsize(layout.length)
    for _ in range(_MOST_CHUNKS):
        head = read_at(file, offset, head_bytes)
        if len(head) < head_bytes:
            return
        length = struct.unpack(layout.length, head[layout.name_bytes :])[0] - layout.own
        yield Chunk(head[: layout.name_bytes], offset + head_bytes, length)
        if length < 0:
            return
        offset += head_bytes + length
        offset += -offset % layout.align


def _chunk_follows(file: BinaryIO, size: int, end: int, layout: Layout) -> bool:
    """Return whether a plausible chunk begins behind the audio, padded or (as some programs write it) not."""
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


def audio_bytes(
    file: BinaryIO, size: int, data: Chunk, byte_rate: float, layout: Layout
) -> tuple[int | None, str | None, bool]:
    """Return the declared bytes of audio (None: undeclared), the fault, and whether the file holds more than that."""
    rest = size - data.start
    if data.length < 0 or data.length == 0xFFFF_FFFF or (data.length > rest and data.length >= PLACEHOLDER):
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


def wave_format(body: bytes, order: str) -> tuple[int, int, int, int, int]:
    """Return the format tag, channels, rate, bytes a second as stated, bytes a frame."""
    return struct.unpack(f"{order}HHIIH", body[:14].ljust(14, b"\0"))
