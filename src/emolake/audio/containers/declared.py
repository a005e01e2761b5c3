"""What a container declares of itself, as each of its readers returns it."""

from typing import BinaryIO, NamedTuple


class Declared(NamedTuple):
    """What the headers of one file say, to be compared with what is decoded; none of it is trusted."""

    duration_s: float | None = None
    """Seconds of audio that the headers promise; None when they promise nothing."""
    fault: str | None = None
    """Why the file cannot be whole (a size beyond its end, no end mark); None when no mark is missing."""
    sampling_rate: float | None = None
    """Frames a second, where the header states it plainly."""
    channels: int | None = None
    """Channels, where the header states it plainly."""
    understated: bool = False
    """The header declares less audio than the file holds: a decoder that believes it loses the rest."""
    codec: str | None = None
    """Codec in the container's own words, where the choice of the decoder hangs on it."""
    links: int = 1
    """Complete streams chained one after the other (Ogg)."""


_BEYOND = 1 << 43
"""8 TiB: broken headers add up to offsets that no file system reaches, and seek would raise."""


def read_at(file: BinaryIO, offset: int, count: int) -> bytes:
    """Return up to `count` bytes from `offset`; fewer at the end of the file, none beyond what a file can reach."""
    if not 0 <= offset < _BEYOND:
        return b""
    file.seek(offset)
    return file.read(count)
