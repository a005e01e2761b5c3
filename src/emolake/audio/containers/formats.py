"""The container formats, one record each: the one place that says how a format is recognised, named and read.

A new format is a record here, and its parser in a file of its own where its headers promise a length.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from emolake.audio.containers.aiff import aiff
from emolake.audio.containers.au import au
from emolake.audio.containers.avi import avi
from emolake.audio.containers.caf import caf
from emolake.audio.containers.declared import Declared
from emolake.audio.containers.flac import flac
from emolake.audio.containers.matroska import matroska
from emolake.audio.containers.mp4 import BOXES, mp4
from emolake.audio.containers.mpeg import mp3, mpeg_frame
from emolake.audio.containers.ogg import ogg
from emolake.audio.containers.riff import riff
from emolake.audio.containers.wave64 import wave64

_COMPRESSED_BYTES_PER_SECOND = 8_000


def _promises_nothing(_file: BinaryIO, _size: int) -> Declared:
    return Declared()


def _never(_declared: Declared) -> bool:
    return False


def _believable(declared: Declared) -> bool:
    return not declared.understated


def _believable_and_no_mpeg(declared: Declared) -> bool:
    """Tell whether libsndfile is to read a WAV: what libmpg123 does not like it writes to standard error."""
    return not declared.understated and declared.codec != "mpeg"


def _single_vorbis_or_flac(declared: Declared) -> bool:
    """Tell whether it is a stream that libsndfile reads to its end, and at the stream's own rate.

    It ends at the first link of a chained file, and gives Opus only at its own rates.
    """
    return declared.links == 1 and declared.codec in ("vorbis", "flac")


@dataclass(frozen=True)
class ContainerFormat:
    """One container format."""

    name: str
    """What messages call it."""
    extensions: tuple[str, ...] = ()
    """Endings of the names of files that hold audio in it, without a dot."""
    magics: tuple[bytes, ...] = ()
    """What such a file begins with."""
    opened_by: Callable[[bytes], bool] = lambda _head: False
    """Whether a file's first 32 bytes open it, where no magic decides."""
    demuxer: str | None = None
    """FFmpeg's name of it; None where FFmpeg does not read it."""
    declared: Callable[[BinaryIO, int], Declared] = _promises_nothing
    """Parses the headers of a file of so many bytes."""
    by_libsndfile: Callable[[Declared], bool] = _never
    """Whether libsndfile reads a file that declares this, rather than FFmpeg."""
    understated_options: Mapping[str, str] = field(default_factory=dict)
    """What FFmpeg's demuxer is given for a file that declares less audio than it holds."""
    bytes_per_second: int = _COMPRESSED_BYTES_PER_SECOND
    """By which the length of a recording is estimated before it is decoded."""
    recognised_surely: bool = True
    """Whether no other file begins like this; false for the few bits that open a frame of MPEG audio."""
    skips_tags: bool = False
    """Whether its decoders read the ID3 tags before it themselves."""
    headerless_rates: Mapping[str, int] = field(default_factory=dict)
    """Sampling rate in Hz of each extension of a format without a header, whose files are mono."""
    samples_per_byte: float = 1.0
    """Samples of such a format that a byte holds."""
    no_audio: str | None = None
    """What such a file is, where it is known to hold no audio."""


def _headerless(
    name: str, demuxer: str, rates: Mapping[str, int], samples_per_byte: float = 1.0
) -> ContainerFormat:
    """Return a format whose files are samples and nothing else."""
    return ContainerFormat(
        name,
        tuple(rates),
        demuxer=demuxer,
        recognised_surely=False,
        headerless_rates=rates,
        samples_per_byte=samples_per_byte,
    )


# In the order in which they are recognised: what is recognised by less comes last.
FORMATS: tuple[ContainerFormat, ...] = (
    ContainerFormat(
        "wav", ("wav", "wave", "rf64"), (b"RF64", b"BW64", b"RIFX"),
        lambda head: head[:4] == b"RIFF" and head[8:12] == b"WAVE",
        "wav", riff, _believable_and_no_mpeg, {"ignore_length": "1"}, bytes_per_second=32_000,
    ),
    ContainerFormat(
        "w64", ("w64",), (b"riff\x2e\x91\xcf\x11",), demuxer="w64", declared=wave64, by_libsndfile=_believable
    ),
    ContainerFormat("au", ("au", "snd"), (b".snd", b"dns."), demuxer="au", declared=au, by_libsndfile=_believable),
    ContainerFormat("caf", ("caf",), (b"caff",), demuxer="caf", declared=caf, by_libsndfile=_believable),
    ContainerFormat(
        "flac", ("flac",), (b"fLaC",), demuxer="flac", declared=flac, by_libsndfile=_believable,
        bytes_per_second=16_000, skips_tags=True,
    ),
    ContainerFormat(
        "ogg", ("oga", "ogg", "ogv", "opus", "spx"), (b"OggS",), demuxer="ogg", declared=ogg,
        by_libsndfile=_single_vorbis_or_flac,
    ),
    ContainerFormat("matroska", ("mka", "mkv", "webm"), (b"\x1aE\xdf\xa3",), demuxer="matroska", declared=matroska),
    ContainerFormat("amr", ("amr", "awb"), (b"#!AMR",), demuxer="amr"),
    ContainerFormat("asf", ("wma",), (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",), demuxer="asf"),
    ContainerFormat("flv", (), (b"FLV\x01",), demuxer="flv"),
    ContainerFormat("voc", (), (b"Creative Voice File",), demuxer="voc", by_libsndfile=_believable),
    ContainerFormat("nist", (), (b"NIST_1A",), demuxer="nistsphere", by_libsndfile=_believable),
    ContainerFormat(
        "avi", ("avi",), opened_by=lambda head: head[:4] == b"RIFF" and head[8:12] == b"AVI ", demuxer="avi",
        declared=avi,
    ),
    ContainerFormat(
        "aiff", ("aif", "aifc", "aiff"),
        opened_by=lambda head: head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"),
        demuxer="aiff", declared=aiff, by_libsndfile=_believable, bytes_per_second=32_000,
    ),
    ContainerFormat(
        "mp4", ("3gp", "m4a", "m4b", "mov", "mp4"), opened_by=lambda head: head[4:8] in BOXES, demuxer="mov",
        declared=mp4,
    ),
    ContainerFormat(
        "adts", ("aac",), opened_by=lambda head: len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0,
        demuxer="aac", recognised_surely=False, skips_tags=True,
    ),
    ContainerFormat(
        "mp3", ("mp2", "mp3", "mpga"), opened_by=lambda head: mpeg_frame(head) is not None, demuxer="mp3", declared=mp3,
        recognised_surely=False, skips_tags=True,
    ),
    # Recognised by FFmpeg alone.
    ContainerFormat("ac3", ("ac3",), demuxer="ac3"),
    ContainerFormat("eac3", (), demuxer="eac3"),
    ContainerFormat("ape", ("ape",), demuxer="ape"),
    ContainerFormat("gsm", ("gsm",), demuxer="gsm"),
    ContainerFormat("mpeg", (), demuxer="mpeg"),
    ContainerFormat("mpegts", ("ts",), demuxer="mpegts"),
    ContainerFormat("rm", ("ra",), demuxer="rm"),
    ContainerFormat("tta", (), demuxer="tta"),
    ContainerFormat("wavpack", ("wv",), demuxer="wv"),
    # Without a header, as Asterisk and FreeSWITCH write them: by the name alone.
    _headerless("ulaw", "mulaw", {"ulaw": 8_000, "ulw": 8_000, "ul": 8_000}),
    _headerless("alaw", "alaw", {"alaw": 8_000, "alw": 8_000, "al": 8_000}),
    _headerless(
        "sln", "s16le",
        {
            "sln": 8_000, "slin": 8_000, "sln12": 12_000, "sln16": 16_000, "sln24": 24_000, "sln32": 32_000,
            "sln44": 44_100, "sln48": 48_000, "sln96": 96_000, "sln192": 192_000,
        },
        samples_per_byte=0.5,
    ),
    _headerless("g722", "g722", {"g722": 16_000}, samples_per_byte=2.0),
    # What is found beside audio and under its name.
    ContainerFormat(
        "appledouble", magics=(b"\x00\x05\x16\x07",),
        no_audio="a side file that macOS writes beside another one (AppleDouble); delete it, or leave it",
    ),
)  # fmt: skip
UNKNOWN = ContainerFormat("unknown", recognised_surely=False)

_BY_EXTENSION = {extension: each for each in FORMATS for extension in each.extensions}

DEMUXERS = tuple(each.demuxer for each in FORMATS if each.demuxer is not None)
"""FFmpeg's demuxers that may be used: none that opens other files, as a playlist in disguise would."""


def format_of(head: bytes) -> ContainerFormat:
    """Return the format that a file's first 32 bytes open.

    >>> format_of(b"RIFF$\\xfa\\x00\\x00WAVEfmt ").name
    'wav'
    >>> format_of(b"dear diary").name
    'unknown'
    """
    found = (each for each in FORMATS if head.startswith(each.magics) or each.opened_by(head))
    return next(found, UNKNOWN)


def headerless_format(name: str) -> ContainerFormat | None:
    """Return the format without a header that the ending of a name stands for; None where it stands for another."""
    found = _BY_EXTENSION.get(extension(name), UNKNOWN)
    return found if found.headerless_rates else None


def headerless_extensions() -> list[str]:
    """Return the endings that stand for a format without a header."""
    return sorted(ending for ending, each in _BY_EXTENSION.items() if each.headerless_rates)


def is_audio(name: str) -> bool:
    """Tell by its ending whether a key or a file's name may hold audio; what macOS writes beside it does not.

    >>> is_audio("calls/a.wav.gz"), is_audio("calls/._a.wav")
    (True, False)
    """
    return extension(name) in _BY_EXTENSION and not name.rpartition("/")[2].startswith("._")


def bytes_per_second(name: str) -> int:
    """Return by how many bytes a second a recording of this name is estimated to be long."""
    ending = extension(name)
    found = _BY_EXTENSION.get(ending, UNKNOWN)
    if found.headerless_rates:
        return round(found.headerless_rates[ending] / found.samples_per_byte)
    return found.bytes_per_second


def extension(name: str) -> str:
    """Return the ending of a key or a file's name in lower case, without the dot, and without `gz` behind it."""
    # Not by pathlib, which interns every part of every key and is far slower.
    stem, _, ending = name.rpartition("/")[2].rpartition(".")
    if ending.lower() == "gz":
        stem, _, ending = stem.rpartition(".")
    return ending.lower() if stem else ""
