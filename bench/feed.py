"""How many hours of audio does a core bring from S3 to committed rows in an hour, with a model that takes no time?

python -m bench.feed

A night as `emolake nightly --no-prefect` runs it, from the listing to the aggregated lake, on calls of five minutes in
one format. Hours of audio per hour of processor time of all of emolake's processes; the S3 server's is not counted. A
night costs something however little is in it, so what each further hour costs is said by itself.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from itertools import count
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from bench import instant_family
from bench.common import RATE, ROOT, Sample, cpu, folder, main, recording, side_by_side, table, wall
from emolake.demo.encode import CODECS, write_audio
from emolake.demo.s3_server import serve_s3
from emolake.pipeline import decoder_process
from emolake.pipeline.execution import run_here
from emolake.pipeline.run_request import RunRequest
from emolake.settings import Settings

_DAY = date(2026, 11, 20)
_CALL_S = 300.0
_PLAN = {"short": (12, 2, 4), "full": (120, 5, 8)}  # calls a format, repeats, formats
_FORMATS = (  # codec, rate in Hz, channels
    ("wav", 8_000, 1),
    ("mp3", 16_000, 1),
    ("ogg-opus", 16_000, 1),
    ("ogg-opus", 48_000, 2),
    ("wav", 8_000, 2),
    ("mp3", 44_100, 2),
    ("flac", 16_000, 1),
    ("m4a", 44_100, 2),
)
_WAYS: dict[str, dict[str, Any]] = {
    "windows": {},
    "stretches of speech": {"method": "vad"},
    "without voice activity": {},
}
# What a decoder process runs in which all is speech, and nothing was computed to know.
_DEAF = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from bench.feed import deaf_decoder; deaf_decoder()"


def measure(size: str) -> str:
    calls, repeats, formats = _PLAN[size]
    hours = calls * _CALL_S / 3600
    more_hours = (calls - 1) * _CALL_S / 3600
    instant_family.register()
    rows = []
    with folder() as place:
        for codec, rate, channels in _FORMATS[:formats]:
            name = f"{codec}-{rate}-{channels}"
            make_calls(place / "s3" / name, codec, rate, channels, calls)
            make_calls(place / "s3" / f"{name}-one", codec, rate, channels, 1)
            os.environ.update(AWS_ACCESS_KEY_ID="bench", AWS_SECRET_ACCESS_KEY="bench-secret")
            with serve_s3(place / "s3", access_key="bench", secret_key="bench-secret") as url:
                found: dict[str, list[Sample]] = {}
                for way, segmentation in _WAYS.items():
                    with decoders(deaf=way == "without voice activity"):
                        night = Night(place / f"{name}-{way}", f"s3://{name}", url, segmentation)
                        found |= side_by_side({way: night.run}, repeats, besides="rclone")
                with decoders(deaf=False):
                    one = Night(place / f"{name}-one", f"s3://{name}-one", url, {})
                    found |= side_by_side({"one call": one.run}, repeats, besides="rclone")
            rows.append(
                (
                    f"{codec}, {rate / 1000:g} kHz, {channels} ch",
                    *(f"{hours / least(found[way]) * 3600:,.0f}" for way in _WAYS),
                    f"{more_hours / (least(found['windows']) - least(found['one call'])) * 3600:,.0f}",
                    f"{least(found['one call']):.2f}",
                    f"{cpu(found['windows']) / hours:.2f}",
                    f"{wall(found['windows']) / hours:.2f}",
                )
            )
    columns = (
        "", *_WAYS, "windows, each hour after the first call", "a night of one call, processor s",
        "windows: processor, s an hour of audio", "wall, s",
    )  # fmt: skip
    return (
        f"{calls} calls of {_CALL_S:g} s in each format, {repeats} runs; hours by the run that took the least, seconds "
        "by the median. A night of one call shows what a night costs however long it is: its listing, plan, "
        f"transactions and aggregates.\n\n{table(columns, rows)}"
    )


def least(samples: list[Sample]) -> float:
    """Return the processor seconds of the run that took the least."""
    return min(each.cpu_s for each in samples)


class Night:
    """A nightly run of one day without Prefect, on a fresh lake each time."""

    def __init__(self, place: Path, uri: str, url: str, segmentation: dict[str, Any]) -> None:
        place.mkdir()
        self._place = place
        self._numbers = count()
        self._settings = partial(
            Settings,
            source={"uri": uri, "endpoint_url": url},
            inference={"device": "cpu", "model": "bench"},
            models={"bench": {"family": "instant"}},
            segmentation=segmentation,
        )

    def run(self) -> Settings:
        """Plan, analyse, commit and aggregate the day; return where its lake is."""
        number = next(self._numbers)
        catalog, data = (
            f"sqlite:{self._place / f'catalog{number}.sqlite'}",
            str(self._place / f"data{number}"),
        )
        settings = self._settings(warehouse={"catalog": catalog, "data": data})
        run_here(RunRequest("nightly", (_DAY,)), settings, getLogger("bench"))
        return settings


def make_calls(bucket: Path, codec: str, rate: int, channels: int, calls: int) -> None:
    """Fill a bucket with calls in one format: some that differ, each many times, in two thirds of which one speaks."""
    place = bucket / f"{_DAY:%Y/%m/%d}" / "site"
    place.mkdir(parents=True)
    for number in range(calls):
        path = place / f"call{number:04}.{CODECS[codec].extension}"
        if number < 4:
            wave = soxr.resample(recording(_CALL_S, speech=0.67, seed=number), RATE, rate).astype(np.float32)
            write_audio(path, np.stack([wave] * channels, axis=1), rate, codec)
        else:
            first = place / f"call{number % 4:04}.{CODECS[codec].extension}"
            path.write_bytes(first.read_bytes())


@contextmanager
def decoders(*, deaf: bool) -> Iterator[None]:
    """Have decoder processes of one kind, and no others: usual ones, or such as do not look for speech."""
    usual = decoder_process.PROGRAM
    decoder_process.end_idle_decoders()
    decoder_process.PROGRAM = _DEAF if deaf else usual
    try:
        yield
    finally:
        decoder_process.end_idle_decoders()
        decoder_process.PROGRAM = usual


def deaf_decoder() -> None:
    """Run a decoder process in which all is speech."""
    from emolake.audio.voice_activity import CHUNK, SpeechStream

    def push(self: SpeechStream, samples: np.ndarray) -> np.ndarray:
        pushed = getattr(self, "pushed", 0) + len(samples)
        self.pushed = pushed % CHUNK  # type: ignore[attr-defined]
        return np.ones(pushed // CHUNK, np.float32)

    SpeechStream.push = push  # type: ignore[method-assign]
    SpeechStream.flush = lambda self: np.ones(int(self.pushed > 0), np.float32)  # type: ignore[method-assign, attr-defined]
    decoder_process.main()


if __name__ == "__main__":
    main(measure)
