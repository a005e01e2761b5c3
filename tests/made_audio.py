"""Made recordings for the tests of decoding: one file for each container, written by libsndfile and FFmpeg."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile as sf

SECONDS = 5.432
LIBSNDFILE = {
    "plain.wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "mulaw.wav": ("WAV", "ULAW"),
    "adpcm.wav": ("WAV", "IMA_ADPCM"),
    "large.wav": ("RF64", "PCM_24"),
    "sony.w64": ("W64", "PCM_16"),
    "apple.aiff": ("AIFF", "PCM_16"),
    "apple.caf": ("CAF", "PCM_16"),
    "sun.au": ("AU", "PCM_16"),
    "free.flac": ("FLAC", "PCM_16"),
    "vorbis.ogg": ("OGG", "VORBIS"),
}
FFMPEG = {
    "layer3.mp3": ("mp3", "libmp3lame", 44_100, {}),
    "bare.mp3": ("mp3", "libmp3lame", 44_100, {"write_xing": "0"}),
    "voice.opus": ("ogg", "libopus", 48_000, {}),
    "audio.webm": ("webm", "libopus", 48_000, {}),
    "live.webm": ("webm", "libopus", 48_000, {"live": "1"}),
    "audio.m4a": ("ipod", "aac", 44_100, {}),
    "fast.m4a": ("ipod", "aac", 44_100, {"movflags": "faststart"}),
    "raw.aac": ("adts", "aac", 44_100, {}),
    "phone.amr": ("amr", "libopencore_amrnb", 8_000, {}),
    "sound.avi": ("avi", "pcm_s16le", 16_000, {}),
}


def tone(seconds: float, sampling_rate: int, channels: int = 1) -> np.ndarray:
    """A swelling tone in noise, [n, channels] float32, every channel half as loud as the one before."""
    time = np.arange(round(seconds * sampling_rate)) / sampling_rate
    noise = 0.02 * np.random.default_rng(0).standard_normal(len(time))
    mono = 0.3 * np.sin(2 * np.pi * 220 * time) * (1 + 0.5 * np.sin(2 * np.pi * 3 * time)) + noise
    return np.stack([mono / 2**channel for channel in range(channels)], axis=1).astype(np.float32)


def write_ffmpeg(
    path: Path,
    samples: np.ndarray,
    sampling_rate: int,
    *,
    container: str,
    codec: str,
    options: dict[str, str],
) -> None:
    """Encode samples [n, channels] float32 by FFmpeg."""
    layout = "mono" if samples.shape[1] == 1 else "stereo"
    with av.open(str(path), "w", format=container, options=options) as output:
        stream: Any = output.add_stream(codec, rate=sampling_rate, layout=layout)
        context = stream.codec_context
        convert = av.AudioResampler(context.format.name, layout, sampling_rate, context.frame_size or 1024)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout=layout)
        frame.sample_rate = sampling_rate
        frame.pts = 0
        frame.time_base = Fraction(1, sampling_rate)
        for piece in [*convert.resample(frame), *convert.resample(None), None]:
            for packet in stream.encode(piece):
                output.mux(packet)


def write_made(path: Path, *, seconds: float = SECONDS) -> Path:
    """Write the recording that the name of `path` means, one of LIBSNDFILE and FFMPEG."""
    if path.name in LIBSNDFILE:
        container, subtype = LIBSNDFILE[path.name]
        sf.write(path, tone(seconds, 16_000), 16_000, format=container, subtype=subtype)
    else:
        container, codec, rate, options = FFMPEG[path.name]
        write_ffmpeg(path, tone(seconds, rate), rate, container=container, codec=codec, options=options)
    return path
