"""The public API: lazy, and the same answers as the command line and the steps give."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import emolake
from emolake.demo.encode import write_audio
from emolake.errors import BadRecordingError, ConfigurationError
from emolake.settings import Settings
from emolake.tasks.segment import SegmentOptions

from made_model import LABELS, write_tiny_model

pytestmark = pytest.mark.slow

HEAVY = ("numpy", "pydantic", "duckdb", "torch", "prefect")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration with a model of its own, and two recordings, one of them broken."""
    folder = tmp_path_factory.mktemp("site")
    write_tiny_model(folder / "tiny")
    noise = np.random.default_rng(3).normal(0, 0.1, (8_000 * 23, 2)).astype(np.float32)
    write_audio(folder / "calls" / "a.wav", noise, 8_000, "wav")
    (folder / "calls" / "b broken.wav").write_bytes(b"junk")
    (folder / "emolake.toml").write_text(
        '[inference]\nmodel = "tiny"\ndevice = "cpu"\n[segmentation]\nmin_speech_ratio = 0.0\n'
        '[models.tiny]\npath = "tiny"\n'
    )
    return folder


def test_importing_it_loads_nothing_and_using_it_what_is_needed() -> None:
    code = (
        "import sys, emolake\n"
        f"assert not set(sys.modules) & set({HEAVY!r})\n"
        "assert 'predict' in dir(emolake) and callable(emolake.predict)\n"
        "emolake.load_settings()\n"
        "assert not set(sys.modules) & {'torch', 'prefect'}, 'settings alone need no network'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_name_is_there_after_its_package_was_loaded() -> None:
    """A subpackage of the name of a function would take its place as soon as it is imported."""
    code = (
        "import pkgutil, emolake\n"
        "names = {each.name for each in pkgutil.iter_modules(emolake.__path__)}\n"
        "assert not names & set(emolake.__all__), names & set(emolake.__all__)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd="/")
    with pytest.raises(AttributeError, match="no attribute 'oracle'"):
        emolake.oracle  # noqa: B018


def test_settings_come_from_a_file_or_are_given(site: Path) -> None:
    settings = emolake.load_settings(site / "emolake.toml")
    assert isinstance(settings, Settings)
    assert emolake.load_settings(settings) is settings
    assert emolake.load_settings(str(site / "emolake.toml")).model_dump() == settings.model_dump()
    with pytest.raises(ConfigurationError, match="`emolake init` writes one"):
        emolake.load_settings("nowhere.toml")


def test_predict_gives_the_rows_of_the_command(site: Path) -> None:
    (*rows,) = emolake.predict(site / "calls" / "a.wav", config=site / "emolake.toml", logits=True)
    command: list[str | Path] = [
        Path(sys.executable).with_name("emolake"),
        "predict",
        site / "calls" / "a.wav",
        "--logits",
    ]
    command += ["--format", "json", "--config", site / "emolake.toml"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert rows == json.loads(done.stdout)
    assert [row["end_s"] for row in rows] == [10.0, 20.0, 23.0]


def test_a_file_that_cannot_be_analysed_is_an_error_after_the_rows_before_it(site: Path) -> None:
    rows = emolake.predict([site / "calls"], config=site / "emolake.toml")
    assert [next(rows)["start_s"] for _ in range(3)] == [0.0, 10.0, 20.0]
    with pytest.raises(BadRecordingError, match="undecodable"):
        next(rows)


def test_a_model_by_its_name_or_its_folder(site: Path) -> None:
    model = emolake.load_model(config=site / "emolake.toml")
    assert model.labels == LABELS
    assert emolake.load_model(str(site / "tiny")).labels == LABELS
    with pytest.raises(ConfigurationError, match="no model is called 'nobody'"):
        emolake.load_model("nobody", config=site / "emolake.toml")


def test_decoding_and_segmenting_arrays(site: Path) -> None:
    samples = emolake.decode(site / "calls" / "a.wav")
    assert (samples.dtype, samples.shape) == (np.float32, (16_000 * 23, 2))
    assert emolake.decode(site / "calls" / "a.wav", sampling_rate=8_000).shape == (8_000 * 23, 2)
    windows = emolake.segment(samples)
    assert [(each.start_s, each.end_s) for each in windows] == [(0.0, 10.0), (10.0, 20.0), (20.0, 23.0)]
    split = emolake.segment(samples, SegmentOptions(channels="split", window_s=5.0, hop_s=5.0))
    assert sorted(each.channel for each in split) == [0] * 5 + [1] * 5
    assert len(emolake.segment(samples[:, 0])) == 3


def test_the_lake_is_opened_to_read_unless_it_is_to_be_written(site: Path, tmp_path: Path) -> None:
    from emolake.lake.transact import LakeError

    config = tmp_path / "emolake.toml"
    config.write_text("")
    with pytest.raises(LakeError, match="makes it"), emolake.open_lake(config):
        pass
    with emolake.open_lake(config, read_only=False) as lake:
        assert lake.exists()
    with emolake.open_lake(str(config)) as lake:
        assert lake.rows("SELECT count(*) FROM recordings") == [(0,)]
