"""A tiny model of random weights of every family, in the family's original format, for tests that hold for all.

The writers of the formats lie beside the tests of their families; what they need beyond the core is an extra.
"""

import argparse
import json
from collections import OrderedDict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from models.families import (
    test_classical,
    test_dimensional,
    test_emotion2vec,
    test_encoder_head,
    test_keras_audio,
    test_multimodal,
    test_transformers_audio,
    test_yamnet,
)
from safetensors.torch import save_file

from emolake.models.families.multimodal_network import MultimodalHead

from made_model import write_tiny_model

Entry = dict[str, Any]


def spectrogram_cnn(folder: Path) -> Entry:
    return {"path": str(write_tiny_model(folder))}


def mfcc_mlp(folder: Path) -> Entry:
    labels = ("neutral", "joy", "anger", "sadness", "fear", "disgust", "surprise")
    config = {
        "family": "mfcc_mlp",
        "labels": labels,
        "hidden": [16],
        "mean": [0.0] * 40,
        "scale": [20.0] * 40,
    }
    torch.manual_seed(7)
    layers = torch.nn.ModuleList([torch.nn.Linear(40, 16), torch.nn.Linear(16, 7)])
    (folder / "config.json").write_text(json.dumps(config))
    save_file(torch.nn.ModuleDict({"layers": layers}).state_dict(), folder / "model.safetensors")
    return {"path": str(folder)}


def s3prl(folder: Path) -> Entry:
    """A checkpoint as S3PRL's Runner writes it, on a tiny HuBERT of the layer-norm kind."""
    model, extractor = test_transformers_audio.KINDS["hubert-layer"]()
    model.hubert.save_pretrained(folder / "hf")
    extractor.save_pretrained(folder / "hf")
    torch.manual_seed(3)
    shapes = {
        "projector.weight": (16, 32),
        "projector.bias": (16,),
        "model.post_net.linear.weight": (4, 16),
        "model.post_net.linear.bias": (4,),
    }
    recipe = {"select": "UtteranceLevel", "projector_dim": 16, "UtteranceLevel": {"pooling": "MeanPooling"}}
    checkpoint = {
        "Args": argparse.Namespace(upstream_feature_selection="hidden_states", upstream_layer_selection=None),
        "Config": {"downstream_expert": {"modelrc": recipe}},
        "Featurizer": OrderedDict(weights=torch.randn(3)),
        "Downstream": OrderedDict((name, torch.randn(shape)) for name, shape in shapes.items()),
        "Step": 12,
    }
    torch.save(checkpoint, folder / "dev-best.ckpt")
    return {
        "family": "s3prl",
        "upstream": str(folder / "hf"),
        "checkpoint": str(folder / "dev-best.ckpt"),
        "labels": ["neutral", "joy", "anger", "sadness"],
    }


def transformers_audio(folder: Path) -> Entry:
    model, extractor = test_transformers_audio.KINDS["wav2vec2-group"]()
    with torch.no_grad():
        model.classifier.weight.mul_(50)
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return {"family": "transformers", "model": str(folder)}


def encoder_head(folder: Path) -> Entry:
    test_encoder_head.write_encoder("Whisper", folder / "encoder")
    return {"path": str(test_encoder_head.write_head(folder, tuned=False))}


def classical(folder: Path) -> Entry:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    waves, labels = test_classical.training_clips()
    features = np.stack([test_classical.reference(wave, "librosa") for wave in waves])
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, labels)
    return {"path": str(test_classical.write(folder, pipeline, test_classical.LIBROSA))}


def multimodal(folder: Path) -> Entry:
    test_multimodal.write_whisper(folder / "whisper")
    test_multimodal.write_bert(folder / "bert")
    torch.manual_seed(6)
    save_file(MultimodalHead((808, 256, 128, 7), 0.3).state_dict(), folder / "model.safetensors")
    config = {
        "family": "multimodal",
        "labels": test_multimodal.LABELS,
        "speech_to_text": "whisper",
        "text_encoder": "bert",
        "language": "ko",
        "max_new_tokens": 6,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return {"path": str(folder)}


def dimensional(folder: Path) -> Entry:
    test_dimensional.published("layer").write(folder)
    return {"family": "dimensional", "model": str(folder)}


def yamnet(folder: Path) -> Entry:
    test_yamnet.write_h5(folder / "yamnet.h5", test_yamnet.random_weights())
    test_yamnet.write_class_map(folder / "yamnet_class_map.csv")
    return {
        "family": "yamnet",
        "model": str(folder / "yamnet.h5"),
        "class_map": str(folder / "yamnet_class_map.csv"),
        "threshold": 1e-6,
    }


def keras(folder: Path) -> Entry:
    _needs("keras")
    # Only the family itself may import Keras: it settles the backend first.
    from emolake.models.families.keras_file import import_keras

    test_keras_audio.convolutional(import_keras()).save(folder / "network.keras")
    return {
        "family": "keras",
        "path": str(folder / "network.keras"),
        "labels": list(test_keras_audio.LABELS),
    }


def emotion2vec(folder: Path) -> Entry:
    _needs("funasr")
    from funasr.models.emotion2vec.model import Emotion2vec as Network

    configuration = test_emotion2vec.configuration()
    torch.manual_seed(5)
    network = Network(model_conf=configuration["model_conf"], vocab_size=len(test_emotion2vec.TOKENS))
    state = {
        name if name.startswith("proj.") else f"d2v_model.{name}": torch.randn_like(tensor)
        if name.startswith("proj.")
        else tensor
        for name, tensor in network.state_dict().items()
    }
    torch.save({"model": state}, folder / "model.pt")
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration))
    (folder / "tokens.txt").write_text("\n".join(test_emotion2vec.TOKENS) + "\n", encoding="utf-8")
    return {"family": "emotion2vec", "model": str(folder)}


def ensemble(folder: Path) -> Entry:
    """Write nothing: its members are two models of the configuration that have these names."""
    return {"family": "ensemble", "members": ["spectrogram_cnn", "mfcc_mlp"], "weights": [2.0, 1.0]}


BUILDERS: dict[str, Callable[[Path], Entry]] = {
    "spectrogram_cnn": spectrogram_cnn,
    "mfcc_mlp": mfcc_mlp,
    "s3prl": s3prl,
    "transformers": transformers_audio,
    "encoder_head": encoder_head,
    "classical": classical,
    "multimodal": multimodal,
    "dimensional": dimensional,
    "yamnet": yamnet,
    "keras": keras,
    "emotion2vec": emotion2vec,
    "ensemble": ensemble,
}


def _needs(package: str) -> None:
    if find_spec(package) is None:
        pytest.skip(f"{package} is an extra that is not installed here")
