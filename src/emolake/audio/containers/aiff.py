"""AIFF and AIFF-C (Apple)."""

import math
import struct
from typing import BinaryIO

from emolake.audio.containers.chunks import IFF, audio_bytes, chunks
from emolake.audio.containers.declared import Declared, read_at

_PLAIN = {b"NONE", b"twos", b"sowt", b"fl32", b"FL32", b"fl64", b"FL64", b"raw ", b"in24", b"in32"}


def _extended(ten: bytes) -> float:
    """Read an 80-bit IEEE 754 extended float, as AIFF writes a sampling rate; 0 for what no rate can be.

    >>> _extended(bytes.fromhex("400bfa00000000000000"))
    8000.0
    """
    exponent, mantissa = struct.unpack(">HQ", ten.ljust(10, b"\0"))
    return math.ldexp(mantissa, exponent - 16383 - 63) if exponent < 16383 + 64 else 0.0


def aiff(file: BinaryIO, size: int) -> Declared:
    """Read AIFF and AIFF-C; the sound chunk's length for plain samples, the frame count for compressed ones."""
    channels, frames, rate, byte_rate = None, 0, None, 0.0
    compressed = read_at(file, 8, 4) == b"AIFC"
    for chunk in chunks(file, size, 12, IFF):
        if chunk.name == b"COMM":
            body = read_at(file, chunk.start, 22).ljust(22, b"\0")
            channels, frames, bits = struct.unpack(">HIH", body[:8])
            rate = _extended(body[8:18])
            if not compressed or body[18:22] in _PLAIN:
                byte_rate = channels * -(-bits // 8) * rate
        elif chunk.name == b"SSND":
            data = chunk._replace(start=chunk.start + 8, length=max(0, chunk.length - 8))
            length, fault, understated = audio_bytes(file, size, data, byte_rate, IFF)
            if understated and length is not None:
                # No decoder at hand reads on past this length: what lies behind it is reported at least.
                fault = f"the sound chunk declares {length} bytes, and {size - data.start} are there"
            duration = None
            if length is not None:
                duration = length / byte_rate if byte_rate > 0 else frames / rate if rate else None
            return Declared(duration, fault, rate, channels)
    return Declared(None, "the file ends before its sound chunk", rate, channels)
