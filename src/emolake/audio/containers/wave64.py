"""W64 (Sony, "Wave64 File Format")."""

from typing import BinaryIO

from emolake.audio.containers.chunks import PCM_TAGS, W64, audio_bytes, chunks, wave_format
from emolake.audio.containers.declared import Declared, read_at


def wave64(file: BinaryIO, size: int) -> Declared:
    """Read Sony's Wave64: RIFF with 128-bit names and 64-bit lengths."""
    rate = channels = None
    byte_rate = 0.0
    for chunk in chunks(file, size, 40, W64):
        if chunk.name[:4] == b"fmt ":
            tag, channels, rate, stated, frame_bytes = wave_format(read_at(file, chunk.start, 14), "<")
            byte_rate = float(frame_bytes * rate if tag in PCM_TAGS else stated)
        elif chunk.name[:4] == b"data":
            length, fault, understated = audio_bytes(file, size, chunk, byte_rate, W64)
            duration = length / byte_rate if length is not None and byte_rate > 0 else None
            return Declared(duration, fault, rate, channels, understated)
    return Declared(None, "the file ends before its data chunk", rate, channels)
