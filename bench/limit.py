"""How near does the forward pass come to the processor's fastest matrix product?

python -m bench.limit

The encoder's floating-point operations, counted by torch, over its processor time, against fp32 matrix products of
2048 x 2048 by each library at hand, in turns in the same process, all on one core, so that neighbours do not count;
in batches of several sizes, since `inference.batch_seconds` says how large they are.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper
from torch.utils.flop_counter import FlopCounterMode

from bench.common import cpu, folder, main, recording, s3prl_model, side_by_side, table
from emolake.models.inference import InferenceOptions
from emolake.models.protocol import EmotionModel
from emolake.settings import Settings

_SIDE = 2048
_SHAPE = "large"
# Clips of 10 s in a batch, by what runs it; repeats.
_PLAN: dict[str, tuple[dict[str, tuple[int, ...]], int]] = {
    "short": ({"torch": (1,), "onnx": (1,)}, 3),
    "full": ({"torch": (1, 4), "onnx": (1, 2, 4, 16)}, 5),
}


def measure(size: str) -> str:
    sizes, repeats = _PLAN[size]
    torch.set_num_threads(1)
    most = max(count for counts in sizes.values() for count in counts)
    waves = torch.from_numpy(np.stack([recording(10.0, speech=0.9, seed=seed) for seed in range(most)]))
    with folder() as place:
        entry = Settings(models={"bench": s3prl_model(place, _SHAPE)}).registry.entry("bench")
        models: dict[str, EmotionModel] = {
            name: entry.load(InferenceOptions.model_validate({"device": "cpu", "runtime": name}))
            for name in sizes
        }
        with FlopCounterMode(display=False) as counter:
            expected = forward(models["torch"], waves[:1])
        flop = counter.get_total_flops()
        difference = float((forward(models["onnx"], waves[:1]) - expected).abs().max())
        work: dict[tuple[str, int], Callable[[], object]] = {
            (name, count): partial(forward, models[name], waves[:count])
            for name, counts in sizes.items()
            for count in counts
        }
        products = matrix_products()
        samples = side_by_side({**work, **products}, repeats)
    product = 2 * _SIDE**3
    peaks = {name: product / cpu(samples[name]) / 1e9 for name in products}
    peak = max(peaks.values())
    rows = [(name, f"{cpu(samples[name]):.2f}", f"{value:.0f}", "") for name, value in peaks.items()]
    for runtime, count in work:
        seconds = cpu(samples[runtime, count])
        achieved = count * flop / seconds / 1e9
        rows.append(
            (
                f"HuBERT-{_SHAPE}, {count} x 10 s, {runtime}: {count * 10 / seconds:.1f} x real time",
                f"{seconds:.2f}", f"{achieved:.0f}", f"{achieved / peak:.2f}",
            )
        )  # fmt: skip
    return (
        f"{flop / 1e9:.0f} GFLOP for 10 s of audio, {repeats} runs; the "
        f"two runtimes' logits differ by {difference:.0e}.\n\n"
        + table(("fp32, one core", "seconds", "GFLOP/s", "of the fastest product"), rows)
    )


def forward(model: EmotionModel, waves: torch.Tensor) -> torch.Tensor:
    """Return the logits [B, labels] of waves [B, T]."""
    return model.predict(waves, torch.full((len(waves),), waves.shape[1])).logits


def matrix_products() -> dict[str, Callable[[], object]]:
    """Time one fp32 product by torch's own library, by oneDNN through torch, and by onnxruntime."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(_SIDE, _SIDE, generator=generator) for _ in range(2))
    node = helper.make_node("MatMul", ["a", "b"], ["c"])
    tensor = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [_SIDE, _SIDE]) for name in "ac"]
    weight = helper.make_tensor("b", TensorProto.FLOAT, [_SIDE, _SIDE], b.numpy().tobytes(), raw=True)
    graph = helper.make_graph([node], "product", tensor[:1], tensor[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    products: dict[str, Callable[[], object]] = {
        "torch.mm": lambda: torch.mm(a, b),
        "onnxruntime MatMul": lambda: session.run(None, {"a": a.numpy()}),
    }
    if torch.backends.mkldnn.is_available():
        products["oneDNN through torch"] = lambda: torch.ops.mkldnn._linear_pointwise(
            a, b, None, "none", [], ""
        )
    return products


if __name__ == "__main__":
    main(measure)
