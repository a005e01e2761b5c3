"""Changes to the waveforms of training clips as calls have them: rooms, lines, codecs, offsets, clipping.

Everything is drawn from one generator and computed on arrays in memory, so the same seed gives the same clips.
"""

import io
from typing import Literal, cast

import av
import numpy as np
import soundfile
import soxr
from pydantic import Field
from scipy.signal import butter, oaconvolve, sosfilt

from emolake.options import Options

_LINE_HZ = 8000
_MAINS_HZ = (50.0, 60.0)
_WAV_SUBTYPES = {"gsm": "GSM610", "mulaw": "ULAW", "alaw": "ALAW"}
CodecName = Literal["gsm", "mulaw", "alaw", "amr", "opus", "mp3"]


class CallOptions(Options):
    """How often, and how far, a training clip is made to sound like a call; the key `augment.call` of a recipe."""

    band_chance: float = Field(0.3, ge=0, le=1)
    """Share of clips that lose what a telephone does not carry: 200 to 400 Hz up to 3000 to 3900 Hz."""
    codec_chance: float = Field(0.3, ge=0, le=1)
    """Share that goes through a codec and back."""
    codecs: tuple[CodecName, ...] = ("gsm", "mulaw", "alaw", "amr", "opus", "mp3")
    """The codecs drawn from."""
    room_chance: float = Field(0.2, ge=0, le=1)
    """Share that is given the tail of a room."""
    room_rt60_s: tuple[float, float] = (0.1, 0.6)
    """Seconds in which the tail falls by 60 dB."""
    offset_chance: float = Field(0.2, ge=0, le=1)
    """Share that is given a DC offset."""
    offset: float = Field(0.02, ge=0, lt=1)
    """Largest offset of full scale."""
    hum_chance: float = Field(0.2, ge=0, le=1)
    """Share with mains hum and its harmonics."""
    hum_dbfs: tuple[float, float] = (-60.0, -35.0)
    """Its level."""
    clip_chance: float = Field(0.1, ge=0, le=1)
    """Share whose peaks are cut off."""
    clip_share: tuple[float, float] = (0.3, 0.9)
    """Of the peak, where they are cut off."""
    silence_chance: float = Field(0.2, ge=0, le=1)
    """Share with silence before or behind."""
    silence_s: float = Field(1.0, ge=0)
    """Longest such silence."""


def through_call(
    wave: np.ndarray, generator: np.random.Generator, options: CallOptions, *, sampling_rate: int
) -> np.ndarray:
    """Return a clip [n] float32, full scale 1, with some of the changes, in the order in which a call has them."""
    wanted = generator.random(7)
    if wanted[0] < options.silence_chance:
        wave = _with_silence(wave, generator, options.silence_s, sampling_rate)
    if wanted[1] < options.room_chance:
        wave = _in_room(wave, generator, options.room_rt60_s, sampling_rate)
    if wanted[2] < options.hum_chance:
        wave = wave + _hum(len(wave), generator, options.hum_dbfs, sampling_rate)
    if wanted[3] < options.offset_chance:
        wave = wave + generator.uniform(-options.offset, options.offset)
    if wanted[4] < options.clip_chance:
        limit = float(np.abs(wave).max()) * generator.uniform(*options.clip_share)
        wave = np.clip(wave, -limit, limit)
    if wanted[5] < options.band_chance:
        wave = _through_line(wave, generator, sampling_rate)
    if wanted[6] < options.codec_chance and options.codecs:
        codec = options.codecs[int(generator.integers(len(options.codecs)))]
        wave = round_trip(wave, codec, generator, sampling_rate=sampling_rate)
    return wave.astype(np.float32, copy=False)


def round_trip(
    wave: np.ndarray, codec: CodecName, generator: np.random.Generator, *, sampling_rate: int
) -> np.ndarray:
    """Return a clip [n] as it comes back from a codec, at a bit rate drawn for it, of the same length.

    Codecs of the telephone network carry 8 kHz.
    """
    wave = np.clip(wave, -1, 1).astype(np.float32)
    if codec in _WAV_SUBTYPES:
        narrow = soxr.resample(wave, sampling_rate, _LINE_HZ)
        return _fitted(_by_soundfile(narrow, _WAV_SUBTYPES[codec]), _LINE_HZ, len(wave), sampling_rate)
    if codec == "amr":
        narrow = soxr.resample(wave, sampling_rate, _LINE_HZ)
        bits = int(generator.choice([4750, 5900, 7400, 12_200]))
        back, rate = _by_ffmpeg(narrow, _LINE_HZ, "libopencore_amrnb", "amr", "s16", bits)
    elif codec == "opus":
        bits = int(generator.choice([8000, 12_000, 16_000, 24_000]))
        back, rate = _by_ffmpeg(wave, sampling_rate, "libopus", "ogg", "flt", bits)
    else:
        bits = int(generator.choice([16_000, 24_000, 32_000]))
        back, rate = _by_ffmpeg(wave, sampling_rate, "libmp3lame", "mp3", "fltp", bits)
    return _fitted(back, rate, len(wave), sampling_rate)


def _with_silence(
    wave: np.ndarray, generator: np.random.Generator, longest_s: float, sampling_rate: int
) -> np.ndarray:
    before, behind = (
        np.zeros(int(generator.uniform(0, longest_s) * sampling_rate), wave.dtype) for _ in range(2)
    )
    return np.concatenate([before, wave, behind])


def _in_room(
    wave: np.ndarray, generator: np.random.Generator, rt60_s: tuple[float, float], sampling_rate: int
) -> np.ndarray:
    """Add a tail of noise that decays exponentially, of the direct sound's energy at most."""
    seconds = generator.uniform(*rt60_s)
    time = np.arange(1, int(seconds * sampling_rate)) / sampling_rate
    tail = generator.normal(size=len(time)) * 10 ** (-3 * time / seconds)
    tail *= generator.uniform(0.2, 1.0) / np.sqrt(np.sum(tail**2))
    return np.asarray(oaconvolve(wave, np.concatenate([[1.0], tail]))[: len(wave)])


def _hum(
    size: int, generator: np.random.Generator, dbfs: tuple[float, float], sampling_rate: int
) -> np.ndarray:
    mains = generator.choice(_MAINS_HZ)
    time = np.arange(size) / sampling_rate
    wave = sum(
        generator.uniform(0, 1) / order * np.sin(2 * np.pi * (mains * order * time + generator.random()))
        for order in range(1, 7)
    )
    level = 10 ** (generator.uniform(*dbfs) / 20)
    return np.asarray(wave * level / max(np.sqrt(np.mean(np.square(wave))), 1e-9))


def _through_line(wave: np.ndarray, generator: np.random.Generator, sampling_rate: int) -> np.ndarray:
    edges = (generator.uniform(200, 400), generator.uniform(3000, 3900))
    return np.asarray(sosfilt(butter(4, edges, "bandpass", fs=sampling_rate, output="sos"), wave))


def _by_soundfile(wave: np.ndarray, subtype: str) -> np.ndarray:
    file = io.BytesIO()
    soundfile.write(file, wave, _LINE_HZ, format="WAV", subtype=subtype)
    file.seek(0)
    return np.asarray(soundfile.read(file, dtype="float32")[0])


def _by_ffmpeg(
    wave: np.ndarray, rate: int, encoder: str, container: str, sample_format: str, bit_rate: int
) -> tuple[np.ndarray, int]:
    """Return what comes back from an encoder of FFmpeg, and its sampling rate."""
    samples = (wave * 32_767).astype(np.int16) if sample_format == "s16" else wave
    file = io.BytesIO()
    with av.open(file, "w", format=container, container_options={"fflags": "+bitexact"}) as output:
        stream = cast("av.AudioStream", output.add_stream(encoder, rate=rate, layout="mono"))
        stream.bit_rate = bit_rate
        stream.options = {"compression_level": "3"} if encoder != "libopencore_amrnb" else {}
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples[None]), format=sample_format, layout="mono"
        )
        frame.sample_rate = rate
        frame.pts = 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r", format=container) as opened:
        blocks = [frame.to_ndarray().reshape(-1) for frame in opened.decode(audio=0)]
        found = opened.streams.audio[0].rate
    joined = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    scale = 1 / 32_768 if joined.dtype == np.int16 else 1.0
    return joined.astype(np.float32) * np.float32(scale), found


def _fitted(wave: np.ndarray, rate: int, size: int, sampling_rate: int) -> np.ndarray:
    """Return a wave at another rate, with silence behind or cut to `size` samples."""
    resampled = soxr.resample(wave, rate, sampling_rate) if rate != sampling_rate else wave
    return np.pad(resampled[:size], (0, max(0, size - len(resampled))))
