"""Audio files of many codecs from arrays: soundfile for what it writes, FFmpeg for the rest."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from emolake.errors import EmolakeError

_BLOCK_FRAMES = 16384  # libsndfile's Vorbis encoder overflows its stack on one large write


class EncodeError(EmolakeError):
    """A codec cannot hold the audio that it was given."""


@dataclass(frozen=True)
class Codec:
    """How one name of `CODECS` is written."""

    extension: str
    """Usual ending of the key, without the dot."""
    container: str
    """libsndfile's major format, or FFmpeg's muxer."""
    encoding: str
    """libsndfile's subtype, or FFmpeg's encoder."""
    by_ffmpeg: bool = False
    """Whether FFmpeg writes it."""
    rates_hz: tuple[int, ...] = ()
    """The only rates it takes; empty for any."""
    channels_max: int = 2
    """Most channels it takes."""
    options: tuple[tuple[str, str], ...] = ()
    """FFmpeg options of the encoder; made-up audio is to be written fast rather than well."""

    @property
    def is_lossless(self) -> bool:
        """Whether decoding gives back every sample that was written, to 16 bits or better."""
        return self.encoding in {"PCM_16", "pcm_f32le"}


_MPEG_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_OPUS_RATES_HZ = (8000, 12000, 16000, 24000, 48000)
CODECS: dict[str, Codec] = {
    "wav": Codec("wav", "WAV", "PCM_16", channels_max=8),
    # Not by libsndfile: it writes the time of day into a chunk of peaks.
    "wav-float": Codec("wav", "wav", "pcm_f32le", by_ffmpeg=True),
    "flac": Codec("flac", "FLAC", "PCM_16", channels_max=8),
    "ogg-vorbis": Codec("ogg", "OGG", "VORBIS"),
    "ogg-opus": Codec("opus", "ogg", "libopus", by_ffmpeg=True, rates_hz=_OPUS_RATES_HZ),
    "webm-opus": Codec("webm", "webm", "libopus", by_ffmpeg=True, rates_hz=_OPUS_RATES_HZ),
    "mp3": Codec(
        "mp3",
        "mp3",
        "libmp3lame",
        by_ffmpeg=True,
        rates_hz=_MPEG_RATES_HZ,
        options=(("compression_level", "9"),),
    ),
    "m4a": Codec(
        "m4a", "ipod", "aac", by_ffmpeg=True, rates_hz=_MPEG_RATES_HZ, options=(("aac_coder", "fast"),)
    ),
    "amr": Codec("amr", "amr", "libopencore_amrnb", by_ffmpeg=True, rates_hz=(8000,), channels_max=1),
}


def write_audio(path: Path, samples: NDArray[np.float32], sampling_rate: int, codec: str) -> None:
    """Write `samples` [n, channels] in [-1, 1] to `path` as `codec`, a name of `CODECS`; folders are made.

    Equal arguments give equal bytes, save for Ogg Vorbis: libsndfile draws its stream number from the clock.

    Raises:
        EncodeError: an unknown codec, or one that takes neither this rate nor this number of channels.
    """
    known = CODECS.get(codec)
    if known is None:
        raise EncodeError(f"found codec {codec!r}; expected one of {', '.join(CODECS)}")
    if samples.ndim != 2 or not 1 <= samples.shape[1] <= known.channels_max:
        raise EncodeError(
            f"{codec} takes samples [n, channels] with up to {known.channels_max} channels; "
            f"found an array of shape {samples.shape}: mix down, or choose another codec"
        )
    if known.rates_hz and sampling_rate not in known.rates_hz:
        raise EncodeError(
            f"found {sampling_rate} Hz; {codec} takes {', '.join(map(str, known.rates_hz))}: resample first"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    if known.by_ffmpeg:
        _write_by_ffmpeg(path, samples, sampling_rate, known)
        return
    with soundfile.SoundFile(
        path, "w", sampling_rate, samples.shape[1], subtype=known.encoding, format=known.container
    ) as file:
        for block in _blocks(samples):
            file.write(block)


def _write_by_ffmpeg(path: Path, samples: NDArray[np.float32], sampling_rate: int, codec: Codec) -> None:
    layout = "mono" if samples.shape[1] == 1 else "stereo"
    # bitexact: no random stream numbers and no version strings, so the same audio gives the same bytes.
    with av.open(
        str(path), "w", format=codec.container, container_options={"fflags": "+bitexact"}
    ) as container:
        added = container.add_stream(
            codec.encoding, rate=sampling_rate, options=dict(codec.options), layout=layout
        )
        stream = cast("av.AudioStream", added)
        written = 0
        for block in _blocks(samples):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block.T), format="fltp", layout=layout)
            frame.sample_rate = sampling_rate
            frame.pts = written
            written += len(block)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _blocks(samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(samples), _BLOCK_FRAMES):
        yield samples[start : start + _BLOCK_FRAMES]
