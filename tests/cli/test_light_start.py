"""What a command imports before it has work: no network's libraries, and no Prefect where no server is configured."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from emolake.demo.encode import write_audio
from emolake.models.runtimes import devices

from command_line import emolake

NETWORKS = {"torch", "torchaudio", "transformers", "onnx", "onnxruntime"}
OF_OTHERS = {
    "prefect", "scipy.stats", "sklearn", "skops", "matplotlib", "librosa", "tensorflow", "polars", "streamlit",
    "emolake.training.train", "emolake.evaluation", "emolake.report.build", "emolake.demo",
}  # fmt: skip
LAKE = {"duckdb", "pyarrow", "boto3", "numpy"}
PROGRAM = "import sys; from emolake.cli.app import main\ntry: main()\nfinally: print('LOADED', *sys.modules)"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration, and a day of one recording that was analysed, after which the graph is kept."""
    folder = tmp_path_factory.mktemp("start")
    put(folder, "2026/11/20/oslo/first.wav")
    # whatever the date is, no night is late
    (folder / "emolake.toml").write_text('[source]\nuri = "calls"\n[status]\nlate_hours = 1e5\n')
    assert emolake("nightly", "--date", "2026-11-20", cwd=folder).returncode == 0
    return folder


def put(folder: Path, key: str) -> None:
    path = folder / "calls" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    write_audio(path, np.zeros((16_000, 1), np.float32), 16_000, "wav")


def loaded(folder: Path, arguments: Sequence[str]) -> set[str]:
    """Return what a fresh process has imported at the end of a command."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=folder, env=environment | {"HOME": str(folder)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return set(ran.stdout.splitlines()[-1].split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "forbidden"),
    [
        (["--help"], NETWORKS | OF_OTHERS | LAKE),
        (["status"], NETWORKS | OF_OTHERS),
        (["nightly", "--date", "2026-11-20"], NETWORKS | OF_OTHERS),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_a_command_without_work_for_a_model_imports_none_of_its_libraries(
    arguments: Sequence[str], forbidden: set[str], done: Path
) -> None:
    assert sorted(loaded(done, arguments) & forbidden) == []


@pytest.mark.slow
def test_a_night_with_work_imports_what_its_model_needs_and_nothing_of_others(done: Path) -> None:
    put(done, "2026/11/21/oslo/second.wav")
    found = loaded(done, ["nightly", "--date", "2026-11-21"])
    assert "torch" in found
    assert sorted(found & (OF_OTHERS | {"onnx"})) == []


@pytest.mark.parametrize("driver", [True, False])
def test_a_gpu_is_looked_for_where_a_driver_is(driver: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "has_gpu_driver", lambda: driver)
    monkeypatch.setattr(devices, "_sees_gpu", lambda: True)
    assert devices.resolve_device("auto") == ("cuda" if driver else "cpu")


def test_a_driver_is_a_library_of_nvidia_or_a_device_of_amd(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(devices, "_NVIDIA_LIBRARY", "libno-such-driver.so.1")
    monkeypatch.setattr(devices, "_AMD_DEVICE", tmp_path / "kfd")
    assert not devices.has_gpu_driver()
    (tmp_path / "kfd").touch()
    assert devices.has_gpu_driver()
    monkeypatch.setattr(devices, "_AMD_DEVICE", tmp_path / "none")
    monkeypatch.setattr(devices, "_NVIDIA_LIBRARY", "libc.so.6")
    assert devices.has_gpu_driver()
