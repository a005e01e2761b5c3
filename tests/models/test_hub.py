"""Models from a hub, which a server on loopback plays: what is fetched, what a token opens, what errors say.

huggingface_hub reads its endpoint when it is imported, so every call is made in a process of its own.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hub_server import COMMIT, TOKEN, Hub, serve_hub
from models.families import test_transformers_audio

from emolake.demo.encode import write_audio
from emolake.models.encoders.speech_encoder import FILES

pytestmark = pytest.mark.server

FOLDER = """
import sys
from emolake.errors import ConfigurationError
from emolake.models.hub import model_folder
try:
    print(model_folder(sys.argv[1], sys.argv[2], tuple(sys.argv[3:])))
except ConfigurationError as error:
    sys.exit(str(error))
"""
FILE = """
import sys
from emolake.errors import ConfigurationError
from emolake.models.hub import model_file
try:
    print(model_file(sys.argv[1], sys.argv[2]).read_text())
except ConfigurationError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    for name, files in {
        "both": (
            "config.json",
            "model.safetensors",
            "pytorch_model.bin",
            "training_args.bin",
            "head/best.ckpt",
        ),
        "pickled": ("config.json", "pytorch_model.bin"),
        "gated": ("config.json", "model.safetensors"),
    }.items():
        for file in files:
            path = tmp_path / "hub" / "lab" / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{name} {file}")
    with serve_hub(Hub(tmp_path / "hub", gated=("lab/gated",))) as served:
        yield served


def run(hub: Hub, *command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    own = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    own |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(hub.folder.parent / "cache")} | environment
    return subprocess.run(
        command, env=own, cwd=hub.folder.parent, capture_output=True, text=True, timeout=120
    )


def folder(
    hub: Hub, spec: str, revision: str = "main", **environment: str
) -> "subprocess.CompletedProcess[str]":
    return run(hub, sys.executable, "-c", FOLDER, spec, revision, *FILES, **environment)


def test_pickled_weights_are_fetched_only_where_there_are_no_others(hub: Hub) -> None:
    assert folder(hub, "lab/both", COMMIT).returncode == 0
    assert sorted(hub.served) == ["lab/both/config.json", "lab/both/model.safetensors"]
    hub.served.clear()
    done = folder(hub, "lab/pickled")
    assert (Path(done.stdout.strip()) / "pytorch_model.bin").read_text() == "pickled pytorch_model.bin"
    assert sorted(hub.served) == ["lab/pickled/config.json", "lab/pickled/pytorch_model.bin"]


def test_a_single_file_of_a_repository(hub: Hub) -> None:
    done = run(hub, sys.executable, "-c", FILE, "lab/both/head/best.ckpt", COMMIT)
    assert done.stdout.strip() == "both head/best.ckpt"
    assert hub.served == ["lab/both/head/best.ckpt"]


def test_the_token_opens_what_is_gated_and_is_never_shown(hub: Hub) -> None:
    shut = folder(hub, "lab/gated")
    assert shut.returncode == 1
    assert "lab/gated is gated: accept its licence" in shut.stderr
    assert "set HF_TOKEN" in shut.stderr
    wrong = folder(hub, "lab/gated", HF_TOKEN="hf_wrong")
    assert "accept its licence" in wrong.stderr
    assert "hf_wrong" not in wrong.stderr
    assert folder(hub, "lab/gated", HF_TOKEN=TOKEN).returncode == 0


@pytest.mark.parametrize(
    ("spec", "revision", "message"),
    [
        ("lab/nothing", "main", "lab/nothing is not on the hub, or is private; correct it, or set HF_TOKEN"),
        ("lab/both", "v9", "lab/both has no such revision; correct revision"),
    ],
)
def test_what_is_not_there_is_named(hub: Hub, spec: str, revision: str, message: str) -> None:
    done = folder(hub, spec, revision)
    assert done.returncode == 1
    assert message in done.stderr


def test_a_model_by_its_hub_id_also_without_the_hub_once_it_is_cached(hub: Hub, tmp_path: Path) -> None:
    model, extractor = test_transformers_audio.KINDS["wav2vec2-layer"]()
    model.save_pretrained(hub.folder / "lab" / "tiny")
    extractor.save_pretrained(hub.folder / "lab" / "tiny")
    noise = np.random.default_rng(0).normal(0, 0.1, (16_000, 1)).astype(np.float32)
    write_audio(tmp_path / "a.wav", noise, 16_000, "wav")
    (tmp_path / "emolake.toml").write_text(
        f'[models.remote]\nfamily = "transformers"\nmodel = "lab/tiny"\nrevision = "{COMMIT}"\n'
        '[segmentation]\nmin_speech_ratio = 0.0\n[inference]\ndevice = "cpu"\n'
    )
    predict = (
        str(Path(sys.executable).with_name("emolake")),
        "predict",
        "a.wav",
        "--model",
        "remote",
        "--format",
        "json",
    )
    online = run(hub, *predict)
    assert online.returncode == 0, online.stderr
    assert '"label"' in online.stdout
    hub.served.clear()
    offline = run(hub, *predict, HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert offline.stdout == online.stdout, offline.stderr
    missing = run(
        hub, *predict, HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "no")
    )
    assert missing.returncode == 2
    assert "lab/tiny is neither a local path nor in the cache" in missing.stderr
    assert hub.served == []
