"""emotion2vec agrees with FunASR's own `generate`, alone and in any batch, and runs nothing that a folder holds."""

import logging
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from emolake.errors import ConfigurationError
from emolake.models.families.emotion2vec import Emotion2vec, Emotion2vecOptions
from emolake.models.families.emotion2vec_network import quiet_import
from emolake.models.protocol import Batching
from emolake.models.registry import ModelEntry
from emolake.tasks.classify import Engine

needs_funasr = pytest.mark.skipif(
    find_spec("funasr") is None, reason='FunASR is not installed: pip install "emolake[emotion2vec]"'
)
TOLERANCE = 1e-4
TOKENS = [
    "生气/angry",
    "厌恶/disgusted",
    "恐惧/fearful",
    "开心/happy",
    "中立/neutral",
    "unuse_0",
    "难过/sad",
    "<unk>",
]
LABELS = ("angry", "disgusted", "fearful", "happy", "neutral", "sad", "<unk>")
CONVOLUTIONS = "[(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16,2,2)] + [(16,2,2)]"


def configuration(convolutions: str = CONVOLUTIONS) -> dict[str, Any]:
    """FunASR's config.yaml of emotion2vec, of a tiny size."""
    return {
        "model": "Emotion2vec",
        "model_conf": {
            "loss_beta": 0.0,
            "loss_scale": None,
            "depth": 2,
            "start_drop_path_rate": 0.0,
            "end_drop_path_rate": 0.0,
            "num_heads": 4,
            "norm_eps": 1e-5,
            "norm_affine": True,
            "encoder_dropout": 0.1,
            "post_mlp_drop": 0.1,
            "attention_dropout": 0.1,
            "activation_dropout": 0.0,
            "dropout_input": 0.0,
            "layerdrop": 0.05,
            "embed_dim": 32,
            "mlp_ratio": 2.0,
            "layer_norm_first": False,
            "average_top_k_layers": 2,
            "end_of_block_targets": False,
            "clone_batch": 8,
            "normalize": True,
            "modalities": {
                "audio": {
                    "type": "AUDIO",
                    "prenet_depth": 1,
                    "prenet_layerdrop": 0.05,
                    "prenet_dropout": 0.1,
                    "start_drop_path_rate": 0.0,
                    "end_drop_path_rate": 0.0,
                    "num_extra_tokens": 3,
                    "init_extra_token_zero": True,
                    "mask_prob": 0.5,
                    "mask_length": 5,
                    "keep_masked_pct": 0.0,
                    "mask_noise_std": 0.01,
                    "encoder_zero_mask": True,
                    "mask_channel_prob": 0.0,
                    "local_grad_mult": 1.0,
                    "use_alibi_encoder": True,
                    "alibi_scale": 1.0,
                    "learned_alibi": False,
                    "alibi_max_pos": None,
                    "learned_alibi_scale": True,
                    "learned_alibi_scale_per_head": True,
                    "learned_alibi_scale_per_layer": False,
                    "num_alibi_heads": 4,
                    "model_depth": 2,
                    "extractor_mode": "layer_norm",
                    "feature_encoder_spec": convolutions,
                    "conv_pos_width": 15,
                    "conv_pos_groups": 4,
                    "conv_pos_depth": 3,
                    "conv_pos_pre_ln": False,
                    "decoder": None,
                }
            },
        },
        "tokenizer": "CharTokenizer",
        "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
        "scope_map": ["d2v_model.", "none"],
    }


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as FunASR publishes it, with random weights under the names that its scope_map takes prefixes off."""
    if find_spec("funasr") is None:
        pytest.skip("FunASR is not installed")
    from funasr.models.emotion2vec.model import Emotion2vec as Network

    folder = tmp_path_factory.mktemp("emotion2vec")
    torch.manual_seed(5)
    network = Network(model_conf=configuration()["model_conf"], vocab_size=len(TOKENS))
    state = {}
    for name, tensor in network.state_dict().items():
        if name.startswith("proj."):
            state[name] = torch.randn_like(
                tensor
            )  # as it is, answers are all near 1/8 and agree with anything
        else:
            state[f"d2v_model.{name}"] = tensor + 0.05 * torch.randn_like(tensor)
    torch.save({"model": state}, folder / "model.pt")
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration()))
    (folder / "tokens.txt").write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
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

    tone = (0.3 * np.sin(np.arange(24_000) * 0.1)).astype(np.float32)
    return {
        "shortest": noise(400, 0.1),
        "one second": noise(16_000, 0.1),
        "another second": noise(16_000, 0.05),
        "tone": tone,
        "odd": noise(7_777, 0.1),
        "silence": np.zeros(16_000, np.float32),
        "clipped": np.clip(noise(9_000, 2.0), -1, 1),
        "quiet": noise(16_000, 1e-4),
        "12 s": noise(192_000, 0.2),
    }


def load(folder: Path, **options: Any) -> Emotion2vec:
    return Emotion2vec.load(Emotion2vecOptions(model=str(folder), **options), device="cpu", precision="fp32")


def probabilities(model: Emotion2vec, waves: list[np.ndarray], batch_samples: int) -> np.ndarray:
    return np.stack([scores.probabilities for scores in Engine(model, batch_samples).scores(waves)])


@pytest.fixture(scope="module")
def answers(original: Path, clips: dict[str, np.ndarray]) -> np.ndarray:
    """What FunASR's AutoModel says of each clip."""
    from funasr import AutoModel

    model = AutoModel(
        model=str(original), hub="hf", device="cpu", disable_update=True, disable_pbar=True, log_level="ERROR"
    )
    found = []
    for wave in clips.values():
        answer = model.generate(wave, fs=16_000, granularity="utterance", extract_embedding=False)[0]
        assert [label.rpartition("/")[2] for label in answer["labels"]] == list(LABELS)
        found.append(answer["scores"])
    return np.array(found)


@needs_funasr
@pytest.mark.parametrize("batch_samples", [1, 1_000_000], ids=["alone", "batched"])
def test_answers_are_those_of_funasr(
    original: Path, clips: dict[str, np.ndarray], answers: np.ndarray, batch_samples: int
) -> None:
    found = probabilities(load(original), list(clips.values()), batch_samples)
    assert np.ptp(answers, axis=0).max() > 0.05  # the clips differ, so agreement says something
    assert np.abs(found - answers).max() < TOLERANCE


@needs_funasr
def test_padding_would_change_the_answer(original: Path, clips: dict[str, np.ndarray]) -> None:
    model = load(original)
    assert model.batching is Batching.EQUAL_LENGTH
    waves = list(clips.values())
    alone = probabilities(model, waves, 1)
    model.batching = Batching.MASKED
    assert np.abs(probabilities(model, waves, 10_000_000) - alone).max() > 10 * TOLERANCE


@needs_funasr
def test_labels_and_bounds(original: Path) -> None:
    model = load(original)
    assert model.labels == LABELS == Emotion2vec.describe(Emotion2vecOptions(model=str(original))).labels
    assert (model.min_samples, model.max_samples, model.sampling_rate) == (400, None, 16_000)
    with pytest.raises(RuntimeError):
        model.predict(torch.zeros(1, model.min_samples - 1), torch.tensor([model.min_samples - 1]))


def changed(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    state = torch.load(folder / "model.pt", weights_only=True)
    change(state["model"])
    torch.save(state, folder / "model.pt")


@needs_funasr
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda state: state.pop("proj.weight"), r"missing: proj\.weight"),
        (lambda state: state.pop("d2v_model.blocks.1.mlp.fc1.bias"), r"missing: blocks\.1\.mlp\.fc1\.bias"),
        (lambda state: state.update({"_ema.step": torch.zeros(1)}), r"left over: _ema\.step"),
        (lambda state: state.update({"proj.bias": torch.zeros(3)}), r"of another shape: proj\.bias"),
        (lambda state: state["proj.bias"].fill_(torch.nan), r"not finite: proj\.bias"),
    ],
)
def test_weights_that_do_not_fit_are_named(copy: Path, change: Callable[..., object], named: str) -> None:
    changed(copy, change)
    with pytest.raises(ConfigurationError, match=named):
        load(copy)


@needs_funasr
def test_what_only_training_needs_may_be_named(
    copy: Path, clips: dict[str, np.ndarray], answers: np.ndarray
) -> None:
    changed(copy, lambda state: state.update({"_ema.step": torch.zeros(1)}))
    model = load(copy, unused_weights=["_ema."])
    assert np.abs(probabilities(model, list(clips.values()), 1) - answers).max() < TOLERANCE


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@needs_funasr
def test_a_pickle_that_runs_code_runs_nothing(copy: Path) -> None:
    torch.save({"model": _Bomb(copy / "executed")}, copy / "model.pt")
    with pytest.raises(ConfigurationError, match="without running code"):
        load(copy)
    assert not (copy / "executed").exists()


@needs_funasr
@pytest.mark.parametrize("via", ["spec", "interpolation"])
def test_a_config_that_funasr_would_evaluate_runs_nothing(copy: Path, via: str) -> None:
    code = f"[(__import__('pathlib').Path({str(copy / 'executed')!r}).touch(), 10, 5)]"
    config = configuration(code if via == "spec" else "${evil}")
    config["model_conf"]["evil"] = code
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigurationError, match="run as code" if via == "spec" else "interpolation"):
        load(copy)
    assert not (copy / "executed").exists()


@needs_funasr
@pytest.mark.parametrize("name", ["model.pt", "config.yaml", "tokens.txt"])
def test_a_missing_or_truncated_file_is_named(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2 - 1])
    with pytest.raises(ConfigurationError, match=str(copy)):
        load(copy)
    (copy / name).unlink()
    with pytest.raises(ConfigurationError, match=f"has no {name}"):
        load(copy)


@needs_funasr
@pytest.mark.parametrize(
    "text", ["[]", "model: Paraformer", "model: Emotion2vec", "a: [", "model_conf: {}\nmodel: Emotion2vec"]
)
def test_another_config_is_refused(copy: Path, text: str) -> None:
    (copy / "config.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"config\.yaml"):
        load(copy)


@needs_funasr
@pytest.mark.parametrize("name", ["model.pt", "config.yaml", "tokens.txt"])
def test_a_changed_byte_is_another_model(copy: Path, name: str) -> None:
    def fingerprint() -> str:
        return ModelEntry("mine", "emotion2vec", Emotion2vecOptions(model=str(copy))).fingerprint

    before = fingerprint()
    content = bytearray((copy / name).read_bytes())
    content[-2] ^= 1
    (copy / name).write_bytes(content)
    assert fingerprint() != before


def test_without_funasr_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("config.yaml", "model.pt"):
        (tmp_path / name).touch()
    (tmp_path / "tokens.txt").write_text("中立/neutral\n<unk>\n", encoding="utf-8")
    monkeypatch.setitem(sys.modules, "funasr", None)
    monkeypatch.setitem(sys.modules, "funasr.models.emotion2vec.model", None)
    with pytest.raises(ConfigurationError, match=r"emolake\[emotion2vec\]"):
        load(tmp_path)


def test_importing_funasr_leaves_logging_and_stdout_alone(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    with quiet_import():  # what funasr 1.4.16 does when it is imported
        logging.basicConfig(level=logging.INFO, force=True)
        print("Notice: ffmpeg is not installed.")
    assert (root.level, root.handlers) == before
    assert capsys.readouterr().out == ""
