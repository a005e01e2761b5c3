"""SpeechBrain interfaces: nothing runs untrusted, and what runs answers as SpeechBrain's own `foreign_class` does.

SpeechBrain's dependencies conflict with the lock, so `make test-extras` runs this file in an environment of its own.
"""

import hashlib
import logging
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from emolake.errors import ConfigurationError
from emolake.models.families.speechbrain_interface import (
    InterfaceError,
    SpeechbrainInterface,
    SpeechbrainOptions,
    _torchaudio,
)
from emolake.models.protocol import Batching
from emolake.models.registry import ModelEntry
from emolake.tasks.classify import Engine

needs_speechbrain = pytest.mark.skipif(
    find_spec("speechbrain") is None, reason="SpeechBrain needs an environment of its own: make test-extras"
)
TOLERANCE = 1e-4
LABELS = ("neu", "ang", "hap", "sad")
# The layout of speechbrain/emotion-recognition-wav2vec2-IEMOCAP: encoder, pooling, one linear layer, label encoder.
HYPERPARAMETERS = """
sample_rate: 16000
encoder_dim: 32
out_n_neurons: 4
wav2vec2_hub: nobody/nowhere
pretrained_path: nobody/nowhere
wav2vec2: !new:speechbrain.integrations.huggingface.wav2vec2.Wav2Vec2
    source: !ref <wav2vec2_hub>
    output_norm: True
    freeze: True
    save_path: wav2vec2_checkpoint
avg_pool: !new:speechbrain.nnet.pooling.StatisticsPooling
    return_std: False
output_mlp: !new:speechbrain.nnet.linear.Linear
    input_size: !ref <encoder_dim>
    n_neurons: !ref <out_n_neurons>
    bias: False
model: !new:torch.nn.ModuleList
    - [!ref <output_mlp>]
modules:
    wav2vec2: !ref <wav2vec2>
    output_mlp: !ref <output_mlp>
    avg_pool: !ref <avg_pool>
softmax: !new:speechbrain.nnet.activations.Softmax
label_encoder: !new:speechbrain.dataio.encoder.CategoricalEncoder
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        wav2vec2: !ref <wav2vec2>
        model: !ref <model>
        label_encoder: !ref <label_encoder>
    paths:
        wav2vec2: !ref <pretrained_path>/wav2vec2.ckpt
        model: !ref <pretrained_path>/model.ckpt
        label_encoder: !ref <pretrained_path>/label_encoder.txt
"""
INTERFACE = """
import torch
from speechbrain.inference.interfaces import Pretrained

print("custom code ran")


class CustomEncoderWav2vec2Classifier(Pretrained):
    def classify_batch(self, wavs, wav_lens=None):
        encoded = self.mods.wav2vec2(wavs, wav_lens)
        pooled = self.mods.avg_pool(encoded, wav_lens).view(encoded.shape[0], -1)
        probabilities = self.hparams.softmax(self.mods.output_mlp(pooled))
        score, index = torch.max(probabilities, dim=-1)
        return probabilities, score, index, self.hparams.label_encoder.decode_torch(index)
"""
ENCODER = "'neu' => 0\n'ang' => 1\n'hap' => 2\n'sad' => 3\n================\n'starting_index' => 0\n"
OVERRIDES = {"pretrained_path": "{model}", "wav2vec2_hub": "{model}/hub"}


def write_code(folder: Path) -> None:
    (folder / "hyperparams.yaml").write_text(HYPERPARAMETERS)
    (folder / "custom_interface.py").write_text(INTERFACE)
    (folder / "label_encoder.txt").write_text(ENCODER)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as SpeechBrain's recipes publish it, with random weights."""
    folder = tmp_path_factory.mktemp("speechbrain")
    write_code(folder)
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    torch.manual_seed(2)
    config = Wav2Vec2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        feat_extract_norm="group",
    )
    encoder = Wav2Vec2Model(config)
    encoder.save_pretrained(folder / "hub")
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder / "hub")
    state = {f"model.{name}": tensor for name, tensor in encoder.state_dict().items()}
    torch.save(state, folder / "wav2vec2.ckpt")
    torch.save({"0.w.weight": 0.3 * torch.randn(4, 32)}, folder / "model.ckpt")
    return folder


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    """A folder that may be broken."""
    for path in original.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            target = tmp_path / path.relative_to(original)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
    return tmp_path


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A folder whose code leaves a trace when it runs."""
    trace = f"__import__('pathlib').Path({str(tmp_path / 'executed')!r}).touch()\n"
    write_code(tmp_path)
    (tmp_path / "custom_interface.py").write_text(trace + INTERFACE)
    (tmp_path / "hyperparams.yaml").write_text(
        f"trace: !apply:os.mkdir [{tmp_path / 'executed'}]\n{HYPERPARAMETERS}"
    )
    return tmp_path


@pytest.fixture(scope="module")
def clips() -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)

    def noise(samples: int, level: float) -> np.ndarray:
        return (level * random.standard_normal(samples)).astype(np.float32)

    return {
        "shortest": noise(400, 0.1),
        "one second": noise(16_000, 0.1),
        "tone": (0.3 * np.sin(np.arange(24_000) * 0.1)).astype(np.float32),
        "silence": np.zeros(16_000, np.float32),
        "clipped": np.clip(noise(9_000, 2.0), -1, 1),
        "quiet": noise(16_000, 1e-4),
        "12 s": noise(192_000, 0.2),
    }


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.suffix in (".py", ".yaml")
    }


def options(folder: Path, **changed: Any) -> SpeechbrainOptions:
    keys = {
        "model": folder,
        "trust_remote_code": True,
        "sha256": hashes(folder),
        "overrides": OVERRIDES,
        **changed,
    }
    return SpeechbrainOptions.model_validate(keys)


def load(folder: Path, **changed: Any) -> SpeechbrainInterface:
    return SpeechbrainInterface.load(options(folder, **changed), device="cpu", precision="fp32")


def probabilities(model: SpeechbrainInterface, waves: list[np.ndarray], batch_samples: int = 1) -> np.ndarray:
    return np.stack([scores.probabilities for scores in Engine(model, batch_samples).scores(waves)])


@pytest.mark.parametrize("sha256", [{}, None], ids=["no hashes", "hashes"])
def test_untrusted_code_does_not_run(code: Path, sha256: dict[str, str] | None) -> None:
    with pytest.raises(ConfigurationError, match="trust_remote_code = true"):
        load(code, trust_remote_code=False, sha256=hashes(code) if sha256 is None else sha256)
    assert not (code / "executed").exists()


@pytest.mark.parametrize("name", ["hyperparams.yaml", "custom_interface.py"])
def test_code_that_changed_does_not_run(code: Path, name: str) -> None:
    trusted = hashes(code)
    (code / name).write_text((code / name).read_text() + "# changed\n")
    with pytest.raises(
        ConfigurationError, match=f"{name} has {hashes(code)[name]}, expected {trusted[name]}"
    ):
        load(code, sha256=trusted)
    del trusted[name]
    with pytest.raises(ConfigurationError, match=f"{name} has .*expected none given"):
        load(code, sha256=trusted)
    assert not (code / "executed").exists()


def test_code_that_came_along_does_not_run(code: Path) -> None:
    trusted = hashes(code)
    (code / "json.py").write_text("raise SystemExit\n")
    with pytest.raises(ConfigurationError, match=r"json\.py has"):
        load(code, sha256=trusted)
    with pytest.raises(ConfigurationError, match=r"sha256 names gone\.py"):
        load(code, sha256={**hashes(code), "gone.py": "0"})
    assert not (code / "executed").exists()


def test_labels_come_from_the_encoder_without_running_anything(code: Path) -> None:
    assert SpeechbrainInterface.describe(options(code)).labels == LABELS
    assert SpeechbrainInterface.describe(options(code, labels=["a", "b"])).labels == ("a", "b")
    (code / "label_encoder.txt").write_text("'neu' => 0\n'ang' => 2\n====\n")
    with pytest.raises(ConfigurationError, match=r"label_encoder\.txt does not map"):
        SpeechbrainInterface.describe(options(code))
    (code / "label_encoder.txt").unlink()
    with pytest.raises(ConfigurationError, match="set labels"):
        SpeechbrainInterface.describe(options(code))
    (code / "hyperparams.yaml").unlink()
    with pytest.raises(ConfigurationError, match=r"there is no .*hyperparams\.yaml"):
        SpeechbrainInterface.describe(options(code))
    assert not (code / "executed").exists()


@pytest.mark.parametrize(
    "name", ["hyperparams.yaml", "custom_interface.py", "label_encoder.txt", "model.ckpt"]
)
def test_a_changed_byte_is_another_model(code: Path, name: str) -> None:
    (code / "model.ckpt").write_bytes(b"weights")

    def fingerprint(**changed: Any) -> str:
        return ModelEntry("mine", "speechbrain", options(code, **changed)).fingerprint

    before = fingerprint()
    assert fingerprint(output="logits") != before
    (code / name).write_bytes((code / name).read_bytes() + b" ")
    assert fingerprint() != before


def test_without_speechbrain_the_extra_is_named(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("speechbrain", "speechbrain.inference", "speechbrain.inference.interfaces"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigurationError, match=r"emolake\[speechbrain\].*ruamel\.yaml below 0\.19"):
        load(code)


@needs_speechbrain
def test_answers_are_those_of_speechbrain(
    original: Path, clips: dict[str, np.ndarray], tmp_path: Path
) -> None:
    model = load(original)
    with _torchaudio():
        from speechbrain.inference.interfaces import foreign_class

        interface = foreign_class(
            source=str(original),
            pymodule_file="custom_interface.py",
            classname="CustomEncoderWav2vec2Classifier",
            overrides={"pretrained_path": str(original), "wav2vec2_hub": str(original / "hub")},
            savedir=str(tmp_path / "saved"),
        )
    answers = []
    for wave in clips.values():
        torch.manual_seed(0)  # SpeechBrain's pooling adds noise of 1e-5
        answers.append(interface.classify_batch(torch.from_numpy(wave)[None], torch.ones(1))[0].numpy())
    wanted = np.concatenate(answers)
    assert np.ptp(wanted, axis=0).max() > 0.05  # the clips differ, so agreement says something
    for batch_samples in (1, 10_000_000):
        assert np.abs(probabilities(model, list(clips.values()), batch_samples) - wanted).max() < TOLERANCE


@needs_speechbrain
def test_the_noise_of_pooling_is_the_same_each_time(original: Path, clips: dict[str, np.ndarray]) -> None:
    model = load(original)
    waves = [clips["one second"], clips["tone"]]
    torch.manual_seed(9)
    state = torch.get_rng_state()
    first = probabilities(model, waves)
    assert np.array_equal(first, probabilities(model, waves[::-1])[::-1])
    assert torch.equal(torch.get_rng_state(), state)


@needs_speechbrain
def test_a_padded_batch_would_change_the_answer(original: Path, clips: dict[str, np.ndarray]) -> None:
    model = load(original)
    assert model.batching is Batching.SINGLE
    short, long = clips["clipped"], clips["tone"]
    padded = torch.zeros(2, len(long))
    padded[0, : len(short)] = torch.from_numpy(short)
    padded[1] = torch.from_numpy(long)
    together = model._interface.classify_batch(padded, torch.tensor([len(short) / len(long), 1.0]))[0][0]
    assert np.abs(together.numpy() - probabilities(model, [short])[0]).max() > 10 * TOLERANCE


@needs_speechbrain
def test_a_load_is_loud_on_stderr_and_leaves_nothing_behind(
    original: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    path, had_torchaudio = list(sys.path), "torchaudio" in sys.modules
    with caplog.at_level(logging.WARNING):
        load(original)
    assert any(
        "trust_remote_code is true" in each.message and str(original) in each.message
        for each in caplog.records
    )
    printed = capsys.readouterr()
    assert "custom code ran" in printed.err
    assert printed.out == ""
    assert (sys.path, "torchaudio" in sys.modules) == (path, had_torchaudio)


@needs_speechbrain
@pytest.mark.parametrize(
    ("name", "state", "named"),
    [
        ("model.ckpt", {}, r"missing: 0\.w\.weight"),
        ("model.ckpt", {"0.w.weight": torch.zeros(4, 32), "odd": torch.zeros(1)}, "left over: odd"),
        ("model.ckpt", {"0.w.weight": torch.zeros(3, 32)}, "cannot be loaded.*shape"),
    ],
)
def test_weights_that_do_not_fit_are_named(
    copy: Path, name: str, state: dict[str, torch.Tensor], named: str
) -> None:
    torch.save(state, copy / name)
    with pytest.raises(ConfigurationError, match=f"(?s){named}"):
        load(copy)


@needs_speechbrain
def test_what_only_training_needs_may_be_named(copy: Path) -> None:
    state = torch.load(copy / "model.ckpt", weights_only=True)
    torch.save({**state, "optimizer.step": torch.zeros(1)}, copy / "model.ckpt")
    with pytest.raises(ConfigurationError, match=r"left over: optimizer\.step"):
        load(copy)
    assert load(copy, unused_weights=["optimizer."]).labels == LABELS


@needs_speechbrain
def test_a_module_that_no_checkpoint_fills_is_named(copy: Path) -> None:
    text = (copy / "hyperparams.yaml").read_text()
    text = text.replace("        model: !ref <model>\n", "").replace(
        "        model: !ref <pretrained_path>/model.ckpt\n", ""
    )
    (copy / "hyperparams.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match="output_mlp is in no checkpoint"):
        load(copy)
    assert load(copy, self_loading=["output_mlp"]).labels == LABELS


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@needs_speechbrain
def test_a_broken_or_malicious_checkpoint_is_an_error(copy: Path) -> None:
    torch.save({"0.w.weight": _Bomb(copy / "executed")}, copy / "model.ckpt")
    with pytest.raises(ConfigurationError, match="cannot be loaded: UnpicklingError"):
        load(copy)
    assert not (copy / "executed").exists()
    (copy / "model.ckpt").write_bytes(b"PK\x03\x04")
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        load(copy)
    (copy / "model.ckpt").unlink()
    with pytest.raises(ConfigurationError, match=r"cannot be loaded.*model\.ckpt"):
        load(copy)
    with pytest.raises(ConfigurationError, match="NoSuchClass"):
        load(copy, class_name="NoSuchClass")


@needs_speechbrain
def test_an_answer_that_is_not_what_the_options_say_is_an_error(
    original: Path, clips: dict[str, np.ndarray]
) -> None:
    wave = [clips["tone"]]
    with pytest.raises(InterfaceError, match=r"log_probabilities that sum to .*expected 1"):
        probabilities(load(original, output="log_probabilities"), wave)
    with pytest.raises(InterfaceError, match="gave 4 outputs, and there are 3 labels"):
        probabilities(load(original, labels=["neu", "ang", "hap"]), wave)
    model = load(original)
    model.labels = tuple(reversed(LABELS))
    with pytest.raises(InterfaceError, match="set labels"):
        probabilities(model, wave)


@needs_speechbrain
def test_another_rate_is_refused(copy: Path) -> None:
    text = (copy / "hyperparams.yaml").read_text()
    (copy / "hyperparams.yaml").write_text(text.replace("sample_rate: 16000", "sample_rate: 8000"))
    with pytest.raises(ConfigurationError, match="takes 8000 Hz"):
        load(copy)
