"""How well can syllables be counted from the sound alone, as a speaking rate would need?

    python -m bench.speaking_rate

counts the nuclei of syllables as de Jong and Wempe 2009 do (Praat script to detect syllable nuclei and measure speech
rate automatically, Behavior Research Methods 41): peaks of the intensity, voiced, within 25 dB of the loudest, with a
dip before the next. Sentences of RAVDESS have 7 syllables each, those for eSpeak NG are counted by hand. The table is
written between the marks of docs/mono_calls.md.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import soxr
import typer
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import find_peaks

from bench.common import CORPORA, RATE, ROOT
from bench.share_intervals import write_between
from bench.speakers import by_telephone
from emolake.audio.talk import talk_spans
from emolake.audio.voice_activity import SpeechDetector
from emolake.demo.speech import synthesise
from emolake.output.table import markdown_table

PAGE = ROOT / "docs" / "mono_calls.md"
RAVDESS_SYLLABLES = 7
SENTENCES = (
    ("en-us", "Kids are talking by the door.", 7),
    ("en-us", "Good morning, how may I help you today?", 10),
    ("en-us", "My parcel has not arrived, and I want my money back.", 14),
    ("de", "Guten Morgen, was kann ich für Sie tun?", 10),
    ("de", "Ich möchte meine Bestellung bitte sofort stornieren.", 15),
)
VARIANTS = ("m1", "m3", "f1", "f4")
RATES_WPM = (130, 160, 190, 220)
_STEP, _WINDOW, _PITCH_WINDOW = RATE // 100, 512, 640
_VOICED = 0.45
_BELOW_LOUDEST_DB = 25.0


@dataclass(frozen=True)
class Utterance:
    """Some speech whose syllables are known; `manner` is an emotion, or a rate."""

    samples: np.ndarray
    syllables: int
    speaker: str
    manner: str


def nuclei(samples: np.ndarray, dip_db: float) -> int:
    """Return how many syllables are counted in some speech [n] at 16 kHz."""
    window = np.hanning(_WINDOW)
    power = np.convolve(samples.astype(np.float64) ** 2, window / window.sum(), "same")[::_STEP]
    intensity = 10 * np.log10(power + 1e-10)
    floor = float(np.quantile(intensity, 0.99)) - _BELOW_LOUDEST_DB
    peaks, _ = find_peaks(intensity, height=floor, prominence=dip_db)
    return int(_voiced(samples)[peaks].sum())


def _voiced(samples: np.ndarray) -> np.ndarray:
    """Return for each 10 ms whether a pitch of 75 to 400 Hz shows in the autocorrelation."""
    window = np.hanning(_PITCH_WINDOW)
    padded = np.pad(samples, (_PITCH_WINDOW // 2, _PITCH_WINDOW))
    frames = sliding_window_view(padded, _PITCH_WINDOW)[::_STEP] * window
    correlation = np.fft.irfft(np.abs(np.fft.rfft(frames, 2 * _PITCH_WINDOW)) ** 2)
    of_window = np.fft.irfft(np.abs(np.fft.rfft(window, 2 * _PITCH_WINDOW)) ** 2)
    lags = slice(RATE // 400, RATE // 75)
    scaled = correlation[:, lags] / (correlation[:, :1] + 1e-9) * (of_window[0] / of_window[lags])
    return np.asarray(scaled.max(axis=1) > _VOICED)


def acted(folder: Path) -> Iterator[Utterance]:
    """Yield every third clip of RAVDESS, from its first to its last speech."""
    vad = SpeechDetector()
    with (folder / "manifest_all.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["corpus"] == "ravdess"]
    for row in rows[::3]:
        samples, _ = soundfile.read(folder / row["path"], dtype="float32")
        spans = talk_spans([samples], vad=vad)
        samples = samples[spans[0][0] : spans[-1][1]] if spans else samples
        yield Utterance(samples, RAVDESS_SYLLABLES, row["speaker"], row["emotion"])


def synthesised() -> Iterator[Utterance]:
    """Yield each sentence by each voice at each rate."""
    for language, text, syllables in SENTENCES:
        for variant in VARIANTS:
            for rate in RATES_WPM:
                samples, source = synthesise(text, voice=f"{language}+{variant}", rate_wpm=rate)
                resampled = soxr.resample(samples, source, RATE).astype(np.float32)
                yield Utterance(resampled, syllables, f"{language} {variant}", f"{rate} wpm")


def errors(utterances: Sequence[Utterance], dip_db: float) -> np.ndarray:
    """Return for each utterance by how much its count is off, as a share of its syllables."""
    return np.array([nuclei(each.samples, dip_db) / each.syllables - 1 for each in utterances])


def _row(name: str, utterances: Sequence[Utterance], dip_db: float) -> list[str]:
    off = errors(utterances, dip_db)

    def spread(of: Callable[[Utterance], str]) -> str:
        groups = {of(each) for each in utterances}
        means = {group: off[[of(each) == group for each in utterances]].mean() for group in groups}
        low, high = min(means, key=lambda group: means[group]), max(means, key=lambda group: means[group])
        return f"{means[low]:+.0%} ({low}) to {means[high]:+.0%} ({high})"

    return [
        name,
        f"{dip_db:g} dB",
        str(len(off)),
        f"{off.mean():+.0%}",
        f"{off.std():.0%}",
        spread(lambda each: each.speaker),
        spread(lambda each: each.manner),
    ]


def main(
    corpora: Annotated[Path, typer.Option(help="Folder with manifest_all.csv and the clips.")] = CORPORA,
) -> None:
    """Count, and write the page's table."""
    rows = []
    for name, made in (("RAVDESS", list(acted(corpora))), ("eSpeak NG", list(synthesised()))):
        for sound in ("16 kHz", "8 kHz µ-law"):
            if sound != "16 kHz":
                made = [Utterance(by_telephone(u.samples), u.syllables, u.speaker, u.manner) for u in made]
            rows += [_row(f"{name}, {sound}", made, dip_db) for dip_db in (2.0, 3.0)]
    head = ["speech", "dip", "utterances", "mean error", "deviation", "by speaker", "by emotion or rate"]
    shown = markdown_table(head, rows)
    print(shown)
    write_between(PAGE, "speaking_rate", shown)


if __name__ == "__main__":
    typer.run(main)
