"""AU, of Sun and NeXT (Sun's audio(5))."""

import struct
from typing import BinaryIO

from emolake.audio.containers.chunks import UNSEEN_S
from emolake.audio.containers.declared import Declared, read_at

_SAMPLE_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}


def au(file: BinaryIO, size: int) -> Declared:
    """Read Sun and NeXT audio, in either byte order."""
    head = read_at(file, 0, 24)
    if len(head) < 24:
        return Declared(None, "the file ends within its header")
    order = "<" if head[:4] == b"dns." else ">"
    start, length, encoding, rate, channels = struct.unpack(f"{order}IIIII", head[4:])
    byte_rate = float(_SAMPLE_BYTES.get(encoding, 0) * rate * channels)
    if length == 0xFFFF_FFFF or byte_rate == 0:
        return Declared(None, None, rate, channels)
    understated = (size - start - length) / byte_rate > UNSEEN_S
    return Declared(length / byte_rate or None, None, rate, channels, understated)
