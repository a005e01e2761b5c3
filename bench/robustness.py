"""How many answers of the shipped classifiers stay as they are when a line adds an offset, hum, silence or a codec?

python -m bench.robustness

These clips were in the training data, so accuracy says nothing of new voices; what a change takes away does.
"""

import csv
from collections.abc import Callable, Mapping
from typing import get_args

import numpy as np
import soundfile
import soxr

from bench.common import CORPORA, RATE, main, table
from emolake.models.inference import SHIPPED, InferenceOptions
from emolake.models.registry import Registry
from emolake.tasks.classify import Engine
from emolake.training.call_channel import CodecName, round_trip

_PLAN = {"short": 200, "full": 2_768}  # clips
_SEED = 5

Change = Callable[[np.ndarray], np.ndarray]


def changes() -> Mapping[str, Change]:
    """Return what is done to clips [n] float32 at 16 kHz; the first ones are to leave at least 98 % of labels alone."""
    generator = np.random.default_rng(_SEED)
    codecs: dict[str, Change] = {
        f"through {name} and back": lambda wave, name=name: round_trip(  # type: ignore[misc]
            wave, name, np.random.default_rng(_SEED), sampling_rate=RATE
        )
        for name in get_args(CodecName)
    }
    return {
        "offset of 0.5 % of full scale": lambda wave: wave + np.float32(0.005),
        "offset of -2 % of full scale": lambda wave: wave - np.float32(0.02),
        "12 dB louder": lambda wave: wave * np.float32(10 ** (12 / 20)),
        "12 dB quieter": lambda wave: wave * np.float32(10 ** (-12 / 20)),
        "hum of 50 Hz at -46 dB of full scale": lambda wave: wave + _hum(len(wave), 50.0),
        "hum of 60 Hz at -46 dB of full scale": lambda wave: wave + _hum(len(wave), 60.0),
        "0.5 s of silence before": lambda wave: np.pad(wave, (RATE // 2, 0)),
        "1 s of silence behind": lambda wave: np.pad(wave, (0, RATE)),
        "to 44.1 kHz and back": lambda wave: _resampled(wave, 44_100),
        "to 8 kHz and back": lambda wave: _resampled(wave, 8_000),
        **codecs,
        "12 dB louder, clipped": lambda wave: np.clip(wave * np.float32(10 ** (12 / 20)), -1, 1),
        "white noise, 20 dB below": lambda wave: _noisy(wave, 20, generator),
        "white noise, 10 dB below": lambda wave: _noisy(wave, 10, generator),
    }


def measure(size: str) -> str:
    if not CORPORA.is_dir():
        return "Not measured: there is no real speech beside the checkout."
    clips, truth = real_clips(_PLAN[size])
    found = {name: share_kept(name, clips, truth) for name in SHIPPED}
    rows = [
        (change, *(f"{value:.3f}" for name in SHIPPED for value in found[name][change]))
        for change in ("as it is", *changes())
    ]
    header = ("change", *(f"{name}: {what}" for name in SHIPPED for what in ("accuracy", "labels as before")))
    return f"{len(clips)} clips of RAVDESS, EmoDB and nEMO.\n\n{table(header, rows)}"


def share_kept(model: str, clips: list[np.ndarray], truth: list[str]) -> dict[str, tuple[float, float]]:
    """Return accuracy and the share of labels that stay, of a shipped model under each change."""
    entry = Registry({}).entry(model)
    engine = Engine(entry.load(InferenceOptions(device="cpu")), 160 * RATE)
    emotions = np.array([entry.emotions()[label] for label in entry.labels])

    def labels(change: Change) -> np.ndarray:
        scores = engine.scores([np.asarray(change(wave), np.float32) for wave in clips])
        return np.array([emotions[int(np.argmax(each.probabilities))] for each in scores])

    before = labels(lambda wave: wave)
    found = {"as it is": (float(np.mean(before == truth)), 1.0)}
    for name, change in changes().items():
        after = labels(change)
        found[name] = (float(np.mean(after == truth)), float(np.mean(after == before)))
    return found


def real_clips(number: int) -> tuple[list[np.ndarray], list[str]]:
    """Return so many clips of all corpora, evenly from their list, and their emotions."""
    with (CORPORA / "manifest_all.csv").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    chosen = [rows[place] for place in np.linspace(0, len(rows) - 1, number).astype(int)]
    waves = [soundfile.read(CORPORA / row["path"], dtype="float32")[0] for row in chosen]
    return waves, [row["emotion"] for row in chosen]


def _hum(size: int, hertz: float) -> np.ndarray:
    time = np.arange(size) / RATE
    return np.asarray(10 ** (-46 / 20) * np.sqrt(2) * np.sin(2 * np.pi * hertz * time), np.float32)


def _resampled(wave: np.ndarray, rate: int) -> np.ndarray:
    return np.asarray(soxr.resample(soxr.resample(wave, RATE, rate), rate, RATE), dtype=np.float32)


def _noisy(wave: np.ndarray, below_db: float, generator: np.random.Generator) -> np.ndarray:
    noise = generator.normal(size=len(wave)) * np.sqrt(np.mean(np.square(wave))) * 10 ** (-below_db / 20)
    return np.asarray(wave + noise, dtype=np.float32)


if __name__ == "__main__":
    main(measure)
