"""How many answers of the default classifier stay right when speech comes by telephone, with noise, or louder?

python -m bench.robustness

These clips were in its training data, so the first line says nothing of new voices; what a change takes away does.
"""

import csv
from collections.abc import Callable

import numpy as np
import soundfile
import soxr

from bench.common import CORPORA, RATE, main, table
from emolake.models.inference import InferenceOptions
from emolake.settings import Settings
from emolake.tasks.classify import Engine

_PLAN = {"short": 120, "full": 1_368}  # clips
_SEED = 5


def measure(size: str) -> str:
    if not CORPORA.is_dir():
        return "Not measured: there is no real speech beside the checkout."
    clips, targets = _clips(_PLAN[size])
    entry = Settings().registry.entry()
    engine = Engine(entry.load(InferenceOptions(device="cpu")), 160 * RATE)
    emotions = [entry.emotions()[label] for label in entry.labels]
    generator = np.random.default_rng(_SEED)
    changes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "as it is": lambda wave: wave,
        "brought to 8 kHz and back": _telephone,
        "white noise, 20 dB below": lambda wave: _noisy(wave, 20, generator),
        "white noise, 10 dB below": lambda wave: _noisy(wave, 10, generator),
        "12 dB quieter": lambda wave: wave * np.float32(10 ** (-12 / 20)),
        "6 dB louder, clipped": lambda wave: np.clip(wave * np.float32(10 ** (6 / 20)), -1, 1),
    }
    before: list[str] = []
    rows = []
    for name, change in changes.items():
        scores = engine.scores([change(wave) for wave in clips])
        said = [emotions[int(np.argmax(each.probabilities))] for each in scores]
        before = before or said
        rows.append((name, f"{_share(said, targets):.3f}", f"{_share(said, before):.3f}"))
    return f"{len(clips)} clips of RAVDESS and EmoDB.\n\n" + table(
        ("", "accuracy", "as without the change"), rows
    )


def _clips(number: int) -> tuple[list[np.ndarray], list[str]]:
    with (CORPORA / "manifest.csv").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    chosen = rows[:: max(1, len(rows) // number)]
    return [soundfile.read(CORPORA / row["path"], dtype="float32")[0] for row in chosen], [
        row["emotion"] for row in chosen
    ]


def _telephone(wave: np.ndarray) -> np.ndarray:
    narrow = soxr.resample(wave, RATE, 8_000)
    return np.asarray(soxr.resample(narrow, 8_000, RATE), dtype=np.float32)


def _noisy(wave: np.ndarray, below_db: float, generator: np.random.Generator) -> np.ndarray:
    noise = generator.normal(size=len(wave)) * np.sqrt(np.mean(np.square(wave))) * 10 ** (-below_db / 20)
    return np.asarray(wave + noise, dtype=np.float32)


def _share(said: list[str], wanted: list[str]) -> float:
    return float(np.mean([one == other for one, other in zip(said, wanted, strict=True)]))


if __name__ == "__main__":
    main(measure)
