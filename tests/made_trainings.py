"""Trainings of every name that are short: two epochs of small networks, on tiny random encoders."""

from pathlib import Path
from typing import Any

from models.families.test_encoder_head import write_encoder
from models.families.test_multimodal import write_bert, write_whisper

from emolake.training.train import TrainingResult, train

SHORT = {"loop.epochs": 2, "loop.batch": 2, "loop.accumulate": 2, "loop.learning_rate": 1e-3}
TUNED = {"encoder": "Wav2Vec2-layer", "unfreeze_layers": 1, **SHORT}
CNN = {
    "network": {"channels": [4, 6, 8, 8], "track_channels": 4, "hidden": 16},
    "loop.epochs": 2, "loop.batch": 8, "members": 2,
}  # fmt: skip
# What is short and small of each; names of encoders are those of the fixture's folders.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "logmel_cnn": ("logmel_cnn", CNN),
    "mfcc_cnn": ("mfcc_cnn", CNN),
    "mfcc_mlp": ("mfcc_mlp", {"loop.epochs": 5, "augment.noise_reduction": True}),
    "wav2vec2_frozen": ("wav2vec2_frozen", {"encoder": "Hubert-layer", **SHORT}),
    "wav2vec2_finetune": ("wav2vec2_finetune", TUNED),
    "all layers, checkpointing, bf16": (
        "wav2vec2_finetune",
        TUNED | {"unfreeze_layers": "all", "checkpointing": True, "loop.precision": "bf16"},
    ),
    "hf_finetune": ("hf_finetune", {"encoder": "Wav2Vec2-group", **SHORT}),
    "hf_finetune of Whisper": ("hf_finetune", {"encoder": "Whisper", "unfreeze_layers": 1, **SHORT}),
    "s3prl_head": ("s3prl_head", {"encoder": "Hubert-layer", **SHORT}),
    "whisper_head": ("whisper_head", {"encoder": "Whisper", "augment.copies": 0, **SHORT}),
    "whisper_finetune": (
        "whisper_finetune",
        {"encoder": "Whisper", "layers": 1, "loop.epochs": 2, "loop.batch": 2, "loop.learning_rate": 1e-3},
    ),
    "regression on Whisper": (
        "whisper_head",
        {"encoder": "Whisper", "projector": None, "regression": {}, "augment.copies": 1, **SHORT},
    ),
    "one network, tuned from a random head": (
        "whisper_finetune",
        {"encoder": "Whisper", "layers": 1, "regression": None, "networks": 1, **SHORT},
    ),
    "mean and deviation, frozen, portable": (
        "wav2vec2_frozen",
        {"encoder": "Hubert-layer", "pooling": "mean_std", "layers": 1, "portable": True, **SHORT},
    ),
    "classical": ("classical", {}),
    "random forest": (
        "classical", {"classifier": "random_forest", "trees": 5, "augment.chance": 0.5, "augment.copies": 1},
    ),
    "logistic regression": ("classical", {"classifier": "logistic_regression"}),
    "multimodal": (
        "multimodal",
        {"speech_to_text": "stt", "text_encoder": "bert", "language": "ko", "max_new_tokens": 3, "augment.chance": 0.0,
         **SHORT},
    ),
}  # fmt: skip


def write_encoders(folder: Path) -> Path:
    """Write the encoders that the cases name, and return the folder."""
    for kind in ("Wav2Vec2-layer", "Wav2Vec2-group", "Hubert-layer", "Whisper"):
        write_encoder(kind, folder / kind)
    write_whisper(folder / "stt")
    write_bert(folder / "bert")
    return folder


def run(case: str, voices: Path, encoders: Path, out: Path, **fields: Any) -> TrainingResult:
    """Train a case; `fields` replace arguments of `train`."""
    model, options = CASES[case]
    located = {
        name: str(encoders / value) if name in ("encoder", "speech_to_text", "text_encoder") else value
        for name, value in options.items()
    }
    fields = {"split": "speaker", "seed": 1, "folds": 1, "device": "cpu", "workers": 1, **fields}
    return train(model=model, data=voices, out=out, options=located, **fields)
