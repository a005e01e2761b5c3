"""How much faster than what people would write?

python -m bench.against

The same weights on the same recordings, of 5 to 40 s with pauses, from files to labels. `loop`: librosa.load, one 10 s
window at a time, all hidden states kept and stacked. `pipeline`: transformers' audio-classification pipeline with its
own batches. The steps between the loop and emolake are switched on one after the other. audinterface and S3PRL's own
classes take part where they are installed: `pip install -r requirements-families.lock`, `pip install --no-deps s3prl`.
"""

from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
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
from emolake.audio.cutting import window_bounds
from emolake.models.inference import InferenceOptions
from emolake.pipeline.shard import analyse
from emolake.pipeline.timings import Timings
from emolake.prediction.files import source_object
from emolake.settings import Settings
from emolake.source.folder import FolderSource
from emolake.tasks.segment import SegmentOptions

_SHAPE = "base"
_PLAN = {"short": (2, 2), "full": (8, 3)}  # recordings, repeats
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
            **{
                name: keep(name, make(loop, files))
                for name, (module, make) in OTHERS.items()
                if find_spec(module)
            },
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
    missing = [name for name in OTHERS if name not in work]
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
        + "".join(
            f"{agreement(found['own'], found[name])} with those of {name}; "
            for name in OTHERS
            if name in found
        )
        + f"{agreement(found['own classifier'], found['pipeline'])} with the pipeline's. S3PRL and the pipeline pad "
        "their batches although this model's first norm takes in the padding."
        + "".join(f" Not installed here: {name}." for name in missing)
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
        self.upstream = upstream
        self.encoder = AutoModel.from_pretrained(upstream).eval()
        self.extractor = AutoFeatureExtractor.from_pretrained(upstream)
        content = torch.load(checkpoint, weights_only=False)  # written by this bench
        self.featurizer, self.head = content["Featurizer"], content["Downstream"]
        self.weights = self.featurizer["weights"].softmax(0)

    def __call__(self, files: list[Path]) -> Answers:
        return {place: self.probabilities(wave) for place, wave in loaded(files)}

    @torch.inference_mode()
    def probabilities(self, wave: np.ndarray) -> np.ndarray:
        """Return the probabilities [labels] of one window [samples]."""
        inputs = self.extractor(wave, sampling_rate=RATE, return_tensors="pt").input_values
        states = torch.stack(self.encoder(inputs, output_hidden_states=True).hidden_states)
        mean = (self.weights[:, None, None, None] * states).sum(0).mean(1)
        hidden = mean @ self.head["projector.weight"].T + self.head["projector.bias"]
        logits = hidden @ self.head["model.post_net.linear.weight"].T
        logits = logits + self.head["model.post_net.linear.bias"]
        found: np.ndarray = logits.softmax(1)[0].numpy()
        return found


def windows(samples: int) -> list[tuple[int, int]]:
    """Return the windows as emolake's defaults cut them, so that answers can be compared."""
    return window_bounds(samples, window=_WINDOW, hop=_WINDOW, min_tail=RATE)


def loaded(files: list[Path]) -> Iterator[tuple[tuple[str, float], np.ndarray]]:
    """Yield place and samples of every window, by librosa."""
    for file in files:
        wave, _ = librosa.load(file, sr=RATE)
        for start, end in windows(len(wave)):
            yield (str(file), start / RATE), wave[start:end]


def by_audinterface(loop: Loop, files: list[Path]) -> Callable[[], Answers]:
    """Read each window by audinterface, which gives it to the loop's model in its process function."""
    import audformat
    import audinterface
    import pandas as pd

    cut = [
        (str(file), start / RATE, end / RATE)
        for file in files
        for start, end in windows(soundfile.info(file).frames)
    ]
    names, starts, ends = zip(*cut, strict=True)
    index = audformat.segmented_index(
        names, pd.to_timedelta(starts, unit="s"), pd.to_timedelta(ends, unit="s")
    )
    process = audinterface.Process(
        process_func=lambda signal, _rate: loop.probabilities(signal[0]),
        sampling_rate=RATE, resample=True, mixdown=True, num_workers=1,
    )  # fmt: skip

    def run() -> Answers:
        return {
            (file, start.total_seconds()): probabilities
            for (file, start, _end), probabilities in process.process_index(index).items()
        }

    return run


def by_s3prl(loop: Loop, files: list[Path]) -> Callable[[], Answers]:
    """Run S3PRL's upstream, featurizer and downstream, in batches of four as its recipe evaluates."""
    from s3prl.downstream.model import UtteranceLevel
    from s3prl.upstream.hf_hubert.expert import UpstreamExpert
    from s3prl.upstream.interfaces import Featurizer
    from torch.nn.utils.rnn import pad_sequence

    upstream = UpstreamExpert(str(loop.upstream)).eval()
    featurizer = Featurizer(upstream, upstream_device="cpu").eval()
    featurizer.load_state_dict(loop.featurizer)
    projector = torch.nn.Linear(featurizer.output_dim, len(LABELS)).eval()
    projector.load_state_dict(_part(loop.head, "projector."))
    model = UtteranceLevel(len(LABELS), len(LABELS)).eval()
    model.load_state_dict(_part(loop.head, "model."))

    @torch.inference_mode()
    def run() -> Answers:
        cut = [(place, torch.from_numpy(wave)) for place, wave in loaded(files)]
        answers: Answers = {}
        for first in range(0, len(cut), 4):
            group = cut[first : first + 4]
            waves = [wave for _, wave in group]
            features = featurizer(waves, upstream(waves))
            lengths = torch.IntTensor([len(each) for each in features])
            logits, _ = model(projector(pad_sequence(features, batch_first=True)), lengths)
            answers.update(zip((place for place, _ in group), logits.softmax(1).numpy(), strict=True))
        return answers

    return run


def _part(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}


# What else people would take: the module that it needs, and what makes its work on the loop's model.
OTHERS: dict[str, tuple[str, Callable[[Loop, list[Path]], Callable[[], Answers]]]] = {
    "audinterface": ("audinterface", by_audinterface),
    "S3PRL's own classes": ("s3prl", by_s3prl),
}


def by_pipeline(model: Path, files: list[Path]) -> Callable[[], Answers]:
    """Run transformers' pipeline on the windows of all files."""
    classify: Any = pipeline("audio-classification", model=str(model), device="cpu", top_k=None)

    def run() -> Answers:
        places: list[tuple[str, float]] = []
        inputs: list[dict[str, Any]] = []
        for place, wave in loaded(files):
            places.append(place)
            inputs.append({"raw": wave, "sampling_rate": RATE})
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
    batch_seconds: Any = "auto",
    gate: float = 0.1,
) -> Callable[[], Answers]:
    """Take emolake's own steps from files to scores, as `predict` and the nightly run take them."""
    inference = InferenceOptions(device="cpu", runtime=runtime, batch_seconds=batch_seconds, model="bench")
    settings = Settings(
        models={"bench": entry}, inference=inference, segmentation=SegmentOptions(min_speech_ratio=gate)
    )
    model = settings.registry.entry().load(inference)
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
