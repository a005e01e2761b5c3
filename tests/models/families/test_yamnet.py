"""YAMNet agrees with an independent front end and network, reads the published layout, and drops other events.

TensorFlow is not installed with the tests: `docs/models.md` says how far it was compared with TensorFlow itself.
Here the front end is checked against numpy and scipy, and the network against scipy's correlation.
"""

import csv
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from scipy import signal

from emolake.errors import ConfigurationError
from emolake.models.families.yamnet import Yamnet, YamnetOptions
from emolake.models.families.yamnet_class_map import CLASS_MAP_FILE, EVENTS
from emolake.models.families.yamnet_convert import main
from emolake.models.families.yamnet_network import log_mel_patches
from emolake.models.families.yamnet_weights import convert_h5
from emolake.models.protocol import Batching
from emolake.models.registry import ModelEntry
from emolake.tasks.classify import Engine, Scores

TOLERANCE = 1e-4
# A small class map in an order that is not YAMNet's: events are found by name.
NAMES = ("Shout", "Music", "Crying, sobbing", "Speech", "Laughter", "Screaming", "Silence")
CHANNELS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
Weights = dict[str, np.ndarray]


def random_weights() -> Weights:
    """Variables under the names and shapes of the published Keras model, at a scale that keeps activations alive."""
    random = np.random.default_rng(11)
    weights: Weights = {}

    def convolution(layer: str, tensor: str, shape: tuple[int, ...], fan_in: int) -> None:
        weights[f"{layer}/{tensor}"] = random.normal(0, (2 / fan_in) ** 0.5, shape)
        channels = shape[2] if tensor == "depthwise_kernel" else shape[3]
        weights[f"{layer}/bn/beta"] = random.normal(0, 0.2, channels)
        weights[f"{layer}/bn/moving_mean"] = random.normal(0, 0.2, channels)
        weights[f"{layer}/bn/moving_variance"] = random.uniform(0.5, 1.5, channels)

    convolution("layer1/conv", "kernel", (3, 3, 1, 32), 9)
    channels = 32
    for index, (out, _) in enumerate(CHANNELS, start=2):
        convolution(f"layer{index}/depthwise_conv", "depthwise_kernel", (3, 3, channels, 1), 9)
        convolution(f"layer{index}/pointwise_conv", "kernel", (1, 1, channels, out), channels)
        channels = out
    weights["dense/kernel"] = random.normal(0, 2 / channels**0.5, (channels, len(NAMES)))
    weights["dense/bias"] = random.normal(0, 0.5, len(NAMES))
    return {name: array.astype(np.float32) for name, array in weights.items()}


def write_h5(path: Path, weights: Weights, *, spelling: str = "/") -> None:
    """Keras' layout: a group per layer that holds each variable under the layer's name once more."""
    with h5py.File(path, "w") as file:
        for name, array in weights.items():
            layer, _, tensor = name.rpartition("/")
            layer = layer.replace("/", spelling)
            file[f"{layer}/{layer}/{tensor}:0"] = array


def write_class_map(path: Path, names: tuple[str, ...] = NAMES) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["index", "mid", "display_name"])
        rows.writerows([index, f"/m/{index}", name] for index, name in enumerate(names))


@pytest.fixture(scope="module")
def weights() -> Weights:
    return random_weights()


@pytest.fixture(scope="module")
def original(weights: Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("yamnet")
    write_h5(folder / "yamnet.h5", weights)
    write_class_map(folder / CLASS_MAP_FILE)
    return folder


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    """A folder that may be broken."""
    for path in original.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.fixture(scope="module")
def clips() -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)

    def noise(samples: int, level: float) -> np.ndarray:
        return (level * random.standard_normal(samples)).astype(np.float32)

    return {
        "shortest": noise(400, 0.1),
        "one patch": noise(15_600, 0.1),
        "a sample more": noise(15_601, 0.05),
        "odd": noise(33_333, 0.1),
        "tone": (0.3 * np.sin(np.arange(24_000) * 0.1)).astype(np.float32),
        "silence": np.zeros(16_000, np.float32),
        "clipped": np.clip(noise(20_000, 2.0), -1, 1),
        "quiet": noise(16_000, 1e-4),
        "12 s": noise(192_000, 0.2),
    }


def load(model: Path, **options: object) -> Yamnet:
    given = YamnetOptions.model_validate({"model": model, "threshold": 1e-6, **options})
    return Yamnet.load(given, device="cpu", precision="fp32")


def scores(model: Yamnet, waves: list[np.ndarray], batch_samples: int) -> list[Scores]:
    return Engine(model, batch_samples).scores(waves)


def probabilities(model: Yamnet, waves: list[np.ndarray], batch_samples: int) -> np.ndarray:
    return np.stack([each.probabilities for each in scores(model, waves, batch_samples)])


def reference_patches(wave: np.ndarray) -> np.ndarray:
    """[N, 96, 64] of YAMNet's front end as its authors describe it, in double precision."""
    hops = int(np.ceil(max(0, len(wave) - 15_600) / 7_680))
    padded = np.zeros(15_600 + 7_680 * hops)
    padded[: len(wave)] = wave
    window = signal.get_window("hann", 400, fftbins=True)
    frames = 1 + (len(padded) - 400) // 160
    spectra = [np.abs(np.fft.rfft(window * padded[160 * i : 160 * i + 400], 512)) for i in range(frames)]
    edges = [700 * (np.exp(mel / 1127) - 1) for mel in np.linspace(mel_of(125), mel_of(7500), 66)]
    mel = np.zeros((frames, 64))
    for band in range(64):
        low, centre, high = (mel_of(each) for each in edges[band : band + 3])
        for position in range(1, 257):
            at = mel_of(position * 16_000 / 512)
            weight = min((at - low) / (centre - low), (high - at) / (high - centre))
            if weight > 0:
                mel[:, band] += weight * np.array([spectrum[position] for spectrum in spectra])
    return np.stack([np.log(mel + 0.001)[48 * i : 48 * i + 96] for i in range(hops + 1)])


def mel_of(hz: float) -> float:
    return 1127 * float(np.log(1 + hz / 700))


def reference_scores(weights: Weights, patch: np.ndarray) -> np.ndarray:
    """Scores [events] of one patch [96, 64]: scipy's correlation on TensorFlow's zero padding, in double precision."""

    def padded(maps: np.ndarray, stride: int) -> np.ndarray:
        edges = []
        for size in maps.shape[:2]:
            total = max((-(-size // stride) - 1) * stride + 3 - size, 0)
            edges.append((total // 2, total - total // 2))
        return np.pad(maps, [*edges, (0, 0)])

    def normed(maps: np.ndarray, layer: str) -> np.ndarray:
        beta, mean, variance = (
            weights[f"{layer}/bn/{each}"] for each in ("beta", "moving_mean", "moving_variance")
        )
        return np.maximum(0, (maps - mean) / np.sqrt(variance + 1e-4) + beta)

    def correlated(maps: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
        return signal.correlate2d(maps, kernel, mode="valid")[::stride, ::stride]

    kernel = weights["layer1/conv/kernel"].astype(np.float64)
    single = padded(patch[:, :, None].astype(np.float64), 2)[:, :, 0]
    maps = normed(
        np.stack([correlated(single, kernel[:, :, 0, i], 2) for i in range(32)], axis=2), "layer1/conv"
    )
    for index, (_, stride) in enumerate(CHANNELS, start=2):
        layer = f"layer{index}/depthwise_conv"
        kernel = weights[f"{layer}/depthwise_kernel"].astype(np.float64)
        wide = padded(maps, stride)
        each = [correlated(wide[:, :, i], kernel[:, :, i, 0], stride) for i in range(maps.shape[2])]
        maps = normed(np.stack(each, axis=2), layer)
        layer = f"layer{index}/pointwise_conv"
        maps = normed(maps @ weights[f"{layer}/kernel"][0, 0].astype(np.float64), layer)
    return 1 / (1 + np.exp(-(maps.mean(axis=(0, 1)) @ weights["dense/kernel"] + weights["dense/bias"])))


@pytest.fixture(scope="module")
def means(weights: Weights, clips: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The reference's five scores, averaged over patches, of some clips: it is slow."""
    found = {}
    for name in ("shortest", "a sample more", "tone", "silence", "clipped", "quiet"):
        each = [reference_scores(weights, patch) for patch in reference_patches(clips[name])]
        found[name] = np.mean(each, axis=0)[[NAMES.index(event) for event in EVENTS]]
    return found


def test_the_front_end_is_yamnets(clips: dict[str, np.ndarray]) -> None:
    for wave in clips.values():
        wanted = reference_patches(wave)
        padded = np.zeros(15_600 + 7_680 * (len(wanted) - 1), np.float32)
        padded[: len(wave)] = wave
        found = log_mel_patches(torch.from_numpy(padded).unfold(0, 15_600, 7_680)).numpy()
        assert found.shape == wanted.shape
        # Before the logarithm, as TensorFlow's own float32 leaves 1e-6 of a tone in bands that hold nothing.
        assert np.allclose(np.exp(found), np.exp(wanted), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch_samples", [1, 10_000_000], ids=["alone", "one batch"])
def test_answers_are_those_of_the_reference(
    original: Path, means: dict[str, np.ndarray], clips: dict[str, np.ndarray], batch_samples: int
) -> None:
    found = probabilities(load(original / "yamnet.h5"), list(clips.values()), batch_samples)
    wanted = np.stack([each / each.sum() for each in means.values()])
    assert np.ptp(wanted, axis=0).max() > 0.02  # the clips differ, so agreement says something
    assert np.abs(found[[list(clips).index(name) for name in means]] - wanted).max() < TOLERANCE


def test_a_batch_leaves_every_clip_as_it_is(original: Path, clips: dict[str, np.ndarray]) -> None:
    model = load(original / "yamnet.h5")
    assert model.batching is Batching.MASKED
    waves = list(clips.values())
    alone = probabilities(model, waves, 1)
    assert np.abs(probabilities(model, waves, 100_000_000) - alone).max() < TOLERANCE
    # What the mask is for: a clip that takes its mates' padding for its own answers otherwise.
    padded = np.zeros(192_000, np.float32)
    padded[:33_333] = clips["odd"]
    assert np.abs(probabilities(model, [padded], 1) - alone[list(clips).index("odd")]).max() > 10 * TOLERANCE
    junk = torch.ones(1, 40_000)
    junk[0, :33_333] = torch.from_numpy(clips["odd"])
    logits = model.predict(junk, torch.tensor([33_333])).logits
    assert np.abs(logits.softmax(1).numpy() - alone[list(clips).index("odd")]).max() < TOLERANCE


@pytest.mark.parametrize("spelling", ["/", "_"])
def test_both_spellings_of_layer_names(
    weights: Weights, copy: Path, spelling: str, clips: dict[str, np.ndarray]
) -> None:
    wave = [clips["odd"]]
    before = probabilities(load(copy / "yamnet.h5"), wave, 1)
    write_h5(copy / "other.h5", weights, spelling=spelling)
    assert np.array_equal(probabilities(load(copy / "other.h5"), wave, 1), before)


def test_a_converted_folder_answers_the_same(
    original: Path, tmp_path: Path, clips: dict[str, np.ndarray]
) -> None:
    assert main([str(original / "yamnet.h5"), str(tmp_path / "out")]) == 0
    found = probabilities(load(tmp_path / "out"), [clips["odd"]], 1)
    assert np.array_equal(found, probabilities(load(original / "yamnet.h5"), [clips["odd"]], 1))


def test_a_saved_model_needs_tensorflow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), str(tmp_path / "out")]) == 2
    assert "tensorflow-cpu==" in capsys.readouterr().err


def test_an_onnx_file_answers_the_same(original: Path, tmp_path: Path, clips: dict[str, np.ndarray]) -> None:
    pytest.importorskip("onnx", reason="the exporter of torch needs onnx")
    model = load(original / "yamnet.h5")
    torch.onnx.export(
        model.modules()["model"],
        (torch.zeros(2, 96, 64),),
        tmp_path / "yamnet.onnx",
        dynamo=False,
        dynamic_axes={"patches": {0: "n"}, "scores": {0: "n"}},
        input_names=["patches"],
        output_names=["scores"],
    )
    onnx = load(tmp_path / "yamnet.onnx", class_map=original / CLASS_MAP_FILE)
    waves = list(clips.values())
    assert np.abs(probabilities(onnx, waves, 1) - probabilities(model, waves, 1)).max() < TOLERANCE


def test_below_the_threshold_there_is_no_label(
    original: Path, clips: dict[str, np.ndarray], means: dict[str, np.ndarray]
) -> None:
    best = sorted((five.max(), name) for name, five in means.items())
    gaps = [high[0] - low[0] for low, high in pairwise(best)]
    widest = int(np.argmax(gaps))
    assert gaps[widest] > 1e-3
    between = (best[widest][0] + best[widest + 1][0]) / 2
    found = scores(load(original / "yamnet.h5", threshold=between), [clips[name] for _, name in best], 1)
    assert [each.labelled for each in found] == [score > between for score, _ in best]
    assert [each.best is None for each in found] == [score < between for score, _ in best]


def test_labels_are_found_by_name(original: Path, copy: Path, clips: dict[str, np.ndarray]) -> None:
    names = tuple({"Speech": "Shout", "Shout": "Speech"}.get(name, name) for name in NAMES)
    write_class_map(copy / CLASS_MAP_FILE, names)
    before = probabilities(load(original / "yamnet.h5"), [clips["odd"]], 1)[0]
    after = probabilities(load(copy / "yamnet.h5"), [clips["odd"]], 1)[0]
    speech, shout = EVENTS.index("Speech"), EVENTS.index("Shout")
    assert abs(before[speech] - before[shout]) > 1e-3
    assert after[[shout, speech]] == pytest.approx(before[[speech, shout]])


def _lacks(name: str) -> Callable[[Weights], Weights]:
    return lambda weights: {key: value for key, value in weights.items() if key != name}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_lacks("dense/kernel"), r"dense\.weight is missing"),
        (_lacks("layer14/pointwise_conv/bn/beta"), "layer14_pointwise_conv.*is missing"),
        (
            lambda weights: {**weights, "layer15/conv/kernel": weights["layer1/conv/kernel"]},
            "layer15_conv.*left over",
        ),
        (lambda weights: {**weights, "layer2/depthwise_conv/bn/gamma": np.ones(32)}, "gamma.*no place for"),
        (lambda weights: {**weights, "other/kernel": weights["dense/kernel"]}, "twice"),
        (lambda weights: {**weights, "dense/kernel": np.zeros((1024, 8), "f")}, r"expected \(7, 1024\)"),
        (lambda weights: {**weights, "dense/bias": np.full(7, np.nan, "f")}, r"dense\.bias is not finite"),
    ],
)
def test_weights_that_do_not_fit_are_named(
    copy: Path, weights: Weights, change: Callable[[Weights], Weights], named: str
) -> None:
    write_h5(copy / "yamnet.h5", change(weights))
    with pytest.raises(ConfigurationError, match=named):
        load(copy / "yamnet.h5")


@pytest.mark.parametrize("name", ["yamnet.h5", "model.safetensors", "yamnet.onnx"])
def test_a_truncated_or_missing_file_is_named(copy: Path, name: str) -> None:
    convert_h5(copy / "yamnet.h5", copy, copy / CLASS_MAP_FILE)
    path = copy / name
    path.write_bytes(path.read_bytes()[:3000] if path.exists() else b"\x08\x09junk")
    model = copy if name == "model.safetensors" else path
    with pytest.raises(ConfigurationError, match=str(path)):
        load(model)
    path.unlink()
    with pytest.raises(ConfigurationError, match=f"there is no {path}"):
        load(model)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (
            "index,mid,display_name\n0,/m/0,Speech\n",
            "does not name 'Laughter', 'Crying, sobbing', 'Screaming', 'Shout'",
        ),
        ("index,mid,display_name\n1,/m/0,Speech\n", "row 1: expected index 0"),
        ("mid\n/m/0\n", "row 1"),
    ],
)
def test_another_class_map_is_refused(copy: Path, content: str, named: str) -> None:
    (copy / CLASS_MAP_FILE).write_text(content)
    with pytest.raises(ConfigurationError, match=named):
        load(copy / "yamnet.h5")
    (copy / CLASS_MAP_FILE).unlink()
    with pytest.raises(ConfigurationError, match="set class_map"):
        load(copy / "yamnet.h5")


@pytest.mark.parametrize("name", ["yamnet.h5", CLASS_MAP_FILE])
def test_a_changed_byte_is_another_model(copy: Path, name: str) -> None:
    def fingerprint(**options: float) -> str:
        given = YamnetOptions.model_validate({"model": copy / "yamnet.h5", **options})
        return ModelEntry("mine", "yamnet", given).fingerprint

    before = fingerprint()
    assert fingerprint(threshold=0.3) != before
    content = bytearray((copy / name).read_bytes())
    content[-3] ^= 1
    (copy / name).write_bytes(content)
    assert fingerprint() != before
