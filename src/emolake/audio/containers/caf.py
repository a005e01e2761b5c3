"""CAF (Apple, "Core Audio Format")."""

import struct
from typing import BinaryIO

from emolake.audio.containers.chunks import CAF, chunks
from emolake.audio.containers.declared import Declared, read_at


def caf(file: BinaryIO, size: int) -> Declared:
    """Read Apple's Core Audio Format; the packet table counts frames where packets vary."""
    rate, channels, packet_bytes, packet_frames = None, None, 0, 0
    duration, fault = None, None
    for chunk in chunks(file, size, 8, CAF):
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
