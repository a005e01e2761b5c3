"""A bucket of long recordings joined from real clips, with bad objects among them, and the truth about each.

Not a test: real clips that tests run the pipeline on. The clips stay in the shared data, out of the repository.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Literal

import av
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from emolake.demo.encode import CODECS, write_audio

PATTERN = "{date:%Y/%m/%d}/{site}/{call_id}.{ext}"

Expected = Literal["ok", "truncated", "silent", "quarantined", "not_audio"]

CLIP_HZ = 16000
SITES = ("north", "süd", "a b+c#d")
# Codec, rate in Hz, channels, length in seconds.
RECORDINGS: tuple[tuple[str, int, int, float], ...] = (
    ("wav", 8000, 1, 45.0),
    ("wav", 16000, 2, 31.25),
    ("wav", 44100, 2, 20.0),
    ("wav", 48000, 1, 10.0),
    ("wav-float", 22050, 1, 27.3),
    ("wav-float", 16000, 2, 60.0),
    ("flac", 8000, 2, 100.0),
    ("flac", 16000, 1, 180.0),
    ("flac", 48000, 2, 33.3),
    ("flac", 11025, 1, 59.99),
    ("flac", 16000, 1, 1200.0),
    ("mp3", 16000, 1, 90.0),
    ("mp3", 8000, 2, 50.0),
    ("mp3", 44100, 1, 21.7),
    ("m4a", 16000, 2, 75.0),
    ("m4a", 48000, 1, 40.0),
    ("m4a", 22050, 1, 10.4),
    ("ogg-vorbis", 16000, 1, 120.0),
    ("ogg-vorbis", 44100, 2, 25.0),
    ("ogg-opus", 48000, 1, 65.0),
    ("ogg-opus", 16000, 2, 45.5),
    ("webm-opus", 48000, 2, 35.0),
    ("webm-opus", 24000, 1, 80.0),
    ("amr", 8000, 1, 55.0),
)
AWKWARD_NAMES = {
    1: 'it\'s "quoted" & 100% = fine',
    6: "お問い合わせ 7",
    11: "c+d #12?",
    14: "nfd-e\u0301",
    19: "ein  Gespräch (2); Ende, 😀",
}


@dataclass(frozen=True)
class LaidClip:
    """One clip of the shared data, where it lies in the recording's own time."""

    start_s: float
    end_s: float
    channel: int
    emotion: str
    speaker: str
    source: str
    """Path of the clip in the shared data."""


@dataclass(frozen=True)
class LaidObject:
    """One object of the bucket, and what must come of it."""

    key: str
    day: date
    expected: Expected
    fault: str = ""
    """What is wrong with it, in a word or two; empty for a good recording."""
    codec: str = ""
    """Name in `emolake.demo.encode.CODECS`, whatever the key's extension says; empty for what is no audio."""
    sampling_rate: int = 0
    channels: int = 0
    samples: int | None = None
    """Samples a channel that can be decoded, where that is exact: lossless codecs, whole or cut WAV."""
    duration_s: float | None = None
    """Length that can be decoded, but for padding of a lossy codec's frame; None if the decoder decides."""
    declared_s: float = 0.0
    """Length that was laid in before the object was cut."""
    clips: tuple[LaidClip, ...] = ()
    """Those that were laid in; of a truncated object the later ones are cut off."""


@dataclass(frozen=True)
class Truth:
    """All objects of a bucket."""

    objects: tuple[LaidObject, ...]

    def of(self, *expected: Expected) -> list[LaidObject]:
        """The objects of which one of these must come."""
        return [laid for laid in self.objects if laid.expected in expected]

    def write(self, path: Path) -> None:
        """Keep the truth as JSON."""
        text = json.dumps([asdict(laid) for laid in self.objects], default=str, ensure_ascii=False, indent=1)
        path.write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Truth":
        """The truth that `write` kept."""
        rows = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            tuple(
                LaidObject(
                    **{
                        **row,
                        "day": date.fromisoformat(row["day"]),
                        "clips": tuple(LaidClip(**clip) for clip in row["clips"]),
                    }
                )
                for row in rows
            )
        )


def make_corpus(folder: Path, data: Path, *, days: Sequence[date], seed: int) -> Truth:
    """Fill the bucket `folder` from the shared data; the truth also goes to `truth.json` beside `folder`.

    Recordings and faults go round over the days and the sites. Equal arguments give equal audio.
    """
    maker = _Maker(folder, data, days, seed)
    objects = (*maker.recordings(), *maker.cut_recordings(), *maker.bad_objects())
    truth = Truth(objects)
    truth.write(folder.parent / "truth.json")
    return truth


class _Maker:
    """The clips by speaker, a place for each object, and one random sequence."""

    def __init__(self, folder: Path, data: Path, days: Sequence[date], seed: int) -> None:
        self.folder = folder
        self.data = data
        self.days = days
        self.rng = np.random.default_rng(seed)
        self.placed = 0
        self.by_speaker: dict[str, list[dict[str, str]]] = {}
        with (data / "manifest.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                self.by_speaker.setdefault(row["speaker"], []).append(row)

    def recordings(self) -> Iterator[LaidObject]:
        """Good ones: every codec, a FLAC under a WAV's name, and one on which nobody speaks."""
        for number, (codec, rate, channels, length_s) in enumerate(RECORDINGS):
            name = AWKWARD_NAMES.get(number, f"call {number:02d}")
            yield self.laid_recording(name, CODECS[codec].extension, codec, rate, channels, length_s)
        yield self.laid_recording("really a flac", "wav", "flac", 16000, 1, 30.0)
        day, key = self.place("nobody speaks", "wav")
        samples = np.zeros((16000 * 25, 1), np.float32)
        write_audio(self.folder / key, samples, 16000, "wav")
        yield LaidObject(key, day, "silent", "", "wav", 16000, 1, len(samples), 25.0, 25.0)

    def cut_recordings(self) -> Iterator[LaidObject]:
        """Those whose last part is missing; an M4A has its index there, and nothing of it can be decoded."""
        cuts: tuple[tuple[str, int, int, Expected], ...] = (
            ("wav", 16000, 2, "truncated"),
            ("flac", 16000, 1, "truncated"),
            ("mp3", 16000, 1, "truncated"),
            ("ogg-opus", 16000, 1, "truncated"),
            ("webm-opus", 48000, 1, "truncated"),
            ("m4a", 16000, 1, "quarantined"),
        )
        for codec, rate, channels, expected in cuts:
            whole = self.laid_recording(f"cut {codec}", CODECS[codec].extension, codec, rate, channels, 42.0)
            path = self.folder / whole.key
            content = path.read_bytes()
            path.write_bytes(content[: len(content) * 3 // 5])
            samples = None
            if codec == "wav":
                header = len(content) - 2 * channels * (whole.samples or 0)
                samples = (len(content) * 3 // 5 - header) // (2 * channels)
            yield replace(
                whole,
                expected=expected,
                fault="cut",
                samples=samples,
                duration_s=None if samples is None else samples / rate,
            )

    def bad_objects(self) -> Iterator[LaidObject]:
        """Those of which nothing can be analysed, and one that is no audio by its name."""
        speech, _ = self.channel(3.0, self.speaker())
        poisoned = speech.copy()
        poisoned[len(poisoned) // 2] = np.nan
        for name, extension, fault, content in (
            ("empty", "wav", "empty", b""),
            ("junk", "mp3", "junk bytes", self.rng.bytes(9000)),
            ("junk", "wav", "junk bytes", self.rng.bytes(9000)),
            ("junk after the magic", "flac", "junk bytes", b"fLaC" + self.rng.bytes(9000)),
            ("text", "wav", "text", b"The line was down from 10:40 to 10:55.\n" * 20),
            ("nan", "wav", "NaN sample", poisoned),
            ("no samples", "wav", "no samples", speech[:0]),
            ("399 samples", "wav", "too short", speech[8000:8399]),
        ):
            day, key = self.place(name, extension)
            path = self.folder / key
            if isinstance(content, bytes):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                yield LaidObject(key, day, "quarantined", fault)
                continue
            codec = "wav-float" if fault == "NaN sample" else "wav"
            write_audio(path, content[:, None], CLIP_HZ, codec)
            length_s = len(content) / CLIP_HZ
            yield LaidObject(
                key, day, "quarantined", fault, codec, CLIP_HZ, 1, len(content), length_s, length_s
            )
        day, key = self.place("no sound", "mp4")
        _write_video_without_sound(self.folder / key)
        yield LaidObject(key, day, "quarantined", "no audio stream")
        day, key = self.place("notes", "txt")
        (self.folder / key).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / key).write_text("Headset 4 crackles.\n", encoding="utf-8")
        yield LaidObject(key, day, "not_audio", "text")

    def place(self, name: str, extension: str) -> tuple[date, str]:
        """Day and key of the next object."""
        day = self.days[self.placed % len(self.days)]
        site = SITES[self.placed // len(self.days) % len(SITES)]
        self.placed += 1
        return day, f"{day:%Y/%m/%d}/{site}/{name}.{extension}"

    def speaker(self, other_than: str | None = None) -> str:
        """One of the shared data's."""
        return str(self.rng.choice([name for name in self.by_speaker if name != other_than]))

    def laid_recording(
        self, name: str, extension: str, codec: str, rate: int, channels: int, length_s: float
    ) -> LaidObject:
        """Write a recording with another speaker on each channel."""
        day, key = self.place(name, extension)
        clips: list[LaidClip] = []
        sides = []
        speaker = None
        for channel in range(channels):
            speaker = self.speaker(other_than=speaker)
            side, laid = self.channel(length_s, speaker)
            sides.append(side)
            clips += [replace(clip, channel=channel) for clip in laid]
        samples = soxr.resample(np.stack(sides, axis=1), CLIP_HZ, rate).astype(np.float32)
        write_audio(self.folder / key, samples, rate, codec)
        exact = len(samples) if CODECS[codec].is_lossless else None
        return LaidObject(
            key=key,
            day=day,
            expected="ok",
            codec=codec,
            sampling_rate=rate,
            channels=channels,
            samples=exact,
            duration_s=len(samples) / rate,
            declared_s=len(samples) / rate,
            clips=tuple(clips),
        )

    def channel(self, length_s: float, speaker: str) -> tuple[NDArray[np.float32], list[LaidClip]]:
        """Clips of one speaker with silences of 0.3 to 4 s around them, at `CLIP_HZ`, and where they lie."""
        side = np.zeros(round(length_s * CLIP_HZ), np.float32)
        laid: list[LaidClip] = []
        position = round(self.rng.uniform(0.1, 1.0) * CLIP_HZ)
        while True:
            row = self.by_speaker[speaker][self.rng.integers(len(self.by_speaker[speaker]))]
            clip, _ = soundfile.read(self.data / row["path"], dtype="float32")
            if position + len(clip) > len(side):
                return side, laid
            side[position : position + len(clip)] = clip
            start_s, end_s = position / CLIP_HZ, (position + len(clip)) / CLIP_HZ
            laid.append(LaidClip(start_s, end_s, 0, row["emotion"], speaker, row["path"]))
            position += len(clip) + round(self.rng.uniform(0.3, 4.0) * CLIP_HZ)


def _write_video_without_sound(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", container_options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for shade in (0, 255):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), shade, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
