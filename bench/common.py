"""What benches share: timing side by side, facts of the machine, real speech, and models of HuBERT's shapes.

A bench is a file with `measure(size) -> str`, a Markdown section, and runs alone: `python -m bench.limit`.
"""

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, TypeVar

import numpy as np
import psutil
import soundfile
import torch

from emolake.models.runtimes.quicker_runtime import processor
from emolake.output.table import markdown_table

ROOT = Path(__file__).parents[1]
CORPORA = ROOT.parent / "shared" / "data"
RATE = 16_000
LABELS = ("neutral", "joy", "anger", "sadness")
SIZES = ("short", "full")
Name = TypeVar("Name")
_PACKAGES = ("torch", "onnxruntime", "transformers", "librosa", "numpy", "av", "soundfile")
_STABLE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128,
        "conv_dim": (32,) * 7, **_STABLE,
    },
    "base": {},  # the defaults of transformers: 12 layers of 768, group norm in the first convolution
    "large": {
        "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096, **_STABLE,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """One run: wall time, and processor time of this process and its children, in seconds."""

    wall_s: float
    cpu_s: float


def side_by_side(
    work: Mapping[Name, Callable[[], object]], repeats: int, *, besides: str | None = None
) -> dict[Name, list[Sample]]:
    """Run each piece of work once unmeasured and then `repeats` times, in turns, so that all meet the same load.

    The processor time of child processes of the program `besides` is not counted.
    """
    for run in work.values():
        run()
    return timed(work, repeats, besides=besides)


def at_once(work: Callable[[int], None], workers: int) -> None:
    """Let so many threads work, each with its number; what one raises is raised when all have ended."""
    with ThreadPoolExecutor(workers) as pool:
        for ended in [pool.submit(work, number) for number in range(workers)]:
            ended.result()


def timed(
    work: Mapping[Name, Callable[[], object]], repeats: int, *, besides: str | None = None
) -> dict[Name, list[Sample]]:
    """Compare as `side_by_side` does, of work that needs no first run."""
    samples: dict[Name, list[Sample]] = {name: [] for name in work}
    for _ in range(repeats):
        for name, run in work.items():
            cpu, wall = processor_s(besides), perf_counter()
            run()
            samples[name].append(Sample(perf_counter() - wall, processor_s(besides) - cpu))
    return samples


def processor_s(besides: str | None = None) -> float:
    """Return the processor seconds of this process and of its children, those that ended included.

    Those of the program `besides` are left out.
    """
    ended = os.times()
    total = process_time() + ended.children_user + ended.children_system
    for child in psutil.Process().children(recursive=True):
        try:
            if child.name() == besides:
                continue
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def wall(samples: Sequence[Sample]) -> float:
    """Return the median wall time."""
    return statistics.median(each.wall_s for each in samples)


def cpu(samples: Sequence[Sample]) -> float:
    """Return the median processor time."""
    return statistics.median(each.cpu_s for each in samples)


def ratio(
    samples: Sequence[Sample],
    others: Sequence[Sample],
    of: Callable[[Sample], float] = lambda each: each.wall_s,
) -> str:
    """Return the median of the ratios of runs that followed each other, with its range."""
    return ranged([of(a) / of(b) for a, b in zip(samples, others, strict=True)], digits=2)


def spread(samples: Sequence[Sample]) -> str:
    """Return the median wall time, and the range."""
    return ranged([each.wall_s for each in samples], digits=2)


def ranged(values: Sequence[float], *, digits: int) -> str:
    """Return the median of values, and their range."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Write a Markdown table."""
    return markdown_table(columns, [[str(value) for value in row] for row in rows])


def machine() -> str:
    """Describe processor, load, versions and commit, as a Markdown list."""
    has = torch.cpu.get_capabilities()
    known = [name for name in ("avx2", "avx512_f", "avx512_vnni", "avx512_bf16", "amx_int8") if has.get(name)]
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return (
        f"- {processor()}, {os.cpu_count()} cores ({', '.join(known)}), "
        f"{psutil.virtual_memory().total / 1e9:.0f} GB; load average before: {load}\n"
        f"- Python {platform.python_version()}, {versions}; commit {commit or 'unknown'}"
    )


def by_itself(module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Any:
    """Run a bench with these arguments in a process of its own; return what it prints last, which is JSON."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, check=True, text=True,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def use_all_cores() -> None:
    """Give torch, and onnxruntime with it, every core, whatever the environment says."""
    torch.set_num_threads(os.cpu_count() or 1)


@cache
def clips() -> tuple[np.ndarray, ...]:
    """Return utterances of several speakers, [samples] float32 at 16 kHz: real ones beside the checkout, else
    synthesised.
    """
    if CORPORA.is_dir():
        with (CORPORA / "manifest.csv").open(newline="") as file:
            rows = [row["path"] for row in csv.DictReader(file) if row["corpus"] == "ravdess"]
        return tuple(soundfile.read(CORPORA / path, dtype="float32")[0] for path in rows[::5])
    import soxr

    from emolake.demo.scripts import SCRIPTS
    from emolake.demo.speech import synthesise

    said = [text for script in list(SCRIPTS.values())[:2] for text in _texts(script)][:40]
    return tuple(
        soxr.resample(synthesise(text, voice="en"), 22_050, RATE).astype(np.float32) for text in said
    )


def _texts(script: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for texts in script.values():
        yield from (text for text in texts if len(text) > 20)


def speech_source() -> str:
    """Say what `clips` are."""
    return "RAVDESS, real speech" if CORPORA.is_dir() else "eSpeak NG's voices, for want of real speech"


def recording(seconds: float, *, speech: float, seed: int) -> np.ndarray:
    """Return a recording at 16 kHz: turns of speech with pauses of room noise, `speech` the share that is spoken."""
    generator = np.random.default_rng(seed)
    made = generator.normal(0, 0.0005, round(seconds * RATE)).astype(np.float32)
    at, source = 0, clips()
    while at < len(made):
        turn = np.concatenate(
            [source[generator.integers(len(source))] for _ in range(generator.integers(2, 6))]
        )
        turn = turn[: len(made) - at]
        made[at : at + len(turn)] += turn
        at += len(turn) + round(len(turn) * (1 - speech) / speech * generator.uniform(0.5, 1.5))
    return np.clip(made, -1, 1)


@contextmanager
def folder() -> Iterator[Path]:
    """Give a temporary folder for models, lakes and graphs."""
    with tempfile.TemporaryDirectory(prefix="emolake-bench-") as name:
        os.environ["EMOLAKE_CACHE"] = f"{name}/cache"
        yield Path(name)


def s3prl_model(
    folder: Path, shape: str, head: tuple[torch.Tensor, torch.Tensor] | None = None
) -> dict[str, Any]:
    """Write a random HuBERT of a shape under S3PRL's head, in the original formats; return its entry in [models].

    Args:
        folder: where the files go.
        shape: one of `SHAPES`.
        head: weights [labels, hidden] and bias [labels] on the mean of all states; random when left out.
    """
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    torch.manual_seed(11)
    config = HubertConfig(**SHAPES[shape])
    upstream = folder / "hf"
    if not upstream.is_dir():
        HubertModel(config).eval().save_pretrained(upstream)
        Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(upstream)
    weight, bias = head or (torch.randn(len(LABELS), config.hidden_size), torch.zeros(len(LABELS)))
    downstream = {
        "projector.weight": weight,
        "projector.bias": bias,
        "model.post_net.linear.weight": torch.eye(len(weight)),
        "model.post_net.linear.bias": torch.zeros(len(weight)),
    }
    recipe = {"select": "UtteranceLevel", "UtteranceLevel": {"pooling": "MeanPooling"}}
    checkpoint = {
        "Args": Namespace(upstream_feature_selection="hidden_states", upstream_layer_selection=None),
        "Config": {"downstream_expert": {"modelrc": recipe}},
        "Featurizer": OrderedDict(weights=torch.zeros(config.num_hidden_layers + 1)),
        "Downstream": OrderedDict(downstream),
    }
    torch.save(checkpoint, folder / "dev-best.ckpt")
    return {
        "family": "s3prl",
        "upstream": str(upstream),
        "checkpoint": str(folder / "dev-best.ckpt"),
        "labels": list(LABELS[: len(weight)] if len(weight) <= len(LABELS) else RAVDESS_LABELS),
    }


RAVDESS_LABELS = ("anger", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")


def transformers_model(folder: Path, shape: str) -> dict[str, Any]:
    """Write a random HuBERT classifier of transformers, in its own format; return its entry in [models]."""
    from transformers import HubertConfig, HubertForSequenceClassification, Wav2Vec2FeatureExtractor

    torch.manual_seed(12)
    names = dict(enumerate(LABELS))
    model = HubertForSequenceClassification(
        HubertConfig(**SHAPES[shape], id2label=names, label2id={name: index for index, name in names.items()})
    )
    with torch.no_grad():
        model.classifier.weight.mul_(20)
    model.eval().save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False).save_pretrained(folder)
    return {"family": "transformers", "model": str(folder)}


def spoken_emotions(
    fitted: int, asked: int
) -> tuple[list[tuple[np.ndarray, str]], list[tuple[np.ndarray, str]]]:
    """Return clips of RAVDESS with what was acted, to fit and to ask, of different actors."""
    with (CORPORA / "manifest.csv").open(newline="") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["corpus"] == "ravdess" and float(row["duration_s"]) >= 3.5
        ]
    actors = sorted({row["speaker"] for row in rows})
    generator = np.random.default_rng(6)

    def some(speakers: list[str], number: int) -> list[tuple[np.ndarray, str]]:
        own = [row for row in rows if row["speaker"] in speakers]
        chosen = generator.choice(len(own), min(number, len(own)), replace=False)
        return [
            (soundfile.read(CORPORA / own[index]["path"], dtype="float32")[0], own[index]["emotion"])
            for index in chosen
        ]

    return some(actors[: len(actors) // 2], fitted), some(actors[len(actors) // 2 :], asked)


def main(measure: Callable[[str], str]) -> None:
    """Run one bench and print its section."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--size", choices=SIZES, default="short", help="how much audio, how many repeats")
    size = parser.parse_args().size
    use_all_cores()
    facts = machine()
    command = f"python -m bench.{Path(sys.argv[0]).stem} --size {size}"
    title = (sys.modules["__main__"].__doc__ or "").strip().splitlines()[0]
    print(f"## {title}\n\n`{command}`, on {processor()}\n\n{measure(size).strip()}\n\n{facts}")
