"""WAV: RIFF, RIFX, RF64 and BW64 (Microsoft and IBM, "Multimedia Programming Interface 1.0"; EBU Tech 3306)."""

import struct
from typing import BinaryIO

from emolake.audio.containers.chunks import IFF, PCM_TAGS, RIFF, audio_bytes, chunks, wave_format
from emolake.audio.containers.declared import Declared, read_at

_MPEG_TAGS = {0x0050, 0x0055}  # MPEG audio of layers 1 and 2, and of layer 3


def riff(file: BinaryIO, size: int) -> Declared:
    """Read WAV of any byte order and size; the data chunk's length is compared with the end of the file."""
    order = ">" if read_at(file, 0, 4) == b"RIFX" else "<"
    layout = IFF if order == ">" else RIFF
    wide = fact = 0
    tag, channels, rate, stated, frame_bytes = 0, None, None, 0, 0
    for chunk in chunks(file, size, 12, layout):
        if chunk.name == b"ds64":
            wide = struct.unpack("<Q", read_at(file, chunk.start + 8, 8).ljust(8, b"\0"))[0]
        elif chunk.name == b"fmt ":
            tag, channels, rate, stated, frame_bytes = wave_format(read_at(file, chunk.start, 14), order)
        elif chunk.name == b"fact":
            fact = struct.unpack(f"{order}I", read_at(file, chunk.start, 4).ljust(4, b"\0"))[0]
        elif chunk.name == b"data":
            if chunk.length == 0xFFFF_FFFF and 0 < wide < 1 << 62:
                chunk = chunk._replace(length=wide)
            plain = tag in PCM_TAGS
            byte_rate = float(frame_bytes * rate if plain and rate else stated)
            length, fault, understated = audio_bytes(file, size, chunk, byte_rate, layout)
            duration = length / byte_rate if length is not None and byte_rate > 0 else None
            if not plain and length is not None and rate and 0 < fact < 0xFFFF_FFFF:
                duration = fact / rate
            codec = "mpeg" if tag in _MPEG_TAGS else None
            return Declared(duration, fault, rate, channels, understated, codec)
    return Declared(None, "the file ends before its data chunk", rate, channels)
