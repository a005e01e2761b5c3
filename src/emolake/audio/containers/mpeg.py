"""MP3 and its kin: MPEG audio frames (ISO 11172-3), and the headers of Xing, LAME (as published) and VBRI."""

from typing import BinaryIO, NamedTuple

from emolake.audio.containers.declared import Declared, read_at

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
    """Parse four bytes of frame header; None when they are none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    rate = head[2] >> 2 & 3
    if version == 1 or layer == 4 or rate == 3 or head[2] >> 4 == 15:
        return None
    sampling_rate = _MPEG_RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    return MpegFrame(1 if version == 3 else 2, layer, sampling_rate, head[3] >> 6 == 3, samples)


def mp3(file: BinaryIO, size: int) -> Declared:
    """Return the frame count of a Xing, Info or VBRI header, less delay and padding; without one, nothing.

    A duration computed from the bit rate is a guess and is not made.
    """
    head = read_at(file, 0, 512)
    frame = mpeg_frame(head)
    if frame is None:
        return Declared()
    side = {(1, False): 32, (1, True): 17, (2, False): 17, (2, True): 9}[frame.version, frame.mono]
    for at in (4 + side, 6 + side):  # with a checksum, everything comes two bytes later
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
