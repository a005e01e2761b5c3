"""By how much do corrected shares err less than counted ones, on speakers and corpora that were held back?

    python -m bench.quantification --data ../shared/data --encoder ../shared/models/whisper-base-encoder

takes mean and deviation of the states of three layers of the encoder, trains logistic regressions without some speakers
(or a corpus), draws days with shifted shares of emotions from what was held back, corrects them, and writes the table
between the marks of docs/shares.md. `--states FILE` keeps the states for the next call.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from bench.share_intervals import PAGE, write_between
from emolake.models.quantification import Speech, adjusted_shares
from emolake.models.reliability import HeldOutAnswers, Reliability
from emolake.output.progress import track
from emolake.output.table import markdown_table

LAYERS = 3
SIZES = (20, 100, 500)
CONCENTRATIONS = (0.2, 1.0)
SEGMENTS_OF_A_CALL = 5
FOLDS = 6


@dataclass(frozen=True)
class Clips:
    """The clips of all corpora; `states` [clips, 2 × hidden]."""

    states: np.ndarray
    emotion: np.ndarray
    corpus: np.ndarray
    speaker: np.ndarray
    labels: tuple[str, ...]

    def weights(self, chosen: np.ndarray) -> np.ndarray:
        """Return weights of some clips by which every corpus counts the same; their mean is 1."""
        weights = np.ones(len(chosen))
        for corpus in np.unique(self.corpus[chosen]):
            own = self.corpus[chosen] == corpus
            weights[own] = len(chosen) / own.sum()
        mean_of_1: np.ndarray = weights / weights.mean()
        return mean_of_1


@dataclass(frozen=True)
class Setting:
    """Probabilities of all clips by networks that were not trained with `drawn`, and a record without these."""

    name: str
    probabilities: np.ndarray
    record: Reliability
    drawn: Sequence[np.ndarray]


def read_clips(data: Path, states: np.ndarray) -> Clips:
    rows = _rows(data)
    labels = tuple(sorted({row["emotion"] for row in rows}))
    return Clips(
        states,
        np.array([labels.index(row["emotion"]) for row in rows]),
        np.array([row["corpus"] for row in rows]),
        np.array([row["speaker"] for row in rows]),
        labels,
    )


def _rows(data: Path) -> list[dict[str, str]]:
    with (data / "manifest_all.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def encoded(data: Path, folder: Path) -> np.ndarray:
    """Return mean and deviation over a clip's own frames of the encoder's first states, [clips, 2 × hidden]."""
    import soundfile
    import soxr
    import torch
    from transformers import WhisperFeatureExtractor
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    from emolake.models.encoders import encoder_input

    torch.set_num_threads(1)
    extractor: Any = WhisperFeatureExtractor.from_pretrained(folder)
    encoder: Any = WhisperEncoder.from_pretrained(folder, num_hidden_layers=LAYERS).float().eval()
    encoder.layer_norm = torch.nn.Identity()
    found = []
    with torch.inference_mode():
        for row in track(_rows(data), "encoding", unit="clips"):
            wave, rate = soundfile.read(data / row["path"], dtype="float32", always_2d=True)
            mono = soxr.resample(wave.mean(axis=1), rate, 16_000)
            lengths = torch.tensor([len(mono)])
            waves = torch.from_numpy(mono - mono.mean())[None]
            mel = encoder_input.prepared(waves, lengths, extractor, own_frames=True)
            own = encoder_input.encode(encoder, mel, lengths, own_frames=True)[0][0]
            found.append(torch.cat([own.mean(dim=0), own.std(dim=0)]).numpy())
    return np.stack(found)


def settings_of(clips: Clips, repeats: int) -> Iterator[Setting]:
    """Yield settings of new speakers of known corpora, `repeats` times, and of each corpus left out whole."""
    everything = np.arange(len(clips.emotion))
    logits = _held_out_logits(clips, everything, _folds(clips, everything, FOLDS, seed=1))
    for repeat in range(repeats):
        mixed = _folds(clips, everything, 3, seed=100 + repeat) == 0
        known, new = everything[~mixed], everything[mixed]
        temperature = _temperature(clips, known, logits[known])
        probabilities = softmax(logits / temperature, axis=1)
        record = _record(clips, known, probabilities[known])
        yield Setting("new speakers, all corpora", probabilities, record, [new])
        corpora = [new[clips.corpus[new] == corpus] for corpus in np.unique(clips.corpus)]
        yield Setting("new speakers, one corpus", probabilities, record, corpora)
    for corpus in np.unique(clips.corpus):
        known, new = everything[clips.corpus != corpus], everything[clips.corpus == corpus]
        inner = _held_out_logits(clips, known, _folds(clips, known, 4, seed=1))
        temperature = _temperature(clips, known, inner)
        record = _record(clips, known, softmax(inner / temperature, axis=1))
        logits = _trained(clips, known, everything)
        new = new[np.isfinite(logits[new, clips.emotion[new]])]  # without emotions that the others lack
        yield Setting("another corpus", softmax(logits / temperature, axis=1), record, [new])


def _trained(clips: Clips, chosen: np.ndarray, asked: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(clips.states[chosen])
    model = LogisticRegression(C=0.003, max_iter=100, tol=1e-3)
    model.fit(scaler.transform(clips.states[chosen]), clips.emotion[chosen], clips.weights(chosen))
    logits = np.full((len(asked), len(clips.labels)), -np.inf)
    logits[:, model.classes_] = model.decision_function(scaler.transform(clips.states[asked]))
    return logits


def _held_out_logits(clips: Clips, chosen: np.ndarray, folds: np.ndarray) -> np.ndarray:
    logits = np.zeros((len(chosen), len(clips.labels)))
    for fold in np.unique(folds):
        logits[folds == fold] = _trained(clips, chosen[folds != fold], chosen[folds == fold])
    return logits


def _folds(clips: Clips, chosen: np.ndarray, number: int, seed: int) -> np.ndarray:
    random, folds = np.random.default_rng(seed), np.zeros(len(chosen), int)
    for corpus in np.unique(clips.corpus[chosen]):
        speakers = np.unique(clips.speaker[chosen][clips.corpus[chosen] == corpus])
        for position, speaker in enumerate(random.permutation(speakers)):
            folds[clips.speaker[chosen] == speaker] = position % number
    return folds


def _temperature(clips: Clips, chosen: np.ndarray, logits: np.ndarray) -> float:
    weights, truth = clips.weights(chosen), clips.emotion[chosen]

    def loss(log_temperature: float) -> float:
        probabilities = softmax(logits / np.exp(log_temperature), axis=1)
        return float(-weights @ np.log(probabilities[np.arange(len(truth)), truth] + 1e-12))

    return float(np.exp(minimize_scalar(loss, bounds=(-2, 2), method="bounded").x))


def _record(clips: Clips, chosen: np.ndarray, probabilities: np.ndarray) -> Reliability:
    size, held_out = len(clips.labels), []
    for corpus in np.unique(clips.corpus[chosen]):
        own = clips.corpus[chosen] == corpus
        truth, answers = np.eye(size)[clips.emotion[chosen][own]], probabilities[own]
        number = truth.sum(axis=0)
        held_out.append(
            HeldOutAnswers(
                group=str(corpus),
                split="speaker",
                clips=tuple(number.astype(int).tolist()),
                predicted=_rows_of((truth.T @ np.eye(size)[answers.argmax(axis=1)]).astype(int)),
                probability=_rows_of(truth.T @ answers / np.maximum(number, 1)[:, None]),
            )
        )
    return Reliability(labels=clips.labels, held_out=tuple(held_out))


def _rows_of(matrix: np.ndarray) -> tuple[tuple[Any, ...], ...]:
    return tuple(tuple(row) for row in matrix.tolist())


def errors(clips: Clips, setting: Setting, draws: int, seed: int) -> Iterator[Mapping[str, Any]]:
    """Yield the errors of the counted and of the corrected shares on days drawn from what was held back.

    The shares of a day are drawn from a Dirichlet distribution over the emotions that there are, and its calls' own
    shares around them; a call has five segments.
    """
    random = np.random.default_rng(seed)
    for number in range(draws):
        concentration = CONCENTRATIONS[number % 2]
        size = SIZES[number // 2 % 3]
        pool = setting.drawn[number % len(setting.drawn)]
        emotions = np.unique(clips.emotion[pool])
        shares = random.dirichlet(np.full(len(emotions), concentration))
        calls = size // SEGMENTS_OF_A_CALL
        own = random.dirichlet(np.maximum(shares * 4, 1e-3), calls)
        labels = np.concatenate([random.choice(emotions, SEGMENTS_OF_A_CALL, p=call) for call in own])
        chosen = np.array([random.choice(pool[clips.emotion[pool] == label]) for label in labels])
        probabilities = setting.probabilities[chosen]
        recordings = np.repeat(np.arange(calls), SEGMENTS_OF_A_CALL)
        found = adjusted_shares(Speech(probabilities, np.ones(size), recordings), setting.record)
        size_of = len(clips.labels)
        truth = np.bincount(labels, minlength=size_of) / size
        expected = np.zeros(size_of)
        expected[emotions] = shares
        counted = np.bincount(probabilities.argmax(axis=1), minlength=size_of) / size
        corrected = np.array([found[each].share if each in found else 0.0 for each in clips.labels])
        held = [
            found[each].low <= expected[index] <= found[each].high
            for index, each in enumerate(clips.labels)
            if each in found
        ]
        yield {
            "concentration": concentration,
            "counted": float(np.abs(counted - truth).mean()),
            "corrected": float(np.abs(corrected - truth).mean()),
            "covered": float(np.mean(held)),
        }


def figures(clips: Clips, *, draws: int, repeats: int) -> str:
    """Return the mean absolute errors and the coverage by setting and concentration, as Markdown."""
    found: dict[tuple[str, float], list[Mapping[str, Any]]] = {}
    for seed, setting in enumerate(settings_of(clips, repeats)):
        for error in errors(clips, setting, draws, seed):
            found.setdefault((setting.name, error["concentration"]), []).append(error)
    rows = []
    for (name, concentration), each in found.items():
        counted, corrected, covered = (
            float(np.mean([error[key] for error in each])) for key in ("counted", "corrected", "covered")
        )
        cells = [
            f"{100 * counted:.2f}",
            f"{100 * corrected:.2f}",
            f"{corrected / counted:.2f}",
            f"{covered:.2f}",
        ]
        rows.append([name, f"{concentration:g}", str(len(each)), *cells])
    return markdown_table(
        [
            "drawn from",
            "Dirichlet",
            "days",
            "counting errs by",
            "corrected",
            "ratio",
            "interval holds the truth",
        ],
        rows,
    )


def main(
    data: Annotated[Path, typer.Option(help="Folder with manifest_all.csv and the clips.")] = Path(
        "../shared/data"
    ),
    encoder: Annotated[Path, typer.Option(help="Folder of the encoder.")] = Path(
        "../shared/models/whisper-base-encoder"
    ),
    states: Annotated[Path | None, typer.Option(help="File that keeps the states.")] = None,
    draws: int = 600,
    repeats: int = 5,
) -> None:
    """Measure corrected against counted shares, and write the table of docs/shares.md."""
    kept = np.load(states) if states is not None and states.is_file() else encoded(data, encoder)
    if states is not None:
        np.save(states, kept)
    table = figures(read_clips(data, kept), draws=draws, repeats=repeats)
    print(table)
    write_between(PAGE, "quantification", table)


if __name__ == "__main__":
    typer.run(main)
