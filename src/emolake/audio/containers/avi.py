"""AVI: video of the RIFF kind (Microsoft and IBM, "Multimedia Programming Interface 1.0")."""

from typing import BinaryIO

from emolake.audio.containers.chunks import PLACEHOLDER, RIFF, chunks
from emolake.audio.containers.declared import Declared


def avi(file: BinaryIO, size: int) -> Declared:
    """Read a video of the RIFF kind: the length of its outermost chunks alone."""
    for chunk in chunks(file, size, 0, RIFF):
        end = chunk.start + chunk.length
        if chunk.name == b"RIFF" and size < end and chunk.length < PLACEHOLDER:
            return Declared(None, f"the file should have {end} bytes, and it has {size}")
    return Declared()
