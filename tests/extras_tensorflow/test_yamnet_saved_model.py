"""YAMNet as TensorFlow saves it: converted here, its scores are TensorFlow's own. Needs `make test-extras`.

The network and its features are built with TensorFlow's layers and signal functions, as the published code does
(https://github.com/tensorflow/models/tree/master/research/audioset/yamnet), with random weights.
"""

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from emolake.models.families.yamnet import Yamnet, YamnetOptions
from emolake.models.families.yamnet_convert import main

tf: Any = pytest.importorskip(
    "tensorflow", reason="TensorFlow lives in an environment of its own: make test-extras"
)

EVENTS = ("Speech", "Laughter", "Crying, sobbing", "Screaming", "Shout", "Music")
BLOCKS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]


def network() -> Any:
    """YAMNet's layers over log-mel patches [N, 96, 64], with scores of six events."""
    layers = tf.keras.layers

    def normalised(maps: Any, name: str) -> Any:
        norm = layers.BatchNormalization(scale=False, epsilon=1e-4, momentum=0.0, name=f"{name}_bn")
        return layers.ReLU()(norm(maps))

    patches = layers.Input((96, 64))
    maps = layers.Reshape((96, 64, 1))(patches)
    maps = layers.Conv2D(32, 3, 2, "same", use_bias=False, name="layer1_conv")(maps)
    maps = normalised(maps, "layer1_conv")
    for index, (channels, stride) in enumerate(BLOCKS, start=2):
        deep, point = f"layer{index}_depthwise_conv", f"layer{index}_pointwise_conv"
        maps = layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False, name=deep)(maps)
        maps = normalised(maps, deep)
        maps = layers.Conv2D(channels, 1, padding="same", use_bias=False, name=point)(maps)
        maps = normalised(maps, point)
    logits = layers.Dense(len(EVENTS), name="logits")(layers.GlobalAveragePooling2D()(maps))
    return tf.keras.Model(patches, tf.keras.activations.sigmoid(logits))


def log_mel(wave: Any) -> Any:
    """Log-mel patches of one clip of 15,600 samples, by TensorFlow's own spectrogram and mel matrix."""
    magnitude = tf.abs(tf.signal.stft(wave, frame_length=400, frame_step=160, fft_length=512))
    bank = tf.signal.linear_to_mel_weight_matrix(64, 257, 16_000, 125.0, 7500.0)
    return tf.math.log(tf.matmul(magnitude, bank) + 0.001)[None]


def write_class_map(folder: Path) -> None:
    with (folder / "assets" / "yamnet_class_map.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("index", "mid", "display_name"))
        rows.writerows((index, f"/m/{index}", event) for index, event in enumerate(EVENTS))


class Saved(tf.Module):
    """A SavedModel from waveform to scores, like the published one."""

    def __init__(self, layers: Any) -> None:
        super().__init__()
        self.layers = layers

    @tf.function(input_signature=[tf.TensorSpec([15_600], tf.float32)])
    def __call__(self, wave: Any) -> Any:
        return self.layers(log_mel(wave), training=False)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    tf.keras.utils.set_random_seed(3)
    layers = network()
    generator = np.random.default_rng(3)
    for weight in layers.weights:
        if "beta" in weight.path:
            weight.assign(generator.normal(0, 0.1, weight.shape))
    layers.get_layer("logits").kernel.assign(generator.normal(0, 0.1, (1024, len(EVENTS))))
    # Norms that fit their input keep the signal alive through 27 random layers.
    spectrograms = [log_mel(generator.normal(0, 0.1, 15_600).astype(np.float32)) for _ in range(16)]
    layers(tf.concat(spectrograms, axis=0), training=True)
    folder = tmp_path_factory.mktemp("saved")
    module = Saved(layers)
    tf.saved_model.save(module, str(folder))
    write_class_map(folder)
    return folder, module


def test_scores_are_tensorflows(saved: tuple[Path, Any], tmp_path: Path) -> None:
    folder, module = saved
    assert main([str(folder), str(tmp_path / "converted")]) == 0
    model = Yamnet.load(YamnetOptions(model=tmp_path / "converted"), device="cpu", precision="fp32")
    waves = np.random.default_rng(4).normal(0, 0.1, (6, 15_600)).astype(np.float32)
    wanted = np.stack([module(wave)[0].numpy()[:5] for wave in waves])
    assert wanted.std(axis=0).min() > 1e-3, "scores that are all the same would hide an error"
    found = model.predict(torch.from_numpy(waves), torch.full((6,), 15_600)).logits.softmax(dim=1).numpy()
    assert np.abs(found - wanted / wanted.sum(axis=1, keepdims=True)).max() < 1e-4


def test_the_converted_folder_needs_no_tensorflow(saved: tuple[Path, Any], tmp_path: Path) -> None:
    assert main([str(saved[0]), str(tmp_path / "converted")]) == 0
    script = (
        "import sys; from pathlib import Path; from emolake.models.families.yamnet import Yamnet, YamnetOptions; "
        "Yamnet.load(YamnetOptions(model=Path(sys.argv[1])), device='cpu', precision='fp32'); "
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "converted"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_another_saved_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tf.Module()
    other.weight = tf.Variable(tf.ones((2, 3, 4)), name="strange")
    tf.saved_model.save(other, str(tmp_path / "other"))
    write_class_map(tmp_path / "other")
    assert main([str(tmp_path / "other"), str(tmp_path / "out")]) == 2
    assert "does not hold YAMNet with 6 events" in capsys.readouterr().err
