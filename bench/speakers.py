"""Do speaker embeddings tell the two parties of a mono call apart, well enough for rows that people act on?

    pip install --no-deps --target FOLDER resemblyzer
    PYTHONPATH=FOLDER python -m bench.speakers

makes mono calls of two speakers of a corpus, with pauses, overlaps and different levels, finds who speaks when, and
writes the tables between the marks of docs/mono_calls.md. A way that is not installed is left out, with a notice.
Only the weights of Resemblyzer are read: importing the package needs webrtcvad, a compiler, and an older SciPy.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import librosa
import numpy as np
import soundfile
import torch
import typer
from scipy.signal import butter, resample_poly, sosfilt
from scipy.stats import mannwhitneyu
from sklearn.cluster import AgglomerativeClustering

from bench.common import CORPORA, RATE, ROOT
from bench.share_intervals import write_between
from emolake.audio.talk import talk_spans
from emolake.audio.voice_activity import SpeechDetector
from emolake.output.notices import complain
from emolake.output.table import markdown_table

PAGE = ROOT / "docs" / "mono_calls.md"
CALL_S = 180
GOOD_ENOUGH = 0.15
FRAME = RATE // 100
WINDOW, HOP = 160, 20  # frames: what Resemblyzer was trained on, 1.6 s
Spans = list[tuple[int, int]]
Embedder = Callable[[np.ndarray], np.ndarray]  # windows [n, frames, 40] of mel energies to vectors [n, size]
_vad = cache(SpeechDetector)


@dataclass(frozen=True)
class Clip:
    """One line of the manifest."""

    path: str
    corpus: str
    speaker: str
    sex: str
    emotion: str


@dataclass(frozen=True)
class Setting:
    """What a call is made of."""

    corpus: str
    calm: bool
    """Only what is neutral or calm, or all emotions."""
    telephone: bool
    """8 kHz, 300 to 3400 Hz, 8-bit µ-law; otherwise 16 kHz."""
    same_sex: bool


@dataclass(frozen=True)
class Found:
    """What a way found in one call: error, and how alike its two speakers are, the cosine of their centres."""

    error: float
    error_alone: float
    """Without the time in which both speak, of which embeddings can only give half."""
    likeness: float


def _talk(samples: np.ndarray) -> Spans:
    return talk_spans([samples.astype(np.float32)], vad=_vad())


@cache
def manifest(folder: Path) -> tuple[Clip, ...]:
    """Return the clips of all corpora."""
    with (folder / "manifest_all.csv").open(encoding="utf-8", newline="") as file:
        return tuple(Clip(**{k: row[k] for k in Clip.__annotations__}) for row in csv.DictReader(file))


@cache
def spoken(folder: Path, path: str) -> np.ndarray:
    """Return a clip from its first to its last speech [n] float32, as loud as all others."""
    samples, rate = soundfile.read(folder / path, dtype="float32")
    if rate != RATE:
        raise ValueError(f"{path} has {rate} Hz; expected {RATE} Hz")
    spans = _talk(samples)
    samples = samples[spans[0][0] : spans[-1][1]] if spans else samples[:0]
    return np.asarray(
        0.03 * samples / max(1e-9, float(np.sqrt(np.mean(samples**2)))) if len(samples) else samples
    )


def made_call(
    folder: Path, setting: Setting, speakers: Sequence[str], random: np.random.Generator
) -> tuple[np.ndarray, list[Spans]]:
    """Return a mono call [n] float32 and when each speaker speaks, by the voice activity of each alone."""
    tracks = np.zeros((2, CALL_S * RATE), np.float32)
    pools = [_pool(folder, setting, speaker, random) for speaker in speakers]
    gains = 10 ** (random.uniform(-6, 6, 2) / 20)
    at, who, taken = round(random.uniform(0.5, 2) * RATE), int(random.integers(2)), [0, 0]
    while at + 6 * RATE < tracks.shape[1]:
        for _ in range(random.integers(1, 4)):
            samples = spoken(folder, pools[who][taken[who] % len(pools[who])])
            taken[who] += 1
            samples = samples[: tracks.shape[1] - at]
            tracks[who, at : at + len(samples)] += samples * gains[who]
            at += len(samples) + round(random.uniform(0.1, 0.8) * RATE)
        if random.random() < 0.25:  # the other one begins before the end
            at = max(0, at - round(random.uniform(0.9, 1.6) * RATE))
        else:
            on_hold = random.uniform(3, 10) if random.random() < 0.08 else 0
            at += round((random.exponential(0.6) + on_hold) * RATE)
        who = 1 - who
    if setting.telephone:
        tracks = np.stack([by_telephone(track) for track in tracks])
    noise = random.normal(0, 10 ** (-random.uniform(50, 65) / 20), tracks.shape[1])
    return (tracks.sum(0) + noise).astype(np.float32), [_talk(track) for track in tracks]


def _pool(folder: Path, setting: Setting, speaker: str, random: np.random.Generator) -> list[str]:
    clips = [clip for clip in manifest(folder) if clip.speaker == speaker]
    paths = [clip.path for clip in clips if not setting.calm or clip.emotion in ("neutral", "calm")]
    random.shuffle(paths)
    return paths


def by_telephone(samples: np.ndarray) -> np.ndarray:
    """Return speech [n] at 16 kHz as a telephone line leaves it: 300 to 3400 Hz, 8 kHz, 8-bit µ-law."""
    band = butter(4, [300, 3400], "bandpass", fs=RATE, output="sos")
    narrow = np.clip(resample_poly(sosfilt(band, samples), 1, 2), -1, 1)
    steps = np.round(127 * np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256)) / 127
    decoded = np.sign(steps) * (256 ** np.abs(steps) - 1) / 255
    return np.asarray(resample_poly(decoded, 2, 1)[: len(samples)], np.float32)


def _mel_windows(samples: np.ndarray, spans: Spans) -> tuple[np.ndarray, Spans]:
    """Return windows of mel energies [n, WINDOW, 40] that lie within speech, and their frames."""
    speech = np.concatenate([samples[start:end] for start, end in spans])
    level = 10 ** (-30 / 20) / np.sqrt(np.mean(speech**2))  # -30 dBFS, as Resemblyzer has it
    mel = librosa.feature.melspectrogram(y=samples * level, sr=RATE, n_fft=400, hop_length=160, n_mels=40).T
    windows, places = [], []
    for start, end in ((start // FRAME, end // FRAME) for start, end in spans):
        if end - start <= WINDOW:
            windows.append(np.resize(mel[start:end], (WINDOW, 40)))
            places.append((start, end))
            continue
        for begin in [*range(start, end - WINDOW, HOP), end - WINDOW]:
            windows.append(mel[begin : begin + WINDOW])
            places.append((begin, begin + WINDOW))
    return np.asarray(windows, np.float32), places


def parties(samples: np.ndarray, embed: Embedder) -> tuple[list[Spans], float]:
    """Return when each of two speakers speaks in a mono recording, and how alike they are."""
    spans = _talk(samples)
    windows, places = _mel_windows(samples, spans)
    vectors = embed(windows)
    whole = np.array([end - start >= WINDOW // 2 for start, end in places])
    known = vectors[whole] if whole.sum() > 3 else vectors
    label = AgglomerativeClustering(2, metric="cosine", linkage="average").fit_predict(known)
    for _ in range(3):
        if len(set(label)) < 2:
            break
        centres = np.stack([known[label == party].mean(0) for party in (0, 1)])
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        label = (known @ centres.T).argmax(1)
    frames = len(samples) // FRAME + 1
    scores, weights = np.zeros((frames, 2)), np.zeros((frames, 1))
    for score, (start, end) in zip(vectors @ centres.T, places, strict=True):
        weight = np.hanning(end - start + 2)[1:-1, None]
        scores[start:end] += score * weight
        weights[start:end] += weight
    speech = np.flatnonzero(weights[:, 0] > 0)
    who = np.full(frames, -1)
    who[speech] = _steadiest(scores[speech] / weights[speech])
    return [_spans_of(who == party) for party in (0, 1)], float(centres[0] @ centres[1])


def _steadiest(scores: np.ndarray, change: float = 0.5) -> np.ndarray:
    """Return the path [n] through scores [n, 2] with the largest sum, less `change` for each change."""
    best, came_from = scores[0].copy(), np.zeros(scores.shape, int)
    for at in range(1, len(scores)):
        stays = best >= best[::-1] - change
        came_from[at] = np.where(stays, [0, 1], [1, 0])
        best = np.where(stays, best, best[::-1] - change) + scores[at]
    path = [int(best.argmax())]
    for at in range(len(scores) - 1, 0, -1):
        path.append(int(came_from[at][path[-1]]))
    return np.array(path[::-1])


def _spans_of(mask: np.ndarray) -> Spans:
    edges = np.flatnonzero(np.diff(np.r_[0, mask.astype(int), 0])) * FRAME
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def error_rate(
    reference: Sequence[Spans],
    found: Sequence[Spans],
    samples: int,
    *,
    collar_s: float = 0.25,
    alone: bool = False,
) -> float:
    """Return the diarisation error rate: what is missed, too much, or of the wrong speaker, over all speech.

    Args:
        reference: when each speaker speaks.
        found: the same as found, in any order of speakers.
        samples: length of the call.
        collar_s: this much on both sides of each edge of the reference does not count.
        alone: count only where one speaks, or none.
    """
    truth, claim = (np.stack([_mask(spans, samples) for spans in side]) for side in (reference, found))
    counts = np.ones(truth.shape[1], bool)
    collar = round(collar_s * RATE / FRAME)
    for start, end in (span for spans in reference for span in spans):
        for edge in (start // FRAME, end // FRAME):
            counts[max(0, edge - collar) : edge + collar] = False
    if alone:
        counts &= truth.sum(0) < 2
    truth, claim = truth[:, counts], claim[:, counts]
    right = max((truth & order).sum() for order in (claim, claim[::-1]))
    return float((np.maximum(truth.sum(0), claim.sum(0)).sum() - right) / truth.sum())


def _mask(spans: Spans, samples: int) -> np.ndarray:
    mask = np.zeros(samples // FRAME + 1, bool)
    for start, end in spans:
        mask[start // FRAME : end // FRAME] = True
    return mask


def by_resemblyzer(weights: Path) -> Embedder:
    """Return the voice encoder of Resemblyzer: three LSTMs over 1.6 s of mel energies, and a projection."""
    state = torch.load(weights, map_location="cpu", weights_only=True)["model_state"]
    lstm, linear = torch.nn.LSTM(40, 256, 3, batch_first=True), torch.nn.Linear(256, 256)
    for module, prefix in ((lstm, "lstm."), (linear, "linear.")):
        module.load_state_dict({k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)})

    @torch.no_grad()
    def embed(windows: np.ndarray) -> np.ndarray:
        parts = [torch.relu(linear(lstm(part)[1][0][-1])) for part in torch.tensor(windows).split(64)]
        vectors = torch.cat(parts)
        return np.asarray(vectors / vectors.norm(dim=1, keepdim=True))

    return embed


def by_cepstrum(windows: np.ndarray) -> np.ndarray:
    """Return the mean and deviation of 20 MFCCs of each window, standardised over the call: no network at all."""
    cepstrum = librosa.feature.mfcc(S=librosa.power_to_db(windows.transpose(0, 2, 1)), n_mfcc=20)[:, 1:]
    vectors = np.concatenate([cepstrum.mean(2), cepstrum.std(2)], axis=1)
    vectors = (vectors - vectors.mean(0)) / (vectors.std(0) + 1e-6)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def ways() -> dict[str, Embedder]:
    """Return the embeddings that are installed."""
    found: dict[str, Embedder] = {"MFCC": by_cepstrum}
    spec = find_spec("resemblyzer")
    if spec is None or spec.origin is None:
        complain(
            "Resemblyzer is left out: it is not installed; pip install --no-deps --target FOLDER resemblyzer"
        )
    else:
        found["Resemblyzer"] = by_resemblyzer(Path(spec.origin).parent / "pretrained.pt")
    return found


def measured(
    folder: Path, setting: Setting, embed: Embedder, *, calls: int, parties_of_call: int = 2
) -> list[Found]:
    """Return what is found in some calls; the same calls for every embedding. With one party, one speaks both parts."""
    random = np.random.default_rng(17)
    sexes = {clip.speaker: clip.sex for clip in manifest(folder) if clip.corpus == setting.corpus}
    result: list[Found] = []
    while len(result) < calls:
        pair = random.choice(sorted(sexes), 2, replace=False).tolist()
        if (sexes[pair[0]] == sexes[pair[1]]) != setting.same_sex:
            continue
        samples, reference = made_call(
            folder, setting, pair if parties_of_call == 2 else pair[:1] * 2, random
        )
        found, likeness = parties(samples, embed)
        error, error_alone = (
            error_rate(reference, found, len(samples), alone=alone) for alone in (False, True)
        )
        result.append(Found(error, error_alone, likeness))
    return result


def _settings() -> list[Setting]:
    return [
        Setting(corpus, calm, telephone, same_sex)
        for corpus, calm, telephone, same_sex in product(
            ("ravdess", "emodb", "nemo"), (True, False), (False, True), (False, True)
        )
    ]


def _named(setting: Setting) -> list[str]:
    return [
        setting.corpus,
        "neutral" if setting.calm else "all",
        "8 kHz µ-law" if setting.telephone else "16 kHz",
        "same" if setting.same_sex else "other",
    ]


def _separation(larger: Sequence[float], smaller: Sequence[float]) -> str:
    """Return how often one of the first is above one of the second: 0.5 by chance, 1 always."""
    if not larger or not smaller:
        return "–"
    return f"{mannwhitneyu(larger, smaller).statistic / len(larger) / len(smaller):.2f}"


def main(
    corpora: Annotated[Path, typer.Option(help="Folder with manifest_all.csv and the clips.")] = CORPORA,
    calls: Annotated[int, typer.Option(help="Calls of each setting.")] = 8,
) -> None:
    """Measure each way on each setting, and write the page's tables."""
    torch.set_num_threads(1)
    embedders = ways()
    rows: list[list[str]] = []
    everything: dict[str, list[Found]] = {name: [] for name in embedders}
    emotional: dict[str, list[Found]] = {name: [] for name in embedders}
    for setting in _settings():
        cells: list[str] = []
        for name, embed in embedders.items():
            found = measured(corpora, setting, embed, calls=calls)
            everything[name] += found
            emotional[name] += [] if setting.calm else found
            errors = [call.error for call in found]
            cells.append(
                f"{_percent(errors)} ({_percent([max(errors)])}), {_percent([c.error_alone for c in found])}"
            )
        rows.append([*_named(setting), *cells])
        complain(" | ".join(rows[-1]))
    head = [
        "corpus",
        "emotions",
        "sound",
        "sexes",
        *(f"{name}: error (worst), without overlap" for name in embedders),
    ]
    shown = markdown_table(head, rows)
    write_between(PAGE, "speakers", shown)
    rows = [
        _summary(corpora, name, embedders[name], everything[name], emotional[name], calls)
        for name in embedders
    ]
    head = [
        "embedding",
        "calls above 15 %",
        "of those with emotions",
        "likeness knows those",
        "likeness knows one voice",
    ]
    write_between(PAGE, "speakers_known", markdown_table(head, rows))


def _summary(
    folder: Path, name: str, embed: Embedder, found: Sequence[Found], emotional: Sequence[Found], calls: int
) -> list[str]:
    alone = [
        call.likeness
        for setting in _settings()
        if not setting.calm and not setting.same_sex
        for call in measured(folder, setting, embed, calls=calls, parties_of_call=1)
    ]
    good = [call.likeness for call in found if call.error <= GOOD_ENOUGH]
    bad = [call.likeness for call in found if call.error > GOOD_ENOUGH]
    return [
        name,
        _percent([call.error > GOOD_ENOUGH for call in found]),
        _percent([call.error > GOOD_ENOUGH for call in emotional]),
        _separation(bad, good),
        _separation(alone, [call.likeness for call in emotional]),
    ]


def _percent(shares: Sequence[Any]) -> str:
    return f"{100 * float(np.mean(shares)):.1f} %"


if __name__ == "__main__":
    typer.run(main)
