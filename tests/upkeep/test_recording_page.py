"""`emolake report --recording`: from the lake and the source to one page."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from emolake.cli.app import app
from emolake.errors import ConfigurationError
from emolake.lake.connect import open_lake
from emolake.report.recording import NoRecordingError, Sound, recording_asked
from emolake.settings import Settings
from emolake.source.opening import open_source
from emolake.tasks.commit import commit_shard
from emolake.upkeep.recording_page import report_recording
from emolake.upkeep.recording_sound import recording_sound

from made_lake import KEY, Call, Piece, shard_rows, sqlite_warehouse
from made_recording import NAME, Made, made_recording, write_call


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made_recording(tmp_path_factory.mktemp("made"))


def sound(made: Made, *, embed: bool = False) -> Sound:
    with open_lake(made.settings.warehouse, read_only=True) as lake:
        recording = recording_asked(lake, made.uri)
    return recording_sound(made.settings, recording, embed=embed)


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text("utf-8"))
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


@pytest.mark.parametrize("asked", ["uri", NAME, "call.wav"])
def test_a_page_shows_what_the_lake_and_the_file_hold(made: Made, tmp_path: Path, asked: str) -> None:
    asked = made.uri if asked == "uri" else asked
    data = data_of(report_recording(made.settings, asked, out=tmp_path / "page.html"))
    assert data["duration"] == 8
    assert [(track["name"], track["role"]) for track in data["tracks"]] == [("0", "agent"), ("1", "customer")]
    assert data["tracks"][0]["talk"][0][0] == pytest.approx(1, abs=0.2)
    assert data["tracks"][1]["talk"][0][0] == pytest.approx(5, abs=0.2)
    assert max(map(abs, data["tracks"][0]["peaks"])) == 100
    (model,) = data["models"]
    assert [
        (each["track"], each["start"], each["emotion"], each["uncertain"]) for each in model["segments"]
    ] == [
        ("0", 0, "neutral", False),
        ("1", 0, None, False),
        ("0", 4, None, False),
        ("1", 4, "anger", True),
    ]


def test_what_is_drawn_is_explained(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = report_recording(made.settings, made.uri, out=tmp_path / "page.html").read_text("utf-8")
    assert 'data-word="over_time_explained"' in text
    assert 'data-word="windows_explained"' not in text
    assert capsys.readouterr().err == ""


def test_a_figure_that_no_channel_has_is_no_column(made: Made, tmp_path: Path) -> None:
    with open_lake(made.settings.warehouse, read_only=True) as lake:
        rows = recording_asked(lake, made.uri).dynamics
    figures = [list(row.values())[2:] for row in rows]
    text = report_recording(made.settings, made.uri, out=tmp_path / "page.html").read_text("utf-8")
    head = re.search(r'<table id="table-dynamics"><thead>(.*?)</thead>', text, re.DOTALL)
    assert head
    known = sum(any(value is not None for value in column) for column in zip(*figures, strict=True))
    assert head[1].count("<th ") == 1 + known < 1 + len(figures[0])


def test_its_sound_is_played_where_it_lies_and_is_not_in_the_page(made: Made, tmp_path: Path) -> None:
    text = report_recording(made.settings, made.uri, out=tmp_path / "page.html").read_text("utf-8")
    assert f'src="file://{made.file}"' in text
    assert "media-src file:;" in text
    assert "data:audio" not in text


def test_embedded_sound_is_only_there_when_it_was_asked_for(made: Made, tmp_path: Path) -> None:
    text = report_recording(made.settings, made.uri, out=tmp_path / "p.html", embed_audio=True).read_text(
        "utf-8"
    )
    assert 'src="data:audio/mpeg;base64,' in text
    assert "media-src data:;" in text
    assert str(made.file) not in text.replace(made.uri, "")


def test_an_object_that_was_replaced_has_no_waveform(tmp_path: Path) -> None:
    made = made_recording(tmp_path, columns={"version": "an older one"})
    assert sound(made) == Sound(missing=("replaced_sound", {}))
    text = report_recording(made.settings, made.uri, out=tmp_path / "page.html").read_text("utf-8")
    assert "was replaced since it was analysed" in text
    assert "<audio" not in text
    assert "anger" in text


@pytest.mark.parametrize("trouble", ["gone", "elsewhere", "no folder", "broken"])
def test_without_its_sound_the_page_and_standard_error_say_why(
    tmp_path: Path, trouble: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = made_recording(tmp_path)
    settings = made.settings
    if trouble == "gone":
        made.file.unlink()
    elif trouble == "elsewhere":
        settings = settings.model_copy(
            update={"source": settings.source.model_copy(update={"uri": str(tmp_path)})}
        )
        made.file.rename(tmp_path / "moved.wav")
    elif trouble == "no folder":
        shutil.rmtree(made.settings.source.uri)
    else:
        stat = made.file.stat()
        made.file.write_bytes(b"RIFF" + bytes(stat.st_size - 4))
        os.utime(made.file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    text = report_recording(settings, made.uri, out=tmp_path / "page.html").read_text("utf-8")
    assert "The recording itself could not be read" in text
    # What is not drawn is not explained.
    assert 'data-word="windows_explained"' in text
    assert 'data-word="over_time_explained"' not in text
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("emolake: the page has no sound: The recording itself could not be read")
    assert len(said) > len(
        "emolake: the page has no sound: The recording itself could not be read, so there is no"
    )
    assert data_of(tmp_path / "page.html")["models"][0]["segments"]


def test_what_the_policy_rules_out_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = made_recording(
        tmp_path, columns={"dimensions": [("site", "oslo")]}, policy={"exclude": {"site": ["oslo"]}}
    )
    monkeypatch.setattr("emolake.upkeep.recording_sound.open_source", lambda *_: pytest.fail("it was opened"))
    assert sound(made) == Sound(missing=("ruled_out_sound", {}))


@pytest.mark.parametrize("embed", [False, True])
def test_a_channel_that_is_ruled_out_is_neither_drawn_nor_played(tmp_path: Path, embed: bool) -> None:
    made = made_recording(tmp_path, policy={"exclude_channels": [0]})
    found = sound(made, embed=embed)
    assert found.trace is not None
    assert [channel.channel for channel in found.trace.channels] == [1]
    # The file holds both: only a copy without the other may be played.
    assert (found.player is not None) == embed


def test_segments_of_a_mix_down_are_a_track_of_their_own(tmp_path: Path) -> None:
    made = made_recording(tmp_path, pieces=[Piece(0, 8, emotion="anger")], segmentation={"channels": "mix"})
    data = data_of(report_recording(made.settings, made.uri, out=tmp_path / "page.html"))
    assert [(track["name"], "peaks" in track) for track in data["tracks"]] == [
        ("0", True),
        ("1", True),
        ("mix", False),
    ]
    assert [each["track"] for each in data["models"][0]["segments"]] == ["mix"]


def test_a_transcript_is_shown_where_there_is_one(tmp_path: Path) -> None:
    made = made_recording(tmp_path, transcripts=["good morning <b>you</b>"])
    text = report_recording(made.settings, made.uri, out=tmp_path / "page.html").read_text("utf-8")
    assert "good morning &lt;b&gt;you&lt;/b&gt;" in text


def test_a_recording_of_a_bucket(
    s3: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder = s3
    write_call(folder / "calls" / NAME)
    source = {"uri": "s3://calls", "endpoint_url": url}
    settings = Settings(warehouse=sqlite_warehouse(tmp_path), source=source)  # type: ignore[arg-type]
    bucket = open_source("s3://calls", settings.source.s3)
    (listed,) = bucket.list(NAME)
    made = made_recording(
        tmp_path, columns={"uri": f"s3://calls/{NAME}", "version": listed.version}, source=source
    )
    data = data_of(report_recording(made.settings, NAME, out=tmp_path / "page.html"))
    assert len(data["tracks"][0]["peaks"]) > 100
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "<audio" not in text  # no file is left that could be played
    assert "media-src" not in text


def test_a_recording_that_is_not_there(made: Made, tmp_path: Path) -> None:
    with pytest.raises(NoRecordingError, match="holds no recording 'other.wav'; give its URI"):
        report_recording(made.settings, "other.wav", out=tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_key_that_names_several_is_refused_with_their_names(tmp_path: Path) -> None:
    warehouse = sqlite_warehouse(tmp_path)
    with open_lake(warehouse) as lake:
        commit_shard(lake, shard_rows([Call("a/1.wav"), Call("b/1.wav")]), key=KEY, run_id="r", message="m")
    with pytest.raises(
        NoRecordingError, match=r"names several recordings.*calls/a/1.wav, s3://calls/b/1.wav"
    ):
        report_recording(Settings(warehouse=warehouse), "1.wav", out=tmp_path / "page.html")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--recording", "x", "--from", "2026-11-20"], "leave --from and --to out"),
        (["--embed-audio"], "goes with --recording"),
    ],
)
def test_options_that_do_not_go_together(made: Made, tmp_path: Path, arguments: list[str], says: str) -> None:
    config = tmp_path / "emolake.toml"
    config.write_text("")
    result = CliRunner().invoke(app, ["report", "--config", str(config), *arguments])
    assert isinstance(result.exception, ConfigurationError)
    assert says in str(result.exception)
