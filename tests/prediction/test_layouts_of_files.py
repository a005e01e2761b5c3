"""Roles of files that are predicted without the lake: by the dimensions of their keys, or those that are given."""

from pathlib import Path

import numpy as np
import pytest

from emolake.cli.app import main
from emolake.demo.encode import write_audio
from emolake.prediction.files import dimensions_of, predict, without_layout
from emolake.settings import Settings, load_settings

from made_model import write_tiny_model

CONFIGURATION = """
[source]
uri = "calls"
[segmentation]
channels = "split"
min_speech_ratio = 0.0
[inference]
model = "tiny"
[models.tiny]
path = "tiny"
[roles]
agent = 0
customer = 1
[[roles.layouts]]
where = { site = "berlin" }
agent = 1
customer = 0
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    (folder / "emolake.toml").write_text(CONFIGURATION)
    write_tiny_model(folder / "tiny")
    noise = np.random.default_rng(0).normal(0, 0.1, (48_000, 2)).astype(np.float32)
    for name in ("oslo", "berlin"):
        (folder / "calls/2026/11/20" / name).mkdir(parents=True)
        write_audio(folder / "calls/2026/11/20" / name / "1.wav", noise, 16_000, "wav")
    write_audio(folder / "elsewhere.wav", noise, 16_000, "wav")
    return folder


@pytest.fixture(scope="module")
def settings(site: Path) -> Settings:
    return load_settings(site / "emolake.toml")


def test_the_dimensions_of_a_file_are_those_of_its_key_below_the_source(
    site: Path, settings: Settings
) -> None:
    inside = site / "calls/2026/11/20/oslo/1.wav"
    assert dimensions_of(inside, settings) == {"site": "oslo", "call_id": "1", "ext": "wav"}
    assert dimensions_of(site / "calls/notes.wav", settings) == {}
    assert dimensions_of(site / "elsewhere.wav", settings) == {}
    on_s3 = settings.model_copy(update={"source": settings.source.model_copy(update={"uri": "s3://calls"})})
    assert dimensions_of(inside, on_s3) == {}


@pytest.mark.parametrize(
    ("file", "given", "customer"),
    [
        ("calls/2026/11/20/oslo/1.wav", {}, 1),
        ("calls/2026/11/20/berlin/1.wav", {}, 0),
        ("elsewhere.wav", {}, 1),
        ("elsewhere.wav", {"site": "berlin"}, 0),
        ("elsewhere.wav", {"site": "oslo"}, 1),
        ("calls/2026/11/20/oslo/1.wav", {"site": "berlin"}, 0),
    ],
)
def test_the_agent_of_the_layout_is_not_scored(
    site: Path, settings: Settings, file: str, given: dict[str, str], customer: int
) -> None:
    (found,) = predict(
        [site / file], settings=settings, entry=settings.registry.entry(None), logits=False, dimensions=given
    )
    assert found.bad is None
    assert {row["channel"] for row in found.rows if row["label"]} == {customer}


def test_a_file_of_an_unknown_layout_is_named(
    site: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [site / "elsewhere.wav", site / "calls/2026/11/20/oslo/1.wav"]
    assert without_layout(files, settings, {}) == files[:1]
    assert without_layout(files, settings, {"site": "oslo"}) == []
    assert without_layout(files, Settings(), {}) == []
    command = ["emolake", "predict", str(files[0]), "--config", str(site / "emolake.toml")]
    for more, code, said in (
        ([], 0, "which of roles.layouts they have is not known"),
        (["--dimension", "site=berlin"], 0, ""),
        (
            ["--dimension", "queue=1"],
            2,
            "--dimension queue: expected NAME=VALUE of a dimension; there is site, call_id",
        ),
        (["--dimension", "site"], 2, "expected NAME=VALUE"),
    ):
        monkeypatch.setattr("sys.argv", [*command, *more])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == code
        shown = capsys.readouterr().err
        assert said in shown
        assert ("roles.layouts" in shown) is ("roles.layouts" in said)
