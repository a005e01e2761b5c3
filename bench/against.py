"""How much faster than what people would write?

python -m bench.against

The same weights on the same recordings, of 5 to 40 s with pauses, from files to labels. `loop`: librosa.load, one 10 s
window at a time, all hidden states kept and stacked. `pipeline`: transformers' audio-classification pipeline with its
own batches. The steps between the loop and emolake are switched on one after the other.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import soundfile
import torch
from transformers import AutoFeatureExtractor, AutoModel, pipeline

from bench.common import (
    LABELS,
    RATE,
    cpu,
    folder,
    main,
    ratio,
    recording,
    s3prl_model,
    spread,
    table,
    timed,
    transformers_model,
)
from emolake.models.registry import model_entry
from emolake.predict import source_object
from emolake.settings import InferenceSettings, Settings
from emolake.shard import analyse
from emolake.storage import FolderSource
from emolake.tasks.segment import SegmentOptions, window_bounds
from emolake.timings import Timings

_SHAPE = "base"
_PLAN = {"short": (2, 2), "full": (40, 5)}  # recordings, repeats
_WINDOW = 10 * RATE
Answers = dict[tuple[str, float], np.ndarray]  # file and start in seconds -> probabilities [labels]


def measure(size: str) -> str:
    number, repeats = _PLAN[size]
    found: dict[str, Answers] = {}

    def keep(name: str, run: Callable[[], Answers]) -> Callable[[], object]:
        return lambda: found.update({name: run()})

    with folder() as place:
        files = make_files(place / "recordings", number)
        seconds = sum(soundfile.info(file).duration for file in files)
        (place / "s3prl").mkdir()
        head = s3prl_model(place / "s3prl", _SHAPE)
        classifier = transformers_model(place / "transformers", _SHAPE)
        loop = Loop(Path(head["upstream"]), Path(head["checkpoint"]))
        work = {
            "the loop": keep("the loop", lambda: loop(files)),
            "emolake, one window at a time, no gate, torch": keep(
                "alone", own(head, files, runtime="torch", batch_seconds=1e-3, gate=0.0)
            ),
            "+ batches": keep("batches", own(head, files, runtime="torch", gate=0.0)),
            "+ silence is not sent": keep("gate", own(head, files, runtime="torch")),
            "+ onnxruntime (the default)": keep("own", own(head, files)),
            "the pipeline": keep("pipeline", by_pipeline(place / "transformers", files)),
            "emolake on the pipeline's model": keep("own classifier", own(classifier, files)),
        }
        samples = timed(work, repeats)
    first = {name: "the pipeline" if "pipeline" in name else "the loop" for name in work}
    rows = [
        (
            name, spread(samples[name]), f"{cpu(samples[name]):.1f}", ratio(samples[first[name]], samples[name]),
            ratio(samples[first[name]], samples[name], lambda each: each.cpu_s),
        )
        for name in work
    ]  # fmt: skip
    columns = ("", "wall, s", "processor, s", "faster by (wall)", "faster by (processor)")
    return (
        f"{number} recordings, {seconds:.0f} s, of which emolake sends {len(found['own'])} of {len(found['alone'])} "
        f"windows; HuBERT-{_SHAPE}, {repeats} runs.\n\n{table(columns, rows)}\n\n"
        f"Answers: {agreement(found['own'], found['the loop'])} with the loop's; "
        f"{agreement(found['own classifier'], found['pipeline'])} with the pipeline's, which pads its batches although "
        "this model's first norm takes in the padding."
    )


def make_files(folder: Path, number: int) -> list[Path]:
    folder.mkdir()
    generator = np.random.default_rng(2)
    files = []
    for index in range(number):
        seconds = float(generator.uniform(5, 40))
        path = folder / f"{index:03}.wav"
        soundfile.write(path, recording(seconds, speech=0.5, seed=index), RATE)
        files.append(path)
    return files


class Loop:
    """What S3PRL's example would be made into by hand."""

    def __init__(self, upstream: Path, checkpoint: Path) -> None:
        self.encoder = AutoModel.from_pretrained(upstream).eval()
        self.extractor = AutoFeatureExtractor.from_pretrained(upstream)
        content = torch.load(checkpoint, weights_only=False)  # written by this bench
        self.weights = content["Featurizer"]["weights"].softmax(0)
        self.head = content["Downstream"]

    @torch.inference_mode()
    def __call__(self, files: list[Path]) -> Answers:
        answers: Answers = {}
        for file in files:
            wave, _ = librosa.load(file, sr=RATE)
            for start, end in windows(len(wave)):
                inputs = self.extractor(wave[start:end], sampling_rate=RATE, return_tensors="pt").input_values
                states = torch.stack(self.encoder(inputs, output_hidden_states=True).hidden_states)
                mean = (self.weights[:, None, None, None] * states).sum(0).mean(1)
                hidden = mean @ self.head["projector.weight"].T + self.head["projector.bias"]
                logits = hidden @ self.head["model.post_net.linear.weight"].T
                logits = logits + self.head["model.post_net.linear.bias"]
                answers[str(file), start / RATE] = logits.softmax(1)[0].numpy()
        return answers


def windows(samples: int) -> list[tuple[int, int]]:
    """Windows as emolake's defaults cut them, so that answers can be compared."""
    return window_bounds(samples, window=_WINDOW, hop=_WINDOW, min_tail=RATE)


def by_pipeline(model: Path, files: list[Path]) -> Callable[[], Answers]:
    """transformers' pipeline on the windows of all files."""
    classify = pipeline("audio-classification", model=str(model), device="cpu", top_k=None)

    def run() -> Answers:
        places: list[tuple[str, float]] = []
        inputs: list[Mapping[str, Any]] = []
        for file in files:
            wave, _ = librosa.load(file, sr=RATE)
            for start, end in windows(len(wave)):
                places.append((str(file), start / RATE))
                inputs.append({"raw": wave[start:end], "sampling_rate": RATE})
        answers: Answers = {}
        for place, scores in zip(places, classify(inputs, batch_size=8), strict=True):
            by_label = {each["label"]: each["score"] for each in scores}
            answers[place] = np.array([by_label[label] for label in LABELS])
        return answers

    return run


def own(
    entry: dict[str, Any],
    files: list[Path],
    *,
    runtime: Any = "auto",
    batch_seconds: float = 160.0,
    gate: float = 0.1,
) -> Callable[[], Answers]:
    """emolake's own steps from files to scores, as `predict` and the nightly run take them."""
    inference = InferenceSettings(device="cpu", runtime=runtime, batch_seconds=batch_seconds, model="bench")
    settings = Settings(
        models={"bench": entry}, inference=inference, segmentation=SegmentOptions(min_speech_ratio=gate)
    )
    model = model_entry(settings).load(inference)
    objects = [source_object(file) for file in files]

    def run() -> Answers:
        analyses = analyse(
            objects, source=FolderSource(Path("/")), model=model, settings=settings, timings=Timings()
        )
        return {
            (str(file), row.start_s): row.scores.probabilities
            for file, analysis in zip(files, analyses, strict=True)
            for row in analysis.rows
            if row.scores is not None
        }

    return run


def agreement(answers: Answers, others: Answers) -> str:
    common = sorted(set(answers) & set(others))
    a, b = (np.stack([each[place] for place in common]) for each in (answers, others))
    same, largest = (a.argmax(1) == b.argmax(1)).mean(), np.abs(a - b).max()
    return (
        f"{same:.0%} of {len(common)} labels are the same and probabilities differ by at most {largest:.0e}"
    )


if __name__ == "__main__":
    main(measure)
