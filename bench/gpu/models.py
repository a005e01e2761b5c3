"""Models for the benches of a GPU: random encoders of every family and of published shapes, and the shipped ones."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from bench.common import LABELS, SHAPES, s3prl_model, transformers_model
from emolake.models.inference import InferenceOptions
from emolake.models.registry import ModelEntry
from emolake.settings import Settings

FAMILIES = ("s3prl", "transformers", "dimensional", "encoder_head", "default", "small")
"""One model of each family with an encoder, and the shipped ones."""
SPEED = ("hubert_large", "hubert_base", "whisper_base", "default")
_TINY = SHAPES["tiny"]


def entry(name: str, folder: Path, size: str) -> ModelEntry:
    """Return a model of the benches; written into a folder of its own below the given one, where there is none."""
    place = folder / name
    if name in ("default", "small"):
        return Settings().registry.entry(name)
    is_new = not place.is_dir()
    place.mkdir(exist_ok=True)
    shape = {"hubert_large": "large", "hubert_base": "base"}.get(name, "tiny") if size == "full" else "tiny"
    if name in ("s3prl", "hubert_large", "hubert_base"):
        keys = s3prl_model(place, shape)
    elif name == "transformers":
        keys = transformers_model(place, "tiny")
    elif name == "dimensional":
        keys = _dimensional(place) if is_new else {"family": "dimensional", "model": str(place)}
    else:
        if is_new:
            _whisper(place, full=size == "full" and name == "whisper_base")
        keys = {"path": str(place)}
    return Settings(models={"bench": keys}).registry.entry("bench")


def load(found: ModelEntry, device: str, precision: str) -> Any:
    """Load a model onto torch."""
    return found.load(
        InferenceOptions.model_validate({"device": device, "precision": precision, "runtime": "torch"})
    )


def _dimensional(folder: Path) -> dict[str, Any]:
    """Write a wav2vec 2.0 under a regression head, whose first norm is a group norm: batches of one length."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    torch.manual_seed(13)
    shape = {**_TINY, "feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
    config = Wav2Vec2Config(**shape, id2label=dict(enumerate(("arousal", "dominance", "valence"))))
    encoder = Wav2Vec2Model(config).eval()
    config.save_pretrained(folder)
    said = json.loads((folder / "config.json").read_text()) | {
        "architectures": ["Wav2Vec2ForSpeechClassification"], "problem_type": "regression", "pooling_mode": "mean",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(said))
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(folder)
    tensors = {f"wav2vec2.{name}": tensor.contiguous() for name, tensor in encoder.state_dict().items()}
    hidden = config.hidden_size
    for layer, outputs in (("dense", hidden), ("out_proj", 3)):
        tensors[f"classifier.{layer}.weight"] = torch.randn(outputs, hidden) / hidden**0.5
        tensors[f"classifier.{layer}.bias"] = torch.zeros(outputs)
    renamed = {
        "parametrizations.weight.original0": "weight_g",
        "parametrizations.weight.original1": "weight_v",
    }
    for new, old in renamed.items():
        tensors = {name.replace(new, old): tensor for name, tensor in tensors.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return {"family": "dimensional", "model": str(folder)}


def _whisper(folder: Path, *, full: bool) -> None:
    """Write a Whisper encoder of the base shape, or a tiny one, under a linear head that sees the clip alone."""
    from transformers import WhisperConfig, WhisperFeatureExtractor
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    torch.manual_seed(14)
    width, layers, heads = (512, 6, 8) if full else (32, 2, 2)
    config = WhisperConfig(
        d_model=width, encoder_layers=layers, encoder_attention_heads=heads, encoder_ffn_dim=4 * width,
        decoder_layers=layers, decoder_attention_heads=heads, decoder_ffn_dim=4 * width,
    )  # fmt: skip
    WhisperEncoder(config).eval().save_pretrained(folder / "encoder")
    WhisperFeatureExtractor(feature_size=config.num_mel_bins).save_pretrained(folder / "encoder")
    content = {"family": "encoder_head", "encoder": "encoder", "context": "clip", "labels": list(LABELS)}
    (folder / "config.json").write_text(json.dumps(content))
    save_file(
        {"output.weight": 0.3 * torch.randn(len(LABELS), width), "output.bias": torch.zeros(len(LABELS))},
        folder / "model.safetensors",
    )
