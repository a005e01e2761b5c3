"""What does the forward pass of the large encoder spend its time on, before and after?

python -m bench.operators

Ten seconds of audio through HuBERT-large on one core: the loop that people would write, emolake's module on torch, and
the graph that `auto` takes. By the profilers of torch and of onnxruntime, whose own cost is in the figures; the picture
is `docs/operators.png`.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
import onnxruntime as ort
import torch
from matplotlib.figure import Figure
from torch.profiler import ProfilerActivity, profile

from bench.against import Loop
from bench.common import RATE, ROOT, folder, main, recording, s3prl_model, table
from emolake.models.inference import InferenceOptions
from emolake.models.runtimes.graph_cache import GRAPH_FILE
from emolake.models.runtimes.networks import session_options
from emolake.settings import Settings

_SHAPE = "large"
_REPEATS = {"short": 2, "full": 5}
_PICTURE = ROOT / "docs" / "operators.png"
# What an operator's name holds, in lower case -> what it is; the first that fits counts.
_KINDS = {
    "matrix products": ("addmm", "aten::mm", "matmul", "bmm", "gemm", "aten::linear"),
    "convolutions": ("conv",),
    "attention": ("attention", "softmax", "where", "isnan", "masked_fill"),
    "norms": ("norm",),
    "activations": ("gelu", "erf"),
    "copies and layout": (
        "copy",
        "stack",
        "aten::cat",
        "concat",
        "transpose",
        "clone",
        "slice",
        "reshape",
        "fill",
    ),
}
_REST = "sums and the rest"


def measure(size: str) -> str:
    repeats = _REPEATS[size]
    torch.set_num_threads(1)
    wave = recording(10.0, speech=0.9, seed=0)
    with folder() as place:
        described = s3prl_model(place, _SHAPE)
        entry = Settings(models={"bench": described}).registry.entry("bench")
        loop = Loop(Path(described["upstream"]), Path(described["checkpoint"]))
        own = entry.load(InferenceOptions(device="cpu", runtime="torch"))
        entry.load(InferenceOptions(device="cpu", runtime="onnx"))
        (graph,) = (place / "cache").rglob(GRAPH_FILE)
        batch, lengths = torch.from_numpy(wave[None]), torch.tensor([len(wave)])
        found = {
            "the loop": by_torch(lambda: loop.probabilities(wave), repeats),
            "emolake, torch": by_torch(lambda: own.predict(batch, lengths), repeats),
            "emolake, onnxruntime": by_onnxruntime(graph, wave, repeats),
        }
    kinds = [*_KINDS, _REST]
    draw(found, kinds)
    rows = [(each, *(f"{times[each]:.2f}" for times in found.values())) for each in kinds]
    rows.append(("all", *(f"{times.total():.2f}" for times in found.values())))
    return (
        f"HuBERT-{_SHAPE}, {len(wave) / RATE:g} s of audio, one core, seconds; mean of {repeats} runs.\n\n"
        f"{table(('', *found), rows)}\n\n![the same as a picture](../docs/{_PICTURE.name})"
    )


def by_torch(run: Callable[[], object], repeats: int) -> Counter[str]:
    """Return the seconds of processor time by kind of operator, without what an operator calls."""
    run()
    with profile(activities=[ProfilerActivity.CPU]) as taken:
        for _ in range(repeats):
            run()
    seconds: Counter[str] = Counter()
    for each in taken.key_averages():
        seconds[kind(each.key)] += each.self_cpu_time_total / 1e6 / repeats
    return seconds


def by_onnxruntime(graph: Path, wave: np.ndarray, repeats: int) -> Counter[str]:
    """Return the same of a graph; the first run is left out."""
    options = session_options()
    options.enable_profiling = True
    options.profile_file_prefix = str(graph.parent.parent / "operators")
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    given = {"inputs": wave[None], "lengths": np.array([len(wave)])}
    names = [each.name for each in session.get_inputs()]
    runs: list[Counter[str]] = []
    for _ in range(repeats + 1):
        session.run(None, {name: given[name] for name in names})
    events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    for event in sorted(events, key=lambda each: each["ts"]):
        if event["name"] == "model_run":
            runs.append(Counter())
        elif event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            runs[-1][kind(event["args"]["op_name"])] += event["dur"] / 1e6
    return Counter({name: sum(run[name] for run in runs[1:]) / repeats for name in {*_KINDS, _REST}})


def kind(operator: str) -> str:
    """Return what an operator is; see `_KINDS`."""
    low = operator.lower()
    return next((name for name, signs in _KINDS.items() if any(sign in low for sign in signs)), _REST)


def draw(found: Mapping[str, Counter[str]], kinds: list[str]) -> None:
    """Write the picture: a bar for each way, its operators side by side."""
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(found))
    for each, colour in zip(kinds, mpl.color_sequences["tab10"], strict=False):
        widths = np.array([times[each] for times in found.values()])
        axes.barh(list(found), widths, left=left, label=each, color=colour)
        left += widths
    axes.invert_yaxis()
    axes.set_xlabel("seconds of one core for 10 s of audio, HuBERT-large")
    figure.legend(loc="outside right center", frameon=False)
    figure.savefig(_PICTURE, dpi=110)


if __name__ == "__main__":
    main(measure)
