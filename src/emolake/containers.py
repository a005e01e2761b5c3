"""Which container a file is by its first bytes, which decoder reads it, and how long it claims to be."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from emolake.containers_chunks import aiff, au, avi, caf, flac, riff, wave64
from emolake.containers_packets import matroska, mp3, mp4, mpeg_frame, ogg
from emolake.declared import Declared, read_at

Decoder = Literal["libsndfile", "ffmpeg"]

_DEMUXERS = {
    "wav": "wav", "w64": "w64", "aiff": "aiff", "au": "au", "caf": "caf", "flac": "flac", "ogg": "ogg",
    "mp3": "mp3", "adts": "aac", "amr": "amr", "mp4": "mov", "matroska": "matroska", "asf": "asf",
    "avi": "avi", "flv": "flv",
}  # fmt: skip
_BY_LIBSNDFILE = {"wav", "w64", "aiff", "au", "caf", "flac", "ogg", "voc", "nist"}
_MAGICS = (
    (b"RF64", "wav"), (b"BW64", "wav"), (b"RIFX", "wav"), (b"riff\x2e\x91\xcf\x11", "w64"), (b".snd", "au"),
    (b"dns.", "au"), (b"caff", "caf"), (b"fLaC", "flac"), (b"OggS", "ogg"), (b"\x1aE\xdf\xa3", "matroska"),
    (b"#!AMR", "amr"), (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"), (b"FLV\x01", "flv"),
    (b"Creative Voice File", "voc"), (b"NIST_1A", "nist"),
)  # fmt: skip
_MP4_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp"}


@dataclass(frozen=True)
class Declaration:
    """How one file is to be read, and what it says of itself."""

    container: str
    """Short name, "unknown" where the first bytes are no container that is told by them."""
    decoder: Decoder
    """The decoder to try first; ffmpeg also reads what libsndfile refuses."""
    demuxer: str | None
    """FFmpeg's demuxer, so that the extension of a file has no say; None leaves it to FFmpeg's probing."""
    declared: Declared
    demuxer_options: dict[str, str] = field(default_factory=dict)


def _after_tags(file: BinaryIO) -> int:
    """Offset behind the ID3v2 tags that may stand before MP3, AAC and FLAC alike."""
    offset = 0
    for _ in range(8):
        head = read_at(file, offset, 10)
        if len(head) < 10 or head[:3] != b"ID3":
            break
        length = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        offset += 10 + length + (10 if head[5] & 0x10 else 0)
    return offset


def sniff(head: bytes) -> str:
    """Names the container that `head`, a file's first 32 bytes, opens.

    >>> sniff(b"RIFF$\\xfa\\x00\\x00WAVEfmt ")
    'wav'
    >>> sniff(b"dear diary")
    'unknown'
    """
    for magic, container in _MAGICS:
        if head.startswith(magic):
            return container
    if head[:4] == b"RIFF":
        return {b"WAVE": "wav", b"AVI ": "avi"}.get(head[8:12], "unknown")
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[4:8] in _MP4_BOXES:
        return "mp4"
    if head[:1] == b"\xff" and head[1:2] and head[1] & 0xF6 == 0xF0:
        return "adts"
    return "mp3" if mpeg_frame(head) else "unknown"


def _declared(file: BinaryIO, size: int, container: str, offset: int) -> Declared:
    match container:
        case "wav":
            return riff(file, size)
        case "w64":
            return wave64(file, size)
        case "aiff":
            return aiff(file, size)
        case "au":
            return au(file, size)
        case "caf":
            return caf(file, size)
        case "flac":
            return flac(file, size, offset)
        case "ogg":
            return ogg(file, size)
        case "avi":
            return avi(file, size)
        case "mp3":
            return mp3(file, size, offset)
        case "mp4":
            return mp4(file, size)
        case "matroska":
            return matroska(file, size)
        case _:
            return Declared()


def declaration(path: Path) -> Declaration:
    """Reads the headers of `path`, in constant memory; nothing is decoded.

    Raises OSError where the file cannot be read. A broken header is no error: it declares less, or a fault.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        offset = _after_tags(file)
        container = sniff(read_at(file, offset, 32))
        declared = _declared(file, size, container, offset)
    believed = container in _BY_LIBSNDFILE and not declared.understated
    if container == "ogg":
        # libsndfile ends at the first link of a chained file, and gives Opus only at its own rates.
        believed = declared.links == 1 and declared.codec in ("vorbis", "flac")
    options = {"ignore_length": "1"} if container == "wav" and declared.understated else {}
    decoder: Decoder = "libsndfile" if believed else "ffmpeg"
    return Declaration(container, decoder, _DEMUXERS.get(container), declared, options)
