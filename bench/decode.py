"""How many hours of audio does a core decode, and search for speech, in an hour?

python -m bench.decode

Processor time, not wall time: of one process that decodes and resamples to 16 kHz, by emolake's reader (every channel),
by librosa.load and by PyAV with FFmpeg's resampler (mixed down before); and of emolake's decoding with voice activity
and windows behind it.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import librosa
import numpy as np
import soxr

from bench.common import RATE, cpu, folder, main, recording, side_by_side, table
from emolake.audio.voice_activity import SpeechDetector
from emolake.demo.encode import CODECS, write_audio
from emolake.tasks.decode import AudioReader
from emolake.tasks.segment import SegmentOptions, segment

_PLAN = {"short": (300.0, 3), "full": (900.0, 5)}  # seconds of audio, repeats
_FORMATS = (  # codec, rate in Hz, channels
    ("wav", 8_000, 2),
    ("wav", 16_000, 1),
    ("wav", 44_100, 2),
    ("flac", 48_000, 2),
    ("mp3", 16_000, 1),
    ("mp3", 44_100, 2),
    ("m4a", 48_000, 2),
    ("ogg-vorbis", 44_100, 2),
    ("ogg-opus", 48_000, 2),
    ("amr", 8_000, 1),
)


def measure(size: str) -> str:
    seconds, repeats = _PLAN[size]
    speech = recording(seconds, speech=0.6, seed=1)
    detector = SpeechDetector()
    rows = []
    with folder() as place:
        for codec, rate, channels in _FORMATS:
            path = place / f"{codec}-{rate}-{channels}.{CODECS[codec].extension}"
            samples = soxr.resample(speech, RATE, rate).astype(np.float32)
            write_audio(path, np.stack([samples] * channels, axis=1), rate, codec)
            work: dict[str, Callable[[], object]] = {
                "emolake": partial(own, path),
                "with voice activity": partial(own_segments, path, detector),
                "librosa.load": partial(librosa.load, path, sr=RATE),
                "PyAV": partial(by_ffmpeg, path),
            }
            if not _is_read(path):
                del work["librosa.load"]
            found = side_by_side(work, repeats)
            speeds = [f"{seconds / cpu(found[name]):,.0f}" if name in found else "cannot" for name in (
                "emolake", "PyAV", "librosa.load", "with voice activity",
            )]  # fmt: skip
            rows.append((f"{codec}, {rate / 1000:g} kHz, {channels} ch", *speeds))
    return f"{seconds:g} s of audio in each format, {repeats} runs.\n\n" + table(
        ("", "emolake decodes", "PyAV", "librosa.load", "emolake, with voice activity and windows"), rows
    )


def own(path: Path) -> int:
    """Return the samples at 16 kHz, mixed down, by emolake's reader."""
    with AudioReader(path) as reader:
        return sum(block.shape[0] for block in reader.blocks())


def own_segments(path: Path, detector: SpeechDetector) -> int:
    """Return the windows with their share of speech, as a shard cuts them."""
    with AudioReader(path) as reader:
        return sum(1 for _ in segment(reader.blocks(), options=SegmentOptions(), vad=detector))


def by_ffmpeg(path: Path) -> int:
    """Return the samples at 16 kHz, mixed down, by FFmpeg alone."""
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE)
    with av.open(str(path)) as container:
        frames = (made for frame in container.decode(audio=0) for made in resampler.resample(frame))
        return sum(frame.to_ndarray().shape[1] for frame in frames)


def _is_read(path: Path) -> bool:
    try:
        librosa.load(path, sr=RATE, duration=0.1)
    except Exception:  # noqa: BLE001 - whatever it raises for a format that it does not know
        return False
    return True


if __name__ == "__main__":
    main(measure)
