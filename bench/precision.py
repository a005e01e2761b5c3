"""What do bf16 and int8 cost in answers, and what do they gain in speed?

python -m bench.precision

A random HuBERT of the base shape under a head that was fitted to its states on some actors, and asked for the emotions
of others. Speed is processor time on one core, against fp32 on torch; the other columns are against fp32 on torch too.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
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
    s3prl_model,
    spoken_emotions,
    table,
    timed,
)
from emolake.errors import ConfigurationError
from emolake.models.encoders import speech_encoder
from emolake.models.families.s3prl_network import S3prlNetwork, load_encoder
from emolake.models.inference import InferenceOptions
from emolake.models.protocol import Batching, EmotionModel
from emolake.settings import Settings
from emolake.tasks.classify import Engine

_SHAPE = "base"
_PLAN = {"short": (40, 48, 1), "full": (120, 150, 1)}  # clips to fit, clips to ask, repeats
_CLIP = slice(RATE // 2, RATE * 7 // 2)  # 3 s; the corpus opens and ends with silence
_MODES = (("torch", "fp32"), ("onnx", "fp32"), ("torch", "bf16"), ("onnx", "int8"))


def measure(size: str) -> str:
    if not CORPORA.is_dir():
        return "Needs the real speech of `../shared/data`, which is not on this machine."
    fitted, asked, repeats = _PLAN[size]
    torch.set_num_threads(1)
    train, test = spoken_emotions(fitted, asked)
    waves = [wave[_CLIP] for wave, _ in test]
    truth = np.array([RAVDESS_LABELS.index(emotion) for _, emotion in test])
    with folder() as place:
        s3prl_model(place, _SHAPE)
        entry = s3prl_model(place, _SHAPE, fit_head(place / "hf", train))
        named = Settings(models={"bench": entry}).registry.entry("bench")
        models: dict[str, EmotionModel] = {}
        for runtime, precision in _MODES:
            chosen: Any = {"device": "cpu", "runtime": runtime, "precision": precision}
            try:
                models[f"{precision} on {runtime}"] = named.load(InferenceOptions(**chosen))
            except ConfigurationError as error:
                print(f"left out: {error}")
        found: dict[str, np.ndarray] = {}

        def answer(name: str) -> None:
            found[name] = answers(models[name], waves)

        work: dict[str, Callable[[], object]] = {name: partial(answer, name) for name in models}
        samples = timed(work, repeats)
        together = {name: in_batches(model, waves) for name, model in models.items() if "fp32" not in name}
    exact, first = found["fp32 on torch"], cpu(samples["fp32 on torch"])
    rows = [
        (
            name, f"{first / cpu(samples[name]):.2f} x", f"{np.abs(found[name] - exact).max():.1e}",
            f"{(found[name].argmax(1) != exact.argmax(1)).mean():.1%}",
            f"{(found[name].argmax(1) == truth).mean():.1%}",
            f"{np.abs(together[name] - found[name]).max():.0e}" if name in together else "not tried",
            str(models[name].batching.value),
        )
        for name in found
    ]  # fmt: skip
    columns = (
        "mode", "speed", "largest change of a probability", "labels changed", "accuracy",
        "change by batches of one length", "batches it is given",
    )  # fmt: skip
    return f"{fitted} clips fitted, {asked} asked, each 3 s; {repeats} runs.\n\n{table(columns, rows)}"


def answers(model: EmotionModel, waves: list[np.ndarray]) -> np.ndarray:
    """Return the probabilities [clips, labels], in batches that the model allows."""
    return np.stack([each.probabilities for each in Engine(model, 24 * RATE).scores(waves)])


def in_batches(model: EmotionModel, waves: list[np.ndarray]) -> np.ndarray:
    """Return the same in batches of eight clips, whether the model allows them or not."""
    allowed, model.batching = model.batching, Batching.EQUAL_LENGTH
    try:
        return answers(model, waves)
    finally:
        model.batching = allowed


@torch.inference_mode()
def fit_head(upstream: Path, clips: list[tuple[np.ndarray, str]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Fit weights and bias of a logistic regression on the mean of all states, by clip."""
    network = S3prlNetwork(load_encoder(upstream), [])
    means = []
    for start in range(0, len(clips), 8):
        waves = torch.from_numpy(np.stack([wave[_CLIP] for wave, _ in clips[start : start + 8]]))
        lengths = torch.full((len(waves),), waves.shape[1])
        states = network.pooled_states(speech_encoder.normalised(waves, lengths, 1e-7), lengths)
        means.append(torch.stack(states).mean(dim=0).numpy())
    fitted = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)).fit(
        np.concatenate(means), [RAVDESS_LABELS.index(emotion) for _, emotion in clips]
    )
    scaler, regression = fitted[0], fitted[1]
    weight = regression.coef_ / scaler.scale_
    bias = regression.intercept_ - weight @ scaler.mean_
    return torch.from_numpy(weight).float(), torch.from_numpy(bias).float()


if __name__ == "__main__":
    main(measure)
