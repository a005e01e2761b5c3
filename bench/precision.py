"""What do bf16 and int8 cost in answers, and what do they gain in speed?

python -m bench.precision

Of the shipped default, and of the whole whisper-base encoder under a head that was fitted to it on some actors. Speed
is processor time on one core, of windows of 10 s in the batches that each mode is given, in turns in one process, waves
to probabilities. Answers are to real speech, for the second model of actors that no weight has seen.
"""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bench.common import (
    CORPORA,
    RATE,
    RAVDESS_LABELS,
    cpu,
    folder,
    main,
    recording,
    side_by_side,
    spoken_emotions,
    table,
)
from bench.pretrained import weights_folder
from emolake.errors import ConfigurationError
from emolake.models.inference import InferenceOptions
from emolake.models.protocol import EmotionModel
from emolake.settings import Settings
from emolake.tasks.classify import Engine

_PLAN = {"short": (40, 60, 2, 3), "full": (160, 400, 4, 7)}  # clips to fit, clips to ask, windows, repeats
_CLIP = slice(RATE // 2, RATE * 7 // 2)  # 3 s; the corpus opens and ends with silence
_MODES = (("auto", "fp32"), ("torch", "fp32"), ("auto", "bf16"), ("auto", "int8"))
_BATCH_S = 20  # what a processor is given by default


def measure(size: str) -> str:
    if not CORPORA.is_dir():
        return "Needs the real speech of `../shared/data`, which is not on this machine."
    fitted, asked, windows, repeats = _PLAN[size]
    torch.set_num_threads(1)
    train, test = spoken_emotions(fitted, asked)
    clips = [wave[_CLIP] for wave, _ in test]
    spoken = [recording(10.0, speech=0.9, seed=seed) for seed in range(windows)]
    rows: list[tuple[str, ...]] = []
    with folder() as place:
        named: dict[str, Mapping[str, Any]] = {"whisper-base, 6 layers, fitted head": whisper(place, train)}
        for name in ("default", *named):
            entry = Settings(models=named).registry.entry(name)
            models: dict[str, EmotionModel] = {}
            for runtime, precision in _MODES:
                chosen: Any = {"device": "cpu", "runtime": runtime, "precision": precision}
                try:
                    models[precision if runtime == "auto" else f"{precision} on {runtime}"] = entry.load(
                        InferenceOptions(**chosen)
                    )
                except ConfigurationError as error:
                    print(f"left out: {error}")
            rows += compared(name, models, clips, spoken, repeats)
    columns = (
        "model", "mode", "speed", "times real time", "largest change of a probability", "labels changed",
        "change by the batch", "batches",
    )  # fmt: skip
    return (
        f"{len(clips)} clips of 3 s asked, {fitted} fitted the second model's head; {windows} windows of 10 s, "
        f"{repeats} runs.\n\n{table(columns, rows)}"
    )


def compared(
    name: str,
    models: Mapping[str, EmotionModel],
    clips: list[np.ndarray],
    windows: list[np.ndarray],
    repeats: int,
) -> list[tuple[str, ...]]:
    """Return the rows of one model, each mode's beside those of the first."""
    work: dict[str, Callable[[], object]] = {
        mode: partial(answers, model, windows, _BATCH_S) for mode, model in models.items()
    }
    samples = side_by_side(work, repeats)
    found = {mode: answers(model, clips, _BATCH_S) for mode, model in models.items()}
    first, exact = next(iter(models)), next(iter(found.values()))
    some = clips[:: max(1, len(clips) // 40)]
    rows: list[tuple[str, ...]] = []
    for mode, model in models.items():
        seconds = cpu(samples[mode])
        change = np.abs(found[mode] - exact)
        alone, together = (answers(model, some, batch_s) for batch_s in (0.001, _BATCH_S))
        rows.append(
            (
                name, mode, f"{cpu(samples[first]) / seconds:.2f} x", f"{10 * len(windows) / seconds:.0f}",
                f"{change.max():.1e}", f"{(found[mode].argmax(1) != exact.argmax(1)).mean():.1%}",
                f"{np.abs(alone - together).max():.0e}", str(model.batching.value),
            )
        )  # fmt: skip
    return rows


def answers(model: EmotionModel, waves: list[np.ndarray], batch_s: float) -> np.ndarray:
    """Return the probabilities [clips, labels], in batches that the model allows."""
    engine = Engine(model, max(1, round(batch_s * RATE)))
    return np.stack([each.probabilities for each in engine.scores(waves)])


@torch.inference_mode()
def whisper(place: Path, clips: list[tuple[np.ndarray, str]]) -> dict[str, Any]:
    """Write whisper-base's encoder under a logistic regression on the clips' states; return its entry in [models]."""
    from emolake.models.families.encoder_head_network import new_network, read_encoder

    upstream = weights_folder("whisper-base-encoder", place / "weights").absolute()
    network = new_network(
        read_encoder(upstream, own_frames=True),
        labels=len(RAVDESS_LABELS),
        projector=None,
        pooling="mean_std",
    ).eval()
    pooled = []
    for wave, _ in clips:
        cut = torch.from_numpy(wave[_CLIP])[None]
        pooled.append(network.pooled(cut, torch.tensor([cut.shape[1]]))[0].numpy())
    truth = [RAVDESS_LABELS.index(emotion) for _, emotion in clips]
    fitted = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)).fit(pooled, truth)
    scaler, regression = fitted[0], fitted[1]
    weight = np.zeros((len(RAVDESS_LABELS), len(scaler.scale_)))
    bias = np.full(len(RAVDESS_LABELS), -20.0)  # of an emotion that no clip was fitted to
    weight[regression.classes_] = regression.coef_ / scaler.scale_
    bias[regression.classes_] = regression.intercept_ - (regression.coef_ / scaler.scale_) @ scaler.mean_
    head = {"output.weight": torch.from_numpy(weight).float(), "output.bias": torch.from_numpy(bias).float()}
    made = place / "whisper"
    made.mkdir()
    save_file(head, made / "model.safetensors")
    config = {
        "family": "encoder_head", "encoder": str(upstream), "context": "clip", "pooling": "mean_std",
        "labels": RAVDESS_LABELS,
    }  # fmt: skip
    (made / "config.json").write_text(json.dumps(config))
    return {"path": str(made)}


if __name__ == "__main__":
    main(measure)
