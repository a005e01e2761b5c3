"""What is imported before a model runs is light: every family's own module, the registry and the settings."""

import subprocess
import sys

import pytest

from emolake.models.known_families import FAMILIES

HEAVY = (
    "torch", "torchaudio", "transformers", "librosa", "sklearn", "skops", "scipy", "onnx", "onnxruntime", "tensorflow",
    "keras", "h5py", "funasr", "speechbrain", "opensmile",
)  # fmt: skip
PACKAGES = ("pipeline", "training", "evaluation", "prediction", "flows")  # of emolake, above its models


def printed(script: str) -> str:
    """Return the last line that a fresh process printed."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].strip()


def loaded(script: str) -> str:
    """Return what is loaded of HEAVY in a fresh process after a script."""
    return printed(f"import sys\n{script}\nprint('LOADED', *sorted(set(sys.modules) & set({HEAVY!r})))")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_familys_module_loads_nothing_heavy(family: str) -> None:
    assert loaded(f"import {FAMILIES[family].partition(':')[0]}") == "LOADED"


def test_a_model_is_described_and_fingerprinted_without_torch() -> None:
    script = (
        "from emolake.models.registry import Registry\n"
        "entry = Registry({}).entry()\n"
        "assert entry.description.labels and entry.fingerprint and entry.licence"
    )
    assert loaded(script) == "LOADED"


def test_the_options_of_features_load_no_torch() -> None:
    assert loaded("import emolake.audio.feature_options") == "LOADED"


@pytest.mark.parametrize("module", ["emolake.settings", "emolake.models.registry"])
def test_settings_and_registry_are_light(module: str) -> None:
    assert loaded(f"import {module}") == "LOADED"
    above = (
        f"import sys, {module}; print('ABOVE', *[p for p in {PACKAGES!r} if 'emolake.' + p in sys.modules])"
    )
    assert printed(above) == "ABOVE"


def test_the_conversion_of_yamnet_needs_torch_and_little_else() -> None:
    """It runs in an environment with TensorFlow, torch, pydantic, safetensors and nothing of emolake's dependencies."""
    assert loaded("import emolake.models.families.yamnet_convert") == "LOADED torch"
    others = (
        "prefect",
        "duckdb",
        "pyarrow",
        "boto3",
        "huggingface_hub",
        "pydantic_settings",
        "rich",
        "typer",
        "av",
    )
    script = "import sys, emolake.models.families.yamnet_convert; print('LOADED', *sorted(set(sys.modules) & set(%r)))"
    assert printed(script % (others,)) == "LOADED"
